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

"""Nova's API database and cell databases, made by Nova's own migrations."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import pathlib
import typing

import nova.conf
from nova import context as nova_context
from nova.db.api import api as api_db
from nova.db.api import models as api_models
from nova.db.main import api as main_db
from nova.db.main import models as main_models
from nova.db import migration
from nova import objects
from oslo_db.sqlalchemy import enginefacade
import oslo_messaging
from oslo_utils import uuidutils
import sqlalchemy as sa

CONF = nova.conf.CONF

#: "none:" makes Nova open no message queue for a cell.
_NO_QUEUE: typing.Final = 'none:///'

#: Tables that an EmbeddedCloud writes to, children before their parents.
_CELL_TABLES: typing.Final = (
    main_models.PciDevice, main_models.ComputeNode, main_models.Service)

#: Migrated but empty SQLite files by kind of database. Migrating takes
#: seconds, so it is done once per process.
_TEMPLATES: dict[str, bytes] = {}


@contextlib.contextmanager
def overriding(group: str, **values: typing.Any) -> Iterator[None]:
    """Override options of nova.conf for the length of a ``with`` block.

    :param group: section of nova.conf
    :param values: value by option name
    """
    for name, value in values.items():
        CONF.set_override(name, value, group)
    try:
        yield
    finally:
        for name in values:
            CONF.clear_override(name, group)


def _sqlite_url(path: pathlib.Path) -> str:
    return f'sqlite:///{path}'


def _forget_cells() -> None:
    """Let Nova look each cell up anew."""
    nova_context.CELL_CACHE.clear()
    nova_context.CELLS = []


def _close_cells() -> None:
    for manager, _transport in nova_context.CELL_CACHE.values():
        manager.writer.get_engine().dispose()
    _forget_cells()


class Databases:
    """The databases of one Nova: API, cell0 and cells.

    Until :meth:`close` is called, Nova's database layer in this process
    talks to these databases and to no other.

    :param directory: existing folder for the SQLite files
    :param cells: number of cells beside cell0
    :param cell_urls: URLs of empty databases to use for the cells in place
        of SQLite files, one per cell
    """

    def __init__(
        self,
        directory: pathlib.Path,
        cells: int,
        cell_urls: Sequence[str] | None = None,
    ) -> None:
        self._directory = directory
        self._urls = list(cell_urls) if cell_urls else [
            _sqlite_url(directory / f'cell{n}.db')
            for n in range(1, cells + 1)]
        self._closing = contextlib.ExitStack()
        #: CellMapping of each cell, without cell0.
        self.cells: list[typing.Any] = []

    def open(self) -> None:
        """Migrate the databases, point Nova at them and map the cells.

        :raises ValueError: if a given database already has compute nodes
        """
        with contextlib.ExitStack() as opening:
            # Nobody reads these files after a crash, so don't wait for disks.
            opening.enter_context(
                overriding('database', sqlite_synchronous=False))
            opening.callback(_close_cells)
            # Registers [DEFAULT]transport_url, which CellMapping looks at.
            oslo_messaging.TransportURL.parse(CONF, _NO_QUEUE)
            # Cells that an earlier user of this process knew must not be
            # taken for ours.
            _forget_cells()
            self._open_api(opening)
            cell0 = self._map_cell(
                objects.CellMapping.CELL0_UUID, 'cell0',
                _sqlite_url(self._directory / 'cell0.db'))
            self._direct_untargeted_access(opening, cell0)
            self.cells = [
                self._map_cell(uuidutils.generate_uuid(), f'cell{n}', url)
                for n, url in enumerate(self._urls, start=1)]
            self._refuse_foreign_rows()
            self._closing = opening.pop_all()

    def close(self) -> None:
        """Let go of the databases and give Nova back its earlier ones."""
        self._closing.close()

    def reset(self) -> None:
        """Delete all hosts and devices; the cells stay."""
        context = nova_context.get_admin_context()
        for cell in self.cells:
            with nova_context.target_cell(context, cell) as cell_context:
                self._delete(
                    main_db.get_context_manager(cell_context).writer,
                    cell_context, _CELL_TABLES)
        self._delete(
            api_db.context_manager.writer, context, [api_models.HostMapping])

    @staticmethod
    def _delete(
        writer: typing.Any, context: typing.Any, tables: Sequence[typing.Any],
    ) -> None:
        with writer.using(context):
            for table in tables:
                context.session.execute(sa.delete(table))

    def _open_api(self, opening: contextlib.ExitStack) -> None:
        path = self._directory / 'api.db'
        manager = enginefacade.transaction_context()
        options = dict(CONF.api_database.items())
        options.update(
            connection=_sqlite_url(path), slave_connection=None,
            sqlite_synchronous=False)
        manager.configure(**options)
        # A facade can be configured only once, and Nova's may be already.
        opening.callback(api_db.context_manager.patch_factory(manager))
        opening.callback(lambda: manager.writer.get_engine().dispose())
        self._migrate('api', path)

    def _migrate(
        self, kind: str, path: pathlib.Path | None, context: object = None,
    ) -> None:
        if path is None:
            migration.db_sync(database=kind, context=context)
        elif kind in _TEMPLATES:
            path.write_bytes(_TEMPLATES[kind])
        else:
            migration.db_sync(database=kind, context=context)
            _TEMPLATES[kind] = path.read_bytes()

    def _map_cell(self, uuid: str, name: str, url: str) -> typing.Any:
        context = nova_context.get_admin_context()
        mapping = objects.CellMapping(
            context, uuid=uuid, name=name, transport_url=_NO_QUEUE,
            database_connection=url)
        mapping.create()
        own_file = self._directory / f'{name}.db'
        path = own_file if url == _sqlite_url(own_file) else None
        with nova_context.target_cell(context, mapping) as cell_context:
            self._migrate('main', path, cell_context)
        return mapping

    @staticmethod
    def _direct_untargeted_access(
        opening: contextlib.ExitStack, cell0: typing.Any,
    ) -> None:
        """Send what names no cell to cell0, as nova-api's [database] does."""
        context = nova_context.get_admin_context()
        with nova_context.target_cell(context, cell0) as cell_context:
            manager = main_db.get_context_manager(cell_context)
        opening.callback(main_db.context_manager.patch_factory(manager))

    def _refuse_foreign_rows(self) -> None:
        context = nova_context.get_admin_context()
        for cell in self.cells:
            with nova_context.target_cell(context, cell) as cell_context:
                if objects.ComputeNodeList.get_all(cell_context):
                    raise ValueError(
                        f'the database given for {cell.name} has compute '
                        'nodes already; give an empty one, since its rows '
                        'would be deleted')
