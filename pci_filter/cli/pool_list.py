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

"""``pci-filter pool list``."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import hosts
from pci_filter import matching
from pci_filter import model

_COLUMNS: typing.Final = (
    'cell', 'host', 'node', 'vendor_id', 'product_id', 'numa_node',
    'dev_type', 'address', 'free', 'total', 'tags', 'rp_uuid', 'blocked')

#: Vendor, product, NUMA node, type and address.
_Kind = tuple[str, str, 'int | None', str, str]

#: Those of a table, which is to fit a terminal.
_TABLE_COLUMNS: typing.Final = (
    'cell', 'host', 'device', 'numa', 'free', 'tags')

#: What is not worth a line in a table unless everything is.
_USUAL_TAG: typing.Final = ('remote_managed', 'false')


class Row(typing.NamedTuple):
    """A pool, whether or not some of it is left."""

    cell: str
    host: str
    node: str
    vendor_id: str
    product_id: str
    numa_node: int | None
    dev_type: str
    address: str
    free: int
    total: int
    tags: Mapping[str, object] | None
    rp_uuid: str | None
    blocked: bool

    def of_table(self, whole: bool) -> Sequence[object]:
        """Return the values of ``_TABLE_COLUMNS``.

        :param whole: whether to leave nothing out
        """
        kind = self.dev_type.removeprefix('type-')
        host = [self.host]
        device = [f'{self.vendor_id}:{self.product_id} {kind}', self.address]
        if whole and self.node != self.host:
            host.append(self.node)
        if whole and self.rp_uuid is not None:
            device.append(self.rp_uuid)
        return (
            self.cell, host, device, self.numa_node,
            f'{self.free}/{self.total}' + (' blocked' * self.blocked),
            'unknown' if self.tags is None else {
                key: value for key, value in self.tags.items()
                if whole or (key, value) != _USUAL_TAG})


class PoolList(base.Lister):
    """List the pools of PCI devices as the scheduler would see them now.

    A pool is the devices of a host that are alike to every request. They are
    counted in the rows of pci_devices; their tags come from where
    [pci_filter]tag_sources says. Nothing is written anywhere, and an account
    that may only read is enough.

    A table is made for terminals of 80 columns and puts several values into
    one cell. The columns of the other formats, from which -c chooses in a
    table too:

    * free: devices that are available
    * total: devices that there would be without instances
    * address: that of the physical function that the devices belong to, or
      of the only device itself
    * tags: what the operator says of the devices. null, or "unknown" in a
      table, if none of the sources knows the devices: then no request can get
      them. That may change once a device in use is free, but where some are
      free, see to [pci_filter]tag_sources
    * rp_uuid: resource provider of the devices in placement, if any
    * blocked: whether a physical function, or something carved out of it, is
      in use, so that a claim of the other would fail
    """

    exit_codes = """
Exit codes: 0 if all cells could be read, 1 if some could not, each of which is
named on stderr, 2 if the command could not be run.
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        hosts.add_arguments(parser)
        parser.add_argument(
            '--long', action='store_true',
            help='in a table, also tell the node if it is not called as the '
                 'host is, the resource provider below the device, and '
                 'remote_managed=false')
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace,
    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the columns and the pools.

        :param parsed_args: what :meth:`get_parser` parsed
        """
        some_cells = cells.Cells(parsed_args)
        rows = self._rows(
            hosts.Hosts(parsed_args, some_cells), some_cells)
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return _COLUMNS, rows
        return _TABLE_COLUMNS, (
            row.of_table(parsed_args.long) for row in rows)

    def _rows(
        self, some_hosts: Iterable[hosts.Host], some_cells: cells.Cells,
    ) -> Iterator[Row]:
        for host in some_hosts:
            yield from rows_of(host)
        self.exit_code = some_cells.exit_code


def rows_of(host: hosts.Host) -> Iterator[Row]:
    """Yield the pools of a host in the order of their addresses."""
    free = {_identity(pool): pool for pool in host.pools}
    rows = []
    for pool in host.if_idle:
        left = free.pop(_identity(pool), None)
        rows.append(_row(host, left or pool, left.count if left else 0,
                         max(pool.count, left.count if left else 0)))
    # On SQLite, the rows can change between the two statements.
    rows += [_row(host, pool, pool.count, pool.count)
             for pool in free.values()]
    rows += _unknown_rows(host)
    rows.sort(key=lambda row: (row.address, row.dev_type))
    return iter(rows)


def _identity(pool: matching.PciDevicePool) -> Hashable:
    return (
        pool.vendor_id, pool.product_id, pool.numa_node, pool.dev_type,
        pool.address, frozenset(
            (key, repr(value)) for key, value in pool.tags.items()))


def _row(
    host: hosts.Host, pool: matching.PciDevicePool, free: int, total: int,
) -> Row:
    return Row(
        host.cell, host.node.host, host.node.nodename, pool.vendor_id,
        pool.product_id, pool.numa_node, pool.dev_type, pool.address, free,
        total, {key: repr(value) if value is model.UNKNOWN else value
                for key, value in pool.tags.items()},
        pool.rp_uuid, pool.blocked)


def _unknown_rows(host: hosts.Host) -> Iterator[Row]:
    """Yield what devices there are whose tags nobody knows."""
    free, total = (
        collections.Counter[_Kind](), collections.Counter[_Kind]())
    for counted, groups in (
            (free, host.pools.unknown), (total, host.if_idle.unknown)):
        for group in groups:
            kind = group.kind
            counted[kind.vendor_id, kind.product_id, kind.numa_node,
                    kind.dev_type, kind.address] += group.available
    for kind_fields, count in total.items():
        yield Row(
            host.cell, host.node.host, host.node.nodename, *kind_fields,
            free[kind_fields], count, None, None, False)
