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

"""Claims that earlier bugs of Nova's PCI tracker served wrongly.

Ours ends right in each; where Nova's own still does not, its test shows that
beside ours.
"""

from nova import objects

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import bugs
from pci_filter.tests.functional.nova import computes


class TestBug1860555(bugs.BugTestCase):
    """An instance kept the devices of a claim that was aborted.

    They went back to the pools, but the Instance in memory still listed them.
    After the build had been rescheduled it had the devices of both hosts.
    """

    def test_rescheduled_instance_has_one_device(self):
        first = self.ours([bugs.NVIDIA], bugs.gpus())
        second = self.ours([bugs.NVIDIA], bugs.gpus())
        uuid, _ = first.claim([bugs.gpu()])
        instance = objects.Instance(
            uuid=uuid, pci_devices=objects.PciDeviceList(objects=[]))
        first.allocate(uuid, instance)
        self.assertEqual(1, len(instance.pci_devices))
        first.free(uuid, instance)
        self.assertEqual(0, len(instance.pci_devices))
        self.check(first, bugs.GPUS)
        second.claim([bugs.gpu()], instance_uuid=uuid)
        second.allocate(uuid, instance)
        self.assertEqual([second.host.node_id], [
            device.compute_node_id for device in instance.pci_devices])
        self.check(second, bugs.GPUS[1:])

    def test_claim_is_aborted_before_it_is_allocated(self):
        compute = self.ours([bugs.INTEL], bugs.card())
        uuid, _ = compute.claim([bugs.port()])
        self.check(compute, [])
        compute.free(uuid)
        self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])


class TestBug1986838(bugs.BugTestCase):
    """Two requests of an instance were promised one and the same device.

    Each of them was looked at alone. The claim noticed, logged an error and
    let the instance start without any device.
    """

    def test_claim_is_refused_as_a_whole(self):
        compute = self.ours([bugs.NVIDIA], bugs.gpus()[:1])
        self.refused(compute, bugs.gpu(), bugs.gpu())
        self.check(compute, bugs.GPUS[:1])
        self.assertEqual(bugs.GPUS[:1], compute.claim([bugs.gpu()])[1])
        self.check(compute, [])

    def test_nova_does_not_give_back_all(self):
        """Nova gives back the function, but not the port beside it."""
        requests = [bugs.function(), bugs.port()]
        nova = self.nova([bugs.INTEL], bugs.card())
        error = self.assertRaises(computes.Refused, nova.claim, requests)
        self.assertEqual('PciDeviceRequestFailed', error.reason)
        self.assertEqual(3, sum(
            pool['count'] for pool in nova.fresh_pools()))
        self.assertEqual(2, sum(pool['count'] for pool in nova.pools()))
        self.assertRaises(computes.Refused, nova.claim, [bugs.port()])
        ours = self.ours([bugs.INTEL], bugs.card())
        self.refused(ours, *requests)
        self.check(ours, [bugs.PORT, *bugs.FUNCTIONS])
        self.assertEqual([bugs.PORT], ours.claim([bugs.port()])[1])


class TestBug2098496(bugs.BugTestCase):
    """A device came back to a pool of its own.

    With PCI devices in placement, a pool remembers the resource provider, and
    a device that was freed was not found to belong there. The next claim took
    as many devices from each of the two pools as placement had allocated from
    both together.
    """

    SPEC = [{**bugs.INTEL, 'product_id': '154c'}]

    def tracked(self):
        return scheduling.pci_request(
            {**self.SPEC[0], 'rp_uuids': computes.provider(bugs.PORT)},
            alias_name='alias')

    def test_one_pool_and_one_device(self):
        compute = self.ours(self.SPEC, bugs.card(), in_placement=True)
        for _ in range(2):
            owner, claimed = compute.claim([self.tracked()], allocate=True)
            self.assertEqual(1, len(claimed))
            self.check(compute, set(bugs.FUNCTIONS) - set(claimed))
            compute.free(owner)
            self.assertEqual([(2, computes.provider(bugs.PORT))], [
                (pool['count'], pool['rp_uuid']) for pool in compute.pools()])

    def test_pool_comes_back(self):
        """Nova's new pool has no provider until the next periodic task."""
        spec = [{**self.SPEC[0]}, {**bugs.INTEL, 'physical_network': 'net1'}]
        for make, right in ((self.nova, False), (self.ours, True)):
            compute = make(spec, bugs.card(), in_placement=True)
            owner, _ = compute.claim([bugs.port()], allocate=True)
            compute.free(owner)
            if not right:
                error = self.assertRaises(
                    computes.Refused, compute.claim, [self.tracked()])
                self.assertEqual('Claim pci failed', error.reason)
                continue
            self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])
            compute.claim([self.tracked()])
