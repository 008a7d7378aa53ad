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

"""``pci-filter capacity``."""

import argparse
import collections
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import typing

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import hosts
from pci_filter.cli.request import wanted
from pci_filter import exception
from pci_filter import matching
from pci_filter.matching import constraints
from pci_filter import objects
from pci_filter.objects import reasons
from pci_filter.objects import spec_match

_COLUMNS: typing.Final = (
    'cell', 'host', 'node', 'instances', 'runs_out', 'reason')
_TABLE_COLUMNS: typing.Final = ('cell', 'host', 'instances', 'reason')


class Filled(typing.NamedTuple):
    """What it took to fill a host.

    :param instances: how many fit
    :param explained: why the next one does not
    :param left: the pools that are left
    """

    instances: int
    explained: matching.Explanation
    left: objects.PciDevicePoolList


class Capacity(base.Lister):
    """Count how many more such instances the PCI devices suffice for.

    On each host instances are promised their devices one after the other, as
    the scheduler does it, until one does not fit. Only PCI devices count: a
    host can run out of something else before.

    The last row, which has no host, is the sum of all hosts that could be
    read. The columns:

    * instances: how many more fit
    * runs_out: the request that is the first not to be served then; in the
      sum, on how many hosts which one is
    * reason: what is free for it now if none fits, else what will be left
      for it after so many more
    """

    exit_codes = """
Exit codes: 0 if at least one instance fits, 3 if none does, 1 if some cell
could not be read, each of which is named on stderr, 2 if the command could not
be run.
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        wanted.add_arguments(parser)
        hosts.add_arguments(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace,
    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the columns, the hosts, and the sum.

        :param parsed_args: what :meth:`get_parser` parsed
        """
        wanted.require(parsed_args)
        some_cells = cells.Cells(parsed_args)
        asked = wanted.find(parsed_args, some_cells)
        rows = self._rows(
            hosts.Hosts(parsed_args, some_cells, asked.numa_guest,
                        asked.by_socket), asked, some_cells)
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return _COLUMNS, rows
        return _TABLE_COLUMNS, (
            [cell or 'all', host, instances,
             reason or runs_out and f'runs out first: {runs_out}']
            for cell, host, _, instances, runs_out, reason in rows)

    def _rows(
        self, some_hosts: Iterable[hosts.Host], asked: wanted.Wanted,
        some_cells: cells.Cells,
    ) -> Iterator[Sequence[typing.Any]]:
        """Yield the hosts, and the sum."""
        total = 0
        short_of = collections.Counter[str]()
        known: dict[Hashable, Filled] = {}
        for host in some_hosts:
            # Most hosts of a fleet are like others.
            key = _content(host.pools)
            if key not in known:
                known[key] = fill(host.pools, asked)
            instances, explained, left = known[key]
            request = explained.requests[-1].request
            total += instances
            if constraints.spec(spec_match.all_pools(host.if_idle), request):
                short_of[request.label] += 1
            yield (host.cell, host.node.host, host.node.nodename, instances,
                   request.label, reasons.reason(
                       host._replace(pools=left), explained, instances))
        yield (None, None, None, total, ', '.join(
            f'{label} on {count} {"host" if count == 1 else "hosts"}'
            for label, count in short_of.most_common()) or None, None)
        self.exit_code = some_cells.exit_code or (
            0 if total else base.EXIT_NOTHING_FITS)


def _content(pools: objects.PciDevicePoolList) -> Hashable:
    """Return all that is asked of pools.

    Sockets are loaded only where they matter.
    """
    return (pools.sockets, *(
        (group.kind, group.available, group.in_use)
        for group in pools.unknown), *(
        (pool.kind, pool.count, pool.blocked) for pool in pools))


def fill(
    pools: objects.PciDevicePoolList, asked: wanted.Wanted,
) -> Filled:
    """Take devices for instances until one does not fit.

    :param pools: those of a host, which are taken from
    :param asked: what each instance asks for
    """
    instances = 0
    question = asked.requests, None, asked.numa_cells
    while True:
        try:
            pools.apply_requests(*question)
        except exception.PciRequestsNotSupported:
            return Filled(
                instances, pools.explain_requests(*question), pools)
        instances += 1
