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

"""``pci-filter explain``."""

import argparse
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import itertools
import logging
import typing

from pci_filter.cli.answer import mistakes
from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import hosts
from pci_filter.cli.request import wanted
from pci_filter import matching
from pci_filter.objects import device_requests
from pci_filter.objects import reasons
from pci_filter import printable

LOG = logging.getLogger(__name__)

_COLUMNS: typing.Final = ('cell', 'host', 'node', 'passes', 'reason')
_TABLE_COLUMNS: typing.Final = ('cell', 'host', 'passes', 'reason')

#: How many hosts that do not pass a table shows one by one.
_MANY: typing.Final = 10

#: Those of a table about one host.
_STAGE_COLUMNS: typing.Final = ('request', 'devices that', 'left')

#: Formats that can have one object in another.
_NESTING: typing.Final = ('json', 'yaml')


class Verdict(typing.NamedTuple):
    """What becomes of the requests on a host."""

    host: hosts.Host
    explained: matching.Explanation

    @property
    def reason(self) -> str:
        """Why, in words."""
        return reasons.reason(self.host, self.explained)

    def row(self) -> list[object]:
        """Return the values of ``_COLUMNS``."""
        node = self.host.node
        return [self.host.cell, node.host, node.nodename,
                self.explained.fits, self.reason]

    def requests(self) -> list[dict[str, object]]:
        """Return how many devices each stage left, as plain data."""
        return [
            {'request': one.request.label, 'count': one.request.count,
             'free': one.offered, 'fits': one.fits,
             'stages': [stage._asdict() for stage in reasons.stages(one)]}
            for one in self.explained.requests]

    def stage_rows(self) -> Iterator[Sequence[object]]:
        """Yield the same as rows of ``_STAGE_COLUMNS``."""
        for one in self.explained.requests:
            request = one.request
            yield f'{request.label}: {request.count}', 'are free', one.offered
            for stage in reasons.stages(one):
                yield '', reasons.stage_text(stage, request), stage.left


class Explain(base.Lister):
    """Tell which hosts have the PCI devices for an instance, and why.

    The verdict on each host is that of PciPassthroughFilter, as the rows of
    pci_devices are now. Of several requests the first that fails is told. If
    only one host is asked about, a table shows how many devices are left
    after each stage of the decision; json and yaml always do, as "requests".
    Where more than 10 hosts do not pass, a table has those that do, and one
    row for all of a cell that lack the same: --all shows each. The other
    formats have each host.
    If no device meets a request, the likeliest mistake is named on
    stderr.

    Only PCI devices count. What placement would allocate is not asked, so
    with [filter_scheduler]pci_in_placement a host can pass here that
    placement leaves out.
    """

    exit_codes = """
Exit codes: 0 if some host passes, 3 if none does, 1 if some cell could not be
read, each of which is named on stderr, 2 if the command could not be run.
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        wanted.add_arguments(parser)
        hosts.add_arguments(parser)
        parser.add_argument(
            '--all', action='store_true', dest='each',
            help='show each host in a table, however many do not pass')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace,
    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the columns and what becomes of the requests.

        :param parsed_args: what :meth:`get_parser` parsed
        """
        wanted.require(parsed_args)
        some_cells = cells.Cells(parsed_args)
        asked = wanted.find(parsed_args, some_cells)
        verdicts = self._verdicts(
            hosts.Hosts(parsed_args, some_cells, asked.numa_guest,
                        asked.by_socket), asked, some_cells,
            'on these hosts' if parsed_args.host or parsed_args.cell
            or parsed_args.without_host else 'anywhere')
        if parsed_args.formatter in _NESTING:
            return (*_COLUMNS, 'requests'), (
                [*verdict.row(), verdict.requests()] for verdict in verdicts)
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return _COLUMNS, (verdict.row() for verdict in verdicts)
        first = list(itertools.islice(verdicts, 2))
        if len(first) == 1:
            return _STAGE_COLUMNS, self._stages(first[0])
        shown = itertools.chain(first, verdicts)
        return _TABLE_COLUMNS, map(_table_row, shown) if (
            parsed_args.each) else _summed_up(shown)

    def _stages(self, verdict: Verdict) -> Iterator[Sequence[object]]:
        passes = 'passes' if verdict.explained.fits else 'does not pass'
        print(printable.printable(
            f'{verdict.host.node.host} {passes}: {verdict.reason}'),
            file=self.app.stdout)
        return verdict.stage_rows()

    def _verdicts(
        self, some_hosts: Iterable[hosts.Host], asked: wanted.Wanted,
        some_cells: cells.Cells, where: str,
    ) -> Iterator[Verdict]:
        """Yield what becomes of the requests on each host.

        :param where: the hosts are, in words
        """
        fleet = mistakes.Fleet(where)
        passed = False
        for host in some_hosts:
            verdict = Verdict(host, host.pools.explain_requests(
                asked.requests, None, asked.numa_cells))
            passed |= verdict.explained.fits
            fleet.add(host)
            yield verdict
        if not passed:
            question = device_requests.Demand(asked.requests).question()
            for line in fleet.mistakes(question.requests):
                LOG.warning('%s', printable.printable(line))
        self.exit_code = some_cells.exit_code or (
            0 if passed else base.EXIT_NOTHING_FITS)


def _table_row(verdict: Verdict) -> Sequence[object]:
    """Return the values of ``_TABLE_COLUMNS``."""
    cell, host, _, passes, reason = verdict.row()
    return cell, host, passes, reason


def _summed_up(verdicts: Iterable[Verdict]) -> Iterator[Sequence[object]]:
    """Yield the rows of a table: many hosts that lack the same as one.

    The numbers are those of the host that came nearest.
    """
    rows: list[Sequence[object]] = []
    passing: list[Sequence[object]] = []
    lacking: dict[Hashable, tuple[int, Verdict]] = {}
    for verdict in verdicts:
        if verdict.explained.fits:
            row = _table_row(verdict)
            passing.append(row)
            rows.append(row)
            continue
        key = verdict.host.cell, reasons.kind(verdict.host, verdict.explained)
        number, nearest = lacking.get(key, (0, verdict))
        lacking[key] = number + 1, max(nearest, verdict, key=_left)
        if len(rows) - len(passing) <= _MANY:
            rows.append(_table_row(verdict))
    if len(rows) - len(passing) <= _MANY:
        yield from rows
        return
    yield from passing
    for number, verdict in sorted(
            lacking.values(), key=lambda one: one[0], reverse=True):
        host = verdict.host.node.host
        yield (verdict.host.cell, host if number == 1 else
               f'{number} hosts, such as {host}', False, verdict.reason)


def _left(verdict: Verdict) -> int:
    """Return how many devices the deciding stage left."""
    failed = verdict.explained.failed
    return failed.stages[-1].left if failed and failed.stages else 0
