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

"""Pools from the database, with their tags."""

import dataclasses
import json

import testtools

from pci_filter.db import compute_nodes
from pci_filter import model
from pci_filter import objects
from pci_filter.tags import device_spec
from pci_filter.tags import pci_stats
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.db import base

POOL = {
    'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
    'dev_type': 'type-VF', 'address': '0000:81:00.0'}


def summary(**tags):
    """Return a summary that says nothing true but the tags."""
    return json.dumps([{**POOL, 'count': 99, **tags}])


def pools(pool_list):
    return [dict(pool) for pool in pool_list]


class PoolListsMixin(base.DatabaseMixin):

    def setUp(self):
        super().setUp()
        options = tests_base.options()
        self.sources = [pci_stats.PciStatsTags(options)]
        self.insert_nodes([
            {'uuid': 'one', 'pci_stats': summary(physical_network='net1')},
            {'uuid': 'two', 'pci_stats': summary(physical_network='net2')},
            {'uuid': 'unknown', 'pci_stats': None},
            {'uuid': 'broken', 'pci_stats': '{'},
            {'uuid': 'empty', 'pci_stats': summary()},
            {'uuid': 'deleted', 'pci_stats': summary(), 'deleted': 6}])
        self.add_devices('one', count=3)
        self.add_devices('two', {'status': 'claimed'}, {}, {})
        for node in ('unknown', 'broken', 'deleted'):
            self.add_devices(node)
        self.add_devices('empty', {'status': 'allocated'})

    def test_all(self):
        lists = objects.PciDevicePoolList.get_all(
            self.connection, tag_sources=self.sources)
        self.assertEqual(
            {'one', 'two', 'unknown', 'broken', 'empty'}, set(lists))
        expected = {**POOL, 'remote_managed': 'false'}
        self.assertEqual(
            [{**expected, 'count': 3, 'physical_network': 'net1'}],
            pools(lists['one']))
        self.assertEqual(
            [{**expected, 'count': 2, 'physical_network': 'net2'}],
            pools(lists['two']))
        for node in ('unknown', 'broken', 'empty'):
            self.assertEqual([], pools(lists[node]))
            self.assertTrue(lists[node])
        self.assertEqual(
            [1, 1, 0], [len(lists[node].unknown)
                        for node in ('unknown', 'broken', 'empty')])

    def test_if_idle(self):
        lists = objects.PciDevicePoolList.get_all(
            self.connection, tag_sources=self.sources, if_idle=True)
        self.assertEqual([3], [pool.count for pool in lists['two']])
        self.assertEqual([1], [pool.count for pool in lists['empty']])

    def test_names(self):
        loaded = compute_nodes.load(self.connection)
        self.assertEqual(
            [node._replace(summary=None) for node in loaded],
            compute_nodes.load_names(self.connection))
        self.assertEqual(
            [loaded[1]], compute_nodes.load(self.connection, ['two', 'gone']))

    def test_one_by_one(self):
        nodes = compute_nodes.load(self.connection)
        lists = objects.PciDevicePoolList.get_all(
            self.connection, nodes, self.sources)
        for node in nodes:
            alone = objects.PciDevicePoolList.get_by_compute_node(
                self.connection, node, self.sources)
            self.assertEqual(pools(lists[node.uuid]), pools(alone))
            self.assertEqual(*(
                [(dataclasses.astuple(group.kind), group[1:])
                 for group in pool_list.unknown]
                for pool_list in (lists[node.uuid], alone)))

    def test_statements(self):
        nodes = compute_nodes.load(self.connection)
        statements = self.statements()
        objects.PciDevicePoolList.get_all(
            self.connection, nodes, self.sources)
        self.assertEqual(1, len(statements))
        self.assertNotIn('pci_stats', statements[0][0])
        objects.PciDevicePoolList.get_all(
            self.connection, tag_sources=self.sources)
        self.assertEqual(3, len(statements))

    def test_no_nodes(self):
        statements = self.statements()
        self.assertEqual({}, objects.PciDevicePoolList.get_all(
            self.connection, [], self.sources))
        self.assertEqual([], statements)

    def test_some_nodes(self):
        nodes = [node for node in compute_nodes.load(self.connection)
                 if node.uuid in ('two', 'deleted')]
        self.assertEqual(['two'], [node.uuid for node in nodes])
        self.assertEqual(['two'], list(objects.PciDevicePoolList.get_all(
            self.connection, nodes, self.sources)))

    def test_node_deleted_in_the_meantime(self):
        gone = model.ComputeNode('deleted', 'host', 'node', [POOL])
        lists = objects.PciDevicePoolList.get_all(
            self.connection, [gone], self.sources)
        self.assertEqual([], pools(lists['deleted']))

    def test_tags_by_address(self):
        options = tests_base.options(device_spec=[
            '{"address": "*:82:00.1", "physical_network": "mine"}',
            '{"vendor_id": "8086", "physical_network": "net"}'])
        self.connection.exec_driver_sql(
            'UPDATE compute_nodes SET pci_stats = NULL')
        lists = objects.PciDevicePoolList.get_all(
            self.connection,
            tag_sources=[device_spec.DeviceSpecTags(options)])
        self.assertEqual(
            {'net': 2, 'mine': 1},
            {pool['physical_network']: pool['count']
             for pool in lists['one']})


class TestSQLite(PoolListsMixin, testtools.TestCase):
    pass


class TestMySQL(PoolListsMixin, base.MySQLMixin, testtools.TestCase):
    pass


class TestPostgreSQL(
        PoolListsMixin, base.PostgreSQLMixin, testtools.TestCase):
    pass
