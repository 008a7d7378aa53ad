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

"""What becomes of a claim when one of its devices refuses."""

import fixtures
from nova import exception as nova_exception
from nova import objects
from oslo_utils import uuidutils

from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import test_tracker


class TestClaimThatFails(test_tracker.TrackerTestCase):
    """One of several devices refuses, and others were taken before."""

    ports = [f'0000:81:00.{number}' for number in range(3)]

    def setUp(self):
        super().setUp()
        self.host = self.add(ports=3)
        self.before = self.statuses(self.host)

    def devices(self, *addresses):
        """Return devices as the tracker has them, all by default."""
        return [device for device in self.cloud.running(self.host).pci_devs
                if not addresses or device.address in addresses]

    def states(self):
        return {device.address: (
            device.status, device.instance_uuid, device.request_id)
            for device in self.devices()}

    def fail(self, port):
        """Let a claim of all ports fail at one; return the log of it."""
        # Nova's port refuses when a function of it goes meanwhile
        # (nova.objects.pci_device, claim).
        [function, *_] = [device for device in self.devices()
                          if device.parent_addr == port]
        function.remove()
        wanted = objects.InstancePCIRequests(
            instance_uuid=uuidutils.generate_uuid(),
            requests=[test_tracker.pf_request(3)])
        before = len(self.log.output)
        with self.cloud.target(self.host.cell) as context:
            error = self.assertRaises(
                nova_exception.PciDeviceRequestFailed,
                self.cloud.running(self.host).claim_instance, context,
                wanted, None)
        self.assertIsInstance(
            error.__cause__, nova_exception.PciDeviceVFInvalidStatus)
        function.status = 'available'
        log = self.log.output[before:]
        self.assertIn(
            f'Instance {wanted.instance_uuid} cannot claim PCI device '
            f'{port}, though it is available.', log)
        self.assertEqual(1, log.count('cannot claim PCI device'))
        self.assertRegex(log, documented.pattern('device-refused'))
        return log, wanted.instance_uuid

    def test_the_one_that_failed_is_named(self):
        for port in self.ports:
            self.fail(port)
            self.assertEqual(
                dict.fromkeys(self.before, ('available', None, None)),
                self.states())

    def test_nothing_is_saved(self):
        self.fail(self.ports[1])
        self.cloud.save(self.host)
        self.assertEqual(self.before, self.statuses(self.host))
        self.cloud.claim(self.host, [test_tracker.pf_request(3)])

    def test_one_that_cannot_be_taken_back(self):
        """The others are free all the same, and Nova's error is raised."""
        free = objects.PciDevice.free

        def flaky(device, instance=None):
            if device.address == self.ports[1]:
                raise LookupError('flaky')
            return free(device, instance)

        with fixtures.MonkeyPatch('nova.objects.PciDevice.free', flaky):
            log, uuid = self.fail(self.ports[2])
        self.assertIn(
            f'PCI device {self.ports[1]} cannot be taken back from instance '
            f'{uuid}. The next update of resources tries again.', log)
        self.assertRegex(log, documented.pattern('not-taken-back'))
        self.assertEqual(
            ['available', 'claimed', 'available'],
            [device.status for device in self.devices(*self.ports)])
        self.cloud.running(self.host).clean_usage([], [])
        self.assertEqual(
            dict.fromkeys(self.before, ('available', None, None)),
            self.states())
