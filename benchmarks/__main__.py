#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Run the benchmark: ``python -m benchmarks --help``."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import gc
import logging
import sys
import time
import traceback
import typing

from rich import console as rich_console

from benchmarks import bed as bed_module
from benchmarks.cases import cells
from benchmarks.cases import claim
from benchmarks.cases import decisions
from benchmarks.cases import flatness
from benchmarks.cases import grid
from benchmarks.cases import loading
from benchmarks.cases import memory
from benchmarks.cases import micro
from benchmarks.cases import no_pci
from benchmarks.cases import numa
from benchmarks.cases import pci_part
from benchmarks.cases import price
from benchmarks.cases import profile
from benchmarks.cases import reservation
from benchmarks import options as options_module
from benchmarks import picture
from benchmarks import plan as plan_module
from benchmarks import report
from benchmarks import results

#: Cases at every number of hosts, at the main one, and at the largest.
_ALWAYS: typing.Final = (pci_part, price)
_MAIN: typing.Final = (
    decisions, loading, no_pci, reservation, profile, numa)
_LARGEST: typing.Final = (flatness, memory)

#: Cases with hosts of their own.
_ALONE: typing.Final = (micro, claim, cells, grid)

#: What is measured on databases that are for the record, at the main number.
_FOR_THE_RECORD: typing.Final = (price.NAME,)


class _Run:
    """Runs cases and says so; one that fails does not stop the others."""

    def __init__(self, plan: plan_module.Plan) -> None:
        self.plan = plan
        self.book = results.Book()
        self._console = rich_console.Console(stderr=True, highlight=False)
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Write a line of progress to stderr."""
        took = time.monotonic() - self._start
        self._console.print(
            f'{took:6.1f} s  {text}', markup=False, soft_wrap=True)

    def run(self, name: str, case: Callable[[], None], where: str) -> None:
        """Run a case unless only others are wanted."""
        if name in self.plan.only:
            with self._noting_failure(f'{where}: {name}'):
                case()

    @contextlib.contextmanager
    def _noting_failure(self, what: str) -> Iterator[None]:
        self.say(what)
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.book.failed[what] = f'{type(error).__name__}: {error}'

    def on_database(self, name: str, url: str | None) -> None:
        """Let a fleet grow in a database, and run the cases there."""
        if set(self.plan.only) & {
                case.NAME for case in (*_ALWAYS, *_MAIN, *_LARGEST)}:
            with self._noting_failure(name):
                self._grow(name, url)

    def for_the_record(self, name: str, url: str) -> None:
        """Run few of the cases in a database, at the main number only."""
        everything = self.plan
        self.plan = dataclasses.replace(
            everything, sizes=[everything.main_size],
            only=[case for case in everything.only
                  if case in _FOR_THE_RECORD])
        self.on_database(name, url)
        self.plan = everything

    def _grow(self, name: str, url: str | None) -> None:
        with bed_module.Bed(name, [url] if url else None) as bed:
            for size in self.plan.sizes:
                self.say(f'{name}: building {size:,} hosts')
                bed.grow(size - len(bed.hosts))
                self._cases(bed, _ALWAYS)
                if size == self.plan.main_size:
                    self._cases(bed, _MAIN)
            self._cases(bed, _LARGEST)
            self.say(f'{name}: cleaning up')

    def _cases(
        self, bed: bed_module.Bed, cases: Iterable[typing.Any],
    ) -> None:
        for case in cases:
            self.run(
                case.NAME,
                functools.partial(case.run, bed, self.plan, self.book),
                f'{bed.database}, {len(bed.hosts):,} hosts')


def main() -> int:
    """Measure, report and return the exit code."""
    options = options_module.parse()
    if options.plan.quick:
        # Else it takes longest to collect garbage where there is none.
        gc.freeze()
    # It tells each time that its threads are few, which they are by default.
    logging.getLogger('nova.thread_pool_factory').setLevel(logging.ERROR)
    run = _Run(options.plan)
    skipped = [name for name, url in (
        ('MariaDB', options.mysql), ('PostgreSQL', options.postgresql))
        if not url]
    for name in skipped:
        run.say(f'{name} is skipped: no option and no variable names a '
                'database')
    run.on_database('SQLite', None)
    if options.mysql:
        run.on_database('MariaDB', options.mysql)
    if options.postgresql:
        run.for_the_record('PostgreSQL', options.postgresql)
    for case in _ALONE:
        run.run(case.NAME, functools.partial(
            case.run, options.plan, run.book), 'on its own')
    report.show(run.book, skipped)
    if options.json:
        options.json.write_text(
            report.as_json(run.book, options.plan, skipped))
    if options.svg and not picture.draw(run.book, options.svg):
        run.say('nothing to draw: the case "requests" was not run')
    return 1 if run.book.missed or run.book.failed else 0


if __name__ == '__main__':
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
