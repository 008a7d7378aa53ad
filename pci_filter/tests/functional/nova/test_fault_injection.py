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

"""Nothing that goes wrong while a host is decided reaches the request.

A request goes the way of the scheduler with Nova's own HostManager, filters
and weigher. What our code reads meanwhile is noted, and then each such read
fails in a request of its own.
"""

import copy
import gc
import itertools
import logging
import sys
import weakref

import fixtures
from nova import objects as nova_objects
from nova.pci import stats
from nova.scheduler import host_manager as nova_host_manager

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import matching
from pci_filter import objects
from pci_filter.scheduler import changes
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_manager as hook
from pci_filter.scheduler import host_troubles
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import injection

LOGGER = 'pci_filter.scheduler.failures'

#: Whose attributes are watched, of nova.objects.
OBJECTS = (
    'RequestSpec', 'InstancePCIRequests', 'InstancePCIRequest',
    'InstanceNUMATopology', 'InstanceNUMACell', 'NUMATopology', 'NUMACell',
    'RequestGroup', 'Destination', 'ComputeNode')

ERRORS = RuntimeError, NotImplementedError, AttributeError

FAULT = 'injected fault'

#: Our functions that may fail without an effect: what they would have found
#: out is read again, or Nova's own way is gone, or it would only be logged.
HARMLESS = {
    'start_reading': 'the rows are read after the compute nodes',
    'narrow': 'all hosts are loaded',
    'asks_for_devices': 'it counts as one that does',
    'request_began': 'only what a line names',
    '_update_from_compute_node': 'Nova parses the summary at once',
    'read_topologies': 'topologies are read when they are needed',
    'socket_of_cell': 'the socket is read at once',
    'counted': 'only logged', 'report': 'only logged', 'add': 'only logged',
    'log_summary': 'only logged',
}

#: What in-tree code asks a list of pools, beside whether it is true.
ASKED = {'pools', 'support_requests', 'apply_requests'}


class InjectionTestCase(base.NovaTestCase):
    """Four hosts in two cells, whose summaries all tell the contrary.

    By its rows an even one has what is asked for, and an odd one has not.
    """

    FILTERS = 'NUMATopologyFilter', 'PciPassthroughFilter'
    DEVICE_SPEC = '{"product_id": "154c"}'
    IN_PLACEMENT = True

    def setUp(self):
        super().setUp()
        for number in range(4):
            host = self.cloud.add_host(
                number // 2, f'host{number}',
                hardware.network_card(
                    hardware.INTEL_X710, 0x81, 1, ports=1,
                    vfs=4 if number % 2 == 0 else 1),
                [self.DEVICE_SPEC], scheduling.host_numa_topology([0, 0]),
                in_placement=self.IN_PLACEMENT)
            self.cloud.falsify_counts(
                host, lambda count, odd=number % 2: 9 if odd else 1)
        self._managers = {}
        self.specs = {
            'flavor': self.spec_of_flavor, 'ports': self.spec_of_ports,
            'too many': self.spec_of_too_many}
        self.providers()

    def spec_of_flavor(self):
        """Return a request that placement has a say in."""
        request = base.vf_request(2, alias_name='vf', numa_policy='socket')
        return scheduling.request_spec(
            [request], scheduling.instance_numa_topology([0]),
            requested_resources=base.request_groups([request]),
            requested_destination=nova_objects.Destination(
                cell=None, allow_cross_cell_move=True))

    def spec_of_ports(self):
        """Return a request that placement knows nothing of."""
        return scheduling.request_spec([
            base.vf_request(1, numa_policy='preferred'), base.vf_request()])

    def spec_of_too_many(self):
        return scheduling.request_spec([base.vf_request(20)])

    def fresh(self, on_load_failure):
        """Return a HostManager that has told nothing yet."""
        manager = self._managers.get(on_load_failure)
        if manager is None:
            manager = self._managers[on_load_failure] = self.our_manager(
                self.FILTERS, on_load_failure=on_load_failure)
        mapper = manager.enabled_filters[-1].pool_mapper
        # No host is told of before those of this request.
        mapper.failures.__dict__.update(
            _troubles=changes.Troubles(),
            _unmade=host_troubles.HostTroubles(),
            _undecided=host_troubles.HostTroubles())
        return manager

    def serve(self, manager, kind, ahead=True):
        """Serve a request as the scheduler does, for two instances.

        :returns: the hosts that pass for the first instance, and the
            HostStates by host
        """
        spec = self.specs[kind]()
        uuids = [host.node_uuid for host in self.cloud.hosts.values()]
        states = scheduling.host_states(
            manager, spec, uuids if ahead else None)
        self.give_candidates(states, spec)
        passing = {}
        for instance in range(2):
            filtered = manager.get_filtered_hosts(list(states), spec)
            passing[instance] = {state.host for state in filtered}
            if instance == 0:
                self.deciding = [
                    (state.host, type(state.pci_stats)) for state in states]
            if filtered:
                chosen = manager.get_weighed_hosts(filtered, spec)[0].obj
                for group in spec.requested_resources:
                    group.provider_uuids = [self.providers()[chosen.host]]
                chosen.consume_from_request(spec)
        return passing[0], {state.host: state for state in states}

    def give_candidates(self, states, spec):
        groups = [group.requester_id for group in spec.requested_resources]
        for state in states:
            host = self.cloud.hosts[state.host]
            provider = self.providers()[host.name]
            state.allocation_candidates = [
                {'mappings': {group: [provider] for group in groups},
                 'allocations': {}}]

    def providers(self):
        if not hasattr(self, '_providers'):
            manager = self.our_manager()
            request = base.vf_request(2, alias_name='vf')
            self._providers = {
                state.host: state.pci_stats.pools[0].get('rp_uuid')
                for state in scheduling.host_states(
                    manager, scheduling.request_spec(
                        [request],
                        requested_resources=base.request_groups([request])))}
        return self._providers

    def told(self, before):
        """Return what we have told, and see that Nova has met no fault.

        :param before: the length of the log before that
        """
        lines = [line for line in self.log.output[before:].splitlines()
                 if line.startswith(('WARNING', 'ERROR'))]
        ours = [line for line in lines if LOGGER in line]
        self.assertNotIn(FAULT, str(set(lines) - set(ours)))
        return ours

    def degraded(self, states, on_load_failure):
        """Return the hosts that are not decided by their rows."""
        found = {host: type(state.pci_stats)
                 for host, state in states.items()
                 if type(state.pci_stats) is not guarded_pools.GuardedPools}
        self.assertLessEqual(set(found.values()), {
            stats.PciDeviceStats if on_load_failure == 'summary'
            else guarded_pools.NoPools})
        return set(found)

    def expected(self, kind):
        """Return who should have passed for the first instance."""
        right = {guarded_pools.GuardedPools: {'host0', 'host2'},
                 stats.PciDeviceStats: {'host1', 'host3'},
                 guarded_pools.NoPools: set()}
        return {host for host, decides in self.deciding
                if host in right[decides] and kind != 'too many'}

    def assertDocumented(self, name, line):
        self.assertRegex(line, documented.pattern(
            name, rejects='no PCI request' in line))

    def check_line(self, host, line, *names):
        """See that a line is a documented one and names the host."""
        self.assertIn(f'host {host}, node {host} in cell '
                      f'{self.cloud.hosts[host].cell.uuid} ', line)
        self.assertTrue(any(
            documented.pattern(name, rejects='no PCI request' in line)
            .fullmatch(line) for name in names), line)


class TestReads(InjectionTestCase):

    def setUp(self):
        super().setUp()
        self.injection = self.useFixture(injection.Injection([
            nova_host_manager.HostState, matching.PciDevicePool,
            matching.PoolKind,
            *(getattr(nova_objects, name) for name in OBJECTS)]))
        self.found = {}
        self.tried = self.degradations = 0

    def points(self, kind, ahead):
        """Return what is read for a request, and was not for those before.

        :returns: each place, and our functions that led there
        """
        manager = self.fresh('summary')
        self.injection.watch()
        try:
            passing, states = self.serve(manager, kind, ahead)
        finally:
            self.injection.stop()
        self.assertEqual(self.expected(kind), passing)
        self.assertEqual(set(), self.degraded(states, 'summary'))
        new = {point: callers
               for point, callers in self.injection.found.items()
               if point not in self.found}
        self.found |= new
        return new

    def ask(self, point, kind, ahead, error, on_load_failure, only_once):
        """Serve a request in which a read fails.

        :returns: the hosts that are degraded, and what we tell
        """
        manager = self.fresh(on_load_failure)
        before = len(self.log.output)
        self.injection.fail_at(point, error(FAULT), only_once)
        try:
            passing, states = self.serve(manager, kind, ahead)
        finally:
            self.injection.stop()
        self.assertGreater(self.injection.raised, 0, point)
        degraded = self.degraded(states, on_load_failure)
        self.assertEqual(self.expected(kind), passing, point)
        return degraded, self.told(before)

    def check_once(self, point, callers, *args):
        """See that one host is degraded, or all if the request is at fault.

        :returns: how many were
        """
        degraded, told = self.ask(point, *args, only_once=True)
        if callers & HARMLESS.keys() and not degraded:
            self.assertLessEqual(len(told), 1, point)
            for line in told:
                self.assertDocumented('not-logged', line)
            return 0
        self.assertEqual(1, len(told), (point, told))
        if len(degraded) == 1:
            self.check_line(degraded.pop(), told[0], 'host-not-made',
                            'undecided')
            return 1
        self.assertNotIn(point.cls, ('HostState', 'PciDevicePool'))
        self.assertEqual(set(self.cloud.hosts), degraded, point)
        self.assertDocumented('request-not-made', told[0])
        return len(degraded)

    def check_always(self, point, *args):
        """See that no host is told of twice."""
        degraded, told = self.ask(point, *args, only_once=False)
        self.assertLessEqual(len(told), len(self.cloud.hosts) + 1, point)
        self.assertEqual(len(told), len(set(told)), (point, told))
        if degraded:
            self.assertNotEqual([], told, point)

    def check_all(self, kind, ahead=True):
        """Let each read fail in a request of its own, and in all it does.

        :param kind: of request
        :param ahead: whether the rows are read while Nova reads its compute
            nodes
        """
        values = itertools.cycle(('summary', 'reject'))
        fields = {}
        for point, callers in self.points(kind, ahead).items():
            fields.setdefault(point[:2], point)
            for error in ERRORS:
                self.degradations += self.check_once(
                    point, callers, kind, ahead, error, next(values))
                self.tried += 1
        for point in fields.values():
            self.check_always(
                point, kind, ahead, RuntimeError, next(values))
            self.tried += 1

    def test_each_read(self):
        self.check_all('flavor')
        self.check_all('flavor', ahead=False)
        self.check_all('ports')
        self.check_all('too many')
        for name in ('pci_filter.scheduler.rejections',
                     'nova.scheduler.filters'):
            logger = logging.getLogger(name)
            self.addCleanup(logger.setLevel, logger.level)
            logger.setLevel(logging.DEBUG)
        self.check_all('too many')
        print(f'{len(self.found)} places of ours that read an attribute; '
              f'{self.tried} requests with a fault; '
              f'{self.degradations} hosts degraded')
        self.assertGreater(len(self.found), 90)


class TestPlaceReads(TestReads):
    """A guest whose place matters: a port counts, and excludes functions."""

    DEVICE_SPEC = '{"vendor_id": "8086"}'
    IN_PLACEMENT = False

    def setUp(self):
        super().setUp()
        self.specs = {'place': self.spec_of_place}

    def spec_of_place(self):
        return scheduling.request_spec([
            base.vf_request(2, numa_policy='preferred'),
            scheduling.pci_request({'vendor_id': '8086'})
        ], scheduling.instance_numa_topology([0]))

    def test_each_read(self):
        self.check_all('place')
        self.assertIn('first_place.py', str(list(self.found)))


class TestMethods(InjectionTestCase):
    """What in-tree code calls on a list of pools."""

    def test_asked_for(self):
        """There is nothing else that it asks for."""
        asked = set()

        def read(pools, name):
            frame = sys._getframe(1)
            if frame.f_globals['__name__'].startswith('nova.'):
                asked.add(name)
            return object.__getattribute__(pools, name)

        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.guarded_pools.GuardedPools'
                '.__getattribute__', read):
            for kind in self.specs:
                self.serve(self.fresh('summary'), kind)
        self.assertEqual(ASKED, asked)

    def broken(self, name, error):
        """Return what is in the place of a method, for one host."""
        original = vars(objects.PciDevicePoolList)[name]
        call = getattr(original, 'fget', original)

        def fail(pools, *args, **kwargs):
            host_state = getattr(pools, '_host_state', lambda: None)()
            if host_state is not None and host_state.host == 'host0':
                raise error(FAULT)
            return call(pools, *args, **kwargs)

        return fixtures.MonkeyPatch(
            f'pci_filter.objects.PciDevicePoolList.{name}',
            fail if call is original else property(fail))

    def test_each_method(self):
        for name, error, on_load_failure in itertools.product(
                ('pools', 'supports_requests', 'apply_requests', '_ask'),
                ERRORS, ('summary', 'reject')):
            manager = self.fresh(on_load_failure)
            before = len(self.log.output)
            with self.broken(name, error):
                passing, states = self.serve(manager, 'flavor')
            self.assertEqual(
                {'host0'}, self.degraded(states, on_load_failure), name)
            self.assertEqual(self.expected('flavor'), passing, name)
            # Those who take devices have passed before.
            self.assertEqual(name == 'apply_requests', 'host0' in passing)
            line, = self.told(before)
            self.check_line('host0', line, 'undecided')

    def test_told_once(self):
        manager = self.fresh('summary')
        with self.broken('supports_requests', RuntimeError):
            for _ in range(3):
                self.serve(manager, 'flavor')
        line, = self.told(0)
        self.check_line('host0', line, 'undecided')

    def test_of_nova(self):
        """What Nova alone would have raised is raised."""
        with self.broken('supports_requests', RuntimeError), \
                fixtures.MockPatch(
                    'nova.pci.stats.PciDeviceStats.support_requests',
                    side_effect=LookupError('theirs')):
            self.assertRaises(LookupError, self.serve,
                              self.fresh('summary'), 'flavor')
            self.assertEqual(
                {'host2'}, self.serve(self.fresh('reject'), 'flavor')[0])

    def test_host_states_of_another_package(self):
        """They cannot make Nova's stats anew."""
        class Theirs(nova_host_manager.HostState):
            pass

        hook.detach()
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.host_manager.HostManager.host_state_cls',
            lambda self, host, node, cell, **kwargs: Theirs(
                host, node, cell)))
        for on_load_failure in ('summary', 'reject'):
            manager = self.fresh(on_load_failure)
            with self.broken('supports_requests', RuntimeError):
                passing, states = self.serve(manager, 'flavor')
            self.assertIs(Theirs, type(states['host0']))
            self.assertEqual(
                {'host0'}, self.degraded(states, on_load_failure))
            self.assertEqual({'host2'}, passing)
        hook.detach()

    def test_copied_host_state(self):
        """Others copy HostStates to try something; so could they without us.

        What is taken from one, or goes wrong with it, leaves the other.
        """
        _, states = self.serve(self.fresh('reject'), 'ports')
        original = states['host0']
        copied = copy.deepcopy(original)
        requests = self.spec_of_ports().pci_requests.requests
        before = original.pci_stats.pools
        copied.pci_stats.apply_requests(requests)
        self.assertEqual(before, original.pci_stats.pools)
        self.assertNotEqual(before, copied.pci_stats.pools)
        copied.pci_stats._give_up(RuntimeError(FAULT))
        self.assertIs(guarded_pools.NoPools, type(copied.pci_stats))
        self.assertIs(guarded_pools.GuardedPools, type(original.pci_stats))

    def test_no_cycle(self):
        """A HostState goes when its request does."""
        state = scheduling.host_states(
            self.fresh('summary'), self.specs['flavor']())[0]
        gone = weakref.ref(state)
        self.assertIsInstance(state.pci_stats, guarded_pools.GuardedPools)
        gc.disable()
        self.addCleanup(gc.enable)
        pools = state.pci_stats
        del state
        self.assertIsNone(gone())
        self.assertRaises(TypeError, pools.support_requests, 5, None)
