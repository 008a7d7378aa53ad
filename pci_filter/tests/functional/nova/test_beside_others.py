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

"""Other packages that put their hands on Nova's HostManager."""

import functools
import logging

import fixtures
import nova.conf
from nova import context as nova_context
from nova import objects as nova_objects
from nova.pci import stats
from nova.scheduler.filters import numa_topology_filter as nova_filter
from nova.scheduler import host_manager as nova_host_manager
from oslo_context import context as oslo_context

from pci_filter import conf
from pci_filter.db import device_groups
from pci_filter import exception
from pci_filter.fixture import databases
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

METHOD = 'get_host_states_by_uuids'
LATE = 'pci_filter.scheduler.late_mapper'


def method():
    return getattr(nova_host_manager.HostManager, METHOD)


class Overriding(nova_host_manager.HostManager):
    """A HostManager that makes its HostStates without the method we wrap."""

    def get_host_states_by_uuids(self, context, compute_uuids, spec_obj):
        nodes, services = self._get_computes_for_cells(
            context, self.enabled_cells, compute_uuids)
        return self._get_host_states(context, nodes, services)


class TestBesideOthers(base.NovaTestCase):

    log_level = logging.DEBUG

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', cell=number % 2)
        self.spec = scheduling.request_spec([base.vf_request()])
        hook.detach()
        self.original = method()

    def wrap(self, wrapper):
        """Put something in the place of the method, ours or Nova's."""
        # Not fixtures.MonkeyPatch: that puts something else there.
        self.addCleanup(setattr, nova_host_manager.HostManager, METHOD,
                        self.original)
        setattr(nova_host_manager.HostManager, METHOD, wrapper)

    def check_loads(self, manager, expected=2):
        """See how many statements one request costs, and that it works."""
        with base.Statements('pci_devices') as statements:
            states = scheduling.host_states(manager, self.spec, [
                host.node_uuid for host in self.cloud.hosts.values()])
        self.assertEqual(expected, len(statements.texts), statements.texts)
        self.assertEqual([guarded_pools.GuardedPools] * 4,
                         [type(state.pci_stats) for state in states])
        self.assertEqual(4, len(scheduling.passing_hosts(
            manager, states, self.spec)))
        self.assertEqual([], self.log_lines('ERROR pci_filter'))

    def test_not_passed_by_but_unreadable(self):
        for options in ({}, {'on_load_failure': 'reject'}):
            manager = self.our_manager(**options)
            self.useFixture(fixtures.MockPatch(
                'pci_filter.db.device_groups.load',
                side_effect=RuntimeError('no threads left')))
            scheduling.passing_hosts(
                manager, scheduling.host_states(manager, self.spec),
                self.spec)
        self.assertNotEqual([], self.log_lines('WARNING pci_filter'))
        self.assertEqual([], self.log_lines('ERROR pci_filter'))
        self.assertEqual([], self.log_lines(LATE))

    def test_enabled_twice(self):
        self.check_loads(self.our_manager(['PciPassthroughFilter'] * 2))

    def test_foreign_wrapper(self):
        """It does not say that it wraps ours, so ours is put on it again."""
        manager = self.our_manager()
        wrapped = method()

        def foreign(self, context, compute_uuids, spec_obj):
            return wrapped(self, context, compute_uuids, spec_obj)

        self.wrap(foreign)
        self.check_loads(manager)
        second = self.our_manager()
        self.assertIs(foreign, method().pci_filter_original)
        self.check_loads(second)
        self.check_loads(manager)
        hook.detach()
        self.assertIs(foreign, method())

    def test_foreign_wrapper_with_functools(self):
        manager = self.our_manager()
        wrapped = method()

        @functools.wraps(wrapped)
        def foreign(*args, **kwargs):
            return wrapped(*args, **kwargs)

        self.wrap(foreign)
        second = self.our_manager()
        self.assertIs(foreign, method())
        self.check_loads(manager)
        self.check_loads(second)

    def test_host_states_of_another_package(self):
        class Theirs(nova_host_manager.HostState):
            pass

        hook.detach()
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.host_manager.HostManager.host_state_cls',
            lambda self, host, node, cell, **kwargs: Theirs(
                host, node, cell)))
        manager = self.our_manager()
        self.check_loads(manager)
        self.assertEqual({Theirs}, set(map(
            type, scheduling.host_states(manager, self.spec))))
        hook.detach()

    def test_nothing_can_be_reported(self):
        self.useFixture(fixtures.MockPatch(
            'pci_filter.scheduler.unknown_tags.Reporter.report',
            side_effect=AttributeError('bug')))
        manager = self.our_manager()
        for _ in range(2):
            self.check_loads(manager)
        errors = self.log_lines('could not be logged: AttributeError: bug')
        self.assertEqual(1, len(errors), errors)

    def test_anything_goes_wrong(self):
        self.useFixture(fixtures.MockPatch(
            'pci_filter.objects.pool_load.PoolMaker',
            side_effect=AttributeError('bug')))
        manager = self.our_manager()
        for _ in range(2):
            states = scheduling.host_states(manager, self.spec)
            self.assertEqual(4, len(scheduling.passing_hosts(
                manager, states, self.spec)))
        errors = self.log_lines('could not be made: AttributeError: bug')
        self.assertEqual(1, len(errors), errors)

    def check_detach(self, make):
        """See that a wrapper of ours is not taken away; ours alone is."""
        self.our_manager()
        wrapped = method()
        foreign = make(wrapped)
        self.wrap(foreign)
        hook.detach()
        self.assertIs(foreign, method())
        self.wrap(wrapped)
        hook.detach()
        self.assertIs(self.original, method())

    def test_detach_leaves_foreign_wrapper_alone(self):
        def make(wrapped):
            return lambda self, context, compute_uuids, spec_obj: wrapped(
                self, context, compute_uuids, spec_obj)

        self.check_detach(make)

    def test_detach_leaves_foreign_wrapper_with_functools_alone(self):
        def make(wrapped):
            return functools.wraps(wrapped)(lambda *args: wrapped(*args))

        self.check_detach(make)

    def test_wrapper_that_takes_anything(self):
        original = method()
        self.wrap(lambda *args, **kwargs: original(*args, **kwargs))
        self.check_loads(self.our_manager())


class TestPassedBy(base.NovaTestCase):
    """HostStates that do not come from the method that we wrap."""

    log_level = logging.DEBUG

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', cell=number % 2)
        # Nova's summary goes on to tell of free functions.
        self.cloud.execute(self.cloud.cells[1], (
            "UPDATE pci_devices SET status = 'allocated'"))
        self.spec = scheduling.request_spec([base.vf_request()])

    def manager(self, enabled=scheduling.PCI_FILTER, **options):
        """Return a HostManager of another package, with our filter."""
        conf.register_opts(nova.conf.CONF)
        with databases.overriding(
                'filter_scheduler', enabled_filters=list(enabled),
                available_filters=list(scheduling.OUR_FILTERS),
                track_instance_changes=False), databases.overriding(
                    'pci_filter', **options):
            return Overriding()

    def passing(self, manager, spec=None):
        spec = spec or self.spec
        states = scheduling.host_states(manager, spec)
        self.assertEqual([stats.PciDeviceStats] * 4,
                         [type(state.pci_stats) for state in states])
        return scheduling.passing_hosts(manager, states, spec)

    def test_verdicts(self):
        manager = self.manager()
        # A request without devices needs no pools.
        plain = scheduling.request_spec([])
        with base.Statements('pci_devices') as statements:
            self.assertEqual(4, len(self.passing(manager, plain)))
        self.assertEqual([], statements.texts)
        self.assertEqual([], self.log_lines(LATE))
        for _ in range(3):
            with base.Statements('pci_devices') as statements:
                self.assertEqual(
                    {'host0', 'host2'}, self.passing(manager))
            self.assertEqual(2, len(statements.texts), statements.texts)
        line, = self.log_lines(LATE)
        self.assertRegex(
            line, documented.pattern('passed-by'))
        self.assertEqual([], self.log_lines('ERROR pci_filter'))

    def test_some_host_states(self):
        """Another package adds HostStates to Nova's."""
        ours = self.our_manager()
        states = scheduling.host_states(
            ours, self.spec, [self.cloud.hosts['host0'].node_uuid])
        with base.Statements('pci_devices') as statements:
            self.assertEqual({'host0', 'host2'}, scheduling.passing_hosts(
                ours, states + [
                    state for state in scheduling.host_states(
                        Overriding(), self.spec) if state.host != 'host0'],
                self.spec))
        self.assertEqual(2, len(statements.texts), statements.texts)

    def test_no_manager_knows_the_cell(self):
        """The cells are read anew, so there is nothing to be refreshed."""
        manager = self.manager()
        self.assertEqual({'host0', 'host2'}, self.passing(manager))
        states = scheduling.host_states(manager, self.spec)
        manager.cells.clear()
        self.assertEqual({'host0', 'host2'}, scheduling.passing_hosts(
            manager, states, self.spec))

    def test_second_instance(self):
        """What the first one was given is not read again."""
        manager = self.manager()
        spec = scheduling.request_spec([base.vf_request(3)])
        states = scheduling.host_states(manager, spec)
        for left in ({'host0', 'host2'}, {'host2'}, set()):
            with base.Statements('JOIN compute_nodes') as statements:
                self.assertEqual(left, scheduling.passing_hosts(
                    manager, states, spec))
            if len(left) == 1:
                self.assertEqual([], statements.texts)
            for state in states:
                if state.host in left:
                    state.limits = {}
                    state.consume_from_request(spec)
                    break

    def kept(self, **options):
        """Return a HostManager and HostStates that have served a request.

        All devices are in use since.
        """
        manager = self.manager(**options)
        states = scheduling.host_states(manager, self.spec)
        self.assertEqual({'host0', 'host2'}, scheduling.passing_hosts(
            manager, states, self.spec))
        self.cloud.execute(self.cloud.cells[0], (
            "UPDATE pci_devices SET status = 'allocated'"))
        return manager, states

    def ask_kept(self, manager, states):
        """Return who passes for a request of its own."""
        for state in states:
            state.allocation_candidates = [{'mappings': {}}]
        spec = scheduling.request_spec([base.vf_request()])
        return scheduling.passing_hosts(manager, states, spec)

    def test_kept_host_states(self):
        """A package that keeps them does not keep what they had to offer."""
        manager, states = self.kept()
        self.assertEqual(set(), self.ask_kept(manager, states))
        self.cloud.execute(self.cloud.cells[1], (
            "UPDATE pci_devices SET status = 'available'"))
        self.assertEqual({'host1', 'host3'}, self.ask_kept(manager, states))

    def test_kept_host_states_unreadable(self):
        """What decides then is nothing of the request before."""
        broken = fixtures.MonkeyPatch(
            'pci_filter.db.device_groups.load', lambda *args: {}['gone'])
        for options, decides, expected in (
                ({}, stats.PciDeviceStats, 4),
                ({'on_load_failure': 'reject'}, guarded_pools.NoPools, 0)):
            self.cloud.execute(self.cloud.cells[0], (
                "UPDATE pci_devices SET status = 'available'"))
            manager, states = self.kept(**options)
            with broken:
                self.assertEqual(
                    expected, len(self.ask_kept(manager, states)))
            self.assertEqual(
                {decides}, {type(state.pci_stats) for state in states})
            self.assertEqual(set(), self.ask_kept(manager, states))
            # Nothing says any more that rows could not be read.
            *_, line = self.log_lines('rejections None of the 4 hosts')
            self.assertIn('4 hosts that reached PciPassthroughFilter has',
                          line)

    def test_unreadable(self):
        rename = 'ALTER TABLE pci_devices RENAME COLUMN {} TO {}'.format
        for cell in self.cloud.cells:
            self.cloud.execute(cell, rename('status', 'state'))
            self.addCleanup(
                self.cloud.execute, cell, rename('state', 'status'))
        for options, expected in (
                ({}, {'host0', 'host1', 'host2', 'host3'}),
                ({'on_load_failure': 'reject'}, set())):
            self.assertEqual(
                expected, self.passing(self.manager(**options)))
        self.assertEqual(4, len(self.log_lines(
            'WARNING pci_filter.scheduler.failures')))

    def test_cells_cannot_be_read(self):
        manager = self.manager()
        broken = fixtures.MockPatch(
            'nova.objects.CellMappingList.get_all',
            side_effect=RuntimeError('no API database'))
        with broken:
            # Nobody knows where to read, so the summary decides.
            self.assertEqual(4, len(self.passing(manager)))
        self.assertEqual({'host0', 'host2'}, self.passing(manager))
        with broken:
            self.assertEqual({'host0', 'host2'}, self.passing(manager))
            self.assertEqual({'host0', 'host2'}, self.passing(manager))
        self.assertEqual([
            'The cell mappings could not be read from the API database: '
            f'RuntimeError. Until they can, {known} that are known already '
            'are used.' for known in (0, 3)],
            [line.partition(f'{LATE} ')[2]
             for line in self.log_lines('The cell mappings could not')])
        told = self.log_lines(f'{LATE} The cell mappings ')
        self.assertEqual(3, len(told), told)
        for name, line in zip(('mappings-unreadable',
                               'mappings-readable-again'), told):
            self.assertRegex(line, documented.pattern(name))

    def test_before_numa_topology_filter(self):
        """It sees our pools if it comes later, Nova's if it does not."""
        guest = nova_objects.InstanceNUMATopology(cells=[
            nova_objects.InstanceNUMACell(
                id=0, cpuset={0}, pcpuset=set(), memory=512)])
        spec = scheduling.request_spec([base.vf_request()], guest)
        seen = []
        original = nova_filter.NUMATopologyFilter.host_passes

        def host_passes(self, host_state, spec_obj):
            seen.append(type(host_state.pci_stats))
            return original(self, host_state, spec_obj)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.filters.numa_topology_filter.'
            'NUMATopologyFilter.host_passes', host_passes))
        names = ['PciPassthroughFilter', 'NUMATopologyFilter']
        for enabled, expected in (
                (names, {guarded_pools.GuardedPools}),
                (names[::-1], {stats.PciDeviceStats})):
            seen.clear()
            self.passing(self.manager(enabled), spec)
            self.assertEqual(expected, set(seen))

    def test_log_names_the_request(self):
        context = nova_context.RequestContext(
            request_id='req-theirs', is_admin=False)
        self.spec._context = context
        seen = []
        original = device_groups.load

        def load(*args, **kwargs):
            seen.append(oslo_context.get_current().request_id)
            return original(*args, **kwargs)

        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.device_groups.load', load))
        self.passing(self.manager())
        self.assertEqual(['req-theirs'] * 2, seen)


class TestQueries(base.NovaTestCase):
    """Requests that need no pools, or those of few hosts."""

    def setUp(self):
        super().setUp()
        for number in range(2):
            self.add_host(f'host{number}', cell=number)
        self.manager = self.our_manager()

    def ask(self, **fields):
        """Return the HostStates, how many statements, and who passes."""
        spec = scheduling.request_spec([base.vf_request()], **fields)
        with base.Statements('pci_devices') as statements:
            states = list(self.manager.get_host_states_by_uuids(
                nova_context.get_admin_context(), None, spec))
        for state in states:
            state.allocation_candidates = [
                {'mappings': {}, 'allocations': {}}]
        return states, len(statements.texts), scheduling.passing_hosts(
            self.manager, states, spec)

    def test_rebuild(self):
        hints = {'_nova_check_type': ['rebuild']}
        states, statements, passing = self.ask(scheduler_hints=hints)
        self.assertEqual(0, statements)
        self.assertEqual([stats.PciDeviceStats] * 2,
                         [type(state.pci_stats) for state in states])
        self.assertEqual({'host0', 'host1'}, passing)
        self.assertEqual([], self.log_lines('ERROR pci_filter'))
        self.assertEqual(2, self.ask()[1])

    def test_requested_cell(self):
        for known in (True, False):
            cell = self.cloud.cells[1]
            if not known:
                del self.manager.cells[cell.uuid]
            states, statements, passing = self.ask(
                requested_destination=nova_objects.Destination(
                    cell=cell, allow_cross_cell_move=False))
            self.assertEqual(['host1'], [state.host for state in states])
            self.assertIsInstance(
                states[0].pci_stats, objects.PciDevicePoolList)
            self.assertEqual((1, {'host1'}), (statements, passing))
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_no_tag_source(self):
        error = self.assertRaises(
            exception.NoTagSource, self.our_manager, tag_sources=[])
        self.assertIn('[pci_filter]tag_sources is empty', str(error))
        self.assertEqual(1, len(str(error).splitlines()))
