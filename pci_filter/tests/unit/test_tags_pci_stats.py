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

"""Tags from the summary: never more than it can tell."""

import copy

import ddt

from pci_filter import model
from pci_filter.tags import pci_stats
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders

UNKNOWN = model.UNKNOWN

#: What the rows know of builders.vf().
VF = model.DeviceGroup(
    'uuid', '8086', '154c', 0, 'type-VF', builders.A, 'ens1', None, 4,
    '0000:81:02.0', (None, None))


def lookup(*summary):
    return pci_stats.PciStatsTags(base.options()).for_node(
        model.ComputeNode('uuid', 'host', 'node', summary))


@ddt.ddt
class TestPciStatsTags(base.UnitTestCase):

    def test_rows_need_not_be_read_by_device(self):
        self.assertFalse(pci_stats.PciStatsTags(base.options()).by_device)

    def test_tags(self):
        found = lookup(builders.vf(tier='gold', physical_network=None))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold',
                          'physical_network': None}, found)

    def test_provider_is_told_too(self):
        self.assertEqual(builders.RP1, lookup(
            builders.vf(rp=builders.RP1))(VF)['rp_uuid'])

    def test_parent_ifname_is_not(self):
        # The rows tell it, and a stale one would part the pool.
        self.assertNotIn('parent_ifname', lookup(
            builders.vf(parent_ifname='old'))(VF))

    @ddt.data(0, 4, 9999, -1, None, 'many')
    def test_counts_are_of_no_importance(self, count):
        found = lookup(builders.vf(count, tier='gold'))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold'}, found)

    @ddt.data('vendor_id', 'product_id', 'numa_node', 'dev_type', 'address')
    def test_other_devices(self, key):
        self.assertIsNone(lookup({**builders.vf(), key: 'other'})(VF))
        self.assertIsNone(lookup(builders.without(builders.vf(), key))(VF))

    def test_no_numa_node(self):
        for summary in (builders.vf(numa=None, tier='gold'),
                        builders.without(builders.vf(tier='gold'),
                                         'numa_node')):
            found = lookup(summary)(VF._replace(numa_node=None))
            self.assertEqual('gold', found['tier'])

    def test_nothing_known_of_a_pool_of_nothing(self):
        # A pool of which everything is NULL is like no device.
        nothing = dict.fromkeys(builders.vf())
        self.assertIsNone(lookup(nothing)(VF))

    @ddt.data(None, (), [])
    def test_no_summary(self, summary):
        found = pci_stats.PciStatsTags(base.options()).for_node(
            model.ComputeNode('uuid', 'host', 'node', summary))
        self.assertIsNone(found(VF))

    @ddt.data(
        None, 'text', 5, True, [], ['vendor_id'], {}, {'vendor_id': ['8086']},
        {'vendor_id': {}}, {'address': [1]}, {1: 2}, {None: None},
        {'tags': {'tier': 'gold'}}, {'numa_node': 0.5})
    def test_garbage_beside_a_pool(self, garbage):
        found = lookup(garbage, builders.vf(tier='gold'), garbage)(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold'}, found)

    def test_summary_is_not_changed(self):
        summary = [builders.vf(tier='gold'), builders.vf(tier='lead')]
        before = copy.deepcopy(summary)
        lookup(*summary)(VF)
        self.assertEqual(before, summary)


@ddt.ddt
class TestSplitFamily(base.UnitTestCase):
    """Functions of one parent that are tagged differently."""

    def test_agreeing_pools(self):
        found = lookup(builders.vf(1, tier='gold'),
                       builders.vf(3, tier='gold'))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold'}, found)

    def test_agreeing_but_for_the_parents_name(self):
        found = lookup(builders.vf(tier='gold', parent_ifname='a'),
                       builders.vf(tier='gold'))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold'}, found)

    def test_different_values(self):
        found = lookup(builders.vf(tier='gold', color='red'),
                       builders.vf(tier='lead', color='red'))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': UNKNOWN,
                          'color': 'red'}, found)

    def test_missing_in_one(self):
        for summary in ((builders.vf(tier='gold'), builders.vf()),
                        (builders.vf(), builders.vf(tier='gold'))):
            self.assertIs(UNKNOWN, lookup(*summary)(VF)['tier'])

    def test_null_in_one_missing_in_the_other(self):
        for summary in ((builders.vf(tier=None), builders.vf()),
                        (builders.vf(), builders.vf(tier=None))):
            self.assertIs(UNKNOWN, lookup(*summary)(VF)['tier'])

    def test_third_pool_disagrees(self):
        found = lookup(builders.vf(tier='gold'), builders.vf(tier='gold'),
                       builders.vf(tier='lead'))(VF)
        self.assertIs(UNKNOWN, found['tier'])

    def test_emptied_pool_disagrees(self):
        # Which devices are gone is not known either.
        found = lookup(builders.vf(0, tier='gold'),
                       builders.vf(4, tier='lead'))(VF)
        self.assertIs(UNKNOWN, found['tier'])

    def test_different_providers(self):
        found = lookup(builders.vf(rp=builders.RP1),
                       builders.vf(rp=builders.RP2))(VF)
        self.assertNotIn(found.get('rp_uuid'), (builders.RP1, builders.RP2))
        self.assertEqual('false', found['remote_managed'])

    @ddt.data(['x'], {}, 5, '')
    def test_provider_that_is_none(self, rp_uuid):
        for summary in (
                [builders.vf(tier='gold', rp=rp_uuid)],
                [builders.vf(tier='gold', rp=rp_uuid), builders.vf()]):
            found = lookup(*summary)(VF)
            self.assertEqual('false', found['remote_managed'])

    def test_other_family_has_no_say(self):
        found = lookup(builders.vf(tier='gold'),
                       builders.vf(tier='lead', address=builders.B),
                       builders.pf(tier='lead'))(VF)
        self.assertEqual('gold', found['tier'])
