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

"""Databases for the cells of test clouds, on a server if there is one.

``PCI_FILTER_TEST_CELLS_URL`` is the URL of a database on that server, with a
user that may create others; without it cells are SQLite files. Nova's API
database and cell0 always are.

Nova's migrations take seconds on a server, so the databases of a process are
used by one test after the other. One that a test does not leave as it was is
not used again.
"""

from __future__ import annotations

import atexit
import os
import typing
import uuid

import sqlalchemy as sa

VARIABLE = 'PCI_FILTER_TEST_CELLS_URL'

#: What all tables are made of, in the words of both servers.
_COLUMNS = sa.text(
    'SELECT table_name, column_name, data_type, is_nullable'
    ' FROM information_schema.columns'
    ' WHERE table_schema IN (:name, :public)')

#: The tables that a cloud empties in the end.
_WRITTEN = ('pci_devices', 'compute_nodes', 'services')


class _Database:
    """A database that is migrated by its first user."""

    def __init__(self) -> None:
        self._server = sa.engine.make_url(os.environ[VARIABLE])
        self.name = f'pci_filter_{uuid.uuid4().hex[:12]}'
        self.url = self._server.set(database=self.name)
        self._migrated: typing.Any = None
        self._administer(f'CREATE DATABASE {self.name}')

    def _administer(self, statement: str) -> None:
        engine = sa.create_engine(self._server, isolation_level='AUTOCOMMIT')
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def drop(self) -> None:
        # There may be connections that a test has left.
        how = ' WITH (FORCE)' if self.url.drivername.startswith(
            'postgresql') else ''
        self._administer(f'DROP DATABASE {self.name}{how}')

    def _read(
        self, statement: typing.Any, **parameters: str,
    ) -> set[tuple[typing.Any, ...]]:
        engine = sa.create_engine(self.url)
        with engine.connect() as connection:
            found = {tuple(row) for row in connection.execute(
                statement, parameters)}
        engine.dispose()
        return found

    def _columns(self) -> set[tuple[typing.Any, ...]]:
        return self._read(_COLUMNS, name=self.name, public='public')

    def _has_rows(self, table: str) -> bool:
        return bool(self._read(sa.select(
            sa.literal(1)).select_from(sa.table(table)).limit(1)))

    def note_migrated(self) -> None:
        self._migrated = self._migrated or self._columns()

    def is_as_migrated(self) -> bool:
        """Return whether the schema is as it was, and there are no hosts."""
        return bool(self._columns() == self._migrated) and not any(
            self._has_rows(table) for table in _WRITTEN)


_databases: list[_Database] = []


def urls(count: int) -> list[str] | None:
    """Return URLs for so many cells, None for SQLite files.

    They are those of empty databases, or of databases without hosts that
    Nova's migrations have been run on.
    """
    if not os.environ.get(VARIABLE):
        return None
    while len(_databases) < count:
        _databases.append(_Database())
    return [one.url.render_as_string(hide_password=False)
            for one in _databases[:count]]


def note_migrated() -> None:
    """Note what the schema of the databases is when nobody has changed it."""
    for one in _databases:
        one.note_migrated()


def take_back() -> bool:
    """Drop the databases that cannot be used again; tell if there are any."""
    changed = [one for one in _databases if not one.is_as_migrated()]
    for one in changed:
        _databases.remove(one)
        one.drop()
    return bool(changed)


@atexit.register
def _drop_all() -> None:
    while _databases:
        _databases.pop().drop()
