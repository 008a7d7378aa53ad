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

"""Faults of a real database while the scheduler asks it.

Each is brought about on the first of two cells. The request is answered by
``on_load_failure``, one line tells the operator, and the next request after
the fault is right.
"""

import concurrent.futures
import contextlib
import io
import logging
import logging.handlers
import signal
import threading
from unittest import mock
import uuid

import fixtures
from nova import context as nova_context
import sqlalchemy as sa
from sqlalchemy import event

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.db import mariadb
from pci_filter.tests.functional.db import postgresql
from pci_filter.tests.functional.nova import faults
from pci_filter.tests import installed

PASSWORD = 's3cret'

#: What Nova's scheduler reads of a cell, and we.
TABLES = 'services', 'instances', 'compute_nodes', 'pci_devices'


class FaultsMixin:

    def test_fault_table_missing(self):
        """The cell is in the middle of an upgrade."""
        self.check(
            self.told('table-missing'),
            lambda: self.execute('ALTER TABLE pci_devices RENAME TO away'),
            lambda: self.execute('ALTER TABLE away RENAME TO pci_devices'))

    def test_fault_column_missing(self):
        self.check(
            self.told('column-missing'),
            lambda: self.execute(
                'ALTER TABLE pci_devices RENAME COLUMN numa_node TO node'),
            lambda: self.execute(
                'ALTER TABLE pci_devices RENAME COLUMN node TO numa_node'))

    def test_fault_wrong_types(self):
        """The tables are not as Nova makes them."""
        loose, strict = self.vendor_id
        self.check(
            'wrong-types',
            lambda: self.execute(
                loose, 'UPDATE pci_devices SET vendor_id = NULL'),
            lambda: self.execute(
                "UPDATE pci_devices SET vendor_id = '8086'", strict))

    def test_fault_connection_dropped(self):
        """Behind the ping with which a connection is taken from the pool."""
        self.check(self.told('connection-dropped'),
                   lambda: self.proxy.drop(faults.OURS), self.proxy.behave)

    def test_fault_connection_killed(self):
        """While the statement runs."""
        def kill():
            yield
            self.new_session().exec_driver_sql(
                self.kill.format(self.wait_for_ours()))

        self.check(self.told('connection-dropped'),
                   lambda: self.execute(self.lock),
                   lambda: self.execute(self.unlock), kill)

    def test_fault_load_timeout(self):
        """A result that takes longer than load_timeout; Nova would wait."""
        self.check('timeout', lambda: self.execute(self.lock),
                   lambda: self.execute(self.unlock), ahead=(True, False),
                   load_timeout=2)

    def test_fault_told_once_to_many(self):
        """Requests that fail at the same time are told in one line."""
        manager = self.our_manager()
        for proxy_does, passing, name in (
                (lambda: self.proxy.drop(faults.OURS),
                 faults.FALLBACK['summary'], self.told('connection-dropped')),
                (self.proxy.behave, faults.HEALTHY, 'readable-again')):
            proxy_does()
            self.assertEqual([passing] * 24, self.ask_often(manager, 24))
            line, = self.news()
            self.assertDocumented(name, line)

    def test_fault_many_hang(self):
        """More requests than there are connections."""
        manager = self.our_manager(load_timeout=3)
        self.assertEqual(faults.HEALTHY, self.ask(manager))
        self.proxy.hold(faults.OURS)
        try:
            self.assertEqual([faults.FALLBACK['summary']] * 20,
                             self.ask_often(manager, 20, at_once=20))
        finally:
            self.proxy.behave()
        self.check_recovered(manager, 'timeout', 'summary')

    def test_fault_server_vanished(self):
        """It is back while those who asked it before still wait."""
        manager = self.our_manager(load_timeout=2)
        self.assertEqual(faults.HEALTHY, self.ask(manager))
        self.proxy.hold(faults.OURS)
        self.addCleanup(self.proxy.behave)
        for requests in 12, 4, 4:
            self.assertEqual([faults.FALLBACK['summary']] * requests,
                             self.ask_often(manager, requests, requests))
        # What is held back now is so until the end of the test.
        self.proxy.come_back()
        self.check_recovered(manager, 'timeout', 'summary')

    def ask_often(self, manager, times, at_once=8):
        with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
            return list(threads.map(
                lambda number: self.ask(manager, bool(number % 3)),
                range(times)))

    def test_fault_server_gone(self):
        """Nova cannot reach it either."""
        for on_load_failure in faults.FALLBACK:
            manager = self.our_manager(on_load_failure=on_load_failure)
            self.assertEqual(faults.HEALTHY, self.ask(manager))
            self.proxy.refuse()
            try:
                told = self.ask_until_told(manager)
                for ahead in (True, False):
                    self.assertEqual(
                        faults.WITHOUT_CELL, self.ask(manager, ahead))
            finally:
                self.proxy.listen()
            self.check_recovered(
                manager, self.told('server-gone'), on_load_failure, told)

    def test_fault_garbage(self):
        self.check(self.told('garbage'),
                   lambda: self.proxy.garble(faults.OURS), self.proxy.behave)

    def test_fault_permission_denied(self):
        user = f'pci_filter_{uuid.uuid4().hex[:12]}'
        statements = [statement.format(
            user=user, password=PASSWORD, database=self.url(0).database)
            for statement in self.users]
        revoke, grant, drop = statements[-3:]
        self.execute(*statements[:-3])
        self.addCleanup(self.execute, *drop.split('; '))
        self.connect_as(user, PASSWORD)
        self.check(self.told('permission-denied'),
                   lambda: self.execute(revoke), lambda: self.execute(grant))
        self.assertNotIn(PASSWORD, self.log.output)


class TestFaultsMySQL(FaultsMixin, faults.MySQLMixin):

    vendor_id = tuple(
        f'ALTER TABLE pci_devices MODIFY vendor_id VARCHAR(4) {null}'
        for null in ('NULL', 'NOT NULL'))
    users = (
        "CREATE USER {user}@'%%' IDENTIFIED BY '{password}'",
        *(f"GRANT SELECT ON {{database}}.{table} TO {{user}}@'%%'"
          for table in TABLES),
        "REVOKE SELECT ON {database}.pci_devices FROM {user}@'%%'",
        "GRANT SELECT ON {database}.pci_devices TO {user}@'%%'",
        "DROP USER {user}@'%%'")


class TestFaultsPostgreSQL(FaultsMixin, faults.PostgreSQLMixin):

    vendor_id = tuple(
        f'ALTER TABLE pci_devices ALTER COLUMN vendor_id {change} NOT NULL'
        for change in ('DROP', 'SET'))
    users = (
        "CREATE USER {user} PASSWORD '{password}'",
        *(f'GRANT SELECT ON {table} TO {{user}}' for table in TABLES),
        'REVOKE SELECT ON pci_devices FROM {user}',
        'GRANT SELECT ON pci_devices TO {user}',
        'DROP OWNED BY {user}; DROP USER {user}')


class LockWaitMixin:

    def test_fault_lock_wait_timeout(self):
        """The database gives up before Nova does."""
        self.check(self.told('lock-wait-timeout'),
                   lambda: self.execute(self.lock),
                   lambda: self.execute(self.unlock), ahead=(True, False))


class TestFaultLockWaitMySQL(LockWaitMixin, faults.MySQLMixin):
    query = {'init_command': 'SET SESSION lock_wait_timeout = 1'}


class TestFaultLockWaitPostgreSQL(LockWaitMixin, faults.PostgreSQLMixin):
    query = {'options': '-c lock_timeout=1000'}


class DeadlockMixin:
    """Somebody has what we want, and wants what we have."""

    def deadlock(self):
        self.execute(*self.first)
        yield
        try:
            self.wait_for_ours()
            self.execute(self.second)
        finally:
            self.execute('ROLLBACK')


class TestFaultDeadlockMySQL(DeadlockMixin, faults.MySQLMixin):
    """A read takes no locks that conflict, unless it is serializable."""

    query = {
        'init_command': 'SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE'}
    first = (
        'BEGIN',
        # InnoDB ends whoever has done less.
        'INSERT INTO weight VALUES ' + ', '.join(['(1)'] * 500),
        "UPDATE pci_devices SET label = 'x' ORDER BY id DESC LIMIT 1")
    second = "UPDATE pci_devices SET label = 'x'"

    def test_fault_deadlock(self):
        self.execute('CREATE TABLE weight (id INT)')
        self.addCleanup(self.execute, 'DROP TABLE weight')
        self.check(self.told('deadlock'), meanwhile=self.deadlock)


class TestFaultDeadlockPostgreSQL(DeadlockMixin, faults.PostgreSQLMixin):

    first = ('BEGIN', 'LOCK TABLE compute_nodes IN ACCESS EXCLUSIVE MODE')
    second = 'LOCK TABLE pci_devices IN ACCESS EXCLUSIVE MODE'

    def test_fault_deadlock(self):
        # Afterwards Nova itself would wait for compute_nodes, and we for it.
        self.check(self.told('deadlock'), meanwhile=self.deadlock,
                   ahead=(True, True))


class OwnServerTestCase(faults.FaultTestCase):
    """The first cell is on a MariaDB that nobody else uses."""

    def options(self):
        """Return those of mariadbd."""
        return []

    def setUp(self):
        self.mysql = self.useFixture(mariadb.MariaDB(*self.options()))
        self.mysql.administer('CREATE DATABASE cell')
        directory = self.useFixture(fixtures.TempDir()).path
        self.cell_urls = [str(self.mysql.url('cell')),
                          f'sqlite:///{directory}/other.db']
        super().setUp()

    def check_server(self, name, meanwhile, recover):
        """See what becomes of requests when Nova cannot read it either.

        :param name: of the documented line
        :param meanwhile: lets it fail when Nova has read its hosts, and we
            have not
        :param recover: lets it be well again
        """
        for on_load_failure, passing in faults.FALLBACK.items():
            manager = self.our_manager(on_load_failure=on_load_failure)
            self.assertEqual(faults.HEALTHY, self.ask(manager))
            self.assertEqual(
                passing, self.ask_while(meanwhile, manager, ahead=False))
            for ahead in (True, False):
                self.assertEqual(
                    faults.WITHOUT_CELL, self.ask(manager, ahead))
            recover()
            self.check_recovered(manager, name, on_load_failure)


class FrozenMixin:
    """The first cell is on a server that stops, and goes on where it was.

    Whoever connects meanwhile is accepted by the kernel.
    """

    requests = 32

    def setUp(self):
        self.server = self.useFixture(self.make_server())
        self.server.administer('CREATE DATABASE cell')
        directory = self.useFixture(fixtures.TempDir()).path
        self.cell_urls = [str(self.server.url('cell')),
                          f'sqlite:///{directory}/other.db']
        super().setUp()
        self.addCleanup(self.server.signal, signal.SIGCONT)

    def freeze_when_loaded(self, manager):
        """Let it freeze when Nova has read its hosts for all requests."""
        loaded = manager._get_host_states
        together = threading.Barrier(
            self.requests, lambda: self.server.signal(signal.SIGSTOP))

        def then_freeze(*args):
            states = list(loaded(*args))
            together.wait(60)
            return iter(states)

        return mock.patch.object(manager, '_get_host_states', then_freeze)

    def at_once(self, ask, items):
        with concurrent.futures.ThreadPoolExecutor(len(items)) as threads:
            return list(threads.map(ask, items))

    def map_pools(self, manager, states):
        """Return which hosts pass, of those that Nova had read before."""
        mapper = manager.enabled_filters[0].pool_mapper
        return scheduling.passing_hosts(manager, mapper.map_pools(
            nova_context.get_admin_context(), manager, states, self.spec),
            self.spec)

    def test_fault_server_frozen(self):
        for on_load_failure, passing in faults.FALLBACK.items():
            manager = self.our_manager(
                on_load_failure=on_load_failure, load_timeout=2)
            self.assertEqual(faults.HEALTHY, self.ask(manager))
            later = [scheduling.host_states(
                manager, scheduling.request_spec([])) for _ in range(8)]
            with self.freeze_when_loaded(manager):
                answers = self.at_once(
                    lambda _: self.ask(manager, ahead=False),
                    range(self.requests))
            self.assertEqual([passing] * self.requests, answers)
            for few in later[:4], later[4:]:
                self.assertEqual([passing] * 4, self.at_once(
                    lambda states: self.map_pools(manager, states), few))
            self.server.signal(signal.SIGCONT)
            self.check_recovered(manager, 'timeout', on_load_failure)


class TestFaultFrozenMySQL(FrozenMixin, faults.FaultTestCase):

    @staticmethod
    def make_server():
        return mariadb.MariaDB()


class TestFaultFrozenPostgreSQL(FrozenMixin, faults.FaultTestCase):

    @staticmethod
    def make_server():
        return postgresql.PostgreSQL()


class TestFaultServerKilledMySQL(OwnServerTestCase):
    """In the middle of a request; then it starts again."""

    def kill(self):
        engine = sa.create_engine(self.mysql.url('cell'), future=True)
        session = engine.connect()
        session.exec_driver_sql(faults.MySQLMixin.lock)
        yield
        with engine.connect() as other:
            while not self.answered.is_set() and not other.exec_driver_sql(
                    faults.MySQLMixin.waiting).all():
                other.rollback()
        self.mysql.kill()
        session.invalidate()
        engine.dispose()

    def test_fault_server_killed(self):
        self.check_server(
            'connection-dropped-mysql', self.kill, self.mysql.start)


class TestFaultGaleraMySQL(OwnServerTestCase):
    """A node of a cluster, the only one, refuses to be asked.

    That is what it does when it loses the others, too.
    """

    def options(self):
        provider, = installed.GALERA.require()
        return [
            '--wsrep-on=ON', f'--wsrep-provider={provider}',
            '--wsrep-cluster-address=gcomm://',
            '--wsrep-node-address=127.0.0.1',
            '--wsrep-provider-options=gmcast.listen_addr='
            f'tcp://127.0.0.1:{mariadb.free_port()}',
            '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2']

    def setUp(self):
        super().setUp()
        # It lets nobody start a session while it refuses.
        self.session = self.mysql.connect()
        self.addCleanup(self.session.close)

    def reject_queries(self, which):
        self.session.exec_driver_sql(
            f'SET GLOBAL wsrep_reject_queries = {which}')

    def refuse(self):
        def before(connection, cursor, statement, *args):
            if (faults.OURS.decode() in statement
                    and connection.engine.url.database == 'cell'):
                self.reject_queries('ALL')

        event.listen(sa.engine.Engine, 'before_cursor_execute', before)
        yield
        self.answered.wait()
        event.remove(sa.engine.Engine, 'before_cursor_execute', before)

    def test_fault_galera_not_ready(self):
        self.check_server('galera-not-ready-mysql', self.refuse,
                          lambda: self.reject_queries('NONE'))


class TestFaultFullDisk(faults.FaultTestCase):

    cell_urls = ()

    def test_fault_full_disk_for_log(self):
        """What cannot be logged is told on the standard error stream."""
        stderr = io.StringIO()
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', stderr))
        full = logging.handlers.WatchedFileHandler('/dev/full')
        root = logging.getLogger()
        root.addHandler(full)

        def close():
            root.removeHandler(full)
            with contextlib.suppress(OSError):
                full.close()

        self.addCleanup(close)
        rename = 'ALTER TABLE {} RENAME TO {}'
        self.check(
            'unreadable',
            lambda: self.cloud.execute(
                self.cell, rename.format('pci_devices', 'away')),
            lambda: self.cloud.execute(
                self.cell, rename.format('away', 'pci_devices')))
        told = stderr.getvalue()
        self.assertIn('No space left on device', told)
        for text in ('The PCI devices of cell %(cell)s could not be read',
                     self.cell.uuid, 'no such table: pci_devices'):
            self.assertIn(text, told)
        # It is full too.
        with open('/dev/full', 'w') as stream:
            self.useFixture(fixtures.MonkeyPatch('sys.stderr', stream))
            self.assertEqual(
                faults.HEALTHY, self.ask(self.our_manager()))
            logging.getLogger(faults.LOGGER).warning('lost')
            with contextlib.suppress(OSError):
                stream.close()
