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

import dataclasses
import json
import operator
import re
import uuid

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.db import device_groups
from pci_filter.db import node_lists
from pci_filter import model
from pci_filter.tests.functional.db import base

PARENT = '0000:81:00.0'
RP = '11111111-0000-4000-8000-000000000000'


def _told(group):
    """Return what a group tells, but for its providers."""
    return repr((dataclasses.astuple(group.kind), group.available,
                 group.first_address, group.in_use))


class DeviceGroupsMixin(base.DatabaseMixin):

    def setUp(self):
        super().setUp()
        self.node, = self.add_nodes(1)

    def load_nodes(self, *nodes, **more):
        return device_groups.load(self.connection, nodes, **more)

    def load(self, **more):
        """Return the groups of the one node."""
        loaded = self.load_nodes(self.node, **more)
        self.assertLessEqual(loaded.keys(), {self.node})
        groups = loaded.get(self.node, {})
        for kind, group in groups.items():
            self.assertIs(kind, group.kind)
        return list(groups.values())

    def counts(self, *fields):
        """Return the groups as (value of each field ..., available)."""
        return sorted(
            (*(operator.attrgetter(field)(group) for field in fields),
             group.available) for group in self.load())

    def totals(self, *nodes):
        """Return how many devices are available on each node."""
        return {
            node: sum(group.available for group in groups.values())
            for node, groups in self.load_nodes(*nodes).items()}

    def test_if_idle(self):
        self.add_devices(self.node, *(
            {'status': status} for status in (
                'available', 'claimed', 'allocated', 'unclaimable',
                'unavailable', 'removed', 'deleted')))
        self.add_devices(self.node, status='allocated', deleted=1)
        for by_device, available in ((False, [5]), (True, [1] * 5)):
            groups = self.load(if_idle=True, by_device=by_device)
            self.assertEqual(
                available, [group.available for group in groups])
            self.assertEqual({0}, {group.in_use for group in groups})
        self.assertEqual(5, len({
            group.kind.device_address for group in groups}))

    def test_nothing(self):
        self.assertEqual({}, self.load_nodes(self.node))
        self.assertEqual({}, self.load_nodes('unknown'))
        statements = self.statements()
        self.assertEqual({}, self.load_nodes())
        self.assertEqual([], statements)

    def test_one_group(self):
        self.add_devices(self.node, count=3, extra_info=json.dumps(
            {'parent_ifname': 'eth0', 'rp_uuid': 'rp'}))
        group, = self.load()
        self.assertEqual(model.DeviceGroup(
            group.kind, available=3, first_address='0000:82:00.0', in_use=0,
            rp_uuids=frozenset(['rp'])), group)
        self.assertEqual({
            'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
            'dev_type': 'type-VF', 'address': PARENT,
            'parent_ifname': 'eth0', 'device_address': None,
            'has_card_serial': None, 'stored_tags': None,
        }, dataclasses.asdict(group.kind))

    def test_every_property_tells_groups_apart(self):
        self.add_devices(
            self.node, {}, {}, {'vendor_id': '15b3'}, {'product_id': '101e'},
            {'numa_node': 1}, {'numa_node': None}, {'dev_type': 'vdpa'},
            {'parent_addr': '0000:81:00.1'},
            {'extra_info': '{"parent_ifname": "eth1"}'})
        self.assertEqual([1] * 7 + [2], sorted(
            group.available for group in self.load()))

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
                {(group.kind.numa_node, group.available, group.in_use,
                  group.first_address, group.kind.device_address)
                 for group in self.load(by_device=by_device)})

    def test_numa_node_unknown(self):
        self.add_devices(self.node, {'numa_node': None}, {'numa_node': None},
                         {'numa_node': 0})
        self.assertEqual({(None, 2), (0, 1)}, {
            (group.kind.numa_node, group.available)
            for group in self.load()})

    def test_parent_unknown(self):
        self.add_devices(
            self.node, {'parent_addr': None}, {'parent_addr': ''}, {},
            {'parent_addr': None, 'dev_type': 'type-PF', 'address': PARENT})
        self.assertEqual(
            [('type-PF', PARENT, 1), ('type-VF', PARENT, 1),
             ('type-VF', '0000:82:00.0', 1), ('type-VF', '0000:82:00.1', 1)],
            self.counts('kind.dev_type', 'kind.address'))

    def netdev_of(self, extra_info):
        """Return what is read from extra_info, in a row of its own.

        Another row stands by and must be read whatever the first one is.
        """
        self.connection.execute(sa.delete(base.DEVICES))
        self.add_devices(
            self.node, {'extra_info': extra_info, 'numa_node': 1},
            {'extra_info': '{"parent_ifname": "good"}'})
        good, odd = sorted(
            self.load(), key=lambda group: group.kind.numa_node)
        self.assertEqual(
            ('good', 1, 1),
            (good.kind.parent_ifname, good.available, odd.available))
        return odd.kind.parent_ifname

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
                # An empty name is none (pool.complete_tags).
                (None, '{"parent_ifname": ""}'),
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
        self.assertEqual(len(texts), group.available)
        return group.rp_uuid

    def test_providers(self):
        known, other = '{"rp_uuid": "rp-b"}', '{"rp_uuid": "rp-a"}'
        self.assertEqual('rp-b', self.providers(known, known))
        self.assertEqual('rp-b', self.providers(known, '{}', None, '{'))
        self.assertIsNone(self.providers('{}', '{}'))
        self.assertIsNone(self.providers(known, other))
        group, = self.load()
        self.assertEqual({'rp-a', 'rp-b'}, group.rp_uuids)

    def test_only_nodes_asked_about(self):
        others = self.add_nodes(3)
        for node in (self.node, *others):
            self.add_devices(node, count=2)
        self.assertEqual({self.node: 2}, self.totals(self.node))
        self.assertEqual({others[0]: 2, others[2]: 2},
                         self.totals(others[0], others[2]))

    def test_node_deleted(self):
        gone = str(uuid.uuid4())
        self.insert_nodes([{'uuid': gone, 'deleted': 9}])
        self.add_devices(gone)
        self.add_devices(self.node)
        self.assertEqual({self.node: 1}, self.totals(self.node, gone))

    def test_by_device(self):
        serial = json.dumps({'capabilities': json.dumps(
            {'vpd': {'card_serial_number': 'SN1'}})})
        empty = json.dumps({'capabilities': json.dumps(
            {'vpd': {'card_serial_number': ''}})})
        self.add_devices(
            self.node, {'extra_info': serial}, {'extra_info': empty}, {},
            {'extra_info': None}, *[{'status': 'claimed'}] * 3)
        in_use, = [group for group in self.load(by_device=True)
                   if not group.available]
        self.assertEqual(
            (None, None, PARENT, 3),
            (in_use.kind.device_address, in_use.first_address,
             in_use.kind.address, in_use.in_use))
        groups = [group for group in self.load(by_device=True)
                  if group.available]
        self.assertEqual({0}, {group.in_use for group in groups})
        self.assertEqual(
            [(f'0000:82:00.{n}', f'0000:82:00.{n}', PARENT, 1)
             for n in range(4)],
            sorted((group.kind.device_address, group.first_address,
                    group.kind.address, group.available)
                   for group in groups))
        self.assertEqual(
            {'0000:82:00.0': True, '0000:82:00.1': False,
             '0000:82:00.2': False, '0000:82:00.3': False},
            {group.kind.device_address: group.kind.has_card_serial
             for group in groups})
        self.assertEqual([(None, None)], [
            (group.kind.device_address, group.kind.has_card_serial)
            for group in self.load()])

    def read_by_index(self):
        """Let no number of nodes be enough to read all devices."""
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.device_groups._BY_INDEX', 2))

    def test_many_nodes(self):
        self.read_by_index()
        number = 3 * node_lists.PER_STATEMENT + 5
        self.insert_nodes({'uuid': f'node-{n}'} for n in range(number))
        some = (0, 1, 998, 999, 1000, 1998, number - 1)
        for n in some:
            self.add_devices(f'node-{n}', count=2)
        self.add_devices(self.node)
        statements = self.statements()
        self.assertEqual(
            {f'node-{n}': 2 for n in some},
            self.totals(*(f'node-{n}' for n in range(number))))
        # The first one counts the nodes.
        self.assertEqual(5, len(statements))
        # Each about as long as the others.
        lengths = [len(getattr(parameters, 'values', lambda: parameters)())
                   for _, parameters in statements[1:]]
        self.assertLessEqual(max(lengths) - min(lengths), 1)

    def test_statements_for_so_many_nodes(self):
        self.read_by_index()
        most = node_lists.PER_STATEMENT
        uuids = self.add_nodes(most + 1)
        for node in (uuids[0], uuids[-1]):
            self.add_devices(node)
        for some, number in ((uuids[:most], 1), (uuids, 2)):
            statements = self.statements()
            self.assertEqual({node: 1 for node in {some[0], some[-1]}
                              if node in (uuids[0], uuids[-1])},
                             self.totals(*some))
            self.assertEqual(1 + number, len(statements))

    def test_lists_of_so_many_nodes(self):
        self.read_by_index()
        uuids = self.add_nodes(1000)
        for node in (uuids[0], uuids[-1]):
            self.add_devices(node)
        statements = self.statements()
        self.assertEqual(
            {uuids[0]: 1, uuids[-1]: 1}, self.totals(*uuids))
        [_, (text, _)] = statements
        lists = re.findall(
            r'uuid IN \(([^()]*(?:\([^()]*\)[^()]*)*)\)', text)
        # MariaDB: in_predicate_conversion_threshold is 1000.
        self.assertEqual([500, 500], [of.count(',') + 1 for of in lists])

    def test_most_nodes(self):
        """All devices are read, and those of other nodes dropped."""
        uuids = self.add_nodes(100)
        for node in uuids:
            self.add_devices(node, {}, {'status': 'claimed'}, {
                'extra_info': '{"parent_ifname": "eth0"}'})
        asked = uuids[:70]
        told = set()
        for by_index, in_statement, reads_all, expected in (
                (2, 100, False, 2), (3 / 5, 100, True, 2),
                (7 / 10, 100, False, 2), (2, 25, False, 4),
                # As many ranges as there would be lists, found before.
                (1 / 5, 25, True, 5)):
            for name, value in (('device_groups._BY_INDEX', by_index),
                                ('node_lists.PER_STATEMENT', in_statement)):
                self.useFixture(fixtures.MonkeyPatch(
                    f'pci_filter.db.{name}', value))
            statements = self.statements()
            loaded = self.load_nodes(*asked)
            self.assertEqual(set(asked), set(loaded))
            told.add(repr(sorted(
                (node, sorted(map(_told, groups.values())))
                for node, groups in loaded.items())))
            self.assertEqual(expected, len(statements))
            for text, _ in statements[1:]:
                self.assertEqual(reads_all, ' IN (SELECT' not in text, text)
        self.assertEqual(1, len(told))

    def test_a_node_in_several_ranges(self):
        """The parts of its groups are added up."""
        uuids = self.add_nodes(70)
        devices = ({}, {'status': 'claimed'}, {})
        for device in devices:
            for node in uuids:
                self.add_devices(node, device)
        whole = self.load_nodes(*uuids)
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.node_lists.PER_STATEMENT', 10))
        statements = self.statements()
        again = self.load_nodes(*uuids)
        self.assertEqual(set(uuids), set(again))
        for node in uuids:
            # Each load has kinds of its own, which equal no others.
            self.assertEqual([_told(group) for group in whole[node].values()],
                             [_told(group) for group in again[node].values()])
        ranges = [text for text, _ in statements if ' BETWEEN ' in text]
        self.assertEqual(7, len(ranges))
        for groups in whole.values():
            self.assertEqual([(2, 1)], [
                (group.available, group.in_use) for group in groups.values()])

    def test_no_devices_in_ranges(self):
        uuids = self.add_nodes(70)
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.node_lists.PER_STATEMENT', 10))
        self.assertEqual({}, self.load_nodes(*uuids))

    def test_few_nodes_are_not_counted(self):
        uuids = self.add_nodes(63)
        statements = self.statements()
        self.load_nodes(*uuids)
        self.assertEqual(1, len(statements))

    def test_nodes_share_kinds(self):
        uuids = self.add_nodes(3)
        for node in uuids:
            self.add_devices(node, {}, {'numa_node': 1})
        for in_statement, in_list in ((999, 999), (999, 1), (2, 1), (1, 1)):
            self.useFixture(fixtures.MonkeyPatch(
                'pci_filter.db.node_lists.PER_STATEMENT',
                in_statement))
            self.useFixture(fixtures.MonkeyPatch(
                'pci_filter.db.node_lists._PER_LIST', in_list))
            loaded = self.load_nodes(*uuids)
            self.assertEqual(set(uuids), set(loaded))
            self.assertEqual(2, len({
                kind for groups in loaded.values() for kind in groups}))

    def test_text_behind_the_name_is_of_no_importance(self):
        """Rows of one physical function, told differently."""
        self.add_devices(self.node, *(
            {'extra_info': text} for text in (
                '{"parent_ifname": "eth0"}',
                '{"parent_ifname": "eth0", "mac_address": "1"}',
                '{"parent_ifname": "eth0", "capabilities": "{}"}',
                json.dumps({'parent_ifname': 'eth0', 'a': 'b'}, indent=4))))
        self.add_devices(
            self.node, {'status': 'claimed', 'extra_info':
                        '{"parent_ifname": "eth0", "rp_uuid": "rp"}'})
        group, = self.load()
        self.assertEqual(
            ('eth0', 4, 1, '0000:82:00.0', {'rp'}),
            (group.kind.parent_ifname, group.available, group.in_use,
             group.first_address, group.rp_uuids))

    def test_names_as_long_as_linux_lets_them_be(self):
        names = 'x', 'ens1f0np0', 'enp129s0f0np0v1', 'enp129s0f0np0v2'
        self.assertEqual(15, len(names[-1]))
        self.add_devices(self.node, *(
            {'extra_info': json.dumps({'parent_ifname': name, **more})}
            for name in names for more in ({}, {'rp_uuid': RP})))
        self.assertEqual(
            sorted((name, 2) for name in names),
            self.counts('kind.parent_ifname'))

    def test_whole_provider_is_read(self):
        for more in ({}, {'rp_uuid_of_another': 'x'}):
            self.assertEqual(RP, self.providers(
                json.dumps({'rp_uuid': RP, **more})))

    def test_providers_missing_or_contradictory(self):
        """First addresses and counts are those of all the rows."""
        other = RP.replace('1', '2')
        self.add_devices(
            self.node, {}, {'extra_info': json.dumps({'rp_uuid': other})},
            {'extra_info': json.dumps({'rp_uuid': RP})}, {
                'status': 'allocated',
                'extra_info': json.dumps({'rp_uuid': RP})})
        group, = self.load()
        self.assertEqual(
            (3, 1, '0000:82:00.0', {RP, other}, None),
            (group.available, group.in_use, group.first_address,
             group.rp_uuids, group.rp_uuid))

    def test_providers_are_not_read_unless_wanted(self):
        self.add_devices(self.node, *(
            {'extra_info': json.dumps({'rp_uuid': rp_uuid})}
            for rp_uuid in (RP, 'other')), {'status': 'claimed'}, {})
        for by_device in (False, True):
            with_providers = self.load(by_device=by_device)
            statements = self.statements()
            without = self.load(by_device=by_device, providers=False)
            (statement, parameters), = statements
            self.assertNotIn('rp_uuid', statement)
            self.assertEqual({frozenset()},
                             {group.rp_uuids for group in without})
            self.assertEqual(
                sorted(_told(group) for group in with_providers),
                sorted(_told(group) for group in without))

    def test_as_many_rows_as_groups(self):
        # Devices of one provider do not make a row each.
        self.add_devices(self.node, count=20, extra_info=json.dumps(
            {'rp_uuid': RP, 'parent_ifname': 'eth0'}))
        for providers in (True, False):
            statements = self.statements()
            self.load(providers=providers)
            (statement, parameters), = statements
            self.assertEqual(1, len(self.connection.exec_driver_sql(
                statement, parameters).fetchall()))

    def test_parameters_are_bound(self):
        strange = "it's; -- \"%s\" :x ?"
        self.insert_nodes([{'uuid': strange}])
        self.add_devices(strange)
        statements = self.statements()
        self.assertEqual(
            {strange: 1}, self.totals(strange, "' OR '1'='1"))
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
            loaded = self.load_nodes(
                uuids[3], uuids[150], by_device=by_device)
            self.assertEqual(40, sum(
                group.available for groups in loaded.values()
                for group in groups.values()))
            (statement, parameters), = statements[-1:]
            self.check_plan(self.connection.exec_driver_sql(
                f'{self.explain} {statement}', parameters).all())


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

    # MySQL draws a tree unless it is told.
    explain = 'EXPLAIN FORMAT=TRADITIONAL'

    def analyze(self):
        for table in (base.NODES, base.DEVICES):
            self.connection.exec_driver_sql(f'ANALYZE TABLE {table.name}')

    def check_plan(self, plan):
        devices, = [row._mapping for row in plan
                    if row._mapping['table'] == 'pci_devices']
        self.assertIn('compute_node_id', devices['key'] or '', plan)
        self.assertIn(devices['type'], ('ref', 'range'), plan)


class TestPostgreSQL(
        DeviceGroupsMixin, base.PostgreSQLMixin, testtools.TestCase):

    explain = 'EXPLAIN'

    def analyze(self):
        self.connection.exec_driver_sql('ANALYZE')

    def check_plan(self, plan):
        text = '\n'.join(row[0] for row in plan)
        self.assertNotIn('Seq Scan on pci_devices', text)
        self.assertRegex(text, r'Index Cond: .*compute_node_id')
