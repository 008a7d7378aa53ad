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

"""Whatever of ours raises while devices are reserved: requests are served."""

import fixtures
from oslo_utils import uuidutils

from pci_filter.scheduler import reserving
from pci_filter.tests.functional.nova import selecting

FAULT = 'injected fault'

#: What is asked before the reservation is there, so that there is none.
BEFORE = (
    'pci_filter.scheduler.reserving.Request._chosen',
    'pci_filter.scheduler.request_specs.is_forced',
    'pci_filter.scheduler.reserver.has_pools',
    'pci_filter.scheduler.reserver.Reserver.node',
    'pci_filter.scheduler.reserver.Reserver.reserve',
    'pci_filter.scheduler.reserver.Node.is_arbitrated',
    'pci_filter.scheduler.reserver.Node.look',
    'pci_filter.scheduler.reserver.Node.decide',
    'pci_filter.db.in_flight.load_instances',
    'pci_filter.db.in_flight.load_owned',
    'pci_filter.reservations.local.LocalStore.read',
    'pci_filter.reservations.local.LocalStore.write',
    'pci_filter.reservations.reservation.dumps',
    'pci_filter.reservations.sight.waits_in',
)

#: What is only asked if others are waiting.
WITH_OTHERS = (
    'pci_filter.reservations.reservation.loads',
    'pci_filter.reservations.sight.end',
    'pci_filter.reservations.sight.to_come',
    'pci_filter.objects.PciDevicePoolList.fit_in_every_order',
)


def fail(*args, **kwargs):
    raise RuntimeError(FAULT)


class TestErrors(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add_gpus('host0', 3)

    def select_one(self):
        return self.select(selecting.gpu_request())

    def check(self, target, level, name):
        """A request is served, and told of in one line."""
        before = len(self.log_lines(level))
        with fixtures.MonkeyPatch(target, fail):
            for _ in range(2):
                self.assertEqual(self.host, self.select_one().host, target)
        lines = self.log_lines(level)[before:]
        self.assertEqual(1, len(lines), (target, lines))
        self.assertIn(name, lines[0])
        self.assertIn(FAULT, lines[0])

    def check_cannot_reserve(self, target):
        self.manager = self.scheduler()
        kept = self.kept(self.host)
        self.check(target, f'WARNING {selecting.FAILURES}',
                   'PCI devices cannot be reserved')
        self.assertEqual(kept, self.kept(self.host))

    def test_before(self):
        for target in BEFORE:
            self.check_cannot_reserve(target)

    def test_with_others(self):
        self.select_one()
        for target in WITH_OTHERS:
            self.check_cannot_reserve(target)

    def test_report(self):
        """The reservation stands though nobody could be told of it."""
        self.check('pci_filter.scheduler.reserving._log_made',
                   f'WARNING {selecting.FAILURES}', 'could not be logged')
        self.assertEqual(2, len(self.counting(self.host)))

    def test_report_of_refusal(self):
        for name in '_log_passed_over', '_told', 'Request._log_refused':
            self.manager = self.scheduler()
            for _ in range(3 - len(self.counting(self.host))):
                self.select_one()
            with fixtures.MonkeyPatch(
                    f'pci_filter.scheduler.reserving.{name}', fail):
                self.assertRaises(selecting.NoValidHost, self.select_one)
            self.assertIn('could not be logged', self.log_lines(
                f'WARNING {selecting.FAILURES}')[-1])

    def test_release(self):
        """It is placement that refuses, whatever becomes of ours."""
        for target in (
                'pci_filter.scheduler.reserver.Reserver.release',
                'pci_filter.scheduler.reserving._log_released'):
            self.manager = self.scheduler()
            spec = self.spec(selecting.gpu_request(), num_instances=4)
            with fixtures.MonkeyPatch(target, fail):
                self.assertRaises(
                    selecting.NoValidHost, self.select_all, spec,
                    [uuidutils.generate_uuid() for _ in range(4)])
            self.assertIn(FAULT, self.log_lines(
                f'WARNING {selecting.FAILURES}')[-1])
            for one in self.kept(self.host):
                server = selecting.Server(self, [], one.instance_uuid)
                server.create(self.host).set(deleted=1)

    def test_hosts_not_noted(self):
        """Nothing is known of the hosts, so that nothing is reserved."""
        note_hosts = reserving.Request.note_hosts

        def note(request, host_states, cells):
            note_hosts(request, host_states, fail)

        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.reserving.Request.note_hosts', note):
            self.assertEqual(self.host, self.select_one().host)
        self.assertEqual([], self.kept(self.host))
        self.assertIn(FAULT, self.log_lines(
            f'WARNING {selecting.FAILURES}')[-1])
