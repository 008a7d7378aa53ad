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

"""``pci-filter reservations list``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import logging
import math
import typing

import sqlalchemy as sa

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import hosts
from pci_filter.cli.nova import nova_conf
from pci_filter.cli import progress
from pci_filter.db import asked_for
from pci_filter.db import compute_nodes
from pci_filter.db import in_flight
from pci_filter.db import read_only
from pci_filter.db import tables
from pci_filter import exception
from pci_filter import model
from pci_filter import printable
from pci_filter import reservations
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import sight

LOG = logging.getLogger(__name__)

_COLUMNS: typing.Final = (
    'cell', 'host', 'node', 'devices', 'instance', 'age', 'left', 'worker',
    'counts', 'state')

#: Those of a table, which is to fit a terminal.
_TABLE_COLUMNS: typing.Final = ('cell', 'host', 'reservation', 'age', 'left')

#: Seconds that the store has to answer. Nobody is kept waiting but who asked.
_PATIENCE: typing.Final = 10

#: Why a reservation counts.
_COUNTS: typing.Final = 'its claim is to come'

_HINT: typing.Final = (
    'Run this where nova-scheduler runs, as its user and with its '
    'configuration')


class Row(typing.NamedTuple):
    """A reservation, and what has become of it."""

    cell: str
    host: str
    node: str
    devices: str
    instance: str
    age: int
    left: int
    worker: str
    counts: bool
    state: str

    def of_table(self) -> Sequence[object]:
        """Return the values of ``_TABLE_COLUMNS``."""
        return (
            self.cell,
            [self.host] + [self.node] * (self.node != self.host),
            [self.instance, self.devices, self.state, f'by {self.worker}'],
            self.age, self.left)


class ReservationsList(base.Lister):
    """List the devices that nova-scheduler has promised to servers.

    From when it has chosen a host until the claim of nova-compute is in the
    rows of pci_devices, nova-scheduler reserves the devices of a server, so
    that no other is sent there for them. Where reservations are kept is what
    [pci_filter]reservations says: with "local" in a file of this machine, so
    run this where nova-scheduler runs. Whether they count is decided as
    nova-scheduler does it, from the database and by its clock. Nothing is
    written anywhere, and no file is made.

    A table is made for terminals of 80 columns and puts several values into
    one cell. The columns of the other formats, from which -c chooses in a
    table too:

    * devices: what is reserved, as "1 x gpu"; what placement has allocated
      is not among it
    * instance: for whom
    * age: seconds since it was made
    * left: seconds after which it ends at the latest, 0 if it has ended
    * worker: who made it, as host:pid
    * counts: whether it keeps others from these devices
    * state: why it counts, or why it has ended. One that has ended is listed
      until it is forgotten
    """

    exit_codes = """
Exit codes: 0 if all was read, also if there is no reservation, 1 if a cell or
what is kept of a host could not be read, each of which is named on stderr, 2
if the command could not be run or the reservations cannot be reached.
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        hosts.add_arguments(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace,
    ) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
        """Return the columns and the reservations.

        :param parsed_args: what :meth:`get_parser` parsed
        """
        some_cells = cells.Cells(parsed_args)
        rows = self._rows(some_cells, Reader(
            reservations.load(some_cells.conf),
            some_cells.conf.pci_filter.reservation_timeout,
            hosts.Names(parsed_args),
            None if parsed_args.database_connection
            else nova_conf.connection(some_cells.conf, 'api_database'),
            some_cells.timeout),
            base.streams_to_terminal(parsed_args))
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return _COLUMNS, rows
        return _TABLE_COLUMNS, (row.of_table() for row in rows)

    def _rows(
        self, some_cells: cells.Cells, reader: Reader, quiet: bool,
    ) -> Iterator[Row]:
        try:
            nothing = reader.store.nothing_kept()
            if nothing:
                LOG.warning('there are no reservations: %s. %s', nothing,
                            _HINT)
            with progress.on_terminal(not quiet) as start:
                yield from some_cells.each(
                    functools.partial(reader.read, start))
        except reservations.StoreError as error:
            raise base.CommandError(printable.printable(
                f'the reservations cannot be read: {error}. {_HINT}')
            ) from None
        reader.names.check(some_cells)
        self.exit_code = some_cells.exit_code or (
            base.EXIT_CELL_UNREAD if reader.unreadable else 0)


class Reader:
    """Reads the reservations of one cell after the other.

    :param store: where they are kept
    :param timeout: seconds that a reservation lasts at most
    :param names: of the hosts
    :param api_url: of Nova's API database, None to do without
    :param db_timeout: seconds that it may take to answer
    :ivar unreadable: how many compute nodes have a record that cannot be read
    """

    def __init__(
        self, store: reservations.Store, timeout: int, names: hosts.Names,
        api_url: str | None = None, db_timeout: int = read_only.TIMEOUT,
    ) -> None:
        self.store = store
        self.names = names
        self._timeout = timeout
        self._api_url = api_url
        self._db_timeout = db_timeout
        self.unreadable = 0

    def read(
        self, start: progress.Start, cell: cells.Cell,
        connection: sa.engine.Connection,
    ) -> Iterator[Row]:
        """Yield the reservations of a cell, by host and the oldest first.

        :raises pci_filter.reservations.StoreError: if the store does not work
        """
        read_only.require_tables(connection, [tables.instances])
        nodes = sorted(
            (node for node in compute_nodes.load_names(connection)
             if self.names.match(node.host)),
            key=lambda node: (node.host, node.nodename))
        texts = self.store.read_many([node.uuid for node in nodes], _PATIENCE)
        step = start(f'cell {cell.name}', len(texts))
        for node in nodes:
            if node.uuid in texts:
                # What was read so far must not hide what has come since: see
                # pci_filter.reservations.sight.
                connection.rollback()
                yield from self._of_node(
                    cell, node, texts[node.uuid], connection)
                step()

    def _of_node(
        self, cell: cells.Cell, node: model.ComputeNode, text: str | bytes,
        connection: sa.engine.Connection,
    ) -> Iterator[Row]:
        try:
            known = reservation_module.loads(text)
        except ValueError as error:
            self.unreadable += 1
            LOG.error('%s', printable.printable(
                f'the reservations of host {node.host} cannot be read: '
                f'{error}'))
            return
        if not known:
            return
        uuids = [one.instance_uuid for one in known]
        # First what became of the instances: the order of sight.
        instances = in_flight.load_instances(connection, uuids)
        seen = sight.Sight(
            instances.now, node.nodename, instances.by_uuid,
            in_flight.load_owned(connection, node.uuid, uuids))
        seen = dataclasses.replace(seen, asked=self._asked([
            one.instance_uuid for one in known
            if sight.may_be_called_off(one, seen)]))
        for one in sorted(known, key=lambda one: one.made_at):
            yield self._row(cell, node, one, seen)

    def _asked(
        self, uuids: Sequence[str],
    ) -> Mapping[str, reservations.Asked]:
        """Read the API database, as far as this account may."""
        if not uuids or self._api_url is None:
            return {}
        try:
            with read_only.connect(
                    self._api_url, asked_for.metadata.sorted_tables,
                    self._db_timeout) as connection:
                return asked_for.load(connection, uuids)
        except exception.DatabaseUnreadable as error:
            LOG.warning('%s', printable.printable(
                'the API database cannot tell which builds were called off: '
                f'{error}'))
            self._api_url = None
            return {}

    def _row(
        self, cell: cells.Cell, node: model.ComputeNode,
        one: reservations.Reservation, seen: sight.Sight,
    ) -> Row:
        end = sight.end(one, seen, self._timeout)
        age = one.age(seen.now)
        return Row(
            cell.name, node.host, node.nodename, one.wanted,
            one.instance_uuid, int(age),
            math.ceil(max(0.0, self._timeout - age)) if end is None else 0,
            one.made_by, end is None, _COUNTS if end is None else end.value)
