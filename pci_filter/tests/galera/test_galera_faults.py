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
"""Faults of a cluster while the scheduler asks it, and work on it.

Each request is answered by the rows, or by ``on_load_failure`` where they
cannot be read, or without the cell where Nova cannot read it either. Nothing
is restarted but nodes.
"""

import collections
import concurrent.futures
import contextlib
import os
import signal
import threading
import traceback
import unittest
from unittest import mock

from nova import context as nova_context
import sqlalchemy as sa
from sqlalchemy import event

from pci_filter.scheduler import cell_databases
from pci_filter.tests.deployment import processes
from pci_filter.tests.functional.nova import base as nova_base
from pci_filter.tests.functional.nova import faults
from pci_filter.tests.galera import base
from pci_filter.tests.galera import cluster

#: What Nova logs for each request without the cell.
NOVA_FAILED = 'Failed to get computes for cell'

#: Requests at a time.
AT_ONCE = 32


def load_tests(loader, standard_tests, pattern):
    """Leave the tests out unless they are asked for."""
    if os.environ.get(base.VARIABLE):
        return standard_tests
    return unittest.TestSuite()


def is_of_nova(error):
    """Tell whether Nova has raised an error in what it reads itself."""
    ours = [frame.name for frame in traceback.extract_tb(error.__traceback__)
            if '/pci_filter/scheduler/' in frame.filename]
    # That is what calls Nova, and whatever it raises is not ours.
    return ours[-1:] == ['_load']


class FaultTestCase(base.GaleraMixin, faults.FaultTestCase):

    def schedule_through_writer(self):
        """Schedule through the first node while it is well."""
        self.schedule_through(self.cluster.writer_url(self.database))

    def ready(self):
        """Wait until HAProxy leads to the first node, and nobody elsewhere."""
        self.cluster.heal()
        engine = sa.create_engine(
            self.cluster.writer_url(), poolclass=sa.pool.NullPool)

        def leads():
            with engine.connect() as connection:
                return connection.exec_driver_sql(
                    'SELECT @@wsrep_node_name').scalar() == 'node0'

        processes.wait_for('HAProxy', leads)
        self.connect_anew()

    def wait_for_others(self):
        """Wait until the others do without the first node, and are asked."""
        for node in self.cluster.nodes[1:]:
            processes.wait_for(
                'others', lambda node=node: node.is_synced(2))
        processes.wait_for('a backup', lambda: cluster.answers(
            self.cluster.writer_url(self.database)))


class TestFaultsOfNode(FaultTestCase):
    """The node that is written to and read fails; there are two others."""

    def setUp(self):
        super().setUp()
        self.schedule_through_writer()

    def kill(self):
        """Kill it in the middle of our statement."""
        first = self.cluster.nodes[0]
        engine = sa.create_engine(first.url(self.database), future=True)
        session = engine.connect()
        session.exec_driver_sql(faults.MySQLMixin.lock)
        yield
        with engine.connect() as other:
            while not self.answered.is_set() and not other.exec_driver_sql(
                    faults.MySQLMixin.waiting).all():
                other.rollback()
        self.assertFalse(self.answered.is_set())
        first.kill()
        session.invalidate()
        engine.dispose()

    def test_killed(self):
        for on_load_failure, passing in faults.FALLBACK.items():
            self.ready()
            manager = self.our_manager(on_load_failure=on_load_failure)
            self.assertEqual(faults.HEALTHY, self.ask(manager))
            self.assertEqual(
                passing, self.ask_while(self.kill, manager, ahead=False))
            # The others wait for it for some seconds, and so do we.
            processes.wait_for('a backup', lambda: cluster.answers(
                self.cluster.writer_url(self.database)))
            self.check_recovered(
                manager, 'connection-dropped-mysql', on_load_failure)

    def test_frozen(self):
        self.ready()
        manager = self.our_manager(load_timeout=2)
        self.assertEqual(faults.HEALTHY, self.ask(manager))
        loaded = manager._get_host_states
        first = self.cluster.nodes[0]
        self.addCleanup(first.signal, signal.SIGCONT)

        def then_freeze(*args):
            states = list(loaded(*args))
            first.signal(signal.SIGSTOP)
            return iter(states)

        with mock.patch.object(manager, '_get_host_states', then_freeze):
            self.assertEqual(faults.FALLBACK['summary'],
                             self.ask(manager, ahead=False))
        self.wait_for_others()
        self.check_recovered(manager, 'timeout', 'summary')
        first.signal(signal.SIGCONT)
        self.cluster.wait_until_whole()
        self.assertEqual(faults.HEALTHY, self.ask(manager))

    def isolate(self, session, value):
        session.exec_driver_sql('SET GLOBAL wsrep_provider_options = %s',
                                (f'gmcast.isolate={value}',))

    def is_refused(self, session):
        return session.exec_driver_sql(
            "SHOW GLOBAL STATUS LIKE 'wsrep_ready'").one()[1] == 'OFF'

    def cut_off(self, session):
        """Cut it off when Nova has read its hosts, and we have not."""
        def before(connection, cursor, statement, *args):
            if (faults.OURS.decode() in statement
                    and connection.engine.url.database == self.database
                    and not self.is_refused(session)):
                self.isolate(session, 1)
                processes.wait_for(
                    'no primary', lambda: self.is_refused(session))

        event.listen(sa.engine.Engine, 'before_cursor_execute', before)
        yield
        self.answered.wait()
        event.remove(sa.engine.Engine, 'before_cursor_execute', before)

    def test_cut_off(self):
        """It is no longer primary, and HAProxy does not know."""
        # It lets nobody start a session while it refuses.
        with self.cluster.nodes[0].connect() as session:
            self.addCleanup(self.cluster.heal)
            for on_load_failure, passing in faults.FALLBACK.items():
                self.ready()
                manager = self.our_manager(
                    on_load_failure=on_load_failure, load_timeout=60)
                self.assertEqual(faults.HEALTHY, self.ask(manager))
                try:
                    self.assertEqual(passing, self.ask_while(
                        lambda: self.cut_off(session), manager, False))
                    for ahead in (True, False):
                        self.assertEqual(
                            faults.WITHOUT_CELL, self.ask(manager, ahead))
                finally:
                    self.isolate(session, 0)
                self.cluster.wait_until_whole()
                self.check_recovered(
                    manager, 'galera-not-ready-mysql', on_load_failure)


class TestOtherNode(FaultTestCase):
    """Nova writes to the first node, the scheduler reads from the second."""

    def setUp(self):
        super().setUp()
        self.second = self.cluster.nodes[1]
        self.schedule_through(self.second.url(self.database))
        self.host = self.cloud.hosts['host2']

    def check_verdicts(self, manager, times=1):
        """See that each claim and its end is known at once."""
        for _ in range(times):
            devices = self.cloud.claim(
                self.host, [nova_base.vf_request(4)])
            self.assertEqual({'host3'}, self.ask(manager))
            self.cloud.release(self.host, devices)
            self.assertEqual(faults.HEALTHY, self.ask(manager))

    def test_claims_are_seen(self):
        self.check_verdicts(self.our_manager(), 20)
        self.assertEqual([], self.news())

    def test_desynced(self):
        manager = self.our_manager()
        self.second.administer('SET GLOBAL wsrep_desync = ON')
        try:
            self.assertEqual(
                'Donor/Desynced',
                self.second.status('wsrep_local_state_comment'))
            self.check_verdicts(manager, 20)
        finally:
            self.second.administer('SET GLOBAL wsrep_desync = OFF')
        self.cluster.wait_until_whole()
        self.check_verdicts(manager)
        self.assertEqual([], self.news())

    def test_donor(self):
        """It gives all it has to a node that comes back without anything."""
        manager = self.our_manager()
        self.check_verdicts(manager)
        first, second, third = self.cluster.nodes
        # The donor of the first is the third, of the third the second.
        third.end(signal.SIGTERM)
        third.forget_state()
        states = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            coming = executor.submit(third.start)
            while not coming.done():
                states[second.status('wsrep_local_state_comment')] += 1
                self.check_verdicts(manager)
            coming.result()
        self.assertIn('Donor/Desynced', states)
        self.cluster.wait_until_whole()
        self.check_verdicts(manager)
        self.assertEqual([], self.news())

    def hold(self):
        """Let it apply nothing any more, and commit something elsewhere."""
        self.holding = self.second.connect()
        self.holding.exec_driver_sql('FLUSH TABLES WITH READ LOCK')
        self.commit()

    def let_go(self):
        self.holding.exec_driver_sql('UNLOCK TABLES')
        self.holding.close()

    def test_behind(self):
        """A wait that times out; the server calls that a lock."""
        self.second.set_option('repl.causal_read_timeout=PT1S')
        self.addCleanup(
            self.second.set_option, 'repl.causal_read_timeout=PT30S')
        self.check('galera-behind-mysql', self.hold, self.let_go,
                   ahead=(True, False))
        self.assertNotIn('Lock wait', ''.join(self.log_lines(faults.LOGGER)))

    def test_behind_for_longer_than_load_timeout(self):
        self.check('timeout', self.hold, self.let_go,
                   ahead=(True, False), load_timeout=1)

    def test_behind_without_causal_reads(self):
        """Nobody waits, and what is read is old."""
        self.override('pci_filter', causal_reads=False)
        manager = self.our_manager()
        self.assertEqual(faults.HEALTHY, self.ask(manager))
        self.hold()
        try:
            devices = self.cloud.claim(
                self.host, [nova_base.vf_request(4)])
            self.assertEqual(faults.HEALTHY, self.ask(manager))
        finally:
            self.let_go()
        self.cluster.wait_until_whole()
        processes.wait_for(
            'the claim', lambda: self.ask(manager) == {'host3'})
        self.cloud.release(self.host, devices)

    def sessions(self):
        """Return what our sessions have for wsrep_sync_wait, and Nova's."""
        nova_context.CELL_CACHE.clear()
        cell = self.cloud.cells[0]
        asked = 'SELECT @@wsrep_sync_wait'
        with cell_databases.of_cell(
                nova_context.get_admin_context(), cell, 10).connect() as ours:
            with self.cloud.engine(cell).connect() as novas:
                return [int(connection.exec_driver_sql(asked).scalar())
                        for connection in (ours, novas)]

    def test_no_other_session_waits(self):
        self.assertEqual([1, 0], self.sessions())

    def test_nova_waits_for_more(self):
        """Whatever it says stays, for us too."""
        for novas, ours in (0, 1), (1, 1), (6, 7), (15, 15):
            cell_databases.forget()
            self.override('database', mysql_wsrep_sync_wait=novas)
            self.assertEqual([ours, novas], self.sessions())

    def test_switched_off(self):
        self.override('pci_filter', causal_reads=False)
        self.assertEqual([0, 0], self.sessions())


class TestRollingRestart(FaultTestCase):
    """All nodes are restarted, one after the other, while all are asked."""

    def setUp(self):
        super().setUp()
        for host in self.cloud.hosts.values():
            # Whatever decides, it has to say the same.
            self.cloud.restart(host)
        self.schedule_through(self.cluster.any_url(self.database))

    def test_rolling_restart(self):
        manager = self.our_manager()
        self.assertEqual(faults.HEALTHY, self.ask(manager))
        over = threading.Event()
        found = collections.Counter()
        failed = []

        def keep_asking(number):
            while not over.is_set():
                try:
                    passing = self.ask(manager, bool(number % 3))
                except Exception as error:
                    if not is_of_nova(error):
                        raise
                    passing = faults.WITHOUT_CELL
                    failed.append(error)
                found[frozenset(passing)] += 1

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
            asking = [threads.submit(keep_asking, number)
                      for number in range(AT_ONCE)]
            try:
                for node in self.cluster.nodes:
                    node.end(signal.SIGTERM)
                    node.start()
                    self.cluster.wait_until_whole()
            finally:
                over.set()
            for one in asking:
                one.result()
        without = found.pop(frozenset(faults.WITHOUT_CELL), 0)
        # No verdict was wrong, and none failed but with Nova.
        self.assertEqual({frozenset(faults.HEALTHY)}, set(found))
        self.assertLessEqual(
            without, len(self.log_lines(NOVA_FAILED)) + len(failed))
        self.assertGreater(sum(found.values()), 100)
        with contextlib.suppress(IndexError):
            self.assertIn('could not be read', self.news()[0])
        self.assertEqual(faults.HEALTHY, self.ask(manager))
