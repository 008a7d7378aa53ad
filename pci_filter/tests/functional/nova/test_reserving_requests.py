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

"""What is reserved for requests of each kind, and for which nothing is."""

import itertools
import os

import nova.conf
from nova import objects
from nova.virt import hardware as nova_hardware
from oslo_utils import uuidutils

from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import selecting

PF = {'vendor_id': hardware.INTEL_X710.vendor_id,
      'product_id': hardware.INTEL_X710.product_id, 'dev_type': 'type-PF'}

RESOURCE = 'CUSTOM_PCI_DEVICE'


class TestNothingToReserve(selecting.SelectingTestCase):

    def check_costs_nothing(self, select):
        """No row of a device is read, and nobody asks the store."""
        with base.Statements('pci_devices') as statements:
            server = select()
        self.assertEqual([], statements.texts)
        self.assertFalse(
            os.path.exists(nova.conf.CONF.pci_filter.reservation_file))
        self.assertEqual([], self.log_lines(selecting.RESERVING))
        return server

    def test_no_devices(self):
        self.add_host('host0')
        self.assertEqual(
            'host0', self.check_costs_nothing(self.select).host.name)

    def test_no_devices_left(self):
        """Those without devices do not even mind that there are none."""
        host = self.add_gpus('host0')
        self.cloud.claim(host, [selecting.gpu_request()])
        self.check_costs_nothing(self.select)

    def test_rebuild(self):
        """It stays where it is, with the devices it has."""
        host = self.add_gpus('host0')
        spec = self.spec(
            selecting.gpu_request(), scheduler_hints={
                '_nova_check_type': ['rebuild']},
            requested_destination=objects.Destination(
                host=host.name, node=host.name))

        def select():
            ((selection, *_),) = self.select_all(spec)
            self.assertEqual('host0', selection.service_host)

        self.check_costs_nothing(select)

    def test_reservations_none(self):
        self.manager = self.scheduler(reservations='none')
        host = self.add_gpus('host0')
        for _ in range(3):
            with base.Statements('FROM (SELECT') as statements:
                self.assertEqual(
                    host, self.select(selecting.gpu_request()).host)
            self.assertEqual([], [
                text for text in statements.texts if 'instances' in text])
        self.assertFalse(
            os.path.exists(nova.conf.CONF.pci_filter.reservation_file))


class TestForcedHosts(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.hosts = [self.add_gpus(f'host{n}') for n in range(2)]
        self.forced = {'force_hosts': ['host1'], 'force_nodes': ['host1']}

    def test_reserved(self):
        server = self.select(selecting.gpu_request(), **self.forced)
        self.assertEqual([server.uuid], self.counting(self.hosts[1]))
        self.assertIn('on host host1, for 1 server', self.assertNoneFits(
            selecting.gpu_request(), **self.forced))
        self.assertEqual(
            'host0', self.select(selecting.gpu_request()).host.name)

    def test_no_devices(self):
        """No filter is asked; Nova sends it there, and so do we."""
        self.cloud.claim(self.hosts[1], [selecting.gpu_request()])
        server = self.select(selecting.gpu_request(), **self.forced)
        self.assertEqual('host1', server.host.name)
        self.assertEqual([], self.counting(self.hosts[1]))


class TestOtherFilters(selecting.SelectingTestCase):

    def test_ignore_hosts(self):
        hosts = [self.add_gpus(f'host{n}', 2) for n in range(2)]
        for _ in range(2):
            server = self.select(
                selecting.gpu_request(), ignore_hosts=['host0'])
            self.assertEqual('host1', server.host.name)
        self.assertEqual([], self.kept(hosts[0]))
        self.assertEqual('', self.assertNoneFits(
            selecting.gpu_request(3), ignore_hosts=['host0']))
        self.assertRegex(
            self.assertNoneFits(
                selecting.gpu_request(), ignore_hosts=['host0']),
            r'come: on host host1, for 2 servers such as \S+, for at most '
            r'\d+ s\. What ')

    def test_server_group(self):
        self.manager = self.scheduler([
            'ServerGroupAntiAffinityFilter', *scheduling.PCI_FILTER])
        hosts = [self.add_gpus(f'host{n}', 2) for n in range(3)]
        taken = self.select(
            selecting.gpu_request(2), force_hosts=['host1'],
            force_nodes=['host1'])
        group = objects.InstanceGroup(
            uuid=uuidutils.generate_uuid(), policy='anti-affinity', hosts=[],
            members=[], rules={})
        spec = self.spec(
            selecting.gpu_request(), instance_group=group, num_instances=2,
            scheduler_hints={'group': [group.uuid]})
        uuids = [spec.instance_uuid, uuidutils.generate_uuid()]
        selections = self.select_all(spec, uuids)
        self.assertEqual({'host0', 'host2'}, {
            one[0].service_host for one in selections})
        self.assertEqual(
            [1, 1, 1], list(map(len, map(self.counting, hosts))))
        self.assertEqual([taken.uuid], self.counting(hosts[1]))

    @property
    def reserver(self):
        return self.manager.host_manager.enabled_filters[-1].reserver


class TestMultiCreate(selecting.SelectingTestCase):

    cells = 2

    def test_on_one_host(self):
        """Each sees what those before it were promised."""
        host = self.add_host('host0', 1)
        for number, fits in ((5, False), (4, True)):
            spec = self.spec(base.vf_request(), num_instances=number)
            uuids = [uuidutils.generate_uuid() for _ in range(number)]
            if fits:
                self.select_all(spec, uuids)
                self.assertEqual(uuids, self.counting(host))
            else:
                self.assertRaises(
                    selecting.NoValidHost, self.select_all, spec, uuids)
                self.assertEqual([], self.counting(host))

    def test_in_two_cells(self):
        hosts = [self.add_gpus(f'host{n}', cell=n) for n in range(2)]
        servers = self.select_at_once(2, selecting.gpu_request())
        self.assertEqual(set(hosts), {server.host for server in servers})
        for server in servers:
            self.assertEqual([server.uuid], self.counting(server.host))
        self.assertIn('host host', self.assertNoneFits(
            selecting.gpu_request()))
        for server in servers:
            server.boot(server.host)
            self.assertEqual([], self.counting(server.host))


class TestRelatives(selecting.SelectingTestCase):
    """A port excludes its functions, promised or taken."""

    def setUp(self):
        super().setUp()
        self.host = self.add_host('host0')

    def check(self, first, second):
        server = self.select(first)
        self.assertIn('on host host0', self.assertNoneFits(second))
        server.boot(self.host)
        self.assertEqual('', self.assertNoneFits(second))
        server.delete()
        self.select(second).boot(self.host)

    def test_port_first(self):
        self.check(scheduling.pci_request(PF), base.vf_request())

    def test_function_first(self):
        self.check(base.vf_request(), scheduling.pci_request(PF))

    def test_other_functions(self):
        for _ in range(4):
            self.select(base.vf_request())
        self.assertIn('4 servers', self.assertNoneFits(base.vf_request()))


class TestAnyOrder(selecting.SelectingTestCase):
    """Whoever claims first, everybody who was promised a device gets one."""

    SPECS = {
        'port': [PF],
        'function': [{'vendor_id': '8086', 'product_id': '154c'}],
        'either': [PF, {'vendor_id': '8086', 'product_id': '154c'}],
        'gpu': [selecting.GPU],
        'gpu or function': [
            selecting.GPU, {'vendor_id': '8086', 'product_id': '154c'}]}

    def setUp(self):
        super().setUp()
        self.host = self.add(self.cloud.add_host(0, 'host0', [
            *hardware.network_card(
                hardware.INTEL_X710, 0x81, 0, ports=2, vfs=1),
            hardware.gpu(0x3b, 0)],
            ['{"vendor_id": "8086"}', '{"vendor_id": "10de"}']))

    def reserve(self, names):
        """Return the servers of those that fit."""
        servers = []
        for name in names:
            try:
                servers.append(self.select(
                    scheduling.pci_request(self.SPECS[name])))
            except selecting.NoValidHost:
                pass
        return servers

    def test_any_order(self):
        promised = 0
        for names in itertools.permutations(self.SPECS, 3):
            servers = self.reserve(names)
            promised += len(servers)
            self.assertNotEqual([], servers)
            for order in itertools.permutations(servers):
                self.claim_all(order)
            for server in servers:
                # Nova has never heard of it again.
                self.client.forget(server.uuid)
                server.create(self.host).set(deleted=1)
        # To refuse all but the first would be easy.
        self.assertGreater(promised, 120)

    def claim_all(self, servers):
        """Let Nova's tracker claim in this order, and store nothing."""
        with self.cloud.target(self.host.cell) as context:
            tracker = compute_host.new_tracker(context, self.host)
            for server in servers:
                compute_host.claim(
                    context, self.host, tracker, server.requests,
                    instance_uuid=server.uuid)


class NUMAGuestTestCase(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.manager = self.scheduler([
            *scheduling.PCI_FILTER, 'NUMATopologyFilter'])
        self.topology = scheduling.host_numa_topology((0, 1))

    def guest(self):
        return {'numa_topology': objects.InstanceNUMATopology(cells=[
            objects.InstanceNUMACell(
                id=0, cpuset={0}, pcpuset=set(), memory=512, pagesize=None,
                cpu_pinning_raw=None, cpu_policy=None,
                cpu_thread_policy=None)])}


class TestNUMAGuest(NUMAGuestTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add_gpus(
            'host0', numa_nodes=(0, 1), numa_topology=self.topology)

    def place(self, server):
        """Return where nova-compute places a guest as things are then."""
        return nova_hardware.numa_fit_instance_to_host(
            self.topology, self.guest()['numa_topology'],
            provider_mapping=None, limits=None,
            pci_requests=server.requests,
            pci_stats=self.cloud.running(self.host).stats)

    def request(self):
        return selecting.gpu_request(numa_policy='required')

    def test_a_place_each(self):
        for turn in (1, -1):
            servers = [self.select(self.request(), **self.guest())
                       for _ in range(2)]
            self.assertEqual([{0}, {1}], sorted(
                set(request.numa_cells) for one in self.kept(self.host)
                if one.instance_uuid in self.counting(self.host)
                for request in one.requests))
            self.assertIn('on host host0, for 2 servers', self.assertNoneFits(
                self.request(), **self.guest()))
            for server in servers[::turn]:
                server.create(self.host).arrive()
                server.claim(self.place(server)).build()
            for server in servers:
                server.delete()

    def test_two_at_once(self):
        """A guest that needs both finds them on no node."""
        self.assertEqual('', self.assertNoneFits(
            selecting.gpu_request(2, numa_policy='required'),
            **self.guest()))
        self.assertEqual([], self.kept(self.host))


class TestPlacedFirst(NUMAGuestTestCase):
    """A guest is placed elsewhere if it claims before those before it."""

    TESLA = {'vendor_id': '10de', 'product_id': '1db6'}
    AMPERE = {'vendor_id': '10de', 'product_id': '20b0'}

    def setUp(self):
        super().setUp()
        self.host = self.add(self.cloud.add_host(0, 'host0', [
            hardware.gpu(0x3b, 0), {
                **hardware.gpu(0x4b, 1),
                'product_id': self.AMPERE['product_id']}],
            ['{"vendor_id": "10de"}'], numa_topology=self.topology))

    def select_guest(self, *specs):
        return self.select(scheduling.pci_request(
            specs, numa_policy='required', alias_name='gpu'), **self.guest())

    def test_takes_the_only_one(self):
        """After the other it is placed on node 1, before it on node 0."""
        server = self.select_guest(self.TESLA)
        self.assertRaises(selecting.NoValidHost, self.select_guest,
                          self.TESLA, self.AMPERE)
        self.assertEqual([server.uuid], self.counting(self.host))

    def test_the_other_can_be_placed_elsewhere(self):
        server = self.select_guest(self.TESLA, self.AMPERE)
        other = self.select_guest(self.AMPERE, self.TESLA)
        self.assertEqual(
            {server.uuid, other.uuid}, set(self.counting(self.host)))


class TestInPlacement(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.override('filter_scheduler', pci_in_placement=True)
        self.host = self.add(self.cloud.add_host(0, 'host0', [
            *hardware.network_card(
                hardware.INTEL_X710, 0x81, 0, ports=1, vfs=1),
            hardware.gpu(0x3b, 0), hardware.gpu(0x3c, 0)],
            ['{"vendor_id": "8086"}', '{"vendor_id": "10de"}']))
        tracker = self.cloud.running(self.host)
        for device in tracker.pci_devs:
            if device.vendor_id == selecting.GPU['vendor_id']:
                uuid = uuidutils.generate_uuid()
                device.extra_info = {**device.extra_info, 'rp_uuid': uuid}
                self.client.add_provider(
                    uuid, f'host0_{device.address}', {RESOURCE: 1},
                    self.host.node_uuid)
        tracker.stats.populate_pools_metadata_from_assigned_devices()
        self.cloud.save(self.host)

    def tracked(self, *requests):
        return self.select(
            *requests, requested_resources=base.request_groups(requests))

    def test_whole(self):
        """Placement has arbitrated that already."""
        for _ in range(2):
            self.assertEqual(
                2, len(self.client.allocations(
                    self.tracked(selecting.gpu_request()).uuid)))
        self.assertEqual([], self.kept(self.host))
        self.assertEqual([], self.log_lines(selecting.RESERVING))
        self.assertRaises(
            selecting.NoValidHost, self.tracked, selecting.gpu_request())

    def test_mixed(self):
        requests = selecting.gpu_request(), base.vf_request()
        server = self.tracked(*requests)
        one, = self.kept(self.host)
        self.assertEqual(server.uuid, one.instance_uuid)
        self.assertEqual(
            [requests[1].request_id],
            [request.label.removeprefix('request ')
             for request in one.requests])
        # Both are to be seen before the claim is.
        self.assertEqual(2, one.devices)
        self.assertRaises(
            selecting.NoValidHost, self.tracked, selecting.gpu_request(),
            base.vf_request())
        self.assertEqual(
            [server.uuid], self.counting(self.host))
        # The refused one has nothing in placement.
        self.tracked(selecting.gpu_request())
