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

"""The hook: when it acts, what it leaves alone, what it refuses."""

import functools
import inspect
import json
import logging
import subprocess
import sys
import threading
import types

import fixtures
from nova import context as nova_context
from nova import objects as nova_objects
from nova.objects import pci_device_pool
from nova.pci import stats
from nova.scheduler import host_manager as nova_host_manager
import testtools

from pci_filter import exception
from pci_filter.fixture import scheduling
from pci_filter import known_nova
from pci_filter import objects
from pci_filter.scheduler.filters import pci_passthrough_filter
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_manager as hook
from pci_filter.scheduler import host_states
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

METHOD = 'nova.scheduler.host_manager.HostManager.get_host_states_by_uuids'
HOST_STATE_CLS = 'nova.scheduler.host_manager.HostManager.host_state_cls'
FROM_PCI_STATS = 'nova.objects.pci_device_pool.from_pci_stats'


def method():
    return nova_host_manager.HostManager.get_host_states_by_uuids


class TestUntouched(testtools.TestCase):

    def run_program(self, *args):
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m',
             'pci_filter.tests.functional.nova.untouched', *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def test_available_but_not_enabled(self):
        result = self.run_program()
        self.assertEqual([], result['loaded'])
        self.assertEqual(
            ['pci_filter.scheduler.filters.pci_passthrough_filter'],
            result['classes'])
        self.assertGreater(result['attributes'], 500)
        self.assertEqual([], result['imported'])
        self.assertEqual([], result['available'])
        self.assertEqual([stats.__name__], result['pools'])
        self.assertIs(False, result['options'])

    def test_enabled_is_seen(self):
        result = self.run_program('--enable')
        self.assertEqual([], result['available'])
        self.assertEqual([METHOD, HOST_STATE_CLS], [
            name for name in result['enabled'] if 'HostManager' in name])
        self.assertEqual([FROM_PCI_STATS], [
            name for name in result['enabled'] if 'pci_device_pool' in name])


class TestAttach(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        hook.detach()
        self.original = method()

    def test_attach_once_and_detach(self):
        hook.attach()
        wrapped = method()
        self.assertIsNot(self.original, wrapped)
        hook.attach()
        self.assertIs(wrapped, method())
        hook.detach()
        self.assertIs(self.original, method())
        hook.detach()
        self.assertIs(self.original, method())

    def test_attach_from_many_threads(self):
        barrier = threading.Barrier(16)
        seen, errors = [], []

        def make_filter():
            try:
                barrier.wait(10)
                pci_passthrough_filter.PciPassthroughFilter()
                seen.append(method())
            except Exception as error:
                errors.append(error)

        tests_base.run_in_threads(16, make_filter)
        self.assertEqual([], errors)
        self.assertEqual([method()] * 16, seen)
        self.assertIs(self.original, method().pci_filter_original)

    def test_enabled_filter_attaches(self):
        self.our_manager(['ComputeFilter'])
        self.assertIs(self.original, method())
        self.our_manager()
        self.assertIs(self.original, method().pci_filter_original)

    def test_other_host_manager_is_unaffected(self):
        self.add_host('host0')
        spec = scheduling.request_spec([base.vf_request()])
        theirs = self.cloud.host_manager()
        ours = self.our_manager()
        state, = scheduling.host_states(ours, spec)
        self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
        with base.Statements('pci_devices') as statements:
            state, = scheduling.host_states(theirs, spec)
        self.assertIs(stats.PciDeviceStats, type(state.pci_stats))
        self.assertEqual([], statements.texts)

    def test_signature_changed(self):
        def get_host_states_by_uuids(self, context, uuids, spec, extra=None):
            pass

        self.check_refused(
            get_host_states_by_uuids,
            'takes self, context, uuids, spec, extra instead of '
            'self, context, compute_uuids, spec_obj')

    def test_signature_asks_for_more(self):
        def get_host_states_by_uuids(
                self, context, compute_uuids, spec_obj, extra):
            pass

        self.check_refused(
            get_host_states_by_uuids,
            'takes self, context, compute_uuids, spec_obj, extra instead of '
            'self, context, compute_uuids, spec_obj')

    def check_refused(self, changed, text):
        self.useFixture(fixtures.MockPatch(METHOD, changed))
        error = self.assertRaises(
            exception.UnsupportedNova, self.our_manager)
        self.assertIn(text, str(error))
        self.assertIn(
            f'Supported releases: {known_nova.SUPPORTED}.', str(error))
        self.assertIn('2026.2 (34)', str(error))
        self.assertEqual(1, len(str(error).splitlines()))
        self.assertIs(changed, method())

    def test_method_missing(self):
        self.useFixture(fixtures.MonkeyPatch(
            METHOD, fixtures.MonkeyPatch.delete))
        error = self.assertRaises(
            exception.UnsupportedNova, self.our_manager)
        self.assertIn('its HostManager has no get_host_states_by_uuids()',
                      str(error))
        self.assertIn(
            f'Supported releases: {known_nova.SUPPORTED}.', str(error))

    def test_unknown_tag_source(self):
        error = self.assertRaises(
            exception.UnknownTagSource, self.our_manager,
            tag_sources=['pci_stats', 'oracle'])
        self.assertEqual(
            "[pci_filter]tag_sources names the unknown source 'oracle'. "
            'Choose from: device_spec, pci_devices, pci_stats.', str(error))

    def test_broken_device_spec(self):
        for value, reason in (
                ('{"vendor_id": "8086"', 'not JSON'),
                ('"8086"', 'neither a JSON dictionary nor a list of such'),
                ('{"vendor_id": "xyz"}', "vendor_id is not a hexadecimal"),
                ('{"address": "*:81:00.9"}', 'function of address'),
                ('{"address": {"bus": "(81"}}', 'no regular expression'),
                ('{"devname": "eth0"}', 'devname can only be resolved')):
            error = self.assertRaises(
                exception.InvalidDeviceSpec, self.our_manager,
                device_spec=[value])
            self.assertIn(f'[pci_filter]device_spec = {value}: ', str(error))
            self.assertIn(reason, str(error))
            self.assertEqual(1, len(str(error).splitlines()))


class TestOtherNova(base.NovaTestCase):
    """A Nova whose parts are not all as they are known."""

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', cell=number % 2)
        # Nova's summary goes on to tell of free functions.
        self.cloud.execute(self.cloud.cells[1], (
            "UPDATE pci_devices SET status = 'allocated'"))
        hook.detach()

    def check(self, manager, warning=''):
        """See that the rows decide, and what is said of the Nova."""
        spec = scheduling.request_spec([base.vf_request()])
        for _ in range(2):
            states = scheduling.host_states(manager, spec)
            self.assertEqual([guarded_pools.GuardedPools] * 4,
                             [type(state.pci_stats) for state in states])
            # Their tags are from the summary.
            self.assertEqual([5, 0] * 2, [
                sum(pool['count'] for pool in state.pci_stats.pools)
                for state in states])
            self.assertEqual({'host0', 'host2'}, scheduling.passing_hosts(
                manager, states, spec))
        plain = scheduling.request_spec([])
        states = scheduling.host_states(manager, plain)
        self.assertEqual([[4, 1]] * 4, [
            sorted((pool['count'] for pool in state.pci_stats.pools),
                   reverse=True) for state in states])
        self.our_manager()
        lines = self.log_lines('WARNING pci_filter')
        self.assertEqual([] if not warning else [
            'WARNING pci_filter.scheduler.host_manager This Nova is not one '
            f'that pci_filter knows: {warning}. {hook.SLOWER}'], lines)
        for line in lines:
            self.assertRegex(line,
                             documented.pattern('other-nova'))

    def without_from_pci_stats(self):
        """Let Nova find elsewhere what makes pools of the summary."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.compute_node.pci_device_pool',
            types.SimpleNamespace(**vars(pci_device_pool))))
        self.useFixture(fixtures.MonkeyPatch(
            FROM_PCI_STATS, fixtures.MonkeyPatch.delete))

    def without_host_state_cls(self):
        """Let Nova make HostStates in another way."""
        original = nova_host_manager.HostManager.host_state_cls
        self.useFixture(fixtures.MonkeyPatch(
            HOST_STATE_CLS, fixtures.MonkeyPatch.delete))

        def _get_host_states(self, *args):
            vars(self)['host_state_cls'] = functools.partial(original, self)
            return get(self, *args)

        get = nova_host_manager.HostManager._get_host_states
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.host_manager.HostManager._get_host_states',
            _get_host_states))

    def test_as_known(self):
        self.check(self.our_manager())

    def test_without_host_state_cls(self):
        self.without_host_state_cls()
        self.check(self.our_manager(),
                   'its HostManager has no host_state_cls()')

    def test_without_from_pci_stats(self):
        self.without_from_pci_stats()
        self.check(self.our_manager(),
                   'its pci_device_pool has no from_pci_stats()')

    def test_without_both(self):
        self.without_host_state_cls()
        self.without_from_pci_stats()
        self.check(self.our_manager(),
                   'its HostManager has no host_state_cls(); '
                   'its pci_device_pool has no from_pci_stats()')

    def test_other_parameters(self):
        def host_state_cls(self, compute, *, host, node, cell):
            return nova_host_manager.HostState(host, node, cell)

        def get(self, context, compute_nodes, services):
            for cell, computes in compute_nodes.items():
                for compute in computes:
                    state = self.host_state_cls(
                        compute, host=compute.host,
                        node=compute.hypervisor_hostname, cell=cell)
                    state.update(compute, dict(services[compute.host]), [],
                                 {})
                    yield state

        def from_pci_stats(context, stored):
            return parse(stored)

        parse = pci_device_pool.from_pci_stats
        # Not MonkeyPatch, which wraps a method.
        self.useFixture(fixtures.MockPatch(HOST_STATE_CLS, host_state_cls))
        self.useFixture(fixtures.MockPatch(
            'nova.scheduler.host_manager.HostManager._get_host_states', get))
        self.useFixture(fixtures.MonkeyPatch(
            'nova.objects.compute_node.pci_device_pool',
            types.SimpleNamespace(
                from_pci_stats=functools.partial(from_pci_stats, None))))
        self.useFixture(fixtures.MonkeyPatch(FROM_PCI_STATS, from_pci_stats))
        self.check(
            self.our_manager(),
            'HostManager.host_state_cls() takes self, compute, host, node, '
            'cell instead of self, host, node, cell, compute, as it does '
            'when another package has wrapped it; '
            'pci_device_pool.from_pci_stats() takes context, stored instead '
            'of pci_stats, as it does when another package has wrapped it')

    def test_further_parameters(self):
        """Whatever Nova gives or does not give arrives."""
        given = []
        manager_class = nova_host_manager.HostManager
        originals = (manager_class.get_host_states_by_uuids,
                     manager_class.host_state_cls,
                     pci_device_pool.from_pci_stats)

        class Grown(nova_host_manager.HostState):
            def __init__(self, host, node, cell, color):
                super().__init__(host, node, cell)
                self.color = color

        def get_host_states_by_uuids(
                self, context, compute_uuids, spec_obj=None, limit=None,
                *more, color='red'):
            given.append((limit, more, color))
            return originals[0](self, context, compute_uuids, spec_obj)

        def host_state_cls(self, host, node, cell, compute, color='blue',
                           **more):
            return nova_host_manager.HostState(host, node, cell, color)

        def from_pci_stats(pci_stats, version=None, **more):
            return originals[2](pci_stats)

        for name, changed in (
                ('nova.scheduler.host_manager.HostState', Grown),
                (METHOD, get_host_states_by_uuids),
                (HOST_STATE_CLS, host_state_cls),
                (FROM_PCI_STATS, from_pci_stats)):
            self.useFixture(fixtures.MockPatch(name, changed))
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.host_states.HostState.__bases__',
            (Grown,)))
        manager = self.our_manager()
        self.check(manager)
        given.clear()
        spec = scheduling.request_spec([base.vf_request()])
        context = nova_context.get_admin_context()
        for get in (
                lambda: manager.get_host_states_by_uuids(
                    context, None, spec, 7, 8, color='green'),
                lambda: manager.get_host_states_by_uuids(
                    context, spec_obj=spec, compute_uuids=None, limit=7,
                    color='green')):
            states = list(get())
            self.assertEqual({guarded_pools.GuardedPools}, {
                type(state.pci_stats) for state in states})
            self.assertEqual({'blue'}, {state.color for state in states})
            self.assertEqual({host_states.HostState}, set(map(type, states)))
        self.assertEqual([(7, (8,), 'green'), (7, (), 'green')], given)
        hook.detach()


class TestLoad(base.NovaTestCase):

    log_level = logging.DEBUG

    def setUp(self):
        super().setUp()
        for number in range(6):
            self.add_host(f'host{number}', cell=number % 2)

    def states(self, manager, spec):
        return manager.get_host_states_by_uuids(
            nova_context.get_admin_context(), None, spec)

    def test_request_without_devices(self):
        manager = self.our_manager()
        for spec in (None, scheduling.request_spec([]),
                     scheduling.request_spec([], pci_requests=None)):
            with base.Statements('pci_devices') as statements:
                states = self.states(manager, spec)
                self.assertTrue(inspect.isgenerator(states))
                states = list(states)
            self.assertEqual([], statements.texts)
            self.assertEqual(
                [stats.PciDeviceStats] * 6,
                [type(state.pci_stats) for state in states])

    def test_one_statement_for_each_cell(self):
        for device_spec in ([], ['{"address": "*:81:*.*"}']):
            manager = self.our_manager(device_spec=device_spec)
            with base.Statements('pci_devices') as statements:
                states = list(self.states(
                    manager, scheduling.request_spec([base.vf_request()])))
            self.assertEqual(2, len(statements.texts), statements.texts)
            self.assertIn('GROUP BY', statements.texts[0])
            self.assertEqual(
                [guarded_pools.GuardedPools] * 6,
                [type(state.pci_stats) for state in states])
            self.assertEqual({5}, {
                sum(pool['count'] for pool in state.pci_stats.pools)
                for state in states})

    def test_only_hosts_asked_about(self):
        manager = self.our_manager()
        host = self.cloud.hosts['host1']
        with base.Statements('pci_devices') as statements:
            state, = manager.get_host_states_by_uuids(
                nova_context.get_admin_context(), [host.node_uuid],
                scheduling.request_spec([base.vf_request()]))
        self.assertEqual('host1', state.host)
        self.assertEqual([4, 1], [
            pool['count'] for pool in state.pci_stats.pools][::-1])
        # Nobody knows yet which cell the host is in: Nova asks all, too.
        self.assertEqual(2, len(statements.texts))
        for text in statements.texts:
            self.assertRegex(text, r'uuid IN \((\?|%[^,]*s)\)')

    def test_all_requests(self):
        manager = self.our_manager(load_for='all_requests')
        for spec in (None, scheduling.request_spec([])):
            with base.Statements('pci_devices') as statements:
                states = list(self.states(manager, spec))
            self.assertEqual(2, len(statements.texts))
            self.assertEqual(
                [guarded_pools.GuardedPools] * 6,
                [type(state.pci_stats) for state in states])

    def test_no_hosts(self):
        self.cloud.reset()
        manager = self.our_manager()
        with base.Statements('pci_devices') as statements:
            self.assertEqual([], list(self.states(
                manager, scheduling.request_spec([base.vf_request()]))))
        self.assertEqual([], statements.texts)

    def test_cell_of_request_only(self):
        """A cell that the HostManager has yet to hear of is read too."""
        manager = self.our_manager()
        cell = self.cloud.cells[0]
        del manager.cells[cell.uuid]
        destination = nova_objects.Destination(
            cell=cell, allow_cross_cell_move=False)
        spec = scheduling.request_spec(
            [base.vf_request()], requested_destination=destination)
        states = list(self.states(manager, spec))
        self.assertEqual({'host0', 'host2', 'host4'},
                         {state.host for state in states})
        self.assertEqual(
            [guarded_pools.GuardedPools] * 3,
            [type(state.pci_stats) for state in states])
