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

from pci_filter import matching
from pci_filter import objects
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import summaries

NODES = builders.Topology((builders.Cell(0, 0), builders.Cell(1, 1)))
ONE_SOCKET = builders.Topology((builders.Cell(0, 0), builders.Cell(1, 0)))


def _request(spec, node=None, policy='required', count=1):
    near = frozenset() if node is None else frozenset((node,))
    return [matching.DeviceRequest.compile(
        'alias', count, [spec], policy, near,
        near if policy == 'socket' else frozenset())]


class TestStillFit(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.gpus = [
            builders.gpu(ids=('10de', 'aaaa'), numa=0),
            builders.gpu(ids=('10de', 'bbbb'), numa=1,
                         address='0000:42:00.0')]
        self.any = {'vendor_id': '10de'}
        self.first = {'vendor_id': '10de', 'product_id': 'aaaa'}

    def check(self, expected, requests, others, topology=NODES, pools=None):
        listed = objects.PciDevicePoolList(
            builders.to_pools(pools or self.gpus), topology)
        self.assertIs(expected, listed.still_fit_after(requests, others))
        # Nothing was taken.
        self.assertEqual([1] * len(listed), [pool.count for pool in listed])

    def test_takes_the_only_one(self):
        self.check(False, _request(self.any, 0), [_request(self.first, 0)])
        self.check(True, _request(self.any, 1), [_request(self.first, 0)])

    def test_others_move(self):
        self.check(True, _request(self.any, 0), [_request(self.any, 0)])
        self.check(True, _request(self.first, 0), [_request(self.any, 0)])

    def test_not_both_to_the_same(self):
        self.check(False, _request(self.first, 0), [
            _request(self.any, 0), _request(self.any, 1)])

    def test_those_that_never_fitted(self):
        self.check(True, _request(self.first, 0), [
            _request(self.any, 1), _request(self.any, 1)])

    def test_without_place(self):
        self.check(False, _request(self.any, 0), [_request(self.first)])
        self.check(True, _request(self.first, 0), [_request(self.any)])

    def test_host_without_topology(self):
        self.check(False, _request(self.any, 0),
                   [_request(self.any, 0)], topology=None)

    def test_socket(self):
        """The other node of the socket need not be the guest's."""
        third = [*self.gpus[:1], builders.gpu(
            ids=('10de', 'aaaa'), numa=1, address='0000:43:00.0')]
        socket = [_request(self.first, 0, 'socket')]
        self.check(True, _request(self.any, 0), socket, ONE_SOCKET, third)
        self.check(True, _request(self.any, 0), socket, NODES, third)
        self.check(False, _request(self.any, 0, count=1), socket, NODES,
                   self.gpus)

    def test_unknown_tags(self):
        listed = summaries.pool_list([
            builders.vf(1, builders.A, physical_network='net1'),
            builders.vf(1, builders.A, physical_network='net1',
                        trusted='true')], NODES)
        port = _request({'physical_network': 'net1'}, 0)
        self.assertTrue(listed.still_fit_after(port, [port] * 9))
