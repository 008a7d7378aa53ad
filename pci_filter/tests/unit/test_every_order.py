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

import itertools

import hypothesis
from hypothesis import strategies as st

from pci_filter import matching
from pci_filter.matching import allotment
from pci_filter.matching import every_order
from pci_filter import objects
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import summaries

_SPECS = ({'vendor_id': '8086'}, {'product_id': '1572'},
          {'vendor_id': '15b3'}, {'product_id': '154c'})


def _pool(vendor_id, product_id, count, address):
    return matching.PciDevicePool(matching.PoolKind(
        vendor_id, product_id, None, 'type-PCI', address), count)


def _request(count, *specs, label='alias'):
    return matching.DeviceRequest.compile(label, count, specs)


_pools = st.tuples(*(
    st.builds(_pool, st.just(vendor), st.just(product), st.integers(1, 3),
              st.just(f'0000:8{number}:00.0'))
    for number, (vendor, product) in enumerate(
        (('8086', '1572'), ('8086', '154c'), ('15b3', '1572'))))).map(list)
_requests = st.lists(st.builds(
    lambda count, specs: _request(count, *specs), st.integers(1, 2),
    st.lists(st.sampled_from(_SPECS), min_size=1, max_size=2)),
    min_size=1, max_size=2)


def _fit_in_this_order(pools, instances):
    for requests in instances:
        allotted = allotment.allot(pools, requests)
        if allotted is None:
            return False
        pools = allotted.left
    return True


class TestEveryOrder(base.PropertyMixin, base.UnitTestCase):

    @base.examples(300)
    @hypothesis.given(_pools, st.lists(_requests, max_size=4))
    def test_as_if_all_were_tried(self, pools, instances):
        self.assertEqual(
            all(_fit_in_this_order(pools, order)
                for order in itertools.permutations(instances)),
            matching.fit_in_every_order(pools, instances))

    @base.examples(200)
    @hypothesis.given(_pools, st.lists(_requests, max_size=4))
    def test_so_do_any_of_them(self, pools, instances):
        if matching.fit_in_every_order(pools, instances):
            for number in range(len(instances)):
                for some in itertools.combinations(instances, number):
                    self.assertTrue(
                        matching.fit_in_every_order(pools, some))

    def test_one_takes_what_another_needs(self):
        pools = [_pool('8086', '1572', 1, '0000:81:00.0'),
                 _pool('8086', '154c', 1, '0000:82:00.0')]
        either = [_request(1, {'vendor_id': '8086'})]
        first = [_request(1, {'product_id': '1572'})]
        left, fitting = matching.fit_one_by_one(pools, [first, either])
        self.assertEqual(([], [first, either]), (left, fitting))
        self.assertFalse(matching.fit_in_every_order(pools, [first, either]))

    def test_names_make_no_difference(self):
        pools = [_pool('8086', '1572', 40, '0000:81:00.0')]
        ports = [[_request(1, {'vendor_id': '8086'}, label=f'port {number}')]
                 for number in range(41)]
        self.assertTrue(matching.fit_in_every_order(pools, ports[:40]))
        self.assertFalse(matching.fit_in_every_order(pools, ports))

    def test_beyond_the_limit_they_are_taken_to_fit(self):
        # Kinds of instances, each of which is but once there: the subsets of
        # 14 are 16,384.
        pools = [_pool('8086', '1572', 1000, '0000:81:00.0')]
        instances = [[_request(count, {'vendor_id': '8086'})]
                     for count in range(1, 15)]
        tried = []
        self.patch(allotment, 'allot', _counted(allotment.allot, tried))
        self.assertTrue(matching.fit_in_every_order(pools, instances))
        self.assertEqual(every_order._TRIED, len(tried))

    def test_two_kinds_of_thirty_are_within_the_limit(self):
        pools = [_pool('8086', '1572', 89, '0000:81:00.0')]
        one, two = ([_request(count, {'vendor_id': '8086'})]
                    for count in (1, 2))
        self.assertFalse(matching.fit_in_every_order(
            pools, [one] * 30 + [two] * 30))


def _counted(function, calls):
    def counted(*args):
        calls.append(args)
        return function(*args)
    return counted


class TestOneByOne(base.UnitTestCase):

    def test_who_does_not_fit_takes_what_there_is(self):
        # One device of its two was claimed already.
        pools = [_pool('8086', '1572', 1, '0000:81:00.0'),
                 _pool('15b3', '1572', 3, '0000:82:00.0')]
        two = [_request(2, {'vendor_id': '8086'}),
               _request(1, {'vendor_id': '15b3'})]
        left, fitting = matching.fit_one_by_one(pools, [two])
        self.assertEqual([], fitting)
        self.assertEqual([('15b3', 2)], [
            (pool.vendor_id, pool.count) for pool in left])

    def test_one_that_asks_for_more_than_there_can_be(self):
        """A record may say anything; one of a billion takes no time."""
        left, fitting = every_order.fit_one_by_one(
            [_pool('8086', '1515', 2, '0000:81:00.0')],
            [[_request(10 ** 12, {'vendor_id': '8086'})]])
        self.assertEqual(([], []), (left, fitting))

    def test_who_needs_something_else_does_not_mind(self):
        pools = [_pool('15b3', '1572', 1, '0000:82:00.0')]
        gone = [_request(1, {'vendor_id': '8086'})]
        self.assertEqual((pools, []), matching.fit_one_by_one(pools, [gone]))


class TestPoolList(base.UnitTestCase):

    def _list(self, *pools):
        return objects.PciDevicePoolList(pools)

    def test_after(self):
        pools = self._list(_pool('8086', '1572', 2, '0000:81:00.0'))
        one = [_request(1, {'vendor_id': '8086'})]
        asked = [builders.alias({'vendor_id': '8086'})]
        self.assertTrue(pools.after([one]).supports_requests(asked))
        self.assertFalse(pools.after([one, one]).supports_requests(asked))
        self.assertTrue(pools.supports_requests(asked))

    def test_each_order(self):
        pools = self._list(_pool('8086', '1572', 1, '0000:81:00.0'),
                           _pool('8086', '154c', 1, '0000:82:00.0'))
        either = [_request(1, {'vendor_id': '8086'})]
        first = [_request(1, {'product_id': '1572'})]
        second = [_request(1, {'product_id': '154c'})]
        self.assertTrue(pools.fit_in_every_order([], either))
        self.assertFalse(pools.fit_in_every_order([first], either))
        self.assertTrue(pools.fit_in_every_order([first], second))

    def test_nobody_is_refused_for_what_others_do_to_each_other(self):
        pools = self._list(_pool('8086', '1572', 1, '0000:81:00.0'),
                           _pool('8086', '154c', 1, '0000:82:00.0'),
                           _pool('15b3', '1572', 1, '0000:83:00.0'))
        either = [_request(1, {'vendor_id': '8086'})]
        first = [_request(1, {'vendor_id': '8086', 'product_id': '1572'})]
        other = [_request(1, {'vendor_id': '15b3'})]
        self.assertTrue(pools.fit_in_every_order([first, either], other))

    def test_unknown_tags(self):
        pools = summaries.pool_list([
            builders.vf(1, builders.A, physical_network='net1'),
            builders.vf(1, builders.A, physical_network='net1',
                        trusted='true')])
        self.assertEqual(frozenset(['trusted']), pools.unknown_tags)
        port = [_request(1, {'physical_network': 'net1'})]
        asked = [builders.port(physical_network='net1')]
        self.assertTrue(pools.after([port]).supports_requests(asked))
        self.assertFalse(pools.after([port, port]).supports_requests(asked))
        self.assertTrue(pools.supports_requests(asked))
        self.assertTrue(pools.fit_in_every_order([port] * 9, port))

    def test_unknown_tags_in_any_order(self):
        """The port is promised first, but a function may be claimed first."""
        pools = summaries.pool_list([
            builders.pf(physical_network='net1'),
            builders.vf(1, physical_network='net1'),
            builders.vf(1, builders.B), builders.vf(
                1, builders.B, physical_network='net1')])
        port = [_request(1, builders.A_PF)]
        function = [_request(1, builders.A_VF)]
        self.assertTrue(pools.fit_in_every_order([function], function))
        self.assertFalse(pools.fit_in_every_order([port], function))
        self.assertFalse(pools.fit_in_every_order([function], port))
