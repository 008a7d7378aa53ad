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

"""The cells that a command reads, one after the other."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import difflib
import logging
import threading
import typing

from oslo_config import cfg
import sqlalchemy as sa

from pci_filter.cli import base
from pci_filter.cli.nova import nova_conf
from pci_filter.db import cell_mappings
from pci_filter.db import read_only
from pci_filter.db import tables
from pci_filter import exception
from pci_filter import printable

LOG = logging.getLogger(__name__)

#: What every command reads of a cell. An account need not see more.
_POOL_TABLES: typing.Final = (tables.compute_nodes, tables.pci_devices)

#: Seconds after which it is told what is waited for.
_PATIENCE: typing.Final = 2

#: Seconds that can be waited for an answer.
_LONGEST: typing.Final = 3600

_T = typing.TypeVar('_T')


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell and where its database is.

    :param name: what the operator calls it
    :param url: of its database; has a password, so it is never shown
    :param uuid: in Nova's API database, if it was found there
    """

    name: str
    url: str = dataclasses.field(repr=False)
    uuid: str | None = None

    def connect(
        self, timeout: int = read_only.TIMEOUT,
    ) -> contextlib.AbstractContextManager[sa.engine.Connection]:
        """Connect to the cell's database; see ``read_only.connect``."""
        return read_only.connect(self.url, _POOL_TABLES, timeout)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which cells to read."""
    nova_conf.add_arguments(parser)
    group = parser.add_argument_group('cells')
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        '--cell', metavar='NAME',
        help='read only the cell with this name or UUID. By default all that '
             'Nova schedules to')
    which.add_argument(
        '--database-connection', metavar='URL',
        help='read only the cell with this database, in the syntax of '
             '[database]connection, without the API database. [pci]alias and '
             '[pci_filter] are read from the configuration all the same, if '
             'there is any. Others on this machine can see a password given '
             'here')
    group.add_argument(
        '--timeout', type=base.whole_number(1, _LONGEST), metavar='SECONDS',
        default=read_only.TIMEOUT,
        help='how long each database may take to connect to, and to answer '
             f'each statement, {read_only.TIMEOUT} seconds by default; what '
             'its URL says comes first')


@contextlib.contextmanager
def told_if_slow(what: str, timeout: int) -> Iterator[None]:
    """Say on stderr what is waited for, if that takes long.

    :param what: a database, in words
    :param timeout: seconds after which it is given up
    """
    timer = threading.Timer(_PATIENCE, LOG.warning, (
        'waiting for %s, for %d seconds in all; see --timeout',
        printable.printable(what), timeout))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def find(
    conf: cfg.ConfigOpts, name: str | None = None,
    timeout: int = read_only.TIMEOUT,
) -> list[Cell]:
    """Return the cells that Nova's API database knows.

    :param conf: what ``nova_conf.load`` returned
    :param name: name or UUID of the only cell wanted; None for all that have
        hosts which Nova schedules to
    :param timeout: seconds that the API database may take to answer
    :raises pci_filter.cli.base.CommandError: if it cannot be read, or has no
        such cell
    """
    api_url = nova_conf.connection(conf, 'api_database')
    if not api_url:
        raise base.CommandError(
            '[api_database]connection is not set in the configuration: name '
            'the file that has it with --config-file, or a cell\'s database '
            'with --database-connection')
    try:
        with told_if_slow('the API database', timeout), read_only.connect(
                api_url, cell_mappings.metadata.sorted_tables,
                timeout) as connection:
            mappings = cell_mappings.load(connection)
    except exception.DatabaseUnreadable as error:
        raise base.CommandError(
            f'cannot read the API database: {error}') from None
    mappings = [mapping for mapping in mappings
                if mapping.uuid != cell_mappings.CELL0_UUID]
    if name is None:
        chosen = [mapping for mapping in mappings if not mapping.disabled]
    else:
        chosen = [mapping for mapping in mappings
                  if name in (mapping.name, mapping.uuid)]
        if not chosen:
            raise base.CommandError(_no_such_cell(name, mappings))
    if not chosen:
        raise base.CommandError(
            'the API database has no cell that Nova schedules to')
    return [
        Cell(mapping.name or mapping.uuid, _url(conf, mapping), mapping.uuid)
        for mapping in chosen]


class Cells:
    """What a command was asked to read, and what could not be read of it.

    :param parsed_args: with the options that :func:`add_arguments` added
    :raises pci_filter.cli.base.CommandError: if nothing can be read
    :ivar conf: the configuration
    :ivar timeout: seconds that each database may take to connect to, and to
        answer
    :ivar failed: names of the cells that could not be read so far
    """

    def __init__(self, parsed_args: argparse.Namespace) -> None:
        url = parsed_args.database_connection
        self.timeout: int = parsed_args.timeout
        self.conf = nova_conf.load(
            parsed_args.config_files, parsed_args.config_dirs,
            required=url is None)
        self._cells = (
            [_named_by_url(url)] if url is not None
            else find(self.conf, parsed_args.cell, self.timeout))
        self.failed: list[str] = []

    def each(
        self, read: Callable[[Cell, sa.engine.Connection], Iterable[_T]],
        only: Collection[Cell] | None = None,
    ) -> Iterator[_T]:
        """Yield what is read of each cell, as it is read.

        A cell that cannot be read costs a line on stderr, the others are
        read all the same.

        :param read: called with the cell and a connection to it
        :param only: the cells to read, None for all
        """
        for cell in self._cells:
            if only is not None and cell not in only:
                continue
            try:
                with contextlib.ExitStack() as stack:
                    with told_if_slow(f'cell {cell.name}', self.timeout):
                        connection = stack.enter_context(
                            cell.connect(self.timeout))
                    yield from read(cell, connection)
            except exception.DatabaseUnreadable as error:
                self.failed.append(cell.name)
                LOG.error('%s', printable.printable(
                    f'cell {cell.name} cannot be read: {error}{_hint(cell)}'))

    @property
    def exit_code(self) -> int:
        """What the command returns if nothing else is to be said."""
        return base.EXIT_CELL_UNREAD if self.failed else 0


def _url(
    conf: cfg.ConfigOpts, mapping: cell_mappings.CellMapping,
) -> str:
    """Return the URL that Nova connects to for a cell."""
    return nova_conf.with_parameters(conf, 'database', (
        cell_mappings.database_url(
            mapping.database_connection, conf.database.connection)))


def _hint(cell: Cell) -> str:
    if not cell_mappings.is_template(cell.url):
        return ''
    return ('; its URL in cell_mappings is a template that '
            '[database]connection of this configuration does not fill')


def _named_by_url(url: str) -> Cell:
    """Return the cell with this database, under the name of that."""
    try:
        name = sa.engine.make_url(url).database
    except (sa.exc.ArgumentError, ValueError):
        raise base.CommandError(
            'the value of --database-connection is no URL such as '
            'mysql+pymysql://user:password@host/nova_cell1') from None
    return Cell(name or 'database', url)


def _no_such_cell(
    name: str, mappings: Iterable[cell_mappings.CellMapping],
) -> str:
    names = [mapping.name or mapping.uuid for mapping in mappings]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'did you mean {near[0]}?' if near else (
        f'there is: {", ".join(names)}' if names else 'there is none')
    return printable.printable(f'there is no cell {name!r}; {hint}')
