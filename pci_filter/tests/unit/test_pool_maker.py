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

"""From device groups to pools, for many compute nodes."""

import dataclasses
import json

from pci_filter import model
from pci_filter.objects import pool_load
from pci_filter.tags import base as tags_base
from pci_filter.tags import pci_devices
from pci_filter.tags import pci_stats
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders


class CountingSource(tags_base.TagSource):
    """Notes what it is asked; nodes of one host name are alike to it."""

    def __init__(self, tags=None, rp_uuid=None):
        self.nodes = []
        self.kinds = []
        self.rp_uuids = []
        self._tags = {'tier': 'gold'} if tags is None else tags
        self._rp_uuid = rp_uuid
        self._lookups = {}

    def for_node(self, node):
        self.nodes.append(node.uuid)

        def lookup(kind):
            self.kinds.append(kind)
            return {**self._tags, 'host': node.host}
        return self._lookups.setdefault(node.host, lookup)

    def rp_uuid(self, node, kind):
        self.rp_uuids.append((node.uuid, kind))
        return self._rp_uuid


def _node(uuid='uuid', host='host'):
    return model.ComputeNode(uuid, host, 'node')


def _groups(*groups):
    return {group.kind: group for group in groups}


class TestAskedOnce(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.source = CountingSource()
        self.maker = pool_load.PoolMaker([self.source])
        self.groups = _groups(builders.device_group(4), builders.device_group(
            1, dev_type='type-PF'))

    def make(self, *args, **groups):
        pools, unknown, _ = self.maker.make(_node(*args), {
            kind: group._replace(**groups)
            for kind, group in self.groups.items()})
        self.assertEqual([], unknown)
        return pools

    def test_nodes_alike(self):
        made = [self.make(f'uuid{number}', available=number)
                for number in (1, 2, 3)]
        self.assertEqual(list(self.groups), self.source.kinds)
        self.assertEqual(['uuid1', 'uuid2', 'uuid3'], self.source.nodes)
        self.assertEqual([[1, 1], [2, 2], [3, 3]], [
            [pool.count for pool in pools] for pools in made])
        for pools in made[1:]:
            for pool, first in zip(pools, made[0]):
                self.assertIs(first.kind, pool.kind)

    def test_nodes_that_differ(self):
        one, other = self.make('a', 'host1'), self.make('b', 'host2')
        self.assertEqual(list(self.groups) * 2, self.source.kinds)
        self.assertEqual({'host1'}, {pool['host'] for pool in one})
        self.assertEqual({'host2'}, {pool['host'] for pool in other})
        self.assertEqual({'host1'}, {
            pool['host'] for pool in self.make('c', 'host1')})
        self.assertEqual(4, len(self.source.kinds))

    def test_equal_kinds_that_are_not_one(self):
        self.make()
        self.groups = _groups(builders.device_group(4))
        self.make()
        self.assertEqual(3, len(self.source.kinds))

    def test_one_of_several_sources_differs(self):
        constant = CountingSource()
        constant._lookups = dict.fromkeys(
            ('host1', 'host2'), lambda kind: None)
        self.maker = pool_load.PoolMaker([constant, self.source])
        for host in ('host1', 'host2', 'host1'):
            self.assertEqual({host}, {
                pool['host'] for pool in self.make(host, host)})

    def test_devices_in_use_only_are_not_asked_about(self):
        self.assertEqual([], self.make(available=0, in_use=3))
        self.assertEqual([], self.source.kinds)


class TestUnknown(base.UnitTestCase):

    def test_unknown_to_all_nodes(self):
        maker = pool_load.PoolMaker([])
        for number in (1, 2):
            group = builders.device_group(number)
            self.assertEqual(
                ([], [group]), maker.make(_node(), _groups(group))[:2])

    def test_unknown_is_asked_once_too(self):
        source = CountingSource()
        source._lookups['host'] = source.kinds.append
        maker = pool_load.PoolMaker([source])
        group = builders.device_group()
        for _ in range(3):
            self.assertEqual(
                ([], [group]), maker.make(_node(), _groups(group))[:2])
        self.assertEqual([group.kind], source.kinds)


class TestProviders(base.UnitTestCase):

    def make(
        self, *rp_uuids, sources=(), summary=None, stored_tags=None, **more,
    ):
        pools, *_ = pool_load.PoolMaker(
            [CountingSource(), *sources], **more).make(
                _node()._replace(summary=summary), _groups(
                    builders.device_group(
                        rp_uuids=rp_uuids, stored_tags=stored_tags)))
        pool, = pools
        return pool.rp_uuid

    def test_rows_of_our_tracker_tell(self):
        source = CountingSource(rp_uuid='x')
        more = {'sources': [source], 'stored_tags': '{}'}
        self.assertEqual('y', self.make('y', **more))
        self.assertIsNone(self.make('y', 'z', **more))
        self.assertEqual([], source.rp_uuids)
        self.assertEqual('x', self.make(**more))

    def test_rows_that_were_never_told(self):
        """Nova's nova-compute tells the summary of a new provider only."""
        source = CountingSource(rp_uuid='x')
        self.assertEqual('x', self.make('y', sources=[source]))
        self.assertEqual('x', self.make('y', 'z', sources=[source]))
        self.assertEqual('y', self.make('y', sources=[CountingSource()]))
        self.assertIsNone(self.make('y', 'z', sources=[CountingSource()]))

    def test_rows_that_the_summary_confirms(self):
        source = CountingSource(rp_uuid='x')
        self.assertEqual('y', self.make(
            'y', sources=[source], summary='{"rp_uuid": "y"}'))
        self.assertEqual([], source.rp_uuids)

    def test_rows_that_the_summary_may_not_confirm(self):
        """It has more than they, or they have several for one address."""
        group = builders.device_group(rp_uuids='y')
        for summary, address, rp_uuid, expected in (
                ('yz', '0000:82:00.0', 'z', 'y'),
                ('yz', '0000:82:00.0', 'w', 'x'),
                ('y', '0000:82:00.0', 'z', 'y'),
                ('yz', group.kind.address, 'z', 'x')):
            source = CountingSource(rp_uuid='x')
            pools, *_ = pool_load.PoolMaker([source]).make(
                _node()._replace(summary=' '.join(
                    f'"rp_uuid": "{one}"' for one in summary)),
                _groups(group, builders.device_group(
                    0, rp_uuids=rp_uuid, parent_ifname='old1',
                    address=address)))
            self.assertEqual([expected], [pool.rp_uuid for pool in pools])

    def test_first_source_that_knows(self):
        sources = [CountingSource(rp_uuid=rp_uuid)
                   for rp_uuid in (None, 'x', 'y')]
        self.assertEqual('x', self.make(sources=sources))
        self.assertEqual([1, 1, 0], [
            len(source.rp_uuids) for source in sources])

    def test_nobody_knows(self):
        self.assertIsNone(self.make())

    def test_not_wanted(self):
        source = CountingSource(rp_uuid='x')
        self.assertIsNone(self.make(
            'y', sources=[source], providers=False))
        self.assertEqual([], source.rp_uuids)

    def test_are_each_nodes_own(self):
        maker = pool_load.PoolMaker([CountingSource()])
        group = builders.device_group()
        for rp_uuid in 'xy':
            (pool,), *_ = maker.make(_node(rp_uuid), _groups(
                group._replace(rp_uuids=frozenset((rp_uuid,)))))
            self.assertEqual(rp_uuid, pool.rp_uuid)


class TestStoredTags(base.UnitTestCase):
    """Who keeps the rows of a host: what the tags in them tell."""

    def make(self, summary, *stored, sources=None):
        groups = _groups(*(
            builders.device_group(stored_tags=text, parent_ifname=name)
            for name, text in stored))
        return pool_load.PoolMaker(sources or [
            pci_devices.PciDevicesTags(base.options()),
            pci_stats.PciStatsTags(base.options())]).make(
                _node()._replace(summary=summary), groups)

    def check(self, expected, net, *args, **more):
        made = self.make(*args, **more)
        self.assertEqual((expected, {net}), (made.stored_tags, {
            pool.tags.get('physical_network') for pool in made.pools}))

    def summary(self, *nets):
        return json.dumps([{
            'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
            'dev_type': 'type-VF', 'address': builders.A, 'count': 4,
            'remote_managed': 'false', 'physical_network': net}
            for net in nets])

    stored = (None, r'{\"physical_network\": \"old\"}')

    def test_none(self):
        self.check(model.StoredTags.NONE, 'new', self.summary('new'),
                   (None, None))

    def test_current(self):
        for summary in (
                self.summary('old'), None, '', 'garbage', '[]',
                # One of several may be missing.
                self.summary('new', 'newer')):
            self.check(model.StoredTags.CURRENT, 'old', summary, self.stored)

    def test_stale(self):
        self.check(model.StoredTags.STALE, 'new', self.summary('new'),
                   self.stored)

    def test_some_are_as_in_the_summary(self):
        made = self.make(
            self.summary('new'), self.stored,
            ('eth0', r'{\"physical_network\": \"new\"}'))
        self.assertEqual(model.StoredTags.CURRENT, made.stored_tags)

    def test_without_the_summary_among_the_sources(self):
        self.check(
            model.StoredTags.CURRENT, 'old', self.summary('new'),
            self.stored,
            sources=[pci_devices.PciDevicesTags(base.options())])

    def test_is_asked_once_for_nodes_alike(self):
        asked = []
        source = CountingSource()
        source.denies_stored_tags = (
            lambda node, stored: asked.append(node.uuid))
        maker = pool_load.PoolMaker([source])
        groups = _groups(builders.device_group(stored_tags='{}'))
        for uuid in 'abc':
            maker.make(_node(uuid), groups)
        self.assertEqual(['a'], asked)


class TestBlocked(base.UnitTestCase):
    """Relatives in use, be some of their kind available or not."""

    def blocked(self, *groups):
        pools, *_ = pool_load.PoolMaker([CountingSource()]).make(
            _node(), _groups(*groups))
        return {pool.dev_type for pool in pools if pool.blocked}

    def group(self, dev_type, available, in_use, **kind):
        return builders.device_group(
            available, dev_type=dev_type, **kind)._replace(in_use=in_use)

    def test_blocked(self):
        for expected, *groups in (
                (set(), ('type-PF', 1, 0), ('type-VF', 4, 0)),
                ({'type-VF'}, ('type-PF', 0, 1), ('type-VF', 4, 0)),
                ({'type-PF'}, ('type-PF', 1, 0), ('type-VF', 0, 1)),
                ({'type-PF'}, ('type-PF', 1, 0), ('type-VF', 3, 1)),
                ({'type-VF', 'vdpa'}, ('type-PF', 0, 1), ('type-VF', 1, 0),
                 ('vdpa', 1, 0)),
                ({'type-PF'}, ('type-PF', 1, 0), ('type-VF', 1, 0),
                 ('vdpa', 1, 1)),
                (set(), ('type-VF', 1, 1), ('vdpa', 1, 1)),
                (set(), ('type-PF', 1, 1))):
            for order in (groups, groups[::-1]):
                self.assertEqual(expected, self.blocked(
                    *(self.group(*group) for group in order)), groups)

    def test_other_family(self):
        self.assertEqual(set(), self.blocked(
            self.group('type-PF', 0, 1, address=builders.B),
            self.group('type-VF', 4, 0)))


class TestJoined(base.UnitTestCase):

    def test_kinds_alike_once_the_tags_are_known(self):
        pools, *_ = pool_load.PoolMaker([CountingSource()]).make(
            _node(), _groups(*(
                builders.device_group(
                    number, f'0000:81:02.{number}', [rp_uuid],
                    device_address=f'0000:81:02.{number}')
                for number, rp_uuid in ((2, 'x'), (1, 'x'), (3, 'x')))))
        pool, = pools
        self.assertEqual(
            (6, 'x', '0000:81:02.1'),
            (pool.count, pool.rp_uuid, pool.first_address))

    def test_named_parent_and_one_without(self):
        pools, *_ = pool_load.PoolMaker([CountingSource()]).make(
            _node(), _groups(
                builders.device_group(1, 'a', parent_ifname='eth0'),
                builders.device_group(2, 'b')))
        self.assertEqual([2, 1], [
            pool.count for pool in sorted(
                pools, key=lambda pool: len(pool.tags))])

    def test_groups_are_not_changed(self):
        groups = _groups(
            builders.device_group(2, 'a'), builders.device_group(1, 'b'))
        before = [(dataclasses.astuple(kind), group[1:])
                  for kind, group in groups.items()]
        pool_load.PoolMaker([CountingSource()]).make(_node(), groups)
        self.assertEqual(before, [
            (dataclasses.astuple(kind), group[1:])
            for kind, group in groups.items()])
