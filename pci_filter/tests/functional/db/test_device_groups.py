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

"""Counting devices inside the database."""

import json
import uuid

import sqlalchemy as sa
import testtools

from pci_filter.db import device_groups
from pci_filter import model
from pci_filter.tests.functional.db import base

PARENT = '0000:81:00.0'


class DeviceGroupsMixin(base.DatabaseMixin):

    def setUp(self):
        super().setUp()
        self.node, = self.add_nodes(1)

    def load(self, *nodes, by_device=False):
        return list(device_groups.load(
            self.connection, nodes or [self.node], by_device))

    def counts(self, *fields):
        """Return the groups as (value of each field ..., count)."""
        return sorted(
            (*(getattr(group, field) for field in fields), group.count)
            for group in self.load())

    def test_nothing(self):
        self.assertEqual([], self.load())
        self.assertEqual([], list(device_groups.load(self.connection, [])))

    def test_one_group(self):
        self.add_devices(self.node, count=3, extra_info=json.dumps(
            {'parent_ifname': 'eth0', 'rp_uuid': 'rp'}))
        self.assertEqual([model.DeviceGroup(
            node_uuid=self.node, vendor_id='8086', product_id='154c',
            numa_node=0, dev_type='type-VF', address=PARENT,
            parent_ifname='eth0', device_address=None, count=3,
            first_address='0000:82:00.0', rp_uuids=('rp', 'rp'))],
            self.load())

    def test_every_property_tells_groups_apart(self):
        self.add_devices(
            self.node, {}, {}, {'vendor_id': '15b3'}, {'product_id': '101e'},
            {'numa_node': 1}, {'numa_node': None}, {'dev_type': 'vdpa'},
            {'parent_addr': '0000:81:00.1'},
            {'extra_info': '{"parent_ifname": "eth1"}'})
        self.assertEqual([1] * 7 + [2], sorted(
            group.count for group in self.load()))

    def test_only_available_and_not_deleted(self):
        self.add_devices(self.node, *(
            {'status': status} for status in (
                'available', 'claimed', 'allocated', 'unclaimable',
                'unavailable', 'removed', 'deleted', 'borrowed', '')))
        # Nova sets deleted to the row's id.
        self.add_devices(self.node, {'deleted': 77})
        # What is in use is told, but not offered.
        self.assertEqual([('0000:82:00.0', 2, 1)],
                         self.counts('first_address', 'in_use'))

    def test_all_in_use(self):
        self.add_devices(self.node, {'status': 'claimed'},
                         {'status': 'allocated', 'numa_node': 1})
        self.add_devices(self.node, {'status': 'unavailable'}, {
            'status': 'unclaimable', 'numa_node': 2})
        for by_device in (False, True):
            self.assertEqual(
                {(0, 0, 1, None, None), (1, 0, 1, None, None)},
                {(group.numa_node, group.count, group.in_use,
                  group.first_address, group.device_address)
                 for group in self.load(by_device=by_device)})

    def test_numa_node_unknown(self):
        self.add_devices(self.node, {'numa_node': None}, {'numa_node': None},
                         {'numa_node': 0})
        self.assertEqual({(None, 2), (0, 1)}, {
            (group.numa_node, group.count) for group in self.load()})

    def test_parent_unknown(self):
        self.add_devices(
            self.node, {'parent_addr': None}, {'parent_addr': ''}, {},
            {'parent_addr': None, 'dev_type': 'type-PF', 'address': PARENT})
        self.assertEqual(
            [('type-PF', PARENT, 1), ('type-VF', PARENT, 1),
             ('type-VF', '0000:82:00.0', 1), ('type-VF', '0000:82:00.1', 1)],
            self.counts('dev_type', 'address'))

    def netdev_of(self, extra_info):
        """Return what is read from extra_info, in a row of its own.

        Another row stands by and must be read whatever the first one is.
        """
        self.connection.execute(sa.delete(base.DEVICES))
        self.add_devices(
            self.node, {'extra_info': extra_info, 'numa_node': 1},
            {'extra_info': '{"parent_ifname": "good"}'})
        good, odd = sorted(self.load(), key=lambda group: group.numa_node)
        self.assertEqual(('good', 1, 1),
                         (good.parent_ifname, good.count, odd.count))
        return odd.parent_ifname

    def test_extra_info(self):
        nested = json.dumps({'parent_ifname': 'wrong', 'rp_uuid': 'wrong'})
        for expected, extra_info in (
                ('eth0', '{"parent_ifname": "eth0"}'),
                ('eth0', json.dumps(
                    {'capabilities': nested, 'parent_ifname': 'eth0',
                     'mac_address': 'x', 'managed': 'true'}, indent=1)),
                ('eth0', json.dumps(
                    {'parent_ifname': 'eth0', 'capabilities': nested})),
                ('eth\N{LATIN SMALL LETTER U WITH DIAERESIS}',
                 '{"parent_ifname": '
                 '"eth\N{LATIN SMALL LETTER U WITH DIAERESIS}"}'),
                ('', '{"parent_ifname": ""}'),
                (None, json.dumps({'capabilities': nested})),
                (None, json.dumps({'other': '"parent_ifname": "wrong"'})),
                (None, '{}'),
                (None, None)):
            self.assertEqual(expected, self.netdev_of(extra_info), extra_info)

    def test_extra_info_that_nova_does_not_write(self):
        """It need not be understood, but must not fail the statement."""
        for extra_info in (
                '{"parent_ifname": 5}', '{"parent_ifname": true}',
                '{"parent_ifname": null}', '{"parent_ifname": {"a": "b"}}',
                '{"parent_ifname": ["a"]}', '[]', '"x"', '5', 'null', '',
                ' ', '{', 'nonsense', '{parent_ifname: "eth0"}',
                "{'parent_ifname': 'eth0'}", '{"parent_ifname":"eth0"}'):
            self.assertIsNone(self.netdev_of(extra_info), extra_info)
        for extra_info in (
                '[{"parent_ifname": "eth0"}]', '{"parent_ifname": "eth0"',
                '{"capabilities": {"parent_ifname": "eth0"}}',
                '{"parent_ifname": "eth0"}}', '{"parent_ifname": "eth0",}',
                '{"parent_ifname": "eth', '{"parent_ifname": "',
                '{"PARENT_IFNAME": "eth0"}', '"parent_ifname": "eth0"',
                '{"parent_ifname": "a", "parent_ifname": "b"}'):
            self.assertIsInstance(
                self.netdev_of(extra_info), (str, type(None)), extra_info)

    def test_extra_info_with_escapes(self):
        """Understood, or else unknown."""
        for name in ('eth"0', 'eth\\0',
                     'eth\N{LATIN SMALL LETTER U WITH DIAERESIS}'):
            self.assertIn(
                self.netdev_of(json.dumps({'parent_ifname': name})),
                (name, None))

    def providers(self, *texts):
        self.connection.execute(sa.delete(base.DEVICES))
        self.add_devices(self.node, *({'extra_info': text}
                                      for text in texts))
        group, = self.load()
        self.assertEqual(len(texts), group.count)
        return group.rp_uuid

    def test_providers(self):
        known, other = '{"rp_uuid": "rp-b"}', '{"rp_uuid": "rp-a"}'
        self.assertEqual('rp-b', self.providers(known, known))
        self.assertEqual('rp-b', self.providers(known, '{}', None, '{'))
        self.assertIsNone(self.providers('{}', '{}'))
        self.assertIsNone(self.providers(known, other))
        group, = self.load()
        self.assertEqual(('rp-a', 'rp-b'), group.rp_uuids)

    def test_only_nodes_asked_about(self):
        others = self.add_nodes(3)
        for node in (self.node, *others):
            self.add_devices(node, count=2)
        self.assertEqual([(self.node, 2)], self.counts('node_uuid'))
        self.assertEqual(
            {(others[0], 2), (others[2], 2)},
            {(group.node_uuid, group.count)
             for group in self.load(others[0], others[2])})

    def test_node_deleted(self):
        gone = str(uuid.uuid4())
        self.insert_nodes([{'uuid': gone, 'deleted': 9}])
        self.add_devices(gone)
        self.add_devices(self.node)
        self.assertEqual([self.node], [
            group.node_uuid for group in self.load(self.node, gone)])

    def test_by_device(self):
        serial = json.dumps({'capabilities': json.dumps(
            {'vpd': {'card_serial_number': 'SN1'}})})
        empty = json.dumps({'capabilities': json.dumps(
            {'vpd': {'card_serial_number': ''}})})
        self.add_devices(
            self.node, {'extra_info': serial}, {'extra_info': empty}, {},
            {'extra_info': None}, *[{'status': 'claimed'}] * 3)
        in_use, = [group for group in self.load(by_device=True)
                   if not group.count]
        self.assertEqual(
            (None, None, PARENT, 3),
            (in_use.device_address, in_use.first_address, in_use.address,
             in_use.in_use))
        groups = [group for group in self.load(by_device=True)
                  if group.count]
        self.assertEqual({0}, {group.in_use for group in groups})
        self.assertEqual(
            [(f'0000:82:00.{n}', f'0000:82:00.{n}', PARENT, 1)
             for n in range(4)],
            sorted((group.device_address, group.first_address,
                    group.address, group.count) for group in groups))
        self.assertEqual(['0000:82:00.0'], [
            group.device_address for group in groups
            if group.has_card_serial])
        self.assertEqual([None], [
            group.device_address for group in self.load()])

    def test_many_nodes(self):
        self.insert_nodes({'uuid': f'node-{n}'} for n in range(12_000))
        for n in (0, 9_999, 10_000, 11_999):
            self.add_devices(f'node-{n}', count=2)
        self.add_devices(self.node)
        statements = self.statements()
        groups = self.load(*(f'node-{n}' for n in range(12_000)))
        self.assertEqual(2, len(statements))
        self.assertEqual(
            {(f'node-{n}', 2) for n in (0, 9_999, 10_000, 11_999)},
            {(group.node_uuid, group.count) for group in groups})

    def test_parameters_are_bound(self):
        strange = "it's; -- \"%s\" :x ?"
        self.insert_nodes([{'uuid': strange}])
        self.add_devices(strange)
        statements = self.statements()
        group, = self.load(strange, "' OR '1'='1")
        self.assertEqual(strange, group.node_uuid)
        (statement, parameters), = statements
        self.assertNotIn("it's", statement)
        self.assertIn(strange, getattr(
            parameters, 'values', lambda: parameters)())

    def test_index_is_used(self):
        uuids = self.add_nodes(200)
        for number, node in enumerate(uuids):
            self.add_devices(node, *(
                {'address': f'{number:04x}:82:{n // 8:02x}.{n % 8}'}
                for n in range(20)))
        self.analyze()
        for by_device in (False, True):
            statements = self.statements()
            groups = self.load(uuids[3], uuids[150], by_device=by_device)
            self.assertEqual(40, sum(group.count for group in groups))
            (statement, parameters), = statements[-1:]
            self.check_plan([
                tuple(row) for row in self.connection.exec_driver_sql(
                    f'{self.explain} {statement}', parameters)])


class TestSQLite(DeviceGroupsMixin, testtools.TestCase):

    explain = 'EXPLAIN QUERY PLAN'

    def analyze(self):
        self.connection.exec_driver_sql('ANALYZE')

    def check_plan(self, plan):
        plan = [row[-1] for row in plan]
        devices, = [line for line in plan if 'pci_devices' in line]
        self.assertIn('SEARCH pci_devices USING INDEX', devices, plan)
        self.assertIn('(compute_node_id=?', devices, plan)


class TestMySQL(DeviceGroupsMixin, base.MySQLMixin, testtools.TestCase):

    def test_strict_modes(self):
        """Nova's sessions and those of a strict server."""
        self.add_devices(
            self.node, {}, {'status': 'claimed'}, {'parent_addr': ''},
            {'extra_info': '{"parent_ifname": "eth0", "rp_uuid": "rp"}'},
            {'extra_info': '{'}, {'extra_info': None})
        expected = [sorted(map(repr, self.load(by_device=by_device)))
                    for by_device in (False, True)]
        for mode in ('TRADITIONAL', 'TRADITIONAL,ONLY_FULL_GROUP_BY',
                     'ANSI,ONLY_FULL_GROUP_BY'):
            self.connection.exec_driver_sql(
                f"SET SESSION sql_mode = '{mode}'")
            for by_device in (False, True):
                self.assertEqual(
                    expected[by_device],
                    sorted(map(repr, self.load(by_device=by_device))), mode)

    explain = 'EXPLAIN'

    def analyze(self):
        for table in (base.NODES, base.DEVICES):
            self.connection.exec_driver_sql(f'ANALYZE TABLE {table.name}')

    def check_plan(self, plan):
        # id, select_type, table, type, possible_keys, key, ...
        devices, = [row for row in plan if row[2] == 'pci_devices']
        self.assertIn('compute_node_id', devices[5] or '', plan)
        self.assertIn(devices[3], ('ref', 'range'), plan)


class TestPostgreSQL(
        DeviceGroupsMixin, base.PostgreSQLMixin, testtools.TestCase):

    explain = 'EXPLAIN'

    def analyze(self):
        self.connection.exec_driver_sql('ANALYZE')

    def check_plan(self, plan):
        text = '\n'.join(row[0] for row in plan)
        self.assertNotIn('Seq Scan on pci_devices', text)
        self.assertRegex(text, r'Index Cond: .*compute_node_id')
