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

"""A claim that placement has allocated fails where any provider is split."""

from oslo_utils import uuidutils

from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.tests.functional.nova import base

NIC = {'vendor_id': hardware.INTEL_X710.vendor_id}
GPU = {'vendor_id': hardware.TESLA_V100.vendor_id}

#: The first function has a tag of its own.
SPLIT = ('{"address": "*:81:02.0", "color": "red"}',
         '{"vendor_id": "8086", "product_id": "154c", "color": "blue"}',
         '{"vendor_id": "10de"}')


class TestSplitProvider(base.NovaTestCase):

    cells = 1

    def add(self, device_spec):
        """Add a host with a GPU and a network card, both in placement."""
        host = self.cloud.add_host(
            0, 'host0', [*hardware.network_card(
                hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4),
                hardware.gpu(0x05, 0)], device_spec, in_placement=True)
        self.providers = {
            pool['vendor_id']: pool['rp_uuid']
            for pool in self.cloud.tracker(host).stats.pools}
        return host

    def verdicts(self, host, spec, in_placement=True, **options):
        """Return whether the host passes, and whether the claim succeeds.

        :param options: of the [pci_filter] section
        """
        request = scheduling.pci_request(spec, alias_name='alias')
        claimed = request
        mappings = {}
        if in_placement:
            provider = self.providers[spec['vendor_id']]
            mappings = {f'{request.request_id}-0': [provider]}
            # The conductor puts it there before it calls nova-compute.
            claimed = scheduling.pci_request(
                {**spec, 'rp_uuids': provider}, alias_name='alias')
        manager = self.our_manager(**options)
        wanted = scheduling.request_spec(
            [request], requested_resources=base.request_groups(
                [request] if in_placement else []))
        states = scheduling.host_states(manager, wanted)
        for state in states:
            self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
            state.allocation_candidates = [
                {'mappings': mappings, 'allocations': {}}]
        passing = scheduling.passing_hosts(manager, states, wanted)
        return (bool(passing),
                self.cloud.claim_error(host, [claimed]) is None)

    def report(self, host, tracker):
        """Do what nova.compute.pci_placement_translator does, and save."""
        for device in tracker.pci_devs:
            device.extra_info['rp_uuid'] = self.providers[device.vendor_id]
        tracker.stats.populate_pools_metadata_from_assigned_devices()
        with self.cloud.transaction(host.cell) as context:
            compute_host.save(context, host, tracker)

    def test_other_devices_of_the_host(self):
        host = self.add(SPLIT)
        for options in ({}, {'device_spec': list(SPLIT)}):
            self.assertEqual((False, False), self.verdicts(
                host, GPU, **options))
        lines = self.log_lines('INFO pci_filter.scheduler.rejections')
        self.assertEqual(2, len(lines))
        for line in lines:
            self.assertIn(
                'on host0, alias asks for 1: 1 device with vendor_id=10de, 1 '
                'is free, 0 can be told apart by their resource providers',
                line)

    def test_devices_of_the_provider(self):
        host = self.add(SPLIT)
        for options in ({}, {'device_spec': list(SPLIT)}):
            self.assertEqual((False, False), self.verdicts(
                host, NIC, **options))
        self.assertEqual((False, False), self.verdicts(
            host, {**NIC, 'color': 'red'}, device_spec=list(SPLIT)))

    def test_without_placement(self):
        host = self.add(SPLIT)
        for options in ({}, {'device_spec': list(SPLIT)}):
            for spec in (NIC, GPU):
                self.assertEqual((True, True), self.verdicts(
                    host, spec, in_placement=False, **options))

    def test_whole_providers(self):
        device_spec = SPLIT[1:]
        host = self.add(device_spec)
        for options in ({}, {'device_spec': list(device_spec)}):
            for spec in (NIC, GPU):
                self.assertEqual((True, True), self.verdicts(
                    host, spec, **options))

    def test_pool_used_up_by_another_instance(self):
        """A limit that "Limits" names, until nova-compute is restarted.

        nova-compute keeps the empty pool and goes on refusing; the rows do
        not tell, but the summary does.
        """
        host = self.add(SPLIT)
        self.cloud.claim(host, [scheduling.pci_request(
            {**NIC, 'color': 'red'})])
        claimed = scheduling.pci_request(
            {**GPU, 'rp_uuids': self.providers[GPU['vendor_id']]},
            alias_name='alias')
        tracker = self.cloud._trackers[host.name]
        self.assertFalse(tracker.stats.support_requests([claimed], None))
        for options, passes in (
                ({}, False), ({'device_spec': list(SPLIT)}, True)):
            self.assertEqual(
                (passes, True), self.verdicts(host, GPU, **options), options)

    def test_provider_made_anew_while_a_pool_is_used_up(self):
        """A limit that "Limits" names, until nova-compute is restarted.

        The used up pool keeps the old provider, so nova-compute finds no
        provider split, while the summary does not tell which pool is used up.
        """
        host = self.add(SPLIT)
        self.cloud.claim(host, [scheduling.pci_request(
            {**NIC, 'color': 'red'})])
        new = self.providers[NIC['vendor_id']] = uuidutils.generate_uuid()
        running = self.cloud.running(host)
        self.report(host, running)
        self.assertTrue(running.stats.support_requests([
            scheduling.pci_request(
                {**NIC, 'rp_uuids': new}, alias_name='alias')], None))
        known = {'device_spec': list(SPLIT)}
        self.assertFalse(self.verdicts(host, NIC)[0])
        self.assertFalse(self.verdicts(host, NIC, **known)[0])
        self.assertFalse(self.verdicts(host, GPU)[0])
        self.assertTrue(self.verdicts(host, GPU, **known)[0])
        self.report(host, self.cloud.tracker(host))
        for spec in (NIC, GPU):
            for options in ({}, known):
                self.assertTrue(self.verdicts(host, spec, **options)[0])
