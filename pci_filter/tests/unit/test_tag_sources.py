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

"""[pci_filter]tag_sources: which there are, and in which order they answer."""

import ddt

from pci_filter import exception
from pci_filter import model
from pci_filter.objects import pool_load
from pci_filter.tags import base as tags_base
from pci_filter.tags import device_spec
from pci_filter.tags import pci_devices
from pci_filter.tags import pci_stats
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders

UNKNOWN = model.UNKNOWN


def _group(number=0, rp_uuids=(), **kind):
    """Return what the row of one function tells."""
    address = f'0000:81:02.{number}'
    return builders.device_group(
        first_address=address, rp_uuids=rp_uuids, device_address=address,
        **kind)


def _make(groups, summary, sources):
    node = model.ComputeNode('uuid', 'host', 'node', summary)
    return pool_load.PoolMaker(sources).make(
        node, {group.kind: group for group in groups})[:2]


class TestLoad(base.UnitTestCase):

    def _types(self, **values):
        return list(map(type, tags_base.load(base.options(**values))))

    def test_default(self):
        self.assertEqual(
            [pci_devices.PciDevicesTags, device_spec.DeviceSpecTags,
             pci_stats.PciStatsTags],
            self._types())

    def test_order(self):
        self.assertEqual(
            [pci_stats.PciStatsTags, device_spec.DeviceSpecTags],
            self._types(tag_sources=['pci_stats', 'device_spec']))

    def test_one(self):
        self.assertEqual([pci_stats.PciStatsTags],
                         self._types(tag_sources=['pci_stats']))

    def test_none(self):
        error = self.assertRaises(
            exception.NoTagSource, self._types, tag_sources=[])
        self.assertEqual(
            '[pci_filter]tag_sources is empty: no PCI device could be used. '
            'Name a source, or remove the option to have the default.',
            str(error))

    def test_unknown_source(self):
        error = self.assertRaises(
            exception.UnknownTagSource, self._types,
            tag_sources=['pci_stats', 'oracle'])
        self.assertEqual('oracle', error.name)
        self.assertEqual(sorted(error.known), error.known)
        self.assertLessEqual({'device_spec', 'pci_stats'}, set(error.known))
        self.assertEqual(
            "[pci_filter]tag_sources names the unknown source 'oracle'. "
            f'Choose from: {", ".join(error.known)}.', str(error))

    def test_faulty_option_of_a_source(self):
        error = self.assertRaises(
            exception.InvalidDeviceSpec, self._types, device_spec=['oops'])
        self.assertEqual('oops', error.value)

    def test_option_of_a_source_that_is_not_used(self):
        self.assertEqual([pci_stats.PciStatsTags], self._types(
            tag_sources=['pci_stats'], device_spec=['oops']))


@ddt.ddt
class TestOrder(base.UnitTestCase):
    """Which source decides, told from the pools that are made."""

    def _make(self, sources, specs, summary):
        return _make([_group()], summary, tags_base.load(base.options(
            tag_sources=sources, device_spec=specs)))

    def _tier(self, *args):
        pools, unknown = self._make(*args)
        self.assertEqual([], unknown)
        pool, = pools
        return pool.tags.get('tier')

    @ddt.data((['device_spec', 'pci_stats'], 'spec'),
              (['pci_stats', 'device_spec'], 'summary'),
              (['device_spec'], 'spec'), (['pci_stats'], 'summary'))
    @ddt.unpack
    def test_first_that_knows(self, sources, tier):
        self.assertEqual(tier, self._tier(
            sources, ['{"tier": "spec"}'], [builders.vf(tier='summary')]))

    def test_first_does_not_know(self):
        both = ['device_spec', 'pci_stats']
        self.assertEqual('summary', self._tier(
            both, [], [builders.vf(tier='summary')]))
        self.assertEqual('summary', self._tier(
            both, ['{"vendor_id": "10de", "tier": "spec"}'],
            [builders.vf(tier='summary')]))
        self.assertEqual('spec', self._tier(
            both[::-1], ['{"tier": "spec"}'], None))

    def test_tags_of_sources_are_not_mixed(self):
        pools, _ = self._make(
            ['device_spec', 'pci_stats'], ['{"color": "red"}'],
            [builders.vf(tier='summary')])
        self.assertEqual(
            {'color': 'red', 'remote_managed': 'false'}, pools[0].tags)

    def test_one_that_knows_all_before_one_that_does_not(self):
        split = [builders.vf(tier='summary'), builders.vf(tier='other')]
        sources = ['pci_stats', 'device_spec']
        self.assertEqual('spec', self._tier(
            sources, ['{"tier": "spec"}'], split))
        self.assertIs(UNKNOWN, self._tier(sources, [], split))

    def test_nobody_knows(self):
        group = _group()
        for summary, sources in (
                (None, tags_base.load(base.options())),
                ([builders.vf()], [])):
            pools, unknown = _make([group], summary, sources)
            self.assertEqual(([], [group]), (pools, unknown))


class TestProviders(base.UnitTestCase):

    def _make(self, groups, summary, specs=('{}',)):
        loaded = tags_base.load(base.options(device_spec=list(specs)))
        return _make(groups, summary, loaded)[0]

    def test_rows_of_our_tracker_decide(self):
        pool, = self._make(
            [_group(rp_uuids='x', stored_tags='{}')],
            [builders.vf(rp=builders.RP1)])
        self.assertEqual('x', pool.rp_uuid)
        self.assertNotIn('rp_uuid', pool.tags)

    def test_summary_knows_what_the_rows_were_not_told(self):
        """Nova's own tracker stores the first provider, and no other."""
        pool, = self._make(
            [_group(rp_uuids='x')], [builders.vf(rp=builders.RP1)])
        self.assertEqual(builders.RP1, pool.rp_uuid)
        pool, = self._make(
            [_group(rp_uuids='xy')], [builders.vf(rp=builders.RP1)])
        self.assertEqual(builders.RP1, pool.rp_uuid)

    def test_summary_knows_what_the_rows_lack(self):
        pool, = self._make([_group()], [builders.vf(rp=builders.RP1)])
        self.assertEqual(builders.RP1, pool.rp_uuid)

    def test_rows_that_disagree(self):
        pool, = self._make([_group(rp_uuids='xy', stored_tags='{}')],
                           [builders.vf(rp=builders.RP1)])
        self.assertIsNone(pool.rp_uuid)
        pool, = self._make([_group(rp_uuids='xy')], None)
        self.assertIsNone(pool.rp_uuid)

    def test_summary_that_disagrees(self):
        pool, = self._make([_group()], [builders.vf(rp=builders.RP1),
                                        builders.vf(rp=builders.RP2)])
        self.assertIsNone(pool.rp_uuid)

    def test_summary_that_disagrees_about_the_provider_only(self):
        summary = [builders.vf(tier='gold', rp=builders.RP1),
                   builders.vf(tier='gold', rp=builders.RP2)]
        loaded = tags_base.load(base.options(
            tag_sources=['pci_stats', 'device_spec'],
            device_spec=['{"tier": "lead"}']))
        (pool,), _ = _make([_group(rp_uuids='x')], summary, loaded)
        # So the row decides about the provider; the first source knows all
        # tags.
        self.assertEqual(('x', 'gold'), (pool.rp_uuid, pool.tags['tier']))

    def test_several_pools_to_nova_compute_keep_theirs(self):
        # A claim refuses a provider whose devices are in two pools, and with
        # it all others of the host: it must be known that there is one.
        pool, = self._make(
            [_group(rp_uuids=[builders.RP1])],
            [builders.vf(rp=builders.RP1, tier='gold'),
             builders.vf(rp=builders.RP1, tier='lead')], specs=())
        self.assertEqual(
            (builders.RP1, UNKNOWN), (pool.rp_uuid, pool.tags['tier']))

    def test_devices_alike_are_one_pool(self):
        pool, = self._make(
            [_group(2), _group(1, 'x'), _group(3, 'x')], None)
        self.assertEqual((3, 'x', '0000:81:02.1'), (
            pool.count, pool.rp_uuid, pool.first_address))

    def test_devices_alike_with_different_providers(self):
        pool, = self._make([_group(1, 'x'), _group(2, 'y')], None)
        self.assertEqual((2, None), (pool.count, pool.rp_uuid))

    def test_devices_with_different_tags_are_not_joined(self):
        pools = self._make([_group(1), _group(2)], None, specs=(
            '{"address": ".1", "tier": "1"}', '{"tier": 1}'))
        self.assertEqual([1, 1], [pool.count for pool in pools])
        self.assertEqual(['1', 1], [pool.tags['tier'] for pool in pools])
