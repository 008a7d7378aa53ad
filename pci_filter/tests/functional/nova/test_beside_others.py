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
from nova import context as nova_context
from nova import objects as nova_objects
from nova.pci import stats
from nova.scheduler import host_manager as nova_host_manager

from pci_filter import exception
from pci_filter.fixture import databases
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import base

METHOD = 'get_host_states_by_uuids'
FILTER = 'pci_filter.scheduler.filters.pci_passthrough_filter'


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
        self.assertEqual([objects.PciDevicePoolList] * 4,
                         [type(state.pci_stats) for state in states])
        self.assertEqual(4, len(scheduling.passing_hosts(
            manager, states, self.spec)))
        self.assertEqual([], self.log_lines('ERROR pci_filter'))

    def test_passed_by(self):
        with databases.overriding(
                'filter_scheduler', enabled_filters=['PciPassthroughFilter'],
                available_filters=list(scheduling.OUR_FILTERS),
                track_instance_changes=False):
            manager = Overriding()
        # A request without devices needs no pools.
        plain = scheduling.request_spec([])
        self.assertEqual(4, len(scheduling.passing_hosts(
            manager, scheduling.host_states(manager, plain), plain)))
        self.assertEqual([], self.log_lines('ERROR pci_filter'))
        for _ in range(3):
            states = scheduling.host_states(manager, self.spec)
            self.assertEqual([stats.PciDeviceStats] * 4,
                             [type(state.pci_stats) for state in states])
            self.assertEqual(4, len(scheduling.passing_hosts(
                manager, states, self.spec)))
        self.assertEqual([
            f'ERROR {FILTER} PCI requests are decided from '
            'compute_nodes.pci_stats: the HostStates of this scheduler do '
            'not come from HostManager.get_host_states_by_uuids(). Another '
            'package replaces that method; pci_filter cannot work beside '
            'it.'], self.log_lines('ERROR pci_filter'))

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

    def test_anything_goes_wrong(self):
        self.useFixture(fixtures.MockPatch(
            'pci_filter.scheduler.unknown_tags.Reporter.report',
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
        error = self.assertRaises(
            exception.UnsupportedNova, self.our_manager)
        self.assertIn('as it does when another package has wrapped it',
                      str(error))


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
