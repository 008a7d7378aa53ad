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

"""Pools: data, mapping, exclusion, order, and the list in-tree code sees."""

import dataclasses

import ddt

from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter import objects
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders


def _pool(pool, **fields):
    made, = builders.to_pools([pool])
    return dataclasses.replace(made, **fields)


def _tagged(pool, **tags):
    """Return the pool with exactly these tags, whatever their keys."""
    made = _pool(pool)
    return dataclasses.replace(
        made, kind=dataclasses.replace(made.kind, tags=tags))


class TestPciDevicePool(base.UnitTestCase):

    def test_reads_as_the_in_tree_dict(self):
        stored = builders.vf(3, numa=None, rp=builders.RP1, tier='gold')
        pool = _pool(stored)
        self.assertEqual(stored, dict(pool))
        self.assertEqual(stored, pool.to_dict())
        self.assertEqual(len(stored), len(pool))
        self.assertEqual(set(stored), set(pool))

    def test_without_provider_has_no_such_key(self):
        pool = _pool(builders.vf())
        self.assertNotIn('rp_uuid', pool)
        self.assertIsNone(pool.get('rp_uuid'))
        self.assertRaises(KeyError, lambda: pool['rp_uuid'])
        self.assertNotIn('rp_uuid', dict(pool))

    def test_missing_tag_is_none(self):
        self.assertIsNone(_pool(builders.vf()).get('physical_network'))

    def test_own_property_comes_before_a_tag(self):
        pool = _tagged(builders.vf(), vendor_id='ffff', count=7)
        self.assertEqual('8086', pool['vendor_id'])
        self.assertEqual(4, pool['count'])
        self.assertEqual(4, dict(pool)['count'])
        self.assertEqual('8086', dict(pool)['vendor_id'])

    def test_with_count_is_another_pool(self):
        pool = _pool(builders.vf(4, rp=builders.RP1), first_address='x')
        fewer = pool.with_count(1)
        self.assertEqual((4, 1), (pool.count, fewer.count))
        self.assertEqual(pool, fewer.with_count(4))
        self.assertEqual('x', fewer.first_address)

    def test_is_read_only(self):
        pool = _pool(builders.vf())
        self.assertRaises(
            dataclasses.FrozenInstanceError, setattr, pool, 'count', 0)


@ddt.ddt
class TestExcludes(base.UnitTestCase):

    @ddt.data(
        (builders.pf(), builders.vf(), True),
        (builders.pf(), builders.vdpa(), True),
        (builders.vf(), builders.pf(), True),
        (builders.vdpa(), builders.pf(), True),
        (builders.vf(), builders.vdpa(), False),
        (builders.vf(tier='a'), builders.vf(tier='b'), False),
        (builders.pf(), builders.pf(tier='b'), False),
        (builders.pf(), builders.vf(address=builders.B), False),
        (builders.vdpa(), builders.pf(address=builders.B), False),
        (builders.pf(), builders.gpu(address=builders.A), False),
        (builders.gpu(address=builders.A), builders.pf(), False),
        (builders.gpu(address=builders.A), builders.vf(), False),
    )
    @ddt.unpack
    def test_excludes(self, one, other, excluded):
        self.assertEqual(excluded, _pool(one).excludes(_pool(other)))


@ddt.ddt
class TestCompleteTags(base.UnitTestCase):

    @ddt.data('type-PF', 'type-VF', 'vdpa')
    def test_remote_managed_is_false_by_default(self, dev_type):
        self.assertEqual(
            {'tier': 'gold', 'remote_managed': 'false'},
            pool_module.complete_tags({'tier': 'gold'}, dev_type, None))

    def test_remote_managed_null_is_false(self):
        self.assertEqual(
            {'remote_managed': 'false'}, pool_module.complete_tags(
                {'remote_managed': None}, 'type-VF', None))

    @ddt.data('true', 'True', 'no', '', model.UNKNOWN)
    def test_remote_managed_is_kept(self, value):
        self.assertEqual(
            {'remote_managed': value}, pool_module.complete_tags(
                {'remote_managed': value}, 'type-VF', None))

    def test_plain_device_is_not_asked_about_it(self):
        self.assertEqual(
            {}, pool_module.complete_tags({}, 'type-PCI', None))

    def test_parent_ifname(self):
        self.assertEqual(
            {'parent_ifname': 'ens1'}, pool_module.complete_tags(
                {'parent_ifname': 'old'}, 'type-PCI', 'ens1'))

    @ddt.data(None, '')
    def test_no_parent_ifname(self, name):
        self.assertEqual(
            {}, pool_module.complete_tags({}, 'type-PCI', name))

    def test_what_only_placement_matches_is_left_out(self):
        tags = {'resource_class': 'A', 'traits': 'B', 'rp_uuid': 'C',
                'rp_uuids': 'D', 'tier': 'gold'}
        self.assertEqual(
            {'tier': 'gold'},
            pool_module.complete_tags(tags, 'type-PCI', None))
        self.assertEqual(5, len(tags))


@ddt.ddt
class TestIsTrue(base.UnitTestCase):

    @ddt.data('1', 't', 'T', 'true', 'True', ' TRUE ', 'on', 'y', 'Yes', True,
              1)
    def test_true(self, value):
        self.assertTrue(pool_module.is_true(value))

    @ddt.data(None, '', '0', 'f', 'false', 'off', 'no', 'truer', '2', False,
              model.UNKNOWN)
    def test_false(self, value):
        self.assertFalse(pool_module.is_true(value))


class TestClaimOrder(base.UnitTestCase):

    def _order(self, *pools):
        return [pool.product_id for pool in pool_module.claim_order(pools)]

    def test_fewer_tags_first(self):
        self.assertEqual(['2', '3', '1'], self._order(
            _pool(builders.gpu(ids=('', '1'), a='', b=''), first_address='1'),
            _pool(builders.gpu(ids=('', '2')), first_address='9'),
            _pool(builders.gpu(ids=('', '3'), a=None), first_address='2')))

    def test_provider_is_no_tag(self):
        # A fresh tracker sorts before it learns the providers.
        self.assertEqual(['1', '2'], self._order(
            _pool(builders.gpu(ids=('', '2')), first_address='2'),
            _pool(builders.gpu(ids=('', '1'), rp=builders.RP1),
                  first_address='1')))

    def test_lowest_device_first(self):
        self.assertEqual(['2', '1'], self._order(
            _pool(builders.vf(ids=('', '1')), first_address='0000:81:0a.0'),
            _pool(builders.vf(ids=('', '2')), first_address='0000:81:02.0')))


class TestPciDevicePoolList(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.scenario = builders.scenario(
            'list', [builders.vf(2), builders.gpu()],
            builders.alias(builders.A_VF))
        self.pools = self.scenario.pool_list()

    def test_true_even_when_empty(self):
        self.assertTrue(objects.PciDevicePoolList())
        self.assertEqual(0, len(objects.PciDevicePoolList()))

    def test_iterates_over_pools(self):
        self.assertEqual(2, len(self.pools))
        self.assertEqual([1, 2], [pool.count for pool in self.pools])

    def test_name_that_in_tree_code_calls(self):
        self.assertTrue(self.pools.support_requests(
            requests=self.scenario.requests, provider_mapping=None,
            numa_cells=None))

    def test_dicts_follow_what_is_applied(self):
        self.assertEqual([1, 2], [one['count'] for one in self.pools.pools])
        self.pools.apply_requests(self.scenario.requests, None)
        self.assertEqual([1, 1], [one['count'] for one in self.pools.pools])

    def test_requests_may_be_an_iterator(self):
        requests = self.scenario.requests
        self.assertTrue(self.pools.supports_requests(iter(requests)))
        self.assertTrue(self.pools.explain_requests(iter(requests)).fits)
        self.pools.apply_requests(iter(requests))
        self.assertEqual([1, 1], [one.count for one in self.pools])

    def test_two_lists_share_nothing(self):
        given = list(self.pools)
        other = objects.PciDevicePoolList(given)
        other.apply_requests(self.scenario.requests)
        self.assertEqual([1, 2], [one.count for one in self.pools])
        self.assertEqual([1, 2], [one.count for one in given])

    def test_repr_shows_the_pools(self):
        self.assertIn("dev_type='type-VF'", repr(self.pools))
