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

"""Databases to run the same tests on.

SQLite is always there. A server is used when its environment variable has a
URL, with a user that may create databases; an unreachable one is a failure.
"""

from __future__ import annotations

import itertools
import os
import typing
import unittest
import uuid

from oslo_db.sqlalchemy import engines
from oslo_utils import importutils
import sqlalchemy as sa
from sqlalchemy import event

from pci_filter.db import tables

#: Nova's own, if it is installed.
models = importutils.try_import('nova.db.main.models')

#: What Nova wants of a compute node besides.
_NODE = {
    'vcpus': 1, 'memory_mb': 1, 'local_gb': 1, 'vcpus_used': 0,
    'memory_mb_used': 0, 'local_gb_used': 0, 'hypervisor_type': 'QEMU',
    'hypervisor_version': 1, 'cpu_info': '', 'deleted': 0}
_DEVICE = {
    'vendor_id': '8086', 'product_id': '154c', 'dev_type': 'type-VF',
    'dev_id': 'pci', 'label': 'label', 'status': 'available',
    'extra_info': '{}', 'numa_node': 0, 'parent_addr': '0000:81:00.0',
    'deleted': 0}

METADATA = models.BASE.metadata if models else tables.metadata
NODES = METADATA.tables['compute_nodes']
DEVICES = METADATA.tables['pci_devices']


def _insert(
    connection: typing.Any, table: sa.Table,
    rows: typing.Sequence[dict[str, object]],
) -> None:
    known = set(table.columns.keys())
    if rows:
        connection.execute(sa.insert(table), [
            {name: value for name, value in row.items() if name in known}
            for row in rows])


class DatabaseMixin:
    """A connection to an empty database with Nova's two tables."""

    engine: typing.ClassVar[typing.Any]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()  # type: ignore[misc]
        cls.engine = cls.make_engine()
        METADATA.create_all(cls.engine, tables=[NODES, DEVICES])

    @classmethod
    def tearDownClass(cls) -> None:
        cls.engine.dispose()
        cls.remove_database()
        super().tearDownClass()  # type: ignore[misc]

    @classmethod
    def make_engine(cls) -> typing.Any:
        """Create a database and return an engine for it."""
        # What Nova's connections go through too.
        return engines.create_engine('sqlite://')

    @classmethod
    def remove_database(cls) -> None:
        """Drop what :meth:`make_engine` created."""

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self._numbers = itertools.count(1)
        self.connection = self.engine.connect()
        self.addCleanup(self.connection.close)  # type: ignore[attr-defined]
        for table in (DEVICES, NODES):
            self.connection.execute(sa.delete(table))

    def add_nodes(self, count: int) -> list[str]:
        """Add compute nodes and return their UUIDs."""
        uuids = [str(uuid.uuid4()) for _ in range(count)]
        self.insert_nodes([{'uuid': one} for one in uuids])
        return uuids

    def insert_nodes(
        self, rows: typing.Iterable[dict[str, object]],
    ) -> None:
        """Add compute nodes; only what matters has to be given."""
        _insert(self.connection, NODES, [
            {**_NODE, 'id': number, 'host': f'host{number}',
             'hypervisor_hostname': f'host{number}', 'pci_stats': None,
             **row} for row in rows for number in [next(self._numbers)]])

    def add_devices(
        self, node: str, *rows: dict[str, object], count: int = 1,
        **values: object,
    ) -> None:
        """Add devices to a compute node.

        :param rows: what is special about each
        :param count: without rows, how many alike to add
        :param values: what is special about all
        """
        node_id = self.connection.execute(
            sa.select(NODES.c.id).where(NODES.c.uuid == node)).scalar_one()
        first = self.connection.execute(
            sa.select(sa.func.count()).select_from(DEVICES)).scalar_one()
        _insert(self.connection, DEVICES, [
            {**_DEVICE, 'compute_node_id': node_id,
             'address': f'0000:82:{number // 8 % 32:02x}.{number % 8}',
             'uuid': str(uuid.uuid4()), **values, **row}
            for number, row in enumerate(rows or [{}] * count, start=first)])

    def statements(self) -> list[tuple[str, typing.Any]]:
        """Return a list that the SQL executed from now on is added to."""
        seen: list[tuple[str, typing.Any]] = []

        def note(
            connection: typing.Any, cursor: typing.Any, statement: str,
            parameters: typing.Any, *args: typing.Any,
        ) -> None:
            seen.append((statement, parameters))

        event.listen(self.connection, 'before_cursor_execute', note)
        return seen


class Server:
    """A database server.

    :param variable: the environment variable that has its URL
    :param default_port: where it listens if the URL does not say
    """

    def __init__(self, variable: str, default_port: int = 0) -> None:
        self.variable = variable
        self.default_port = default_port

    def require(self) -> None:
        """Skip the test unless the server is named; see above."""
        if self.variable not in os.environ:
            raise unittest.SkipTest(f'{self.variable} is not set')

    def url(self, database: str | None = None) -> sa.engine.URL:
        """Return the URL of the server, or of a database on it."""
        url = sa.engine.make_url(os.environ[self.variable])
        return url.set(database=database) if database else url

    def administer(
        self, *statements: str, database: str | None = None,
    ) -> list[typing.Any]:
        """Execute statements, each on its own.

        :param database: where, if not in the one that the variable names
        :returns: the rows that the last one gave
        """
        engine = sa.create_engine(
            self.url(database), isolation_level='AUTOCOMMIT')
        rows: list[typing.Any] = []
        try:
            with engine.connect() as connection:
                for statement in statements:
                    result = connection.exec_driver_sql(statement)
                    rows = list(result) if result.returns_rows else []
        finally:
            engine.dispose()
        return rows

    def is_mariadb(self) -> bool:
        """Tell whether it is a MariaDB; what is not may be a MySQL."""
        (version,), = self.administer('SELECT VERSION()')
        return 'MariaDB' in version

    def create_database(self, options: str = '') -> str:
        """Create an empty database and return its name.

        :param options: the end of CREATE DATABASE
        """
        name = f'pci_filter_{uuid.uuid4().hex[:12]}'
        self.administer(f'CREATE DATABASE {name} {options}')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, even if somebody is connected to it."""
        forced = self.url().get_backend_name() == 'postgresql'
        self.administer(
            f'DROP DATABASE {name}{" WITH (FORCE)" if forced else ""}')


MYSQL = Server('PCI_FILTER_TEST_MYSQL_URL', 3306)
POSTGRESQL = Server('PCI_FILTER_TEST_POSTGRESQL_URL', 5432)


class ServerMixin(DatabaseMixin):
    """The same on a server, in a database of its own."""

    server: typing.ClassVar[Server]
    #: The end of CREATE DATABASE.
    database_options: typing.ClassVar[str] = ''
    #: Of the URL through which the tests connect.
    query: typing.ClassVar[dict[str, str]] = {}
    _name: typing.ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.server.require()
        super().setUpClass()

    @classmethod
    def make_engine(cls) -> typing.Any:
        cls._name = cls.server.create_database(cls.database_options)
        return engines.create_engine(
            cls.server.url(cls._name).update_query_dict(cls.query),
            max_retries=0)

    @classmethod
    def remove_database(cls) -> None:
        cls.server.drop_database(cls._name)


class MySQLMixin(ServerMixin):
    server = MYSQL


class PostgreSQLMixin(ServerMixin):
    server = POSTGRESQL
