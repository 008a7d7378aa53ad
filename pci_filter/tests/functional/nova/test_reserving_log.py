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

"""What is logged of reservations, as "What happens when" has it."""

import logging
import pathlib

import fixtures
import nova.conf
from nova import exception as nova_exception

from pci_filter import conf
from pci_filter.fixture import destinations
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import reservations
from pci_filter.reservations import making
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented


class _ReservingTestCase(base.NovaTestCase):

    cells = 1
    log_level = logging.DEBUG

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        conf.register_opts(nova.conf.CONF)
        self.override('pci_filter', reservation_file=str(
            self.folder / 'below' / 'reservations.sqlite'))
        (self.folder / 'below').mkdir()
        self.manager = self.our_manager()
        self.addCleanup(self._close)

    def _close(self):
        store = self.manager.enabled_filters[0].reserver.store
        if store._connection:
            store._connection.close()

    def add_hosts(self, number):
        for name in range(number):
            self.add_host(f'host{name}', functions=1)
        self.scheduler = destinations.Scheduler(self.manager, [
            host.node_uuid for host in self.cloud.hosts.values()])

    def choose(self, count=1, **fields):
        spec = scheduling.request_spec([base.vf_request(
            count, alias_name='vf')], **fields)
        return self.scheduler.choose(spec), spec.instance_uuid

    def refuse(self, **fields):
        self.assertRaises(nova_exception.NoValidHost, self.choose, **fields)

    def logged(self, name):
        """Return the lines that are as documented under a name."""
        pattern = documented.pattern(name)
        return [line for line in self.log_lines('pci_filter.')
                if pattern.fullmatch(line)]

    def log_of(self, name):
        """Return the only such line."""
        line, = self.logged(name)
        return line


class TestReservations(_ReservingTestCase):

    def test_made_and_refused(self):
        self.add_hosts(2)
        chosen = dict(self.choose() for _ in range(2))
        self.assertEqual({'host0', 'host1'}, set(chosen))
        made = self.logged('reserved')
        for host, instance in chosen.items():
            self.assertEqual(1, len([line for line in made if line.endswith(
                f'host {host} for instance {instance}: 1 x vf')]))
        self.assertEqual([], self.logged('all-reserved'))
        self.refuse()
        line = self.log_of('all-reserved')
        for host, instance in chosen.items():
            self.assertRegex(
                line, rf'on host {host}, for 1 server, {instance}, for at '
                      r'most [1-6]\d s')
        passed_over = self.logged('passed-over')
        # The second one was refused the host of the first, or that was used
        # up before.
        for host, instance in chosen.items():
            self.assertTrue([line for line in passed_over if (
                f'host {host} for' in line
                and f'reserved there are 1 x vf for instance {instance} for '
                'at most ' in line)])
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_several_servers_of_many_hosts(self):
        self.cloud.add_host(0, 'big', *self._card(functions=2))
        self.add_hosts(6)
        for _ in range(8):
            self.choose()
        self.refuse()
        line = self.log_of('all-reserved')
        self.assertRegex(line, r'; and on 2 more hosts\. What')
        self.assertEqual(5, line.count('on host '))
        self.refuse(force_hosts=['big'], force_nodes=['big'])
        self.assertRegex(
            self.logged('all-reserved')[1],
            r'come: on host big, for 2 servers such as \S+, for at most \d+ '
            r's\. ')

    @staticmethod
    def _card(functions):
        return hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=1, vfs=functions), [
                '{"address": "*:81:*.*", "physical_network": "physnet1"}']

    def test_ended(self):
        self.add_hosts(1)
        self.manager.enabled_filters[0].reserver.timeout = 0
        _, instance = self.choose()
        self.choose()
        self.assertTrue(self.log_of('reservation-ended').endswith(
            f'host host0 for instance {instance} has ended: its time is up'))

    def test_given_back(self):
        self.add_hosts(2)
        claim = self.scheduler.placement_client.claim_resources
        answers = iter((False, True))
        self.scheduler.placement_client.claim_resources = (
            lambda *args, **kwargs: next(answers) and claim())
        _, instance = self.choose()
        self.assertRegex(
            self.log_of('given-back'), rf'host host\d for instance {instance} '
            'is given back: placement refused$')
        self.assertEqual(2, len(self.logged('reserved')))

    def test_claimed_meanwhile(self):
        """Between the filters and the choice."""
        self.add_hosts(2)
        find = self.scheduler._get_sorted_hosts

        def claimed_meanwhile(spec, hosts, index):
            found = find(spec, hosts, index)
            self.cloud.claim(
                self.cloud.hosts[found[0].host], spec.pci_requests.requests)
            return found
        self.scheduler._get_sorted_hosts = claimed_meanwhile
        chosen, instance = self.choose()
        other, = {'host0', 'host1'} - {chosen}
        self.assertIn(f'host {other} for instance {instance}',
                      self.log_of('taken'))


class TestFailures(_ReservingTestCase):

    def _move(self, before, after):
        (self.folder / before).rename(self.folder / after)

    def test_store_fails_and_works_again(self):
        self.add_hosts(3)
        self._move('below', 'elsewhere')
        for _ in range(2):
            self.choose()
        self.assertIn(
            f'reserved: StoreError: {self.folder}/below/reservations.sqlite: '
            'No such file or directory. Until', self.log_of('not-reserved'))
        self.assertEqual([], self.logged('reserved-again'))
        self._move('elsewhere', 'below')
        for _ in range(2):
            self.choose()
        self.assertEqual(1, len(self.logged('not-reserved')))
        self.log_of('reserved-again')

    def test_store_is_late(self):
        self.add_hosts(1)

        def late(*args):
            raise reservations.StoreError(making.LATE)
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.reservations.making.Patience.spend', late))
        self.choose()
        self.assertIn(
            'reserved: StoreError: the store needs longer than '
            '[pci_filter]reservation_store_timeout. Until',
            self.log_of('not-reserved'))

    def test_cell_fails(self):
        """Where the chosen host is looked at."""
        self.add_hosts(1)

        def fail(*args):
            raise RuntimeError('no')
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.in_flight.load_instances', fail))
        self.choose()
        self.assertIn(
            f'reserved: CellUnreadable: cell {self.cloud.cells[0].uuid}: '
            'RuntimeError: no. Until', self.log_of('not-reserved'))


class TestOtherNova(base.NovaTestCase):

    def test_nothing_to_wrap(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.utils.claim_resources',
            lambda context, request: True))
        self.our_manager()
        line, = self.log_lines('WARNING pci_filter')
        self.assertRegex(line, documented.pattern('other-nova-unreserved'))
        self.assertIn(hook.NOT_RESERVED, line)

    def test_placement_is_asked_otherwise(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.client.report.SchedulerReportClient.'
            'get_allocation_candidates', fixtures.MonkeyPatch.delete))
        self.our_manager()
        line, = self.log_lines('WARNING pci_filter')
        self.assertRegex(line, documented.pattern('other-nova-unwidened'))
        self.assertIn(hook.NOT_WIDENED, line)
