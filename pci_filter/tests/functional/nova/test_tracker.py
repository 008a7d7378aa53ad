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

"""What our tracker claims, on rows that it wrote itself."""

from nova import exception as nova_exception
from nova import objects
from oslo_utils import uuidutils

from pci_filter.compute import tracker
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

SPEC = ['{"address": "*:81:*.*", "physical_network": "physnet1"}']
BARE_SPEC = ['{"vendor_id": "8086"}', '{"vendor_id": "10de"}']

#: The ports of the card, and the functions of each, lowest address first.
PORTS = ['0000:81:00.0', '0000:81:00.1']
FUNCTIONS = [[f'0000:81:{slot}.{number}' for number in range(4)]
             for slot in ('02', '06')]


def pf_request(count=1, **fields):
    return scheduling.pci_request(
        {'product_id': hardware.INTEL_X710.product_id,
         'dev_type': 'type-PF'}, count, **fields)


def gpu_request(policy=None, count=1):
    return scheduling.pci_request(
        {'vendor_id': '10de'}, count, numa_policy=policy)


class TrackerTestCase(base.NovaTestCase):

    cells = 1

    def add(self, name='ours', ports=2, device_spec=SPEC, devices=None,
            tracker_class=tracker.PciDevTracker, **more):
        """Add a host with our tracker; by default with one network card."""
        if devices is None:
            devices = self.card(ports)
        return self.cloud.add_host(
            0, name, devices, device_spec, tracker=tracker_class, **more)

    def card(self, ports=2):
        return hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=ports, vfs=4)

    def statuses(self, host):
        return {address: row['status']
                for address, row in self.cloud.rows(host).items()}

    def refused(self, host, *requests, numa=None):
        """Try a claim that our tracker refuses, and return the log of it."""
        wanted = objects.InstancePCIRequests(
            instance_uuid=uuidutils.generate_uuid(), requests=list(requests))
        running = self.cloud.running(host)
        before = self.log.output
        with self.cloud.target(host.cell) as context:
            self.assertRaises(
                nova_exception.PciDeviceRequestFailed,
                running.claim_instance, context, wanted, numa)
        for device in running.pci_devs:
            self.assertEqual(set(), device.obj_what_changed(), device.address)
        line, = self.log.output[len(before):].splitlines()
        self.assertIn(
            f'Instance {wanted.instance_uuid} cannot claim its PCI devices: ',
            line)
        self.assertRegex(line, documented.pattern('claim-refused'))
        return line


class TestClaims(TrackerTestCase):

    def test_highest_addresses_of_the_pool(self):
        host = self.add()
        request = base.vf_request(2)
        claimed = self.cloud.claim(host, [request], allocate=False)
        taken = FUNCTIONS[0][:1:-1]
        self.assertEqual(taken, [device.address for device in claimed])
        rows = self.cloud.rows(host)
        for device in claimed:
            row = rows[device.address]
            self.assertEqual(
                ('claimed', request.request_id, device.instance_uuid),
                (row['status'], row['request_id'], row['instance_uuid']))
        self.assertEqual(set(taken), {
            address for address, row in rows.items() if row['instance_uuid']})

    def test_each_device_is_for_its_request(self):
        host = self.add()
        requests = [base.vf_request(), base.vf_request(2), pf_request()]
        claimed = self.cloud.claim(host, requests)
        self.assertEqual(
            [(request.request_id, count) for request, count in zip(
                requests, (1, 2, 1))],
            [(request.request_id, sum(
                device.request_id == request.request_id for device in claimed))
             for request in requests])
        self.assertEqual({'allocated'}, {
            self.statuses(host)[device.address] for device in claimed})

    def test_refusal(self):
        host = self.add()
        before = self.statuses(host)
        line = self.refused(host, base.vf_request(), base.vf_request(8))
        self.assertIn('7', line)
        self.cloud.save(host)
        self.assertEqual(before, self.statuses(host))
        # What was refused has cost nothing.
        self.cloud.claim(host, [base.vf_request(8)])

    def test_tags_that_come_to_the_same(self):
        """What is not managed remotely is so with and without the tag."""
        host = self.add(ports=1, device_spec=[
            f'{{"address": "{FUNCTIONS[0][0]}", "remote_managed": "false"}}',
            '{"product_id": "154c"}'])
        pool, = self.cloud.running(host).stats.pools
        self.assertEqual((4, 'false'), (pool['count'], pool['remote_managed']))
        self.cloud.claim(host, [base.vf_request(4)])

    def test_free(self):
        host = self.add()
        before = self.statuses(host)
        for requests in ([pf_request(2)], [base.vf_request(8)],
                         [pf_request(), base.vf_request(4)]):
            claimed = self.cloud.claim(host, requests)
            self.cloud.release(host, claimed)
            self.assertEqual(before, self.statuses(host))


class TestExclusion(TrackerTestCase):

    def test_port_blocks_its_functions(self):
        host = self.add(ports=1)
        for port, functions, allocate in (
                ('claimed', 'unclaimable', False),
                ('allocated', 'unavailable', True)):
            claimed = self.cloud.claim(
                host, [pf_request()], allocate=allocate)
            self.assertEqual(
                dict.fromkeys(FUNCTIONS[0], functions) | {PORTS[0]: port},
                self.statuses(host))
            self.refused(host, base.vf_request())
            self.cloud.release(host, claimed)
        self.cloud.claim(host, [base.vf_request(4)])

    def test_function_blocks_its_port(self):
        host = self.add(ports=1)
        self.cloud.claim(host, [base.vf_request()])
        self.assertEqual('unavailable', self.statuses(host)[PORTS[0]])
        self.refused(host, pf_request())

    def test_both_in_one_instance(self):
        alone, both = self.add('alone', ports=1), self.add('both')
        requests = [pf_request(), base.vf_request()]
        for order in (requests, requests[::-1]):
            self.refused(alone, *order)
            claimed = self.cloud.claim(both, order)
            port, = [device.address for device in claimed
                     if device.dev_type == 'type-PF']
            function, = [device.parent_addr for device in claimed
                         if device.dev_type == 'type-VF']
            self.assertNotEqual(port, function)
            self.cloud.release(both, claimed)


class TestNUMA(TrackerTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add(
            device_spec=BARE_SPEC, devices=[
                hardware.gpu(0x41, 0), hardware.gpu(0x42, 1),
                hardware.gpu(0x43, None)],
            numa_topology=scheduling.host_numa_topology([0, 1, 0]))

    def taken(self, policy, *cells):
        device, = self.cloud.claim(
            self.host, [gpu_request(policy)],
            scheduling.instance_numa_topology(cells))
        return device.numa_node

    def refused_at(self, policy, cell):
        return self.refused(
            self.host, gpu_request(policy),
            numa=scheduling.instance_numa_topology([cell]))

    def test_required(self):
        self.refused_at('required', 2)
        self.assertEqual(1, self.taken('required', 1))
        self.refused_at('required', 1)
        self.assertEqual(0, self.taken('required', 0))

    def test_socket(self):
        # Node 2 is in the socket of node 0.
        self.assertEqual(0, self.taken('socket', 2))
        self.refused_at('socket', 2)

    def test_legacy(self):
        self.assertEqual(1, self.taken(None, 1))
        self.assertIsNone(self.taken('legacy', 1))
        line, = self.log_lines(
            'a PCI device of which nobody knows the NUMA node')
        self.assertRegex(line, documented.pattern('no-numa-node'))
        self.refused_at('legacy', 1)

    def test_preferred(self):
        self.assertEqual(
            [1, None, 0], [self.taken('preferred', 1) for _ in range(3)])
        self.refused_at('preferred', 1)


class TestProviders(TrackerTestCase):

    def setUp(self):
        super().setUp()
        # Placement does not take a port and its functions at a time.
        self.host = self.add(in_placement=True, device_spec=[
            '{"vendor_id": "8086", "product_id": "154c"}'])
        known = {device.address: device.extra_info['rp_uuid']
                 for device in self.cloud.running(self.host).pci_devs}
        self.providers = [known[functions[0]] for functions in FUNCTIONS]

    def request(self, *ports):
        request = base.vf_request(len(ports), alias_name='vf')
        request.spec[0]['rp_uuids'] = ','.join(
            self.providers[port] for port in ports)
        return request

    def test_as_many_from_each_as_allocated(self):
        claimed = self.cloud.claim(
            self.host, [self.request(1, 0, 1), self.request(0, 1)])
        self.assertEqual(
            sorted(FUNCTIONS[0][2:] + FUNCTIONS[1][1:]),
            sorted(device.address for device in claimed))

    def test_provider_that_has_too_few(self):
        self.cloud.claim(self.host, [self.request(0, 0, 0)])
        self.refused(self.host, self.request(0, 0))
        self.refused(self.host, self.request(0), self.request(0))
        self.cloud.claim(self.host, [self.request(0, 1)])

    def test_provider_of_nobody(self):
        request = base.vf_request(alias_name='vf')
        request.spec[0]['rp_uuids'] = uuidutils.generate_uuid()
        self.refused(self.host, request)
