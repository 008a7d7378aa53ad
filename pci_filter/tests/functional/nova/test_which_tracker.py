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

"""Verdicts that depend on which nova-compute keeps the rows of a host.

The same for all of them: a claim by the tracker that runs there is the truth.
"""

import json
import logging

from nova import objects as nova_objects
from nova.pci import manager as nova_manager
from nova.pci import utils as pci_utils

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import model
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import rejections
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import claims
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import fleets

GPU = hardware.TESLA_V100
BOTH = ['PciPassthroughFilter', 'NUMATopologyFilter']
UNKNOWN_TAGS = 'WARNING pci_filter.scheduler.unknown_tags'


class _TestCase(base.NovaTestCase):

    cells = 1

    def passes(self, requests, mapping=None, guest=None, filters=BOTH):
        """Ask the filters about the only host."""
        spec = scheduling.request_spec(requests, guest, requested_resources=[
            nova_objects.RequestGroup(requester_id=group)
            for group in mapping or ()])
        manager = self.our_manager(filters)
        self.state, = scheduling.host_states(manager, spec)
        self.state.allocation_candidates = [
            {'mappings': mapping or {}, 'allocations': {}}]
        return bool(scheduling.passing_hosts(manager, [self.state], spec))


class TestProviderMadeAnew(_TestCase):
    """A resource provider is deleted, and made again by nova-compute."""

    OLD, NEW = '11111111-aaaa-4aaa-8aaa-111111111111', (
        '22222222-bbbb-4bbb-8bbb-222222222222')

    def add(self, tracker=None):
        self.host = self.cloud.add_host(
            0, 'host0', [hardware.gpu(0x05, 0)],
            [json.dumps({'vendor_id': GPU.vendor_id})], tracker=tracker)
        self.report(self.OLD)
        if tracker is None:
            # So is the first one stored: with a device that is new.
            self.cloud.execute(self.host.cell, (
                "UPDATE pci_devices SET extra_info = "
                f"'{{\"rp_uuid\": \"{self.OLD}\"}}'"))
        self.report(self.NEW)

    def report(self, provider):
        """Do what nova.compute.pci_placement_translator does, and save."""
        running = self.cloud.running(self.host)
        for device in running.pci_devs:
            device.extra_info['rp_uuid'] = provider
        running.stats.populate_pools_metadata_from_assigned_devices()
        self.cloud.save(self.host)

    def ask(self, provider, **spec):
        """Return whether the host passes and whether its claim succeeds."""
        spec = spec or {
            'vendor_id': GPU.vendor_id, 'product_id': GPU.product_id}
        request = scheduling.pci_request(spec, alias_name='gpu')
        claimed = scheduling.pci_request(
            {**spec, 'rp_uuids': provider}, alias_name='gpu')
        return self.passes(
            [request], {f'{request.request_id}-0': [provider]}
        ), self.cloud.running(self.host).stats.support_requests(
            [claimed], provider_mapping=None)

    def test_nova_tracker(self):
        self.add()
        self.assertEqual({'rp_uuid': self.OLD}, json.loads(
            self.cloud.rows(self.host)['0000:05:00.0']['extra_info']))
        self.assertIn(self.NEW, self.cloud.summary(self.host))
        self.assertEqual((True, True), self.ask(self.NEW))
        self.assertEqual((False, False), self.ask(self.OLD))

    def test_summary_that_does_not_tell(self):
        """Then there is nothing better than the rows."""
        self.add()

        def drop_provider(stored):
            for pool in stored['nova_object.data']['objects']:
                del pool['nova_object.data']['tags']['rp_uuid']
            return stored

        self.cloud.falsify_summary(self.host, drop_provider)
        self.assertEqual((True, False), self.ask(self.OLD))

    def add_port(self):
        """Add a port of which one function has the former name of its netdev.

        :returns: its functions, and the provider that their rows name
        """
        card = hardware.INTEL_X710
        _, *functions = hardware.network_card(card, 0x81, 0, 1, 4)
        functions[0]['parent_ifname'] = 'old0'
        self.host = self.cloud.add_host(
            0, 'host0', functions, [json.dumps(
                {'product_id': card.vf_product_id})], in_placement=True)
        first, = {row['rp_uuid'] for row in self.extra_infos()}
        return functions, first

    def use_up(self):
        """Claim that one, the only one of its pool.

        Nova keeps the pool, and gives no new provider to one without devices.
        """
        self.assertEqual(1, len(self.cloud.claim(self.host, [
            scheduling.pci_request({'parent_ifname': 'old0'})])))

    def extra_infos(self):
        return [json.loads(row['extra_info'])
                for row in self.cloud.rows(self.host).values()]

    def check_port(self, *old):
        self.assertEqual((True, True), self.ask_port(self.NEW))
        for provider in old:
            self.assertEqual((False, False), self.ask_port(provider))

    def ask_port(self, provider):
        return self.ask(
            provider, product_id=hardware.INTEL_X710.vf_product_id)

    def test_pool_that_is_used_up(self):
        """It has the old one as the rows do, and both are out of date."""
        _, first = self.add_port()
        self.use_up()
        self.report(self.NEW)
        self.assertIn(first, self.cloud.summary(self.host))
        self.check_port(first)

    def test_made_anew_twice(self):
        """The rows have the first, and a pool that is used up the next."""
        _, first = self.add_port()
        self.report(self.OLD)
        self.use_up()
        self.report(self.NEW)
        self.assertIn(self.OLD, self.cloud.summary(self.host))
        self.check_port(first, self.OLD)

    def test_rows_that_name_both(self):
        """nova-compute saves the new one with what else it saves of a row.

        That is of devices that are free then.
        """
        functions, first = self.add_port()
        self.use_up()
        self.report(self.NEW)
        self.cloud.running(
            self.host).update_devices_from_hypervisor_resources(
                json.dumps(functions))
        self.cloud.save(self.host)
        self.assertEqual(
            [first] + [self.NEW] * 3,
            [row['rp_uuid'] for row in self.extra_infos()])
        for function in functions[1:]:
            self.check_port(first)
            self.cloud.execute(self.host.cell, (
                "UPDATE pci_devices SET extra_info = REPLACE(extra_info, "
                f"'{self.NEW}', '{first}') "
                f"WHERE address = '{function['address']}'"))
        self.check_port(first)

    def test_our_tracker(self):
        """It saves the new one in the rows, which tell more than a summary."""
        self.add(our_tracker.PciDevTracker)
        self.assertEqual((True, True), self.ask(self.NEW))
        self.cloud.store_summary(self.host, self.cloud.summary(
            self.host).replace(self.NEW, self.OLD))
        self.assertEqual((True, True), self.ask(self.NEW))
        self.assertEqual((False, False), self.ask(self.OLD))


class TestBackToStock(_TestCase):
    """Nova's own nova-compute runs again where ours has stored tags."""

    def setUp(self):
        super().setUp()
        self.devices = hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4)
        self.host = self.cloud.add_host(
            0, 'host0', self.devices, [self.spec('physnet1')],
            tracker=our_tracker.PciDevTracker)

    @staticmethod
    def spec(net):
        return json.dumps({
            'vendor_id': hardware.INTEL_X710.vendor_id,
            'physical_network': net})

    def go_back(self, net, tracker=nova_manager.PciDevTracker):
        self.host = self.cloud.start_anew(
            self.host, self.devices, [self.spec(net)], tracker)

    def ask(self, net):
        """Return whether the host passes; a claim has the same result."""
        request = scheduling.pci_request({'physical_network': net})
        passes = self.passes([request])
        self.assertEqual(
            passes, self.cloud.claim_error(self.host, [request]) is None)
        return passes

    def test_tags_changed(self):
        self.go_back('physnet2')
        self.assertIn('physnet1', self.cloud.rows(self.host)[
            '0000:81:02.0']['extra_info'])
        self.assertTrue(self.ask('physnet2'))
        self.assertFalse(self.ask('physnet1'))
        self.assertIs(
            model.StoredTags.STALE, self.state.pci_stats.stored_tags)

    def test_tags_changed_where_netdevs_differ(self):
        """The summary has a pool for each, and all say the same."""
        # The port is another kind of device, with a pool of its own.
        _, *self.devices = self.devices
        self.devices[-1]['parent_ifname'] = 'renamed0'
        self.host = self.cloud.start_anew(
            self.host, self.devices, [self.spec('physnet1')])
        self.go_back('physnet2')
        self.assertIn('renamed0', self.cloud.summary(self.host))
        self.assertTrue(self.ask('physnet2'))
        self.assertFalse(self.ask('physnet1'))
        self.assertIs(
            model.StoredTags.STALE, self.state.pci_stats.stored_tags)

    def test_one_warning(self):
        self.go_back('physnet2')
        manager = self.our_manager()
        spec = scheduling.request_spec([base.vf_request()])
        for _ in range(5):
            scheduling.host_states(manager, spec)
        line, = self.log_lines(UNKNOWN_TAGS)
        self.assertRegex(line, documented.pattern('stale-tags'))
        self.assertIn(f'in cell {self.host.cell.uuid} on host0: ', line)

    def test_same_tags(self):
        """Nothing is wrong with what says the same."""
        self.go_back('physnet1')
        self.assertTrue(self.ask('physnet1'))
        self.assertFalse(self.ask('physnet2'))
        self.assertIs(
            model.StoredTags.CURRENT, self.state.pci_stats.stored_tags)

    def test_and_forth_again(self):
        self.go_back('physnet2')
        self.go_back('physnet3', our_tracker.PciDevTracker)
        self.assertTrue(self.ask('physnet3'))
        self.assertFalse(self.ask('physnet2'))
        self.assertIs(
            model.StoredTags.CURRENT, self.state.pci_stats.stored_tags)

    def test_counts_that_lie(self):
        """A summary that has drifted is none that has other tags."""
        self.cloud.falsify_counts(self.host, lambda count: 0)
        self.assertTrue(self.ask('physnet1'))
        self.assertIs(
            model.StoredTags.CURRENT, self.state.pci_stats.stored_tags)

    def test_one_pool_of_two_is_lost(self):
        """Functions of one port have two kinds of tags, and both are right."""
        both = [json.dumps({'address': '0000:81:02.0',
                            'physical_network': 'physnet4'}),
                self.spec('physnet1')]
        self.host = self.cloud.start_anew(self.host, self.devices, both)

        def lose_one(stored):
            stored['nova_object.data']['objects'] = [
                pool for pool in stored['nova_object.data']['objects']
                if 'physnet4' not in str(pool)]
            return stored

        self.cloud.falsify_summary(self.host, lose_one)
        self.assertTrue(self.ask('physnet1'))
        self.assertTrue(self.ask('physnet4'))


def _port(bus, node, net, functions=0, **tags):
    """Return a port with its functions, and what device_spec says of them."""
    address = f'0000:{bus:02x}:00.0'
    ids = {'vendor_id': '8086', 'label': 'x', 'numa_node': node}
    devices = [{**ids, 'address': address, 'product_id': '1528',
                'dev_id': f'pf{bus}', 'dev_type': fleets.PF}]
    devices += [
        {**ids, 'address': f'0000:{bus:02x}:10.{number}',
         'parent_addr': address, 'product_id': '1515',
         'dev_id': f'vf{bus}{number}', 'dev_type': fleets.VF}
        for number in range(functions)]
    specs = [json.dumps({'address': address[:-1] + '*',
                         **({'physical_network': net} if net else {})})]
    if functions:
        specs.insert(0, json.dumps(
            {'address': f'*:{bus:02x}:10.*', **tags}))
    return devices, specs


class TestFirstPlace(_TestCase):
    """Nova's own nova-compute places a guest before it minds relatives.

    Near the guest there are two ports on physnet1 as long as the function of
    one of them is free. They are no functions, and nobody asks for ports, so
    where nova-compute looks for two functions first there are none: it does
    not get as far as to see that with the function the port goes.
    """

    log_level = logging.DEBUG

    def setUp(self):
        super().setUp()
        ports = [
            _port(0x40, 0, 'physnet1', 1, physical_network='physnet0',
                  trusted='true'),
            _port(0x43, 0, 'physnet1'),
            _port(0x41, None, 'physnet1', 2, physical_network='physnet1'),
            _port(0x46, None, None)]
        self.devices = [one for devices, _ in ports for one in devices]
        self.specs = [one for _, specs in ports for one in specs]
        self.patch(pci_utils, 'is_physical_function',
                   fleets.is_physical_function(self.devices))
        self.requests = [
            scheduling.pci_request(
                {'vendor_id': '8086', 'product_id': '1515',
                 'trusted': 'true'}, numa_policy='socket'),
            scheduling.pci_request(
                {'physical_network': 'physnet1', 'remote_managed': 'False'},
                count=2, numa_policy='preferred')]
        self.guest = nova_objects.InstanceNUMATopology(cells=[
            nova_objects.InstanceNUMACell(
                id=number, cpuset={number}, pcpuset=set(), memory=512,
                pagesize=None, cpu_pinning_raw=None, cpu_policy=None,
                cpu_thread_policy=None) for number in range(2)])

    def check(self, expected, tracker=None):
        host = self.cloud.add_host(
            0, 'host0', self.devices, self.specs,
            scheduling.host_numa_topology((0, 1)), tracker=tracker)
        with self.cloud.target(host.cell) as context:
            error = claims.Claims(
                self.cloud.tracker(host), host.load_node(context)).error(
                    self.requests, self.guest,
                    nova_objects.NUMATopologyLimits(
                        cpu_allocation_ratio=4.0, ram_allocation_ratio=1.0))
        self.assertEqual(expected, error is None, error)
        for filters in (BOTH, BOTH[::-1]):
            self.assertEqual(expected, self.passes(
                self.requests, guest=self.guest, filters=filters), filters)

    def check_words(self, debug, info):
        """Check what is said of the only host and its second request.

        In either order of the filters the same is said.
        """
        note = 'nova-compute places the guest as if no device excluded another'
        for words, level in ((debug, 'DEBUG'), (info, 'INFO')):
            lines = self.log_lines(f'{level} {rejections.__name__} ')
            self.assertEqual(2, len(lines))
            for line in lines:
                self.assertIn(f'request {self.requests[1].request_id} '
                              f'asks for 2: {words}', line)
                self.assertIn(note, line)

    def test_nova_tracker(self):
        self.check(False)
        self.check_words(
            '6 free, 5 match physical_network=physnet1, remote_managed=False, '
            '2 are on the right NUMA node, 0 are no physical function (',
            '5 of 7 devices carry physical_network=physnet1, '
            'remote_managed=False, 5 are left, 2 are on the right NUMA node '
            '(policy preferred, guest on 0, 1), 0 are no physical function (')

    def test_our_tracker(self):
        self.check(True, our_tracker.PciDevTracker)

    def test_devices_whose_tags_nobody_knows(self):
        """They count where nova-compute begins to look, known here or not.

        The claim begins at the node with the GPUs, where of the two ports
        that are free there one goes with its function.
        """
        ports = [
            _port(0x40, 1, 'physnet1'),
            _port(0x41, None, 'physnet1', 1, physical_network='physnet1',
                  trusted='true'),
            _port(0x42, 1, 'physnet1'), _port(0x43, 0, 'physnet1')]
        self.devices = [one for devices, _ in ports for one in devices]
        known = [one for _, specs in ports for one in specs]
        self.devices += [
            hardware.gpu(bus, 0) for bus in (0x51, 0x52, 0x53, 0x54)]
        self.specs = [*known, json.dumps({'vendor_id': GPU.vendor_id})]
        self.patch(pci_utils, 'is_physical_function',
                   fleets.is_physical_function(self.devices))
        self.requests = [
            scheduling.pci_request(
                {'vendor_id': '8086', 'product_id': '1515',
                 'trusted': 'true'}, numa_policy='legacy'),
            scheduling.pci_request(
                {'vendor_id': '8086', 'product_id': '1528',
                 'dev_type': 'type-PF'}, count=2, numa_policy='legacy')]
        self.guest.cells = self.guest.cells[:1]
        self.override('pci_filter', tag_sources=['device_spec'],
                      device_spec=known)
        self.check(False)
        self.check_words(
            '3 free, 1 are on the right NUMA node (',
            '4 PFs 8086:1528, 3 are left, 1 is on the right NUMA node (policy '
            'legacy, guest on 0) (')

    def test_one_request_needs_no_place(self):
        """One request excludes nothing that it asks for itself."""
        self.requests = [scheduling.pci_request(
            {'physical_network': 'physnet1', 'remote_managed': 'False'})]
        self.check(False)
        self.assertFalse(self.state.pci_stats.place_matters(self.requests))

    def test_pools_that_fail_meanwhile(self):
        """Who decides then decides about the place too."""
        self.guest.cells = self.guest.cells[:1]
        self.check(False)
        whole = guarded_pools.GuardedPools.supports_requests

        def fails_with_a_place(
            pools, requests, provider_mapping=None, numa_cells=None,
        ):
            if numa_cells:
                pools._give_up(RuntimeError('injected'))
            return whole(pools, requests, provider_mapping, numa_cells)

        self.patch(guarded_pools.GuardedPools, 'support_requests',
                   fails_with_a_place)
        self.override('pci_filter', on_load_failure='reject')
        self.assertFalse(self.passes(
            self.requests, guest=self.guest, filters=BOTH[:1]))
        self.assertIs(guarded_pools.NoPools, type(self.state.pci_stats))

    def test_no_place_whoever_asks(self):
        """Why there is none is for NUMATopologyFilter to say."""
        for cell in self.guest.cells:
            cell.memory = 1 << 30
        self.check(False)
        self.assertTrue(self.passes(
            self.requests, guest=self.guest, filters=BOTH[:1]))
