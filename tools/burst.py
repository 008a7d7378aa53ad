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

"""Ask a Nova deployment on loopback for servers all at once, many times.

It starts what tools/deployment.py does, with ten computes, and makes a table
of what becomes of the servers, with Nova's filter and with ours. Run it with
the Python of an environment that has Nova, openstack-placement and this
package installed. MariaDB and RabbitMQ have to be installed, and need not run;
memcached and pymemcache for its rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import json
import pathlib
import statistics
import subprocess
import sys
import typing

from pci_filter.tests.deployment import contests
from pci_filter.tests.deployment import processes
from pci_filter.tests.deployment import running
from pci_filter.tests.deployment import servers

_HEADINGS = ('Asked for', 'nova-scheduler', 'Runs', 'Landed',
             'Failed claims', 'Retries exceeded', 'Seconds')

Results = list[dict[str, typing.Any]]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='The exit code is 1 if a server did not land that there was a '
        'device for,\nor a claim failed, with reservations.')
    parser.add_argument(
        '--runs', type=_positive, default=20, metavar='N',
        help='bursts for each row (default: %(default)s)')
    parser.add_argument(
        '--case', action='append', choices=contests.CASES,
        help='what is asked for; may be repeated (default: all)')
    parser.add_argument(
        '--way', action='append', choices=contests.WAYS,
        help='how nova-scheduler runs; may be repeated (default: all)')
    parser.add_argument(
        '-f', dest='format', choices=('rst', 'json'), default='rst',
        help='the format of what is printed (default: %(default)s)')
    parser.add_argument(
        '--results', type=pathlib.Path, metavar='FILE',
        help='a file of what -f json prints. It is written after each burst, '
        'and what is in it already counts: a row that has as many runs is not '
        'run again, one that has fewer is completed')
    parser.add_argument(
        '--show', action='store_true',
        help='run nothing, print the rows of --results')
    parser.add_argument(
        '--logs', type=pathlib.Path, metavar='DIRECTORY',
        help='keep the logs of all services there')
    arguments = parser.parse_args()
    if arguments.show and not arguments.results:
        parser.error('--show wants --results')
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number} is not above 0')
    return number


class _Book:
    """The results by row, kept in a file if there is one."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], Results] = {}
        if path and path.exists():
            for row in json.loads(path.read_text()):
                self._rows[row['case'], row['way']] = row['bursts']

    def runs(self, case: str, way: str) -> int:
        """Return how many bursts of a row there are."""
        return len(self._rows.get((case, way), ()))

    def add(self, case: str, way: str, outcome: typing.Any) -> None:
        """Note the outcome of a burst."""
        self._rows.setdefault((case, way), []).append(outcome._asdict())
        if self._path:
            self._path.write_text(self.as_json())

    def rows(self) -> Iterator[tuple[str, str, Results]]:
        """Yield what there is, in the order of the table."""
        for case in contests.CASES:
            for way in contests.WAYS:
                if self._rows.get((case, way)):
                    yield case, way, self._rows[case, way]

    def as_json(self) -> str:
        """Return all results."""
        return json.dumps([
            {'case': case, 'way': way, 'bursts': found,
             **dict(zip(('boots', 'devices'), contests.CASES[case][3:]))}
            for case, way, found in self.rows()], indent=1) + '\n'

    def as_rst(self) -> str:
        """Return a table for the documentation."""
        lines = ['.. list-table::', '   :header-rows: 1', '']
        for cells in (_HEADINGS, *(
                _cells(*row) for row in self.rows())):
            lines += [f'   {"  -" if number else "* -"} {cell}'
                      for number, cell in enumerate(cells)]
        return '\n'.join(lines) + '\n'

    def faults(self) -> Iterator[str]:
        """Yield the rows with reservations that are not as they must be."""
        for case, way, found in self.rows():
            if contests.WAYS[way].reservations in (None, 'none'):
                continue
            devices = contests.CASES[case].devices
            wrong = sum(
                burst['landed'] != devices or burst['failed_claims'] > 0
                for burst in found)
            if wrong:
                yield f'{case}, {way}: {wrong} of {len(found)} bursts'


def _cells(case: str, way: str, found: Results) -> Sequence[str]:
    def total(key: str) -> int:
        return sum(burst[key] for burst in found)

    runs = len(found)
    return (
        contests.CASES[case].title, contests.WAYS[way].title, str(runs),
        f"{total('landed'):,} of {contests.CASES[case].devices * runs:,}",
        f"{total('failed_claims'):,}", f"{total('retries_exceeded'):,}",
        f"{statistics.median(burst['seconds'] for burst in found):.1f}")


def _run(
    arguments: argparse.Namespace, ways: Sequence[str], book: _Book,
) -> None:
    """Run the rows, with a cloud for the cases that have the same hosts."""
    left = [(case, way) for way in ways
            for case in arguments.case or contests.CASES
            if book.runs(case, way) < arguments.runs]
    while left:
        fleet = contests.CASES[left[0][0]].fleet
        rows = [row for row in left if contests.CASES[row[0]].fleet is fleet]
        left = [row for row in left if row not in rows]
        cloud = running.start(fleet)
        runner = contests.Runner(cloud)
        try:
            for case, way in rows:
                runner.start(way)
                _run_row(runner, case, way, arguments.runs, book)
        finally:
            if arguments.logs:
                runner.keep_logs(arguments.logs / rows[0][0])
            running.stop(cloud)


def _run_row(
    runner: contests.Runner, case: str, way: str, runs: int, book: _Book,
) -> None:
    for number in range(book.runs(case, way), runs):
        outcome = runner.run(contests.CASES[case])
        book.add(case, way, outcome)
        running.say(f'{case}, {way}, {number + 1} of {runs}: {outcome}')


def main() -> int:
    """Run what is asked for, and return the exit code."""
    arguments = _parse_arguments()
    try:
        book = _Book(arguments.results)
    except (OSError, ValueError, LookupError, TypeError) as error:
        sys.exit(f'{arguments.results}: not results of this command: {error}')
    if not arguments.show:
        absent = [name for name in servers.PROGRAMS
                  if not servers.find_program(name)]
        if absent:
            sys.exit(f'Not installed: {", ".join(absent)}. On Debian they '
                     'are in mariadb-server, rabbitmq-server and util-linux.')
        ways = []
        for way in arguments.way or contests.WAYS:
            lacking = contests.missing(way)
            if lacking:
                print(f'{way} is skipped: {lacking}', file=sys.stderr)
            else:
                ways.append(way)
        try:
            _run(arguments, ways, book)
        except (processes.NotInTime, RuntimeError, OSError,
                subprocess.CalledProcessError) as error:
            sys.exit(f'The cloud does not work: {error}')
    print(book.as_json() if arguments.format == 'json' else book.as_rst(),
          end='')
    faults = list(book.faults())
    for fault in faults:
        print(f'Not all land at the first attempt: {fault}', file=sys.stderr)
    return 1 if faults else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
