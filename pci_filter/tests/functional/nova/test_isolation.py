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

"""Each request sees what was committed before, at any isolation level."""

import concurrent.futures

from nova import context as nova_context

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import servers

#: MariaDB before 11.1 has the one only, and MySQL 8 the other.
ASK_MYSQL = ('SHOW VARIABLES WHERE Variable_name IN '
             "('tx_isolation', 'transaction_isolation')")


class IsolationMixin:

    cells = 1
    #: The level that a server must tell, and how to ask it.
    level = ''
    ask_level = ''

    def setUp(self):
        super().setUp()
        self.host = self.add_host('host0')
        self.manager = self.our_manager()

    def free(self, ahead=True):
        """Return how many functions the scheduler takes for free."""
        state, = self.manager.get_host_states_by_uuids(
            nova_context.get_admin_context(),
            [self.host.node_uuid] if ahead else None,
            scheduling.request_spec([base.vf_request()]))
        return sum(pool['count'] for pool in state.pci_stats.pools
                   if pool['dev_type'] == 'type-VF')

    def test_level(self):
        if not self.ask_level:
            self.skipTest('SQLite has only one')
        with self.cloud.engine(self.host.cell).connect() as connection:
            self.assertEqual(self.level, str(connection.exec_driver_sql(
                self.ask_level).first()[-1]).lower())

    def test_committed_changes_are_seen(self):
        for ahead in (True, False):
            self.assertEqual(4, self.free(ahead))
            devices = self.cloud.claim(self.host, [base.vf_request(3)])
            self.assertEqual(1, self.free(ahead))
            self.cloud.release(self.host, devices)
            self.assertEqual(4, self.free(ahead))

    def test_connections_of_the_pool_have_no_old_snapshot(self):
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for count in (4, 3, 2, 1):
                self.assertEqual({count}, set(threads.map(
                    self.free, [True, False] * 6)))
                self.cloud.claim(self.host, [base.vf_request()])
        self.assertEqual(0, self.free())

    def test_uncommitted_changes_are_not_seen(self):
        engine = self.cloud.engine(self.host.cell)
        if engine.dialect.name == 'sqlite':
            self.skipTest('SQLite lets nobody read meanwhile')
        with engine.connect() as other:
            transaction = other.begin()
            other.exec_driver_sql(
                "UPDATE pci_devices SET status = 'claimed'")
            self.assertEqual(4, self.free())
            transaction.commit()
        self.assertEqual(0, self.free())


class TestIsolation(IsolationMixin, base.NovaTestCase):
    pass


class TestReadCommittedMySQL(IsolationMixin, servers.MySQLMixin):
    query = {
        'init_command':
            'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'}
    level = 'read-committed'
    ask_level = ASK_MYSQL


class TestRepeatableReadMySQL(IsolationMixin, servers.MySQLMixin):
    query = {
        'init_command':
            'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ'}
    level = 'repeatable-read'
    ask_level = ASK_MYSQL


class TestReadCommittedPostgreSQL(IsolationMixin, servers.PostgreSQLMixin):
    level = 'read committed'
    ask_level = 'SHOW transaction_isolation'


class TestRepeatableReadPostgreSQL(IsolationMixin, servers.PostgreSQLMixin):
    query = {'options': r'-c default_transaction_isolation=repeatable\ read'}
    level = 'repeatable read'
    ask_level = 'SHOW transaction_isolation'
