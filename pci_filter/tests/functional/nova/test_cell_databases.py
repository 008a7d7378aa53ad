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

"""Connections of our own to the databases of the cells."""

import os
import sys
import threading
import time
from unittest import mock
from urllib import parse

from nova import context as nova_context
from nova.db.api import api as api_db
from nova.db.main import api as main_db

from pci_filter.scheduler import cell_databases
from pci_filter.scheduler import cell_reader
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import servers


class DatabasesTestCase(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.context = nova_context.get_admin_context()
        self.cell = self.cloud.cells[0]

    def of_cell(self, seconds=10, *connections):
        return cell_databases.of_cell(
            self.context, self.cell, seconds, *connections)

    def engine(self, *args):
        return self.of_cell(*args)._manager.writer.get_engine()

    def move_to(self, url):
        """Let the cell's database be elsewhere, but for Nova's cache."""
        self.cell = self.cell.obj_clone()
        self.cell.database_connection = url


class TestCellDatabases(DatabasesTestCase):

    def test_known(self):
        database = self.of_cell()
        self.assertIs(database, self.of_cell())
        self.assertIsNot(database, self.of_cell(11))
        self.cell = self.cloud.cells[1]
        self.assertIsNot(database, self.of_cell())

    def test_moved(self):
        database = self.of_cell()
        self.move_to('sqlite:////elsewhere.db')
        other = self.of_cell()
        self.assertIsNot(database, other)
        self.assertEqual('/elsewhere.db', self.engine().url.database)

    def test_where_nova_connects(self):
        """What we cannot connect to as Nova does, and nonsense."""
        with self.cloud.target(self.cell) as context:
            manager = main_db.get_context_manager(context)
        for url in ('sqlite://', 'sqlite:///:memory:', 'cell1', '',
                    'sqlite:///file:x?mode=memory&uri=true', 'no+such://h/d',
                    'mysql+pymysql//h/d', 'mysql+pymysql://u:p@h:port/d'):
            self.move_to(url)
            self.assertIs(manager, self.of_cell()._manager, url)
            self.assertIs(self.of_cell(), self.of_cell())

    def test_driver_that_takes_no_timeouts(self):
        """What it waits for cannot be ended, so Nova's pool bounds it."""
        with self.cloud.target(self.cell) as context:
            manager = main_db.get_context_manager(context)
        self.move_to('mysql+mysqlconnector://u:p@h/d')
        with mock.patch.dict(sys.modules, {
                'mysql': mock.Mock(), 'mysql.connector': mock.Mock()}):
            self.assertIs(manager, self.of_cell()._manager)
            self.of_cell(10, cell_databases.UNSHARED)
        line, = self.log_lines('cell_databases')
        self.assertRegex(line, documented.pattern('nova-connections'))
        self.assertIn(self.cell.uuid, line)

    def test_driver_that_takes_no_timeouts_and_no_causal_reads(self):
        self.override('pci_filter', causal_reads=False)
        self.move_to('mysql+mysqlconnector://u:p@h/d')
        with mock.patch.dict(sys.modules, {
                'mysql': mock.Mock(), 'mysql.connector': mock.Mock()}):
            self.of_cell()
        self.assertEqual([], self.log_lines('cell_databases'))

    def test_password_with_escapes(self):
        """As the driver gets it, with each SQLAlchemy."""
        password = 'a%25b@c/d+e f'
        self.move_to(
            f'mysql+pymysql://u:{parse.quote(password, safe="")}@h/d')
        self.assertEqual(password, self.engine().url.password)
        self.assertEqual(
            password, self.engine().dialect.create_connect_args(
                self.engine().url)[1]['password'])

    def test_not_in_the_pool_of_nova(self):
        self.move_to('mysql+pymysql://u:s3cret@h/d?read_timeout=99')
        self.override('database', max_pool_size=50, max_overflow=50,
                      connection_parameters='write_timeout=88&charset=utf8')
        engine = self.engine(7)
        self.assertEqual((4, 0, 8), (
            engine.pool.size(), engine.pool._max_overflow,
            engine.pool._timeout))
        self.assertEqual(
            {'read_timeout': '99', 'write_timeout': '88',
             'connect_timeout': '8', 'charset': 'utf8'},
            dict(engine.url.query))
        self.assertNotIn('s3cret', self.log.output)

    def test_unshared_reads_have_another_pool(self):
        self.move_to('mysql+pymysql://u@h/d')
        engine = self.engine(7, cell_databases.UNSHARED)
        self.assertIsNot(self.engine(7).pool, engine.pool)
        self.assertEqual(
            (4, 8), (engine.pool.size(), engine.pool._max_overflow))

    def test_child_has_its_own(self):
        """And does not close what its parent uses."""
        ours = self.of_cell()
        pid = os.fork()
        if not pid:
            wrong = True
            try:
                wrong = self.of_cell() is ours or not any(
                    ours in inherited.values()
                    for inherited in cell_databases._inherited)
            finally:
                os._exit(wrong)
        self.assertEqual(0, os.waitpid(pid, 0)[1])
        self.assertIs(ours, self.of_cell())

    def test_driver_that_is_missing(self):
        self.move_to('mysql+pymysql://u:s3cret@h/d')
        database = self.of_cell()
        with mock.patch.dict(sys.modules, pymysql=None):
            self.assertRaises(ImportError, database.connect().__enter__)
            database.abandon()


class ServerMixin:
    """On a server, that is told when to stop."""

    def read(self, statement, seconds=10):
        with self.of_cell(seconds).connect() as connection:
            return connection.exec_driver_sql(statement).scalar()

    def test_statements_are_limited(self):
        for seconds in 10, 4:
            # The same in a connection that was used before.
            for _ in range(2):
                self.assertEqual(
                    seconds + 1, int(self.read(self.limit, seconds)))

    def test_lower_limit_stays(self):
        """The server, the account or the URL may have one."""
        self.move_to(self.engine().url.update_query_dict(
            self.lower).render_as_string(hide_password=False))
        for seconds, limit in (10, 5), (3, 4):
            self.assertEqual(limit, int(self.read(self.limit, seconds)))

    def test_unshared_reads_keep_nobody_waiting(self):
        """However many there are, and however long they take."""
        go, begun = threading.Event(), []
        self.addCleanup(go.set)

        def look(connection, nodes):
            begun.append(connection.exec_driver_sql('SELECT 1').scalar())
            self.assertTrue(go.wait(60))
            return True

        def read(connection, nodes):
            return connection.exec_driver_sql('SELECT 1').scalar()

        def reader(read, *question):
            return cell_reader.CellReader(
                self.context, [(self.cell, [])], read, 60, *question)

        looks = [reader(look) for _ in range(64)]
        while len(begun) < cell_databases.UNSHARED:
            # As long as a test may take.
            time.sleep(0.001)
        self.assertEqual(
            {self.cell.uuid: 1}, reader(read, 'shared').answers(
                [self.cell.uuid]))
        self.assertEqual(cell_databases.UNSHARED, len(begun))
        go.set()
        self.assertEqual(
            [{self.cell.uuid: True}] * 64,
            [one.answers([self.cell.uuid]) for one in looks])

    def test_api_database(self):
        """Nova's options, but for its pool."""
        self.override('api_database', connection=self.url(0).set(
            query={}).render_as_string(hide_password=False))
        database = cell_databases.of_api(3)
        self.assertIsNot(
            api_db.context_manager, database._manager)
        with database.connect() as connection:
            self.assertEqual(4, int(
                connection.exec_driver_sql(self.limit).scalar()))
            self.assertEqual(4, connection.engine.pool.size())

    def test_closed_when_replaced(self):
        engine = self.engine()
        self.read('SELECT 1')
        self.assertEqual(1, engine.pool.checkedin())
        pool = engine.pool
        self.of_cell(11)
        self.assertEqual(0, pool.checkedin())


class TestDatabasesMySQL(ServerMixin, DatabasesTestCase, servers.MySQLMixin):

    def setUp(self):
        super().setUp()
        if self.server.is_mariadb():
            self.limit = 'SELECT @@max_statement_time'
            lower = 'max_statement_time = 5'
        else:
            self.limit = 'SELECT @@max_execution_time DIV 1000'
            lower = 'max_execution_time = 5000'
        self.lower = {'init_command': f'SET SESSION {lower}'}

    def test_nobody_waits_where_there_is_no_galera(self):
        statements = self.useFixture(base.Statements('TRANSACTION'))
        # MySQL has no such variable.
        self.assertIsNone(self.read(
            "SHOW SESSION VARIABLES WHERE Variable_name = 'wsrep_sync_wait' "
            "AND Value <> '0'"))
        self.assertEqual([], statements.texts)


class TestDatabasesPostgreSQL(
        ServerMixin, DatabasesTestCase, servers.PostgreSQLMixin):
    limit = ("SELECT setting::int / 1000 FROM pg_settings "
             "WHERE name = 'statement_timeout'")
    lower = {'options': '-c statement_timeout=5s'}

    def test_line_of_what_is_read(self):
        """A descriptor of our own, whether the connection is new or not."""
        database = self.of_cell()
        joined = threading.Event()
        later = time.monotonic() + 60

        def read(connection, nodes):
            joined.wait(60)
            number = connection.connection.fileno()
            return number, batch.line, os.path.sameopenfile(
                number, batch.line)

        for _ in range(3):
            joined.clear()
            batch = database.reads.join('line', read, [], later, self.context)
            joined.set()
            number, line, same = database.reads.wait(batch, later)
            self.assertTrue(same)
            self.assertNotEqual(number, line)
            self.assertIsNone(batch.line)

    def test_what_hangs_is_ended(self):
        """The driver has no timeout, and the server might be frozen."""
        reads = self.of_cell(60).reads
        later = time.monotonic() + 60

        def sleep(connection, nodes):
            connection.exec_driver_sql('SELECT pg_sleep(600)')

        batch = reads.join('sleep', sleep, [], later, self.context)
        while batch.line is None:
            # As long as a test may take.
            time.sleep(0.01)
        batch.deadline = 0
        other = reads.join(
            'other', lambda connection, nodes: 1, [], later, self.context)
        self.assertEqual(1, reads.wait(other, later))
        # Not to make it hang for longer.
        self.assertIn('server closed the connection',
                      str(batch.answer.result(50)))
