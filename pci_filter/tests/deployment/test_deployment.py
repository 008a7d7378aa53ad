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

"""A cloud as an operator knows it, filled, emptied and broken.

``tools/deployment.py`` runs these tests. Without the variable which that sets
there are none, so that an ordinary test run needs no servers.
"""

import os
import signal
import unittest

from pci_filter.tests.deployment import base
from pci_filter.tests.deployment import books
from pci_filter.tests.deployment import bursts
from pci_filter.tests.deployment import configuration
from pci_filter.tests.deployment import hosts
from pci_filter.tests.deployment import processes

#: How often a burst is repeated: what races does not fail each time.
BURSTS = 5


def load_tests(loader, standard_tests, pattern):
    """Leave the tests out unless they are asked for."""
    if os.environ.get('PCI_FILTER_DEPLOYMENT'):
        return standard_tests
    return unittest.TestSuite()


class TestDeployment(base.DeploymentTestCase):
    """One cloud of two cells with two computes each."""

    def test_full_and_free_again(self):
        self.say('Boot until there is no device left')
        pair = self.boot('gpu:2')
        # Only beta has a physical function besides one in use by a function.
        servers = [self.boot('nic:1,function:1')]
        self.assertIsNone(self.boot('nic:1,function:3'))
        servers.append(self.boot('nic:1'))
        for alias in ('function:1', 'gpu:1', 'nic:1'):
            servers += self.boot_until_refused(alias)
        self.assertEqual([0, 0, 0], [
            self.free(kind) for kind in ('gpu', 'nic', 'function')])
        self.say('Delete some and boot again')
        self.delete(pair)
        again = self.boot('gpu:2')
        self.assertEqual(pair['OS-EXT-SRV-ATTR:host'],
                         again['OS-EXT-SRV-ATTR:host'])
        self.assertIsNone(self.boot('gpu:1'))
        self.delete(*servers[::3])
        for server in servers[::3]:
            self.assertIsNotNone(self.boot(server['name']))
        self.delete_all()

    def test_all_at_once(self):
        free = self.free('gpu')
        for number in range(BURSTS):
            self.say(f'Request {free + 3} at once for {free} devices, '
                     f'{number + 1} of {BURSTS}')
            outcome = bursts.run(
                self.cloud, self.flavor('gpu:1'), free + 3)
            self.say(str(outcome))
            self.assertEqual(
                (free, 3, 0, 0, []),
                (outcome.landed, outcome.refused, outcome.retries_exceeded,
                 outcome.failed_claims, outcome.other_faults))
            self.check()
            # A refused one was sent nowhere, the others to one place.
            for server in self.api.list_servers():
                landed = server['OS-EXT-SRV-ATTR:host']
                self.assertEqual(
                    [landed] if landed else [], self.tried_on(server))
            # The next one finds devices of which others had reservations.
            self.delete_all()

    def test_falsified_summaries(self):
        self.addCleanup(self.cloud.books.restore)
        self._falsify(0)
        servers = self.boot_until_refused('gpu:2')
        self.assertEqual(2, len(servers))
        self._falsify(99)
        self.assertIsNone(self.boot('gpu:2'))
        self.delete(servers.pop())
        servers.append(self.boot('gpu:2'))
        self.say("Nova's filter believes them")
        self._reconfigure(configuration.OUR_LINES[:1])
        self.assertNotEqual([], self._misled())
        self.delete(servers.pop())
        self._falsify(0)
        self.assertEqual([], self._misled())
        self.say('Ours does not')
        self._reconfigure(configuration.OUR_LINES)
        self.assertIsNotNone(self.boot('gpu:2'))
        self.assertIsNone(self.boot('gpu:2'))
        self.assertEqual({0}, self.cloud.books.summary_counts())
        self.delete_all()

    def _falsify(self, count):
        self.say(f'All summaries say that there are {count} of each')
        self.cloud.books.falsify(count)

    def _misled(self):
        """Boot with Nova's filter, which is wrong.

        :returns: the hosts that tried to build the server, without success
        """
        server = self.settled(self.request('gpu:2'))
        self.assertEqual('ERROR', server['status'])
        tried = self.tried_on(server)
        self.say(f'gpu:2: {server["fault"]["message"]} '
                 f'Tried on {", ".join(tried) or "no host"}')
        self.delete(server)
        return tried

    def _reconfigure(self, lines):
        self.cloud.configuration.write_scheduler(lines)
        self._run_scheduler()

    def _run_scheduler(self, **environment):
        self.cloud.scheduler.stop()
        self.cloud.scheduler.start(**environment)

    def test_mariadb_restarted(self):
        server = self.boot('gpu:1')
        self.say('MariaDB is shut down')
        self.cloud.mariadb.end()
        self.assert_unavailable()
        self.cloud.mariadb.start()
        self.say('MariaDB is back')
        self.cloud.wait_until_up()
        self.check()
        self.fill_and_free()
        self.delete(server)

    def test_mariadb_killed(self):
        before = [self.boot('gpu:1'), self.boot('nic:1')]
        self.say('MariaDB is killed while servers are built')
        requested = [self.request('gpu:1') for _ in range(4)]
        self.cloud.mariadb.end(signal.SIGKILL)
        self.assert_unavailable()
        self.cloud.mariadb.start()
        self.say('MariaDB is back')
        self.cloud.wait_until_up()
        self._clear_away(requested)
        self._restart_forgetful()
        self.check()
        self.assertEqual(
            ['ACTIVE'] * 2,
            [self.api.get_server(server['id'])['status']
             for server in before])
        self.fill_and_free()
        self.delete_all()

    def _clear_away(self, requested):
        """Delete servers, built or not, as an operator has to."""
        def statuses():
            return [self.api.get_server(uuid)['status'] for uuid in requested]

        try:
            processes.wait_for(
                'the boots', lambda: 'BUILD' not in statuses(), 20)
        except processes.NotInTime:
            # Who was to build it could not write down that he failed.
            pass
        self.say(f'The servers are {", ".join(statuses())}; they are deleted')
        self.remove(*({'id': uuid} for uuid in requested))

    def _restart_forgetful(self):
        """Restart the computes that keep devices of servers that are gone.

        Nova's tracker takes the devices out of its ``claims`` before it needs
        the database, and puts them into its ``allocations`` after that
        (PciDevTracker.allocate_instance). If the database goes away in
        between, it frees them only when nova-compute starts anew.
        """
        try:
            self.wait_for_balance(60)
        except processes.NotInTime:
            for name in books.hosts_with_leaks(
                    self.cloud.books.devices(), self.active_servers()):
                self.say(f'{name} holds devices for nobody: it is restarted')
                self.cloud.computes[name].stop()
                self.cloud.computes[name].start()

    def test_scheduler_reloaded(self):
        server = self.boot('gpu:1')
        self.say('The scheduler gets SIGHUP')
        offset = self.cloud.scheduler.log_size()
        self.cloud.scheduler.signal(signal.SIGHUP)
        self.cloud.scheduler.wait_until(
            'each worker is a new one', lambda: self.cloud.scheduler.read_log(
                offset).count('Starting scheduler node')
            == configuration.SCHEDULER_WORKERS)
        self.fill_and_free()
        self.delete(server)

    def test_cell_disabled(self):
        self.say('The scheduler runs on eventlet')
        self._run_scheduler(OS_NOVA_DISABLE_EVENTLET_PATCHING='0')
        kept = self.boot('gpu:2')
        cell = hosts.HOSTS[kept['OS-EXT-SRV-ATTR:host']].cell
        self._enable_cell(cell, False)
        self.out_of_service = {
            host.name for host in hosts.HOSTS.values() if host.cell == cell}
        self.assertNotEqual([], self.boot_until_refused('gpu:1'))
        self._enable_cell(cell, True)
        self.out_of_service = set()
        self.assertNotEqual([], self.boot_until_refused('gpu:1'))
        self.say('The scheduler runs on what it did before')
        self._run_scheduler()
        self.assertIsNone(self.boot('gpu:1'))
        self.delete_all()

    def _enable_cell(self, name, enabled):
        """Let nova-scheduler know of a cell or not.

        That it runs on eventlet is for this: on native threads SIGHUP starts
        workers that know the cells of the process that starts them.
        """
        self.say(f'{name} is {"enabled" if enabled else "disabled"}; '
                 'the scheduler gets SIGHUP')
        self.cloud.enable_cell(name, enabled)
        offset = self.cloud.scheduler.log_size()
        self.cloud.scheduler.signal(signal.SIGHUP)
        self.cloud.scheduler.wait_until(
            'each worker knows', lambda: self.cloud.scheduler.read_log(
                offset).count('Child caught SIGHUP')
            == configuration.SCHEDULER_WORKERS)

    def test_scheduler_killed(self):
        self.boot('gpu:1')
        self.say('The scheduler is killed, a server requested')
        self.cloud.scheduler.kill()
        waiting = self.request('gpu:1')
        self.cloud.scheduler.start()
        self.say('The scheduler is started again')
        self.assertEqual('ACTIVE', self.settled(waiting)['status'])
        self.check()
        self.fill_and_free()
        self.delete_all()

    def test_computes_killed(self):
        self.say('nova-compute and pci-filter-nova-compute are killed')
        kept = self.boot('gpu:2')
        # The only hosts with two; one is full now, and one is free.
        names = ('alpha', 'delta')
        for name in names:
            self.cloud.computes[name].kill()
        self.cloud.wait_until_up(*names)
        self.out_of_service = set(names)
        self.assertIsNone(self.boot('gpu:2'))
        self.assertIsNotNone(self.boot('gpu:1'))
        self.say('They are started again')
        for name in names:
            self.cloud.computes[name].start()
        self.cloud.wait_until_up()
        self.out_of_service = set()
        self.assertNotEqual(kept['OS-EXT-SRV-ATTR:host'],
                            self.boot('gpu:2')['OS-EXT-SRV-ATTR:host'])
        self.assertIsNone(self.boot('gpu:2'))
        self.delete_all()
