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
import dataclasses
import json

import ddt

from pci_filter import model
from pci_filter.tags import pci_stats
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders

UNKNOWN = model.UNKNOWN

#: What the rows know of builders.vf().
VF = model.DeviceKind('8086', '154c', 0, 'type-VF', builders.A, 'ens1')


def lookup(*summary):
    return pci_stats.PciStatsTags(base.options()).for_node(node(summary))


def provider(*summary):
    return pci_stats.PciStatsTags(base.options()).rp_uuid(node(summary), VF)


def node(summary):
    return model.ComputeNode('uuid', 'host', 'node', summary)


@ddt.ddt
class TestPciStatsTags(base.UnitTestCase):

    def test_rows_need_not_be_read_by_device(self):
        self.assertFalse(pci_stats.PciStatsTags(base.options()).by_device)

    def test_tags(self):
        found = lookup(builders.vf(tier='gold', physical_network=None))(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold',
                          'physical_network': None}, found)

    def test_provider_is_told_too(self):
        self.assertEqual(builders.RP1, provider(
            builders.vf(rp=builders.RP1)))
        self.assertNotIn('rp_uuid', lookup(
            builders.vf(rp=builders.RP1))(VF))

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
            found = lookup(summary)(dataclasses.replace(VF, numa_node=None))
            self.assertEqual('gold', found['tier'])

    def test_nothing_known_of_a_pool_of_nothing(self):
        # A pool of which everything is NULL is like no device.
        nothing = dict.fromkeys(builders.vf())
        self.assertIsNone(lookup(nothing)(VF))

    @ddt.data(None, (), [])
    def test_no_summary(self, summary):
        source = pci_stats.PciStatsTags(base.options())
        self.assertIsNone(source.for_node(node(summary))(VF))
        self.assertIsNone(source.rp_uuid(node(summary), VF))

    @ddt.data(
        None, 'text', 5, True, [], ['vendor_id'], {}, {'vendor_id': ['8086']},
        {'vendor_id': {}}, {'address': [1]}, {1: 2}, {None: None},
        {'tags': {'tier': 'gold'}}, {'numa_node': 0.5})
    def test_garbage_beside_a_pool(self, garbage):
        summary = garbage, builders.vf(tier='gold', rp='x'), garbage
        self.assertEqual('x', provider(*summary))
        found = lookup(*summary)(VF)
        self.assertEqual({'remote_managed': 'false', 'tier': 'gold'}, found)

    def test_summary_is_not_changed(self):
        summary = [builders.vf(tier='gold'), builders.vf(tier='lead')]
        before = copy.deepcopy(summary)
        lookup(*summary)(VF)
        self.assertEqual(before, summary)


class TestSharedLookups(base.UnitTestCase):
    """Nodes that cannot be told apart have one look-up."""

    def setUp(self):
        super().setUp()
        self.source = pci_stats.PciStatsTags(base.options())

    def text(self, *pools, indent=None):
        """Return what nova-compute stores for these pools."""
        primitives = []
        for pool in pools:
            fields = {key: pool[key] for key in (
                'product_id', 'vendor_id', 'numa_node', 'count')}
            primitives.append({
                'nova_object.name': 'PciDevicePool',
                'nova_object.namespace': 'nova',
                'nova_object.version': '1.1',
                'nova_object.data': {**fields, 'tags': {
                    key: value for key, value in pool.items()
                    if key not in fields}},
                'nova_object.changes': ['count', 'tags']})
        return json.dumps({
            'nova_object.name': 'PciDevicePoolList',
            'nova_object.namespace': 'nova', 'nova_object.version': '1.1',
            'nova_object.data': {'objects': primitives}}, indent=indent)

    def lookup(self, *pools):
        return self.source.for_node(node(self.text(*pools)))

    def test_text_as_pools(self):
        pools = builders.vf(tier='gold', rp=builders.RP1), builders.pf()
        kinds = VF, dataclasses.replace(
            VF, dev_type='type-PF', product_id='1572')
        for kind in kinds:
            self.assertEqual(
                lookup(*pools)(kind), self.lookup(*pools)(kind))
            self.assertEqual(*(
                self.source.rp_uuid(node(summary), kind)
                for summary in (pools, self.text(*pools))))

    def test_alike_but_for_counts_and_providers(self):
        first = self.lookup(builders.vf(4, rp=builders.RP1, tier='gold'))
        for count, rp_uuid in (
                (4, builders.RP1), (0, builders.RP1), (123, builders.RP2),
                (-1, builders.RP1), (7, '')):
            found = self.lookup(
                builders.vf(count, rp=rp_uuid, tier='gold'))
            self.assertIs(first, found)
        self.assertEqual(
            {'tier': 'gold', 'remote_managed': 'false'}, first(VF))

    def test_other_nodes_and_sources(self):
        text = self.text(builders.vf())
        other = pci_stats.PciStatsTags(base.options())
        self.assertIs(
            self.source.for_node(model.ComputeNode('a', 'b', 'c', text)),
            other.for_node(model.ComputeNode('d', 'e', 'f', text)))

    def test_providers_are_each_nodes_own(self):
        for rp_uuid in (builders.RP1, builders.RP2):
            text = self.text(builders.vf(rp=rp_uuid))
            self.assertEqual(rp_uuid, self.source.rp_uuid(node(text), VF))
        self.assertIsNone(self.source.rp_uuid(
            node(self.text(builders.vf())), VF))

    def test_pool_of_the_same_netdev_tells_the_provider(self):
        pools = (builders.vf(rp=builders.RP1, parent_ifname='ens1'),
                 builders.vf(rp=builders.RP2, parent_ifname='old1'),
                 builders.vf(parent_ifname='new1'))
        for summary in (pools, self.text(*pools)):
            self.assertEqual(
                [builders.RP1, builders.RP2, None, None, None],
                [self.source.rp_uuid(node(summary), dataclasses.replace(
                    VF, parent_ifname=name))
                 for name in ('ens1', 'old1', 'new1', 'ens2', None)])
        for name in ('ens1', 'new1', None):
            self.assertEqual(builders.RP1, self.source.rp_uuid(
                node(pools[::2]), dataclasses.replace(VF, parent_ifname=name)))

    def test_tags_differ(self):
        summaries = [
            [builders.vf()], [builders.vf(tier='gold')],
            [builders.vf(tier='lead')], [builders.vf(tier=None)],
            [builders.vf(tier='gold'), builders.vf(tier='lead')],
            [builders.vf(address=builders.B, tier='gold')]]
        found = [self.lookup(*pools) for pools in summaries]
        self.assertEqual(len(found), len(set(map(id, found))))
        for pools, one in zip(summaries, found):
            self.assertEqual(lookup(*pools)(VF), one(VF))

    def test_text_that_reads_like_a_count(self):
        # Within a string the quotes are escaped.
        for key in ('count', 'rp_uuid'):
            values = [f'"{key}": {value}, x' for value in (5, 6)] + [
                f'"{key}": "{value}"' for value in 'ab']
            lookups = [self.lookup(builders.vf(tier=value))
                       for value in values]
            self.assertEqual(
                values, [one(VF)['tier'] for one in lookups])
            self.assertEqual(4, len(set(map(id, lookups))))

    def test_key_with_a_quote(self):
        lookups = [self.lookup(builders.vf(**{'my"rp_uuid': value}))
                   for value in 'ab']
        self.assertEqual(
            ['a', 'b'], [one(VF)['my"rp_uuid'] for one in lookups])

    def test_keys_that_end_alike(self):
        for key in ('discount', 'recount', 'my_rp_uuid', 'count_'):
            values = [5, 6, 'a', 'b']
            lookups = [self.lookup(builders.vf(**{key: value}))
                       for value in values]
            self.assertEqual(
                ['5', '6', 'a', 'b'], [one(VF)[key] for one in lookups])

    def test_values_that_end_alike(self):
        # The end of a value and the next key are no key.
        for first, second in ((5, 6), ('5', '6')):
            lookups = [
                self.lookup(builders.vf(tier='x"count', color=value))
                for value in (first, second)]
            self.assertEqual(
                [('x"count', '5'), ('x"count', '6')],
                [(one(VF)['tier'], one(VF)['color']) for one in lookups])

    def test_odd_counts_and_providers(self):
        for key, values in (
                ('count', (0.5, 5.5, 1e30, None, 'many', '5', True)),
                ('rp_uuid', ('a"b', 'a\\', '\\"', 'ü', None, 5))):
            for value in values:
                found = self.lookup({**builders.vf(tier='gold'), key: value})
                self.assertEqual(
                    {'tier': 'gold', 'remote_managed': 'false'}, found(VF),
                    (key, value))

    def test_text_that_is_no_summary(self):
        for text in ('', '5', '{', 'null', '"count": 5', '"count": -',
                     '{"count": 5', '{"count": 5}', '[{"count": 5}]',
                     '{"rp_uuid": "x"}'):
            self.assertIsNone(self.source.for_node(node(text))(VF), text)
            self.assertIsNone(self.source.rp_uuid(node(text), VF), text)

    def test_written_otherwise(self):
        # Read all the same, if not shared.
        text = self.text(builders.vf(tier='gold', rp='x'), indent=4)
        for other in (text, text.replace('": ', '":')):
            self.assertEqual(
                'gold', self.source.for_node(node(other))(VF)['tier'])
            self.assertEqual('x', self.source.rp_uuid(node(other), VF))


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
        self.assertEqual({'remote_managed': 'false'}, found)
        self.assertIsNone(provider(builders.vf(rp=builders.RP1),
                                   builders.vf(rp=builders.RP2)))

    @ddt.data(['x'], {}, 5)
    def test_provider_that_is_none(self, rp_uuid):
        self.assertIsNone(provider(builders.vf(rp=rp_uuid)))
        self.assertEqual('x', provider(
            builders.vf(rp=rp_uuid), builders.vf(rp='x')))

    @ddt.data(['x'], {}, 5, '')
    def test_provider_is_no_obstacle_to_the_tags(self, rp_uuid):
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
