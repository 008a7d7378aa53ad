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

"""What doc/source/contributor/fixture.rst shows."""

import json

from nova.scheduler import filters
import testtools

from pci_filter.fixture import cloud as embedded_cloud
from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.scheduler import host_manager


class SpareFilter(filters.BaseHostFilter):
    """Passes a host that has a device left after this instance."""

    def host_passes(self, host_state, spec_obj):
        wanted = sum(
            request.count for request in spec_obj.pci_requests.requests)
        return sum(pool.count for pool in host_state.pci_stats) > wanted


class TestSpareFilter(testtools.TestCase):

    def setUp(self):
        super().setUp()
        # The pools are in the HostStates once our filter has been loaded.
        self.addCleanup(host_manager.detach)
        self.cloud = embedded_cloud.EmbeddedCloud(cells=1)
        self.cloud.open()
        self.addCleanup(self.cloud.close)
        for count in 1, 2, 3:
            self.cloud.add_host(
                0, f'gpus-{count}',
                [hardware.gpu(0x31 + number, numa_node=0)
                 for number in range(count)],
                [json.dumps({'vendor_id': '10de', 'product_id': '1db6'})])

    def passing(self, spec):
        manager = self.cloud.host_manager(
            ('PciPassthroughFilter', 'SpareFilter'),
            (*scheduling.OUR_FILTERS, f'{__name__}.SpareFilter'))
        return scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec)

    def test_one_device_is_left(self):
        request = scheduling.pci_request({'vendor_id': '10de'})
        spec = scheduling.request_spec([request])
        self.assertEqual({'gpus-2', 'gpus-3'}, self.passing(spec))
        # What nova-compute would do when the instance arrives.
        self.cloud.claim(self.cloud.hosts['gpus-2'], [request])
        self.assertEqual({'gpus-3'}, self.passing(spec))

    def test_claim_fails(self):
        """Nova's own tracker is the judge."""
        request = scheduling.pci_request({'vendor_id': '10de'}, count=2)
        self.assertRaises(
            compute_host.ClaimFailed, self.cloud.claim,
            self.cloud.hosts['gpus-1'], [request])
