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

"""When the rows are read, and of which nodes."""

import threading

import fixtures
from nova import context as nova_context
from nova import objects as nova_objects
from nova.pci import stats
from oslo_utils import uuidutils

from pci_filter.db import device_groups
from pci_filter.fixture import scheduling
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import guarded_pools
from pci_filter.tests.functional.nova import base

LOAD = 'pci_filter.db.device_groups.load'


class PoolMapperTestCase(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', cell=number % 2)
        self.manager = self.our_manager()
        self.mapper = self.manager.enabled_filters[0].pool_mapper
        #: The nodes of each read, and whether providers were read.
        self.reads = []
        #: What happens meanwhile, in its order.
        self.events = []
        load = device_groups.load

        def counted(connection, node_uuids, by_device, providers, *more):
            self.reads.append((list(node_uuids), providers))
            loaded = load(connection, node_uuids, by_device, providers, *more)
            self.events.append('rows')
            return loaded

        self.useFixture(fixtures.MonkeyPatch(LOAD, counted))
        original = self.manager._get_computes_for_cells

        def get_computes(*args, **kwargs):
            self.events.append('compute nodes')
            return original(*args, **kwargs)

        self.manager._get_computes_for_cells = get_computes

    def uuids(self, *names):
        return [self.cloud.hosts[name].node_uuid
                for name in names or self.cloud.hosts]

    def ask(self, uuids, requests=None, **fields):
        """Return the free devices of each host.

        :param uuids: what placement names; None for all hosts
        """
        spec = scheduling.request_spec(
            [base.vf_request()] if requests is None else requests, **fields)
        states = list(self.manager.get_host_states_by_uuids(
            nova_context.get_admin_context(), uuids, spec))
        self.assertEqual({guarded_pools.GuardedPools}, {
            type(state.pci_stats) for state in states})
        return {
            state.host: sum(pool['count'] for pool in state.pci_stats.pools)
            for state in states}

    def nodes_read(self):
        return sorted(sorted(nodes) for nodes, _ in self.reads)


class TestReadAhead(PoolMapperTestCase):

    def test_reader_is_started_before_nova_reads(self):
        reader = cell_reader.CellReader

        def start(*args):
            self.events.append('start')
            return reader(*args)

        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.cell_reader.CellReader', start))
        self.assertEqual(
            {f'host{number}': 5 for number in range(4)},
            self.ask(self.uuids()))
        self.assertEqual('start', self.events[0])
        self.assertEqual(
            ['compute nodes', 'rows', 'rows'], sorted(self.events[1:]))

    def test_nova_need_not_wait(self):
        """The rows are read while Nova reads the compute nodes."""
        go = threading.Event()
        self.addCleanup(go.set)
        load = device_groups.load

        def wait(*args):
            self.assertTrue(go.wait(20))
            return load(*args)

        self.useFixture(fixtures.MonkeyPatch(LOAD, wait))
        get_host_states = self.manager._get_host_states

        def then_go(*args):
            states = list(get_host_states(*args))
            self.assertEqual(['compute nodes'], self.events)
            go.set()
            return iter(states)

        self.manager._get_host_states = then_go
        self.assertEqual(
            {'host0': 5, 'host1': 5}, self.ask(self.uuids('host0', 'host1')))

    def test_each_cell_is_asked_once(self):
        uuids = self.uuids()
        self.ask(uuids)
        self.assertEqual([sorted(uuids)] * 2, self.nodes_read())

    def test_some_hosts(self):
        self.assertEqual({'host1': 5}, self.ask(self.uuids('host1')))
        self.assertEqual([self.uuids('host1')] * 2, self.nodes_read())

    def test_other_resource_providers_are_harmless(self):
        others = [uuidutils.generate_uuid() for _ in range(1200)]
        uuids = [*others[:600], *self.uuids('host2', 'host3'), *others[600:]]
        with base.Statements('pci_devices') as statements:
            self.assertEqual({'host2': 5, 'host3': 5}, self.ask(uuids))
        # Two statements in each of the two cells.
        self.assertEqual(4, len(statements.texts))

    def test_nothing_asked_for(self):
        self.assertRaises(StopIteration, next, iter(
            self.manager.get_host_states_by_uuids(
                nova_context.get_admin_context(), [],
                scheduling.request_spec([base.vf_request()]))))

    def test_requested_cell(self):
        for cross, expected, reads in (
                (False, {'host1': 5, 'host3': 5}, 1),
                (True, {f'host{n}': 5 for n in range(4)}, 2)):
            for known in (True, False):
                self.reads.clear()
                cell = self.cloud.cells[1]
                if not known and not cross:
                    del self.manager.cells[cell.uuid]
                destination = nova_objects.Destination(
                    cell=cell, allow_cross_cell_move=cross)
                self.assertEqual(expected, self.ask(
                    self.uuids(), requested_destination=destination))
                self.assertEqual(reads, len(self.reads))
                self.manager.refresh_cells_caches()

    def test_requested_cell_has_another_url(self):
        """nova-conductor's [database]connection need not be ours."""
        cell = self.cloud.cells[1].obj_clone()
        cell.database_connection = 'mysql+pymysql://nobody@nowhere.invalid/x'
        for cross in (False, True):
            destination = nova_objects.Destination(
                cell=cell, allow_cross_cell_move=cross)
            hosts = self.ask(
                self.uuids(), requested_destination=destination)
            self.assertEqual((5, 5), (hosts['host1'], hosts['host3']))
        self.assertNotIn('nowhere', self.log.output)

    def test_destination_without_a_cell(self):
        self.assertEqual({f'host{n}': 5 for n in range(4)}, self.ask(
            self.uuids(), requested_destination=nova_objects.Destination(
                host='host1')))
        self.assertEqual(2, len(self.reads))

    def test_disabled_cell(self):
        self.cloud.cells[1].disabled = True
        self.cloud.cells[1].save()
        self.addCleanup(nova_context.CELL_CACHE.clear)
        self.manager.refresh_cells_caches()
        self.assertEqual(
            {'host0': 5, 'host2': 5}, self.ask(self.uuids()))
        self.assertEqual(1, len(self.reads))

    def test_cell_fails(self):
        def fail(connection, node_uuids, *args):
            raise RuntimeError('no such luck')

        self.useFixture(fixtures.MonkeyPatch(LOAD, fail))
        spec = scheduling.request_spec([base.vf_request()])
        states = list(self.manager.get_host_states_by_uuids(
            nova_context.get_admin_context(), self.uuids(), spec))
        self.assertEqual([stats.PciDeviceStats] * 4, [
            type(state.pci_stats) for state in states])
        self.assertEqual(2, len(self.log_lines(
            'could not be read: RuntimeError: no such luck')))

    def test_nova_fails(self):
        """The request fails as it would, and nothing hangs."""
        def fail(*args, **kwargs):
            raise LookupError('of Nova')

        self.manager._get_computes_for_cells = fail
        self.assertRaisesRegex(
            LookupError, 'of Nova', self.ask, self.uuids())


class TestReadLater(PoolMapperTestCase):
    """What waits until it is known which nodes there are."""

    def check(self, expected, *args, **fields):
        self.assertEqual(expected, self.ask(*args, **fields))
        self.assertEqual(['compute nodes', 'rows', 'rows'], self.events)
        self.assertEqual(
            sorted(map(sorted, (self.uuids('host0', 'host2'),
                                self.uuids('host1', 'host3')))),
            self.nodes_read())

    def test_all_nodes(self):
        self.check({f'host{n}': 5 for n in range(4)}, None)

    def test_many_cells(self):
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.pool_mapper._CELLS_AHEAD', 1))
        self.check({f'host{n}': 5 for n in range(4)}, self.uuids())

    def test_how_many_are_too_many(self):
        name = 'pci_filter.scheduler.pool_mapper._UUIDS_AHEAD'
        context = nova_context.get_admin_context()
        spec = scheduling.request_spec([base.vf_request()])
        for nodes, ahead, started in (
                (1, 2, True), (1, 1, False), (5, 10, True), (6, 10, False),
                (None, 99, False)):
            self.useFixture(fixtures.MonkeyPatch(name, ahead))
            uuids = None if nodes is None else [
                f'uuid{number}' for number in range(nodes)]
            reader = self.mapper.start_reading(
                context, self.manager, uuids, spec)
            self.assertEqual(started, reader is not None, (nodes, ahead))
            if reader:
                cells = [cell.uuid for cell in self.cloud.cells]
                self.assertEqual(
                    dict.fromkeys(cells, {}), reader.answers(cells))

    def test_without_a_reader(self):
        spec = scheduling.request_spec([base.vf_request()])
        states = scheduling.host_states(
            self.manager, scheduling.request_spec([]))
        self.assertEqual([], self.reads)
        self.mapper.map_pools(
            nova_context.get_admin_context(), self.manager, states, spec)
        self.assertEqual([5] * 4, [
            sum(pool['count'] for pool in state.pci_stats.pools)
            for state in states])

    def test_cell_that_was_not_asked(self):
        """Nova came to know of it in between."""
        context = nova_context.get_admin_context()
        spec = scheduling.request_spec([base.vf_request()])
        self.manager.enabled_cells, cells = (
            self.manager.enabled_cells[:1], self.manager.enabled_cells)
        reader = self.mapper.start_reading(
            context, self.manager, self.uuids(), spec)
        self.manager.enabled_cells = cells
        states = scheduling.host_states(
            self.manager, scheduling.request_spec([]))
        self.mapper.map_pools(context, self.manager, states, spec, reader)
        self.assertEqual([5] * 4, [
            sum(pool['count'] for pool in state.pci_stats.pools)
            for state in states])
        self.assertEqual(2, len(self.reads))
        self.assertIn(
            sorted(self.uuids('host1', 'host3')), self.nodes_read())

    def test_cannot_start(self):
        """It is tried again, and what fails then is told."""
        cell_readers = cell_reader.CellReader
        failures = [RuntimeError('no threads left')]

        def start(*args):
            if failures:
                raise failures.pop()
            return cell_readers(*args)

        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.cell_reader.CellReader', start))
        self.check({f'host{n}': 5 for n in range(4)}, self.uuids())
        self.assertEqual([], self.log_lines('WARNING pci_filter'))


class TestProviders(PoolMapperTestCase):
    """Providers are read for requests that placement has a say in."""

    def providers_read(self, requests, **fields):
        read = set()
        for uuids in (None, self.uuids()):
            self.reads.clear()
            self.ask(uuids, requests, **fields)
            read |= {providers for _, providers in self.reads}
        return read

    def test_request_groups(self):
        request = base.vf_request(2, alias_name='vf')
        groups = base.request_groups([request])
        self.assertEqual(2, len(groups))
        for some, expected in (
                (groups, {True}), (groups[1:], {True}), ([], {False}),
                (base.request_groups([base.vf_request(alias_name='vf')]),
                 {False}),
                ([nova_objects.RequestGroup(requester_id=None), *groups],
                 {True})):
            self.assertEqual(expected, self.providers_read(
                [request], requested_resources=some))

    def test_ports(self):
        request = base.vf_request()
        self.assertEqual({False}, self.providers_read(
            [request], requested_resources=[nova_objects.RequestGroup(
                requester_id=request.request_id)]))

    def test_stored_providers(self):
        request = scheduling.pci_request(
            {'vendor_id': '8086', 'rp_uuids': uuidutils.generate_uuid()},
            alias_name='vf')
        self.assertEqual({True}, self.providers_read([request]))

    def test_without_devices(self):
        self.manager = self.our_manager(load_for='all_requests')
        for spec in (None, scheduling.request_spec([])):
            self.reads.clear()
            states = scheduling.host_states(self.manager, spec)
            self.assertEqual([guarded_pools.GuardedPools] * 4, [
                type(state.pci_stats) for state in states])
            self.assertEqual({False}, {
                providers for _, providers in self.reads})
