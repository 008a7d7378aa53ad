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

"""What the tests of earlier bugs of Nova's PCI tracker share."""

import logging

from nova.pci import manager as nova_manager

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import computes
from pci_filter.tests.functional.nova import row_states

PORT = '0000:81:00.0'
FUNCTIONS = ['0000:81:02.0', '0000:81:02.1']
GPUS = ['0000:3b:00.0', '0000:3c:00.0']

INTEL = {'vendor_id': '8086'}
NVIDIA = {'vendor_id': '10de'}


def card():
    """Return a port with two virtual functions."""
    return hardware.network_card(
        hardware.INTEL_X710, 0x81, 0, ports=1, vfs=2)


def gpus():
    return [hardware.gpu(bus, 0) for bus in (0x3b, 0x3c)]


def wanted(dev_type, count=1, **fields):
    return scheduling.pci_request(
        {'dev_type': dev_type}, count, alias_name='alias', **fields)


def port(count=1):
    return wanted(hardware.PF, count)


def function(count=1):
    return wanted(hardware.VF, count)


def gpu(count=1):
    return wanted(hardware.PCI, count)


class BugTestCase(base.NovaTestCase):

    cells = 1
    log_level = logging.CRITICAL

    def ours(self, *args, **more):
        """Start a nova-compute with our tracker; for the rest see _start."""
        return self._start(our_tracker.PciDevTracker, *args, **more)

    def nova(self, *args, **more):
        return self._start(nova_manager.PciDevTracker, *args, **more)

    def _start(self, tracker_class, device_spec, devices, **more):
        compute = computes.Compute(
            self.cloud, tracker_class, name=f'host{len(self.cloud.hosts)}',
            **more)
        compute.start(device_spec, devices)
        return compute

    def check(self, compute, available):
        """Check that all is right, and what is available."""
        rows = compute.rows()
        self.assertEqual({}, row_states.wrong_states(rows))
        self.assertEqual(sorted(available), sorted(
            address for address, row in rows.items()
            if row['status'] == 'available'))
        self.assertEqual(compute.fresh_pools(), compute.pools())
        self.assertEqual(len(available), sum(
            pool['count'] for pool in compute.pools()))

    def refused(self, compute, *requests):
        """Check that a claim is refused, and that it leaves no trace."""
        before = compute.rows(), compute.pools()
        error = self.assertRaises(computes.Refused, compute.claim, requests)
        self.assertTrue(error.clean, error)
        self.assertEqual(before[1], compute.pools())
        # A claim that is refused is saved like any other.
        compute.report()
        self.assertEqual(before, (compute.rows(), compute.pools()))
