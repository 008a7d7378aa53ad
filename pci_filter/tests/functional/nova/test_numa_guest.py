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

"""Ports and their functions for a guest whose place is not found yet.

PciPassthroughFilter comes first and cannot know from where the devices will
be taken; NUMATopologyFilter decides, as the claim does.
"""

import copy

from nova import objects as nova_objects
from nova.virt import hardware as nova_hardware

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base

NET = '{"vendor_id": "8086", "physical_network": "net1"}'


def _guest():
    """Return a guest with one NUMA cell that no filter has placed."""
    return nova_objects.InstanceNUMATopology(cells=[
        nova_objects.InstanceNUMACell(
            id=0, cpuset={0}, pcpuset=set(), memory=512, pagesize=None,
            cpu_pinning_raw=None, cpu_policy=None, cpu_thread_policy=None)])


def _request(dev_type, policy=None):
    return scheduling.pci_request(
        {'physical_network': 'net1', 'dev_type': dev_type},
        numa_policy=policy)


class TestNUMAGuest(base.NovaTestCase):

    cells = 1

    def passes(self, requests, *filters, guest=None):
        spec = scheduling.request_spec(requests, numa_topology=guest)
        spec.flavor.extra_specs = {'hw:numa_nodes': '1'} if guest else {}
        manager = self.our_manager(filters)
        return bool(scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec))

    def claim_succeeds(self, host, requests, topology):
        """Do what nova.compute.claims.Claim does, then claim."""
        stats = self.cloud.tracker(host).stats
        fitted = nova_hardware.numa_fit_instance_to_host(
            topology, _guest(), limits=None, pci_requests=requests,
            pci_stats=stats, provider_mapping=None)
        return fitted is not None and self.cloud.claim_error(
            host, requests, fitted) is None

    def check(self, requests, devices, topology, expected, in_use=()):
        """Compare the filters, in both orders, with a claim."""
        host = self.cloud.add_host(
            0, 'host0', devices, [NET], copy.deepcopy(topology))
        for request, node in in_use:
            self.cloud.claim(host, [request],
                             scheduling.instance_numa_topology([node]))
        self.assertEqual(
            expected, self.claim_succeeds(host, requests, topology))
        self.assertEqual(expected, self.passes(
            requests, 'PciPassthroughFilter', guest=_guest()))
        for filters in (['PciPassthroughFilter', 'NUMATopologyFilter'],
                        ['NUMATopologyFilter', 'PciPassthroughFilter']):
            self.assertEqual(
                expected, self.passes(requests, *filters, guest=_guest()),
                filters)
        return host

    def _cards(self, functions_0, functions_1):
        return [
            *hardware.network_card(hardware.INTEL_X710, 0x81, 0, 1,
                                   functions_0),
            *hardware.network_card(hardware.INTEL_X710, 0xc1, 1, 1,
                                   functions_1)]

    def check_preferred(self, first_node_is_full, expected):
        topology = scheduling.host_numa_topology([0, 1])
        if first_node_is_full:
            topology.cells[0].memory = 256
            topology.cells[0].mempages[0].total = 100
        requests = [_request('type-VF', 'preferred'),
                    _request('type-PF', 'preferred')]
        host = self.check(
            requests, self._cards(2, 3), topology, expected,
            # So the port on node 1 is not available.
            in_use=[(_request('type-VF'), 1)])
        return host, requests

    def test_other_node_is_the_only_place(self):
        # Near the guest there is a function, so the other node's port is
        # left.
        host, requests = self.check_preferred(True, True)
        # Without a guest topology the function comes from node 0.
        self.assertFalse(self.passes(requests, 'PciPassthroughFilter'))
        self.assertIsNotNone(self.cloud.claim_error(host, requests))

    def test_either_node_is_a_place(self):
        """Nova's claim tries one place only.

        nova-compute places the guest without regard to relatives and then
        fails on them; NUMATopologyFilter would go on to the next place.
        """
        _host, requests = self.check_preferred(False, False)
        self.assertFalse(self.passes(requests, 'PciPassthroughFilter'))

    def test_enough_in_no_case(self):
        topology = scheduling.host_numa_topology([0, 1])
        self.cloud.add_host(
            0, 'host0', self._cards(2, 3), [NET], topology)
        for requests in ([_request('type-PF')] * 3,
                         [_request('type-VF')] * 6):
            self.assertFalse(self.passes(
                requests, 'PciPassthroughFilter', guest=_guest()))

    def test_guest_without_requests_in_conflict(self):
        self.check([_request('type-VF')], self._cards(2, 3),
                   scheduling.host_numa_topology([0, 1]), True)
