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

"""Hosts with too few devices are left out before Nova loads them."""

import functools
import itertools
import logging
import threading
import time

import fixtures
from nova import context as nova_context
from nova import objects as nova_objects
from nova.scheduler.filters import compute_filter

from pci_filter.db import device_groups
from pci_filter.db import fitting_nodes
from pci_filter.fixture import scheduling
from pci_filter.scheduler import narrowed
from pci_filter.scheduler import prefilter
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import selecting

LOGGER = 'pci_filter.scheduler.narrowed'
PREFILTER = 'pci_filter.scheduler.prefilter'


class PrefilterMixin:
    """Counts what is too few to be worth it, too."""

    def setUp(self):
        super().setUp()
        self.patch(prefilter, 'WORTH', 0)


class TestNarrow(PrefilterMixin, base.NovaTestCase):
    """Hosts with 1 to 4 functions in two cells."""

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', number % 2, number + 1)
        self.spec = scheduling.request_spec([base.vf_request(3)])

    def uuids(self):
        return [host.node_uuid for host in self.cloud.hosts.values()]

    def loaded(self, manager=None, spec=None, more=()):
        """Return the hosts that Nova loads for a request."""
        return [state.host for state in scheduling.host_states(
            manager or self.our_manager(), spec or self.spec,
            [*self.uuids(), *more])]

    def test_only_those_that_can_fit(self):
        self.assertEqual(['host2', 'host3'], self.loaded())

    def test_they_have_their_pools(self):
        manager = self.our_manager()
        states = scheduling.host_states(manager, self.spec, self.uuids())
        self.assertEqual([[1, 3], [1, 4]], [
            sorted(pool.count for pool in state.pci_stats)
            for state in states])
        self.assertEqual({'host2', 'host3'}, scheduling.passing_hosts(
            manager, states, self.spec))

    def test_devices_are_read_of_them_only(self):
        asked = []
        load = device_groups.load

        def note(connection, node_uuids, *args, **kwargs):
            asked.append(list(node_uuids))
            return load(connection, node_uuids, *args, **kwargs)

        self.patch(device_groups, 'load', note)
        self.loaded()
        self.assertEqual({'host2', 'host3'}, {
            host.name for host in self.cloud.hosts.values()
            if host.node_uuid in set(itertools.chain(*asked))})

    def test_other_providers_are_dropped(self):
        seen = []
        manager = self.our_manager()
        original = manager._get_computes_for_cells

        def note(context, cells, compute_uuids):
            seen.extend(compute_uuids)
            return original(context, cells, compute_uuids)

        manager._get_computes_for_cells = note
        self.loaded(manager, more=['11111111-2222-3333-4444-555555555555'])
        self.assertEqual([
            self.cloud.hosts[name].node_uuid for name in ('host2', 'host3')],
            seen)

    def test_arguments_by_keyword(self):
        self.assertEqual(['host2', 'host3'], sorted(
            state.host for state in
            self.our_manager().get_host_states_by_uuids(
                context=nova_context.get_admin_context(),
                compute_uuids=dict.fromkeys(self.uuids()).keys(),
                spec_obj=self.spec)))

    def test_requests_for_the_same_add_up(self):
        spec = scheduling.request_spec(
            [base.vf_request(1), base.vf_request(2)])
        self.assertEqual(['host2', 'host3'], self.loaded(spec=spec))

    def test_upper_case(self):
        for spec in self.spec.pci_requests.requests[0].spec:
            spec['product_id'] = spec['product_id'].upper()
        self.cloud.execute(
            self.cloud.cells[1],
            "UPDATE pci_devices SET vendor_id = upper(vendor_id), "
            "product_id = upper(product_id)")
        self.assertEqual(['host2', 'host3'], self.loaded())

    def test_port_is_not_taken_unless_asked_for(self):
        """It has no ids in a request of Neutron, which wants no ports."""
        spec = scheduling.request_spec([scheduling.pci_request(
            {'physical_network': 'physnet1'}, 5)])
        self.add_host('host4', 0, 5)
        self.assertEqual(['host4'], self.loaded(spec=spec))

    def test_all(self):
        for options, fields in (
                ({'narrow': False}, {}),
                ({'load_for': 'all_requests'}, {}),
                ({}, {'force_hosts': ['host0']}),
                ({}, {'force_nodes': ['host0']})):
            spec = scheduling.request_spec([base.vf_request(3)], **fields)
            self.assertEqual(
                4, len(self.loaded(self.our_manager(**options), spec)),
                (options, fields))

    def test_few_hosts(self):
        self.patch(prefilter, 'WORTH', 3)
        self.assertEqual(4, len(self.loaded()))
        self.patch(prefilter, 'WORTH', 2)
        self.assertEqual(2, len(self.loaded()))

    def break_cell(self):
        """Let a cell lack a column, and return what mends it."""
        cell = self.cloud.cells[0]
        rename = 'ALTER TABLE pci_devices RENAME COLUMN {} TO {}'.format
        self.cloud.execute(cell, rename('status', 'state'))
        return functools.partial(
            self.cloud.execute, cell, rename('state', 'status'))

    def test_cell_that_cannot_be_read(self):
        mend = self.break_cell()
        manager = self.our_manager()
        self.assertEqual(4, len(self.loaded(manager)))
        asked = []
        original = fitting_nodes.load
        with fixtures.MonkeyPatch(
                'pci_filter.db.fitting_nodes.load',
                lambda *args, **more: (
                    asked.append(args), original(*args, **more))[1]):
            # It is known to be ill now, and is not waited for.
            self.assertEqual(4, len(self.loaded(manager)))
            self.assertEqual([], asked)
            mend()
            rests = manager.enabled_filters[0].pool_mapper.prefilter
            rests._rests_until = dict.fromkeys(rests._rests_until, 0)
            self.assertEqual(['host2', 'host3'], self.loaded(manager))
        self.assertEqual({}, rests._rests_until)

    def test_requests_for_other_cells(self):
        """A cell that rests keeps nobody else from being asked."""
        self.break_cell()
        manager = self.our_manager()
        self.assertEqual(4, len(self.loaded(manager)))
        self.assertEqual(['host3'], self.loaded(
            manager, self.spec_in(self.cloud.cells[1])))

    def test_cell_that_is_slow(self):
        """It is left alone for a while: it has enough to do."""
        manager = self.our_manager()
        self.hold(fitting_nodes, 'load')
        with fixtures.MonkeyPatch(f'{PREFILTER}._PATIENCE', 0.1):
            self.assertEqual(4, len(self.loaded(manager)))
        self.assertEqual(4, len(self.loaded(manager)))
        self.assertEqual([], self.log_lines('could not be read'))
        rests = manager.enabled_filters[0].pool_mapper.prefilter._rests_until
        for until in rests.values():
            self.assertAlmostEqual(
                time.monotonic() + prefilter._REST, until, delta=30)

    def hold(self, module, name):
        """Let a read not end before the test does."""
        go = threading.Event()
        self.addCleanup(go.set)
        original = getattr(module, name)
        self.patch(module, name, lambda *args: (
            go.wait(20), original(*args))[1])

    def test_slow_is_not_overdue(self):
        """Who gives up waiting leaves the connections to those who do not."""
        self.hold(fitting_nodes, 'load')
        self.patch(prefilter, '_PATIENCE', 0.1)
        self.assertEqual(4, len(self.loaded(
            self.our_manager(on_load_failure='reject'))))
        self.assertEqual([], self.log_lines('could not be read'))

    def spec_in(self, cell, **more):
        return scheduling.request_spec(
            [base.vf_request(3)],
            requested_destination=nova_objects.Destination(
                cell=cell, allow_cross_cell_move=False, **more))

    def test_requested_cell(self):
        self.assertEqual(['host3'], self.loaded(
            spec=self.spec_in(self.cloud.cells[1])))

    def test_requested_host(self):
        """Nova would say that it is not the requested one."""
        self.assertEqual(['host1', 'host3'], self.loaded(
            spec=self.spec_in(self.cloud.cells[1], host='host1')))

    def test_no_cells(self):
        manager = self.our_manager()
        manager.cells, manager.enabled_cells = {}, []
        self.assertEqual([], self.loaded(manager))
        self.assertEqual(1, len(self.log_lines('No cells were found')))

    def test_nothing_is_left(self):
        spec = scheduling.request_spec([base.vf_request(9)])
        with base.Statements('services') as statements:
            self.assertEqual([], self.loaded(spec=spec))
        self.assertEqual([], statements.texts)
        line, = self.log_lines(f'INFO {LOGGER} ')
        self.assertEqual(
            f'INFO {LOGGER} Of the hosts for instance {spec.instance_uuid}, '
            '4 were left out before nova-scheduler loaded them, and its '
            'filters saw none: 4 of 4 hosts have fewer than 9 available '
            '8086:154c.', line)
        self.assertRegex(line, documented.pattern('left-out'))

    def test_filter_tells(self):
        """Those that it rejects are not all."""
        manager = self.our_manager()
        spec = scheduling.request_spec([scheduling.pci_request({
            'vendor_id': '8086', 'product_id': '154c',
            'physical_network': 'physnet2'}, 3)])
        states = scheduling.host_states(manager, spec, self.uuids())
        self.assertEqual(set(), scheduling.passing_hosts(
            manager, states, spec))
        line, = self.log_lines('None of the 2 hosts that reached ')
        end = line[line.index('Left out before: '):]
        self.assertEqual('Left out before: 2 of 4 hosts have fewer than 3 '
                         'available 8086:154c.', end)
        self.assertRegex(end, documented.pattern('left-out-before'))
        self.assertEqual([], self.log_lines(f'INFO {LOGGER} '))

    def test_line_of_a_request(self):
        manager = self.our_manager()
        with fixtures.FakeLogger(
                level=logging.DEBUG,
                format='%(levelname)s %(name)s %(message)s') as log:
            states = scheduling.host_states(manager, self.spec, self.uuids())
            for _ in range(2):
                # It is about the first server, if there are several.
                scheduling.passing_hosts(manager, states, self.spec)
        line, = [line for line in log.output.splitlines()
                 if 'pci_filter request: ' in line]
        self.assertRegex(line, documented.pattern('request'))
        self.assertIn(f'instance={self.spec.instance_uuid} cells=2 asked=4 '
                      'left=2 loaded=2 fallback=0 shared=1 groups=4 '
                      'devices=9 hosts=2 passed=2 narrowing_ms=', line)

    def test_its_words_are_not_waited_for(self):
        self.hold(fitting_nodes, 'load_counts')
        self.patch(narrowed, 'FOR_WORDS', 0.1)
        self.loaded(spec=scheduling.request_spec([base.vf_request(9)]))
        line, = self.log_lines(f'INFO {LOGGER} ')
        self.assertRegex(line, documented.pattern('left-out'))
        self.assertIn(' some were left out before ', line)
        self.assertEqual('each has fewer than 9 available 8086:154c.',
                         line.partition('saw none: ')[2])

    def test_freed_meanwhile(self):
        self.patch(fitting_nodes, 'load', lambda *args, **more: set())
        self.loaded()
        line, = self.log_lines(f'INFO {LOGGER} ')
        self.assertIn('2 of 4 hosts have fewer than 3 available', line)
        self.patch(fitting_nodes, 'load_counts', lambda *args, **more: {
            uuid: [9] for uuid in self.uuids()})
        self.loaded()
        *_, line = self.log_lines(f'INFO {LOGGER} ')
        self.assertEqual('all of them have what is asked for by now.',
                         line.partition('saw none: ')[2])

    def test_words_of_an_earlier_request(self):
        manager = self.our_manager()
        self.loaded(manager)
        self.patch(prefilter, 'WORTH', 99)
        spec = scheduling.request_spec([base.vf_request(9)])
        states = scheduling.host_states(manager, spec, self.uuids())
        scheduling.passing_hosts(manager, states, spec)
        line, = self.log_lines('None of the 4 hosts that reached ')
        self.assertNotIn('Left out', line)

    def limit_list(self, number):
        """Let placement's list be that long at most, and hide the rest."""
        self.override('scheduler', max_placement_results=number)
        self.patch(prefilter.Prefilter, 'count_others', lambda *args: None)

    def test_list_cut(self):
        self.limit_list(4)
        spec = scheduling.request_spec([base.vf_request(9)])
        self.loaded(spec=spec)
        line, = self.log_lines(f'INFO {LOGGER} ')
        self.assertRegex(line[line.index(' Placement gave') + 1:],
                         documented.pattern('list-cut'))
        self.assertIn(' at least 4 allocation requests', line)

    def test_list_cut_and_filtered(self):
        self.limit_list(4)
        spec = scheduling.request_spec([scheduling.pci_request(
            {'vendor_id': '8086', 'product_id': '154c',
             'physical_network': 'physnet2'}, 3)])
        manager = self.our_manager()
        states = scheduling.host_states(manager, spec, self.uuids())
        scheduling.passing_hosts(manager, states, spec)
        line, = self.log_lines('None of the 2 hosts that reached ')
        self.assertIn(' at least 4 allocation requests', line)


class TestSelecting(PrefilterMixin, selecting.SelectingTestCase):
    """The whole way, with placement."""

    def test_lands(self):
        self.add_gpus('gpu0', 1)
        host = self.add_gpus('gpu1', 2)
        self.assertEqual(
            host.name, self.select(selecting.gpu_request(2)).host.name)

    def test_line_without_a_decision(self):
        """No host reaches the filter, so the end of the request tells."""
        self.add_gpus('gpu0', 1)
        self.patch(compute_filter.ComputeFilter, 'host_passes',
                   lambda *args: False)
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request(),
            manager=self.scheduler(['ComputeFilter', 'PciPassthroughFilter']))
        line, = self.log_lines('DEBUG pci_filter.scheduler.stages')
        self.assertIn(' loaded=1 fallback=0 shared=1 groups=1 ', line)
        self.assertNotIn('deciding_ms', line)

    def test_other_filters_reject_the_rest(self):
        """Nova would say that ComputeFilter saw one host and rejected it."""
        self.add_gpus('gpu0', 1)
        self.add_gpus('gpu1', 2)
        self.patch(compute_filter.ComputeFilter, 'host_passes',
                   lambda *args: False)
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request(2),
            manager=self.scheduler(['ComputeFilter', 'PciPassthroughFilter']))
        line, = self.log_lines(f'INFO {LOGGER} ')
        self.assertRegex(line, documented.pattern('left-out'))
        self.assertIn('1 of 2 hosts have fewer than 2 available ', line)

    def test_without_reservations(self):
        self.add_gpus('gpu0', 1)
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request(2),
            manager=self.scheduler(reservations='none'))
        self.assertEqual(1, len(self.log_lines(f'INFO {LOGGER} ')))
