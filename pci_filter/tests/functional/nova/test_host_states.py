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

"""HostStates that read the summary late: nobody sees a difference."""

import copy
import datetime

import fixtures
from nova import exception as nova_exception
from nova import objects as nova_objects
from nova.objects import numa
from nova.objects import pci_device_pool
from nova.pci import stats
from oslo_utils import timeutils
from oslo_versionedobjects import exception as versioned_exception

from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import host_manager as hook
from pci_filter.scheduler import host_states
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

NAME = 'pci_filter.scheduler.host_states'


def _ordered(primitive):
    """Return the primitive with its changes in order: Nova keeps sets."""
    if isinstance(primitive, dict):
        return {
            key: sorted(value) if key == 'nova_object.changes'
            else _ordered(value) for key, value in primitive.items()}
    if isinstance(primitive, list):
        return list(map(_ordered, primitive))
    return primitive


class HostStatesTestCase(base.NovaTestCase):

    cells = 1

    def setUp(self):
        super().setUp()
        hook.detach()
        self.parsed = []
        original = pci_device_pool.from_pci_stats

        def from_pci_stats(pci_stats):
            self.parsed.append(pci_stats)
            return original(pci_stats)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.pci_device_pool.from_pci_stats', from_pci_stats))
        for name, functions in (('few', 2), ('many', 12), ('some', 6)):
            self.add_host(name, functions=functions)
        self.theirs = self.cloud.host_manager()
        self.parsed.clear()

    def states(self, manager, requests=()):
        return scheduling.host_states(
            manager, scheduling.request_spec(requests))

    def pools_of_nova(self):
        """Return the pools that Nova alone has, by host."""
        hook.detach()
        try:
            return {state.host: state.pci_stats.pools
                    for state in self.states(self.theirs)}
        finally:
            hook.attach()
            self.parsed.clear()


class TestUnread(HostStatesTestCase):

    def test_request_for_devices(self):
        manager = self.our_manager(['PciPassthroughFilter',
                                    'NUMATopologyFilter'])
        spec = scheduling.request_spec([base.vf_request(5)])
        states = scheduling.host_states(manager, spec)
        self.assertEqual({'many', 'some'}, scheduling.passing_hosts(
            manager, states, spec))
        manager.get_weighed_hosts(states, spec)
        for state in states:
            state.consume_from_request(spec)
            self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
        self.assertEqual([], self.parsed)

    def test_other_request(self):
        manager = self.our_manager()
        expected = self.pools_of_nova()
        states = self.states(manager)
        self.assertEqual([], self.parsed)
        for number, state in enumerate(states):
            self.assertIs(host_states.HostState, type(state))
            found = state.pci_stats
            self.assertIs(stats.PciDeviceStats, type(found))
            self.assertEqual(expected[state.host], found.pools)
            self.assertIs(found, state.pci_stats)
            self.assertEqual(number + 1, len(self.parsed))
        self.assertEqual([], self.log_lines(f'WARNING {NAME}'))

    def test_node_without_the_field(self):
        """Nova ignores a node that has not reported before it looks at it."""
        state = host_states.HostState('host', 'node', 'cell')
        state._update_from_compute_node(nova_objects.ComputeNode(
            uuid='f5cba2b3-6f0a-4d6e-9d0b-0c6b3a3b8f10'))
        self.assertIsNone(state.pci_stats)

    def test_nobody_asks(self):
        manager = self.our_manager(['ComputeFilter', 'PciPassthroughFilter'])
        spec = scheduling.request_spec([])
        states = scheduling.host_states(manager, spec)
        self.assertEqual({'few', 'many', 'some'}, scheduling.passing_hosts(
            manager, states, spec))
        for state in states:
            repr(state)
        self.assertEqual([], self.parsed)
        # Nova looks at the host that it has chosen.
        states[0].consume_from_request(spec)
        self.assertEqual(1, len(self.parsed))

    def test_weigher(self):
        """It asks for all requests; without devices the summary is right."""
        hosts = ['few', 'some', 'many']
        for change, expected in (
                (lambda count: count, hosts),
                (lambda count: 40 - count, hosts[::-1])):
            for name in hosts:
                self.cloud.falsify_counts(self.cloud.hosts[name], change)
            spec = scheduling.request_spec([])
            orders = []
            for manager in (self.our_manager(), self.theirs):
                orders.append([
                    weighed.obj.host for weighed in manager.get_weighed_hosts(
                        scheduling.host_states(manager, spec), spec)])
                self.assertEqual([], self.log_lines('WARNING pci_filter'))
            self.assertEqual([expected] * 2, orders)

    def test_numa_topology_is_handed_on(self):
        self.add_host('numa', numa_topology=scheduling.host_numa_topology(
            [0, 1]))
        state = self.states(self.our_manager())[2]
        self.assertEqual('numa', state.host)
        self.assertIs(
            state.numa_topology, state.pci_stats.numa_topology)

    def test_no_summary(self):
        for host in self.cloud.hosts.values():
            self.cloud.store_summary(host, None)
        for state in self.states(self.our_manager()):
            self.assertIs(stats.PciDeviceStats, type(state.pci_stats))
            self.assertEqual([], state.pci_stats.pools)
        for state in self.states(self.our_manager(), [base.vf_request()]):
            self.assertEqual([], state.pci_stats.pools)
        self.assertEqual([], self.parsed)

    def test_updated_once_more(self):
        manager = self.our_manager()
        for requests in ([], [base.vf_request()]):
            state, *_ = self.states(manager, requests)
            self.assertEqual('few', state.host)
            self.assertEqual({1, 2}, {
                pool['count'] for pool in state.pci_stats.pools})
            host = self.cloud.hosts['few']
            self.cloud.falsify_counts(host, lambda count: 77)
            with self.cloud.target(host.cell) as context:
                node = host.load_node(context)
            node.updated_at = None
            self.parsed.clear()
            state.update(compute=node)
            self.assertEqual([], self.parsed)
            self.assertEqual({77}, {
                pool['count'] for pool in state.pci_stats.pools})
            self.assertEqual(1, len(self.parsed))
            self.cloud.restart(host)

    def test_outdated_update(self):
        state, *_ = self.states(self.our_manager(), [base.vf_request()])
        pools = state.pci_stats
        host = self.cloud.hosts['few']
        with self.cloud.target(host.cell) as context:
            node = host.load_node(context)
        node.updated_at = node.updated_at or node.created_at
        node.updated_at = node.updated_at.replace(year=2001)
        state.updated = node.updated_at.replace(year=2002)
        summary = node.pci_device_pools
        state.update(compute=node)
        self.assertIs(pools, state.pci_stats)
        self.assertIs(summary, node.pci_device_pools)

    def test_compute_node_is_left_as_it_was(self):
        manager = self.our_manager()
        host = self.cloud.hosts['few']
        with self.cloud.target(host.cell) as context:
            node = host.load_node(context)
            summary = node.pci_device_pools
            state = manager.host_state_cls('few', 'few', host.cell.uuid)
            state.update(compute=node)
        self.assertIs(host_states.HostState, type(state))
        self.assertIs(summary, node.pci_device_pools)
        self.assertEqual([], self.parsed)

    def test_manager_without_the_filter(self):
        manager = self.our_manager()
        expected = self.pools_of_nova()
        for state in self.states(self.theirs):
            self.assertIsNot(host_states.HostState, type(state))
            self.assertEqual(expected[state.host], state.pci_stats.pools)
        self.assertEqual([host_states.HostState] * 3, [
            type(state) for state in self.states(manager)])


class TestUnreadable(HostStatesTestCase):

    BROKEN = ('5', '[1]', '{"nova_object.namespace": "nova"}')
    EMPTY = ('', '{', 'nonsense', 'null')

    def totals(self, manager, requests=()):
        return {
            state.host: sum(pool['count'] for pool in state.pci_stats.pools)
            for state in self.states(manager, requests)}

    def test_one_host(self):
        """Its cell and the request go on, for whoever asks what."""
        manager = self.our_manager(['ComputeFilter', 'PciPassthroughFilter'])
        for text in (*self.BROKEN, *self.EMPTY):
            self.cloud.store_summary(self.cloud.hosts['few'], text)
            for requests in ([], [base.vf_request()]):
                self.assertEqual(
                    {'few': 0, 'many': 13, 'some': 7},
                    self.totals(manager, requests), text)
            spec = scheduling.request_spec([])
            states = scheduling.host_states(manager, spec)
            self.assertEqual(
                {'few', 'many', 'some'},
                scheduling.passing_hosts(manager, states, spec))
            self.assertEqual(3, len(manager.get_weighed_hosts(states, spec)))

    def test_rows_with_tags_of_device_spec(self):
        manager = self.our_manager(device_spec=['{"vendor_id": "8086"}'])
        for text in self.BROKEN:
            self.cloud.store_summary(self.cloud.hosts['few'], text)
            self.assertEqual(
                {'few': 3, 'many': 13, 'some': 7},
                self.totals(manager, [base.vf_request()]))
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_is_told_once(self):
        manager = self.our_manager()
        host = self.cloud.hosts['few']
        told = []
        for text in ('5', '5', '[]', '5', '{'):
            self.cloud.store_summary(host, text)
            self.totals(manager)
            told.append(len(self.log_lines(f'WARNING {NAME}')))
        self.assertEqual([1, 1, 1, 2, 2], told)
        line = self.log_lines(f'WARNING {NAME}')[0]
        self.assertIn('of host few, node few in cell '
                      f'{host.cell.uuid} cannot be parsed: TypeError', line)
        self.assertRegex(line, documented.pattern('summary-not-parsed'))


class TestUnreadSummary(HostStatesTestCase):
    """To all others it is what Nova makes of the summary."""

    def setUp(self):
        super().setUp()
        host = self.cloud.hosts['few']
        with self.cloud.target(host.cell) as context:
            self.original = host.load_node(context)
            hook.attach()
            self.node = host.load_node(context)
        self.assertIsInstance(
            self.node.pci_device_pools, host_states.UnreadSummary)
        self.assertNotIsInstance(
            self.original.pci_device_pools, host_states.UnreadSummary)
        self.parsed.clear()

    def dicts(self, pools):
        return [pool.to_dict() for pool in pools]

    def test_is_a_list_of_pools(self):
        expected = self.original.pci_device_pools
        found = self.node.pci_device_pools
        self.assertIsInstance(found, pci_device_pool.PciDevicePoolList)
        self.assertEqual([], self.parsed)
        self.assertEqual(self.dicts(expected), self.dicts(found))
        self.assertEqual(len(expected), len(found))
        self.assertTrue(found)
        self.assertEqual(expected[0].to_dict(), found[0].to_dict())
        self.assertEqual(expected.obj_name(), found.obj_name())
        self.assertEqual(expected.VERSION, found.VERSION)
        self.assertEqual(
            expected.obj_what_changed(), found.obj_what_changed())
        self.assertEqual(1, len(self.parsed))

    def test_clones(self):
        expected = self.dicts(self.original.pci_device_pools)
        for clone in (
                copy.deepcopy(self.node.pci_device_pools),
                copy.deepcopy(self.node).pci_device_pools,
                self.node.obj_clone().pci_device_pools,
                self.node.pci_device_pools.obj_clone()):
            self.assertIsInstance(clone, pci_device_pool.PciDevicePoolList)
            self.assertEqual(expected, self.dicts(clone))
            clone[0].count = 99
            self.assertEqual(
                expected, self.dicts(self.node.pci_device_pools))

    def test_primitives(self):
        expected = self.original.obj_to_primitive()
        found = self.node.obj_to_primitive()
        self.assertEqual(_ordered(expected), _ordered(found))
        node = nova_objects.ComputeNode.obj_from_primitive(found)
        self.assertIs(pci_device_pool.PciDevicePoolList,
                      type(node.pci_device_pools))
        self.assertEqual(
            self.dicts(self.original.pci_device_pools),
            self.dicts(node.pci_device_pools))

    def test_primitive_of_the_list(self):
        self.assertEqual(
            _ordered(self.original.pci_device_pools.obj_to_primitive()),
            _ordered(self.node.pci_device_pools.obj_to_primitive()))

    def test_changes_to_save(self):
        """Nova takes what it has parsed for changed."""
        self.assertEqual(self.original.obj_what_changed(),
                         self.node.obj_what_changed())

    def test_can_be_saved(self):
        host = self.cloud.hosts['few']
        with self.cloud.target(host.cell) as context:
            node = host.load_node(context)
            node.running_vms = 3
            node.save()
            again = host.load_node(context)
        self.assertEqual(3, again.running_vms)
        self.assertEqual(
            self.dicts(self.original.pci_device_pools),
            self.dicts(again.pci_device_pools))

    def test_what_cannot_be_parsed(self):
        def fail():
            raise nova_exception.ComputeHostNotFound(host='x')

        summary = host_states.UnreadSummary(fail, 'x')
        self.assertEqual([], list(summary))
        self.assertEqual(0, len(summary))
        self.assertIsInstance(
            summary.failure, nova_exception.ComputeHostNotFound)
        self.assertEqual([], list(copy.deepcopy(summary)))

    def test_refreshed_node(self):
        """What is not text is parsed at once, as before."""
        pools = pci_device_pool.from_pci_stats(
            [{'vendor_id': 'a', 'product_id': 'b', 'count': 1}])
        self.assertIs(pci_device_pool.PciDevicePoolList, type(pools))
        self.assertEqual(1, len(pools))
        self.assertEqual([], list(pci_device_pool.from_pci_stats(None)))


class TestTopology(HostStatesTestCase):
    """``compute_nodes.numa_topology``, which most requests do not need."""

    FILTERS = ('PciPassthroughFilter', 'NUMATopologyFilter')

    def setUp(self):
        super().setUp()
        self.read = []
        original = numa.NUMATopology.obj_from_db_obj.__func__

        def obj_from_db_obj(cls, text):
            self.read.append(cls.__name__)
            return original(cls, text)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.numa.NUMATopology.obj_from_db_obj',
            classmethod(obj_from_db_obj)))
        self.text = scheduling.host_numa_topology([0, 1])._to_json()
        for name in self.cloud.hosts:
            self.report(name, self.text)
        self.manager = self.our_manager(self.FILTERS)

    def numa_spec(self, **fields):
        return scheduling.request_spec(
            [base.vf_request(**fields)],
            numa_topology=scheduling.instance_numa_topology([0]))

    def report(self, name, text):
        """Let a host have a topology; return its ComputeNode."""
        host = self.cloud.hosts[name]
        with self.cloud.transaction(host.cell) as context:
            node = host.load_node(context)
            node.numa_topology = text
            node.save()
        return node

    def ask(self, manager, spec):
        return scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec)

    def test_not_read_without_numa(self):
        for requests in [], [base.vf_request()]:
            spec = scheduling.request_spec(requests)
            states = scheduling.host_states(self.manager, spec)
            self.assertEqual({'few', 'many', 'some'}, scheduling.passing_hosts(
                self.manager, states, spec))
            self.manager.get_weighed_hosts(states, spec)
            states[0].consume_from_request(spec)
            self.assertEqual([], self.read)

    def test_as_nova_reads_it(self):
        expected = {
            state.host: _ordered(state.numa_topology.obj_to_primitive())
            for state in self.states(self.theirs)}
        self.read.clear()
        states = self.states(self.manager)
        for state in states:
            for _ in range(2):
                self.assertEqual(expected[state.host], _ordered(
                    state.numa_topology.obj_to_primitive()))
            self.assertIsInstance(state.numa_topology, numa.NUMATopology)
        self.assertEqual(len(states), len(self.read))

    def test_read_once_for_a_guest_with_numa(self):
        for policy in 'legacy', 'socket':
            self.read.clear()
            self.assertEqual({'few', 'many', 'some'}, self.ask(
                self.manager, self.numa_spec(numa_policy=policy)))
            self.assertEqual(3, len(self.read))

    def test_read_while_the_databases_count(self):
        """What is going to be needed anyway."""
        scheduling.host_states(self.manager, self.numa_spec())
        self.assertEqual(3, len(self.read))

    def test_one_that_cannot_be_read(self):
        """It raises when it is needed; the others are read."""
        self.report('few', self.text.replace('NUMATopology', 'Other'))
        states = scheduling.host_states(self.manager, self.numa_spec())
        self.assertEqual(3, len(self.read))
        self.assertEqual({'few', 'many', 'some'}, {
            state.host for state in states})

    def test_consumed(self):
        spec = self.numa_spec()
        state, *_ = scheduling.host_states(self.manager, spec)
        reported = state.numa_topology
        copied = copy.copy(state)
        state.consume_from_request(spec)
        self.assertIs(reported, copied.numa_topology)
        before, after = (
            sum(cell.memory_usage for cell in topology.cells)
            for topology in (reported, state.numa_topology))
        self.assertEqual(
            before + spec.numa_topology.cells[0].memory, after)

    def test_reported_again(self):
        """What is older than what is known is ignored, as Nova does."""
        state, *_ = self.states(self.manager)
        topology = state.numa_topology
        node = self.report(state.host, self.text)
        for reported, expected in ((None, None), (self.text, topology)):
            state.updated = None
            node.numa_topology = reported
            state.update(compute=node)
            self.assertEqual(reported, node.numa_topology)
            self.assertEqual(
                expected and _ordered(expected.obj_to_primitive()),
                state.numa_topology and _ordered(
                    state.numa_topology.obj_to_primitive()))
        node.updated_at = timeutils.utcnow(with_timezone=True)
        state.updated = node.updated_at + datetime.timedelta(days=1)
        topology, node.numa_topology = state.numa_topology, None
        state.update(compute=node)
        self.assertIs(topology, state.numa_topology)

    def test_garbage(self):
        """Nova fails all requests; ours those that need it."""
        self.report('few', self.text.replace('NUMATopology', 'Other'))
        spec = scheduling.request_spec([base.vf_request()])
        unsupported = versioned_exception.UnsupportedObjectError
        self.assertRaises(unsupported, self.ask, self.theirs, spec)
        self.assertEqual(
            {'few', 'many', 'some'}, self.ask(self.manager, spec))
        self.assertRaises(
            unsupported, self.ask, self.manager, self.numa_spec())

    def test_like_the_one_of_nova(self):
        """Whoever compares or sends it need not know."""
        original = numa.NUMATopology.obj_from_db_obj(self.text)

        def made():
            return host_states.UnreadTopology(self.text)

        # Its cells differ from themselves, unlike no cells from some.
        topology = made()
        topology.cells = original.cells
        self.assertEqual(topology, original)
        self.assertEqual(original, topology)
        self.assertNotEqual(made(), numa.NUMATopology(cells=[]))
        self.assertIn('cells', made())
        self.assertEqual(len(original), len(made()))
        self.assertEqual(original.has_threads, made().has_threads)
        self.assertEqual(
            original.obj_what_changed(), made().obj_what_changed())
        self.assertEqual(
            _ordered(original.obj_to_primitive()),
            _ordered(made().obj_to_primitive()))
        self.assertEqual(
            _ordered(original.obj_to_primitive()),
            _ordered(made().obj_clone().obj_to_primitive()))
        empty = numa.NUMATopology(cells=[])
        self.assertFalse(host_states.UnreadTopology(empty._to_json()))
        topology = made()
        topology.cells = []
        self.assertFalse(topology)

    def test_changes_of_the_one_of_nova(self):
        topology = host_states.UnreadTopology(self.text)
        topology.obj_reset_changes()
        self.assertEqual(set(), topology.obj_what_changed())
        self.assertEqual(2, len(topology))

    def test_version_of_the_one_of_nova(self):
        """It is that of the host, which may be another release."""
        text = self.text.replace('"1.2"', '"1.1"')
        self.assertNotEqual(self.text, text)
        self.assertEqual(
            _ordered(numa.NUMATopology.obj_from_db_obj(
                text).obj_to_primitive()),
            _ordered(host_states.UnreadTopology(text).obj_to_primitive()))

    def test_host_without(self):
        self.report('few', None)
        self.assertEqual({'many', 'some'}, self.ask(
            self.manager, self.numa_spec()))
        self.assertEqual([None], [
            state.numa_topology for state in self.states(self.manager)
            if state.host == 'few'])

    def test_copied(self):
        spec = self.numa_spec(numa_policy='socket')
        state, *_ = scheduling.host_states(self.manager, spec)
        copied = copy.deepcopy(state)
        self.assertEqual(
            _ordered(state.numa_topology.obj_to_primitive()),
            _ordered(copied.numa_topology.obj_to_primitive()))
        self.assertEqual(state.pci_stats.sockets, copied.pci_stats.sockets)
