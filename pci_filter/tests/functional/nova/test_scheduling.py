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

"""Our filter among Nova's filters and weighers."""

import concurrent.futures
import json

from nova import exception as nova_exception
from nova import objects as nova_objects
from nova.scheduler.weights import pci as pci_weigher

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.tests.functional.nova import base

#: What reads pools, not what is read to say why no host passes.
LOADS = 'CASE WHEN (pci_devices.status'


def nothing(count):
    return 0


def plenty(count):
    return 50


class TestNUMATopologyFilter(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add_host(
            'host0', numa_topology=scheduling.host_numa_topology([0, 1]))

    def passes(self, enabled, count, numa_policy='required', cells=1):
        spec = scheduling.request_spec(
            [base.vf_request(count, alias_name='vf',
                             numa_policy=numa_policy)],
            scheduling.instance_numa_topology(range(cells)))
        manager = self.our_manager(enabled)
        with base.Statements(LOADS) as statements:
            states = scheduling.host_states(manager, spec)
            passing = scheduling.passing_hosts(manager, states, spec)
        self.assertEqual(1, len(statements.texts))
        return bool(passing)

    def check_both_orders(self, expected, *args, **kwargs):
        names = ['PciPassthroughFilter', 'NUMATopologyFilter']
        for enabled in (names, names[::-1], names[1:] + names):
            self.assertEqual(expected, self.passes(
                enabled, *args, **kwargs), enabled)

    def test_summary_too_low(self):
        self.cloud.falsify_counts(self.host, nothing)
        self.check_both_orders(True, 4)

    def test_summary_too_high(self):
        self.cloud.falsify_counts(self.host, plenty)
        self.check_both_orders(False, 5)

    def test_functions_are_elsewhere(self):
        """Only NUMATopologyFilter knows where the guest would be."""
        self.cloud.claim(self.host, [base.vf_request(3)])
        self.cloud.execute(
            self.host.cell, "UPDATE pci_devices SET numa_node = 7")
        self.cloud.restart(self.host)
        self.check_both_orders(False, 1)
        self.check_both_orders(True, 1, numa_policy='preferred')
        self.assertTrue(self.passes(['PciPassthroughFilter'], 1))

    def test_host_without_devices(self):
        """An empty list is true, or Nova would not ask it."""
        self.cloud.reset()
        self.host = self.cloud.add_host(
            0, 'host0', [], [], scheduling.host_numa_topology([0]))
        manager = self.our_manager()
        state, = scheduling.host_states(
            manager, scheduling.request_spec([base.vf_request()]))
        self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
        self.assertEqual([], state.pci_stats.pools)
        self.assertEqual(0, len(state.pci_stats))
        self.assertIs(True, bool(state.pci_stats))
        self.check_both_orders(False, 1)
        self.assertFalse(self.passes(['NUMATopologyFilter',
                                      'PciPassthroughFilter'], 1))


class TestOldTopology(base.NovaTestCase):
    """What a nova-compute stored that knew of no sockets yet."""

    FILTERS = ('NUMATopologyFilter', 'PciPassthroughFilter')

    def setUp(self):
        super().setUp()
        self.host = self.cloud.add_host(
            0, 'host0', [hardware.gpu(0x81, 1)],
            ['{"vendor_id": "10de", "product_id": "1db6"}'],
            scheduling.host_numa_topology([0, 1]))

    def forget_sockets(self, *nodes):
        """Let the stored cells of these NUMA nodes lack the field."""
        with self.cloud.transaction(self.host.cell) as context:
            node = self.host.load_node(context)
            topology = json.loads(node.numa_topology)
            for cell in topology['nova_object.data']['cells']:
                if cell['nova_object.data']['id'] in nodes:
                    cell['nova_object.version'] = '1.4'
                    del cell['nova_object.data']['socket']
            node.numa_topology = json.dumps(topology)
            node.save()

    def ask(self, manager, numa_policy='socket', cells=1, memory=512):
        """Return the HostState, and whether it passes."""
        guest = scheduling.instance_numa_topology(range(cells))
        for cell in guest.cells:
            cell.memory = memory
        spec = scheduling.request_spec(
            [scheduling.pci_request(
                {'vendor_id': '10de', 'product_id': '1db6'},
                alias_name='gpu', numa_policy=numa_policy)], guest)
        state, = scheduling.host_states(manager, spec)
        return state, bool(scheduling.passing_hosts(manager, [state], spec))

    def check(self, expected, **guest):
        """See that our filters say what Nova's say."""
        theirs = self.cloud.host_manager(
            self.FILTERS, scheduling.IN_TREE_FILTERS)
        for manager in (theirs, self.our_manager(self.FILTERS),
                        self.our_manager(self.FILTERS[::-1])):
            _state, passed = self.ask(manager, **guest)
            self.assertEqual(expected, passed)
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_no_sockets(self):
        self.forget_sockets(0, 1)
        for policy in ('required', 'socket', 'legacy', 'preferred'):
            for cells in (1, 2):
                self.check(True, numa_policy=policy, cells=cells)
        self.check(False, memory=131073)

    def test_some_sockets(self):
        self.forget_sockets(0)
        self.check(True)

    def test_guest_must_be_elsewhere(self):
        """Nobody knows whether the other node is in the same socket.

        Nova fails the whole request there; with the field, and null in it,
        it rejects the host.
        """
        self.forget_sockets(0, 1)
        with self.cloud.transaction(self.host.cell) as context:
            node = self.host.load_node(context)
            topology = json.loads(node.numa_topology)
            cells = topology['nova_object.data']['cells']
            cells[1]['nova_object.data']['memory_usage'] = 131072
            cells[1]['nova_object.data']['mempages'][0][
                'nova_object.data']['used'] = 33554432
            node.numa_topology = json.dumps(topology)
            node.save()
        theirs = self.cloud.host_manager(
            self.FILTERS, scheduling.IN_TREE_FILTERS)
        self.assertRaises(NotImplementedError, self.ask, theirs)
        for enabled in (self.FILTERS, self.FILTERS[::-1]):
            manager = self.our_manager(enabled)
            self.assertFalse(self.ask(manager)[1])
            self.assertTrue(self.ask(manager, numa_policy='preferred')[1])
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_sockets_of_the_pools(self):
        self.forget_sockets(0)
        state, _passed = self.ask(self.our_manager(self.FILTERS))
        self.assertEqual(((0, None), (1, 1)), state.pci_stats.sockets)


class TestConsume(base.NovaTestCase):

    def consume(self, manager, state, request, provider=None):
        """Filter and consume, as the scheduler does for each instance.

        :returns: whether the host passed
        """
        spec = scheduling.request_spec([request])
        if provider:
            group = f'{request.request_id}-0'
            spec.requested_resources = [nova_objects.RequestGroup(
                requester_id=group, provider_uuids=[provider])]
            state.allocation_candidates = [
                {'mappings': {group: [provider]}, 'allocations': {}}]
        passed = scheduling.passing_hosts(manager, [state], spec)
        if passed:
            state.consume_from_request(spec)
        return bool(passed)

    def test_many_instances(self):
        for in_placement in (False, True):
            self.cloud.reset()
            # Placement has functions or their port, never both.
            host = self.cloud.add_host(
                0, 'host0', hardware.network_card(
                    hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4),
                ['{"product_id": "154c"}'], in_placement=in_placement)
            self.cloud.falsify_counts(host, plenty)
            manager = self.our_manager()
            request = base.vf_request(alias_name='vf')
            state, = scheduling.host_states(manager, scheduling.request_spec(
                [request], requested_resources=base.request_groups(
                    [request] if in_placement else [])))
            provider = next(
                pool.get('rp_uuid') for pool in state.pci_stats.pools)
            self.assertEqual(in_placement, bool(provider))
            with base.Statements(LOADS) as statements:
                passed = [
                    self.consume(manager, state, base.vf_request(
                        alias_name='vf'), provider) for _ in range(6)]
            self.assertEqual([True] * 4 + [False] * 2, passed)
            # Loading again would forget what was consumed.
            self.assertEqual([], statements.texts)
            self.assertEqual([], state.pci_stats.pools)
            self.assertEqual(4, state.num_instances)

    def test_consumed_function_excludes_its_port(self):
        self.add_host('host0')
        manager = self.our_manager()
        port = scheduling.pci_request(
            {'vendor_id': '8086', 'dev_type': 'type-PF'})
        state, = scheduling.host_states(
            manager, scheduling.request_spec([port]))
        self.assertTrue(state.pci_stats.support_requests([port], None))
        self.assertTrue(self.consume(manager, state, base.vf_request()))
        self.assertFalse(self.consume(manager, state, port))

    def test_apply_what_does_not_fit(self):
        """It raises what Nova documents, with our reason."""
        self.add_host('host0')
        self.cloud.execute(
            self.cloud.cells[0], 'DELETE FROM pci_devices '
            "WHERE dev_type = 'type-PF'")
        requests = [base.vf_request(5, alias_name='vf')]
        theirs = self.cloud.host_manager()
        for manager, text in (
                (theirs, ' failed'),
                (self.our_manager(),
                 'PCI device request failed: vf asks for 5: 4 free'),
                (self.our_manager(tag_sources=['device_spec']),
                 'PCI device request failed: vf asks for 5: 0 free '
                 '(devices whose tags are unknown are left out)')):
            state, = scheduling.host_states(
                manager, scheduling.request_spec(requests))
            before = state.pci_stats.pools
            error = self.assertRaises(
                nova_exception.PciDeviceRequestFailed,
                state.pci_stats.apply_requests, requests, {})
            self.assertIn(text, str(error))
            self.assertIs(requests, error.kwargs['requests'])
            self.assertEqual(before, state.pci_stats.pools)

    def test_apply_to_what_cannot_be_read(self):
        self.add_host('host0')
        rename = 'ALTER TABLE pci_devices RENAME COLUMN {} TO {}'.format
        self.cloud.execute(self.cloud.cells[0], rename('status', 'state'))
        self.addCleanup(self.cloud.execute, self.cloud.cells[0],
                        rename('state', 'status'))
        requests = [base.vf_request()]
        state, = scheduling.host_states(
            self.our_manager(on_load_failure='reject'),
            scheduling.request_spec(requests))
        self.assertFalse(state.pci_stats.support_requests(requests, None))
        self.assertRaises(
            nova_exception.PciDeviceRequestFailed,
            state.pci_stats.apply_requests, requests, {})

    def test_consume_what_does_not_fit(self):
        """Nova logs that and goes on; the claim will settle it."""
        self.add_host('host0')
        manager = self.our_manager()
        spec = scheduling.request_spec([base.vf_request(5, alias_name='vf')])
        state, = scheduling.host_states(manager, spec)
        before = state.pci_stats.pools
        state.consume_from_request(spec)
        line, = self.log_lines('failed to consume from instance')
        self.assertIn('Error: PCI device request failed: vf asks for 5: '
                      '5 free, 4 ', line)
        self.assertEqual(before, state.pci_stats.pools)

    def test_consume_with_numa(self):
        self.add_host(
            'host0', numa_topology=scheduling.host_numa_topology([0, 1]))
        manager = self.our_manager()
        spec = scheduling.request_spec(
            [base.vf_request(3, alias_name='vf', numa_policy='required')],
            scheduling.instance_numa_topology([0]))
        state, = scheduling.host_states(manager, spec)
        state.consume_from_request(spec)
        self.assertEqual([], self.log_lines('failed to consume'))
        self.assertEqual([0], [cell.id for cell in spec.numa_topology.cells])
        self.assertEqual([1], [
            pool['count'] for pool in state.pci_stats.pools])


class TestScheduling(base.NovaTestCase):

    def test_weigher_reads_fresh_counts(self):
        for name, functions in (('few', 2), ('many', 12), ('some', 6)):
            self.add_host(name, functions=functions)
        # Turned around: the fewer there are, the more the summary says.
        self.cloud.falsify_counts(self.cloud.hosts['few'], plenty)
        self.cloud.falsify_counts(self.cloud.hosts['many'], nothing)
        for options, request in (
                ({}, [base.vf_request()]),
                ({'load_for': 'all_requests'}, [])):
            manager = self.our_manager(**options)
            spec = scheduling.request_spec(request)
            states = scheduling.host_states(manager, spec)
            self.assertEqual(
                ['few', 'some', 'many'],
                [weighed.obj.host
                 for weighed in manager.get_weighed_hosts(states, spec)])

    def test_rebuild_passes(self):
        host = self.add_host('host0')
        self.cloud.claim(host, [base.vf_request(4)])
        manager = self.our_manager()
        for hints, expected in (
                ({}, set()), ({'_nova_check_type': ['rebuild']}, {'host0'})):
            spec = scheduling.request_spec(
                [base.vf_request()], scheduler_hints=hints)
            states = scheduling.host_states(manager, spec)
            self.assertEqual(expected, scheduling.passing_hosts(
                manager, states, spec))

    def test_node_never_updated(self):
        """Nova knows not even the UUID of such a node."""
        new = self.add_host('new')
        self.add_host('old')
        self.cloud.execute(
            new.cell, "UPDATE compute_nodes SET free_disk_gb = NULL "
            "WHERE host = 'new'")
        for options in ({}, {'on_load_failure': 'reject'},
                        {'device_spec': ['{"address": "*:81:*.*"}']}):
            manager = self.our_manager(**options)
            spec = scheduling.request_spec([base.vf_request()])
            states = scheduling.host_states(manager, spec)
            self.assertIsNone(states[0].uuid)
            self.assertEqual({'old'}, scheduling.passing_hosts(
                manager, states, spec))
            # Other weighers of Nova's fail on such a node.
            self.assertEqual([100, 95], [
                pci_weigher.PCIWeigher()._weigh_object(state, spec)
                for state in states])
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_many_threads(self):
        for number in range(4):
            host = self.add_host(f'host{number}', cell=number % 2)
            if number:
                self.cloud.claim(host, [base.vf_request(number)])
        manager = self.our_manager()

        def ask(count):
            spec = scheduling.request_spec([base.vf_request(count)])
            return len(scheduling.passing_hosts(
                manager, scheduling.host_states(manager, spec), spec))

        counts = [1, 2, 3, 4, 5] * 8
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            self.assertEqual([4, 3, 2, 1, 0] * 8,
                             list(threads.map(ask, counts)))
