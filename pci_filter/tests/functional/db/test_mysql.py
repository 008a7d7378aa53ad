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

"""What MySQL and MariaDB do in their own way."""

import json

import fixtures
from oslo_db import exception
from oslo_db.sqlalchemy import engines
import sqlalchemy as sa
import testtools

from pci_filter.db import device_groups
from pci_filter.tests.functional.db import base
from pci_filter.tests.functional.db import mariadb


def _ifname(name):
    return {'extra_info': json.dumps({'parent_ifname': name})}


class CollationMixin(base.MySQLMixin):
    """Texts that only differ in case are equal to the database."""

    collation = ''

    def setUp(self):
        super().setUp()
        self.node, = self.add_nodes(1)

    def load(self, **more):
        loaded = device_groups.load(self.connection, [self.node], **more)
        return list(loaded.get(self.node, {}).values())

    def test_collation_ignores_case(self):
        """What the other tests are about is so."""
        self.assertEqual(self.collation, self.connection.execute(sa.text(
            'SELECT collation_name FROM information_schema.columns WHERE '
            "table_schema = DATABASE() AND table_name = 'pci_devices' AND "
            "column_name = 'vendor_id'")).scalar_one())
        self.add_devices(self.node, {'vendor_id': '10DE'})
        self.assertEqual(1, self.connection.execute(sa.text(
            "SELECT COUNT(*) FROM pci_devices WHERE vendor_id = '10de'"
        )).scalar_one())

    def test_case_tells_kinds_apart(self):
        """Nova's pools are keyed by the texts as they are."""
        for one, other in (
                ({'vendor_id': '10de'}, {'vendor_id': '10DE'}),
                ({'product_id': '10ed'}, {'product_id': '10ED'}),
                ({'parent_addr': '0000:8a:00.0'},
                 {'parent_addr': '0000:8A:00.0'}),
                (_ifname('eth0'), _ifname('ETH0')),
                # So are accents, and blanks at the end.
                (_ifname('eth0'), _ifname('\N{LATIN SMALL LETTER E WITH ACUTE}'
                                          'th0')),
                (_ifname('eth0'), _ifname('eth0 '))):
            self.connection.execute(sa.delete(base.DEVICES))
            self.add_devices(self.node, one, other, other)
            for by_device in (False, True):
                groups = self.load(by_device=by_device)
                self.assertEqual(3, sum(group.available for group in groups))
                self.assertEqual(3 if by_device else 2, len(groups), other)

    def test_case_of_providers(self):
        self.add_devices(self.node, *(
            {'extra_info': json.dumps({'rp_uuid': rp})}
            for rp in ('aaaa', 'AAAA')))
        group, = self.load()
        self.assertEqual({'aaaa', 'AAAA'}, group.rp_uuids)

    def test_case_of_addresses(self):
        self.add_devices(self.node, {'address': '0000:8A:00.1'},
                         {'address': '0000:8a:00.2'})
        self.assertEqual(
            {'0000:8A:00.1', '0000:8a:00.2'},
            {group.kind.device_address
             for group in self.load(by_device=True)})
        group, = self.load()
        self.assertEqual('0000:8A:00.1', group.first_address)

    def test_case_of_keys(self):
        self.add_devices(self.node, {
            'extra_info': '{"PARENT_IFNAME": "eth0", "RP_UUID": "a"}'})
        group, = self.load()
        self.assertEqual(
            (None, frozenset()), (group.kind.parent_ifname, group.rp_uuids))

    def test_letters_before_keys(self):
        """MySQL counts letters in a column, and our statement counts bytes."""
        self.add_devices(self.node, {'extra_info': (
            '{"label": "\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{SNOWMAN}", '
            '"parent_ifname": "eth0", "rp_uuid": "rp"}')})
        group, = self.load()
        self.assertEqual(
            ('eth0', {'rp'}), (group.kind.parent_ifname, group.rp_uuids))

    def test_keys_are_looked_for_in_bytes(self):
        """What the last test shows on MySQL, MariaDB shows by this alone."""
        statements = self.statements()
        self.load()
        (statement, _), = statements
        for key in 'parent_ifname', 'rp_uuid':
            self.assertIn(
                f"""LOCATE('"{key}": "', CONVERT(pci_devices.extra_info """
                'USING binary))', statement)

    def test_case_of_stored_tags(self):
        self.add_devices(self.node, *(
            {'extra_info': json.dumps(
                {'pci_filter_tags': json.dumps({'tier': tier})})}
            for tier in ('gold', 'GOLD')))
        self.assertEqual(
            ['{\\"tier\\": \\"GOLD\\"}', '{\\"tier\\": \\"gold\\"}'],
            sorted(group.kind.stored_tags.partition('}')[0] + '}'
                   for group in self.load(stored_tags=True)))

    def test_engine(self):
        """A consistent read is what InnoDB gives."""
        self.assertEqual(['InnoDB'] * 2, list(self.connection.execute(sa.text(
            'SELECT engine FROM information_schema.tables WHERE '
            'table_schema = DATABASE()')).scalars()))


class TestMySQLUTF8MB3(CollationMixin, testtools.TestCase):
    """As Nova's migrations create the tables."""

    collation = 'utf8mb3_general_ci'
    database_options = 'CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci'
    query = {'charset': 'utf8'}


class TestMySQLUTF8MB3ThroughUTF8MB4(TestMySQLUTF8MB3):
    """The texts in our statement are of another character set."""

    query = {'charset': 'utf8mb4'}


class TestMySQLUTF8MB4(CollationMixin, testtools.TestCase):

    collation = 'utf8mb4_unicode_ci'
    database_options = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci'
    query = {'charset': 'utf8mb4'}

    def test_letters_outside_the_basic_plane(self):
        """utf8mb3 cannot store them."""
        self.add_devices(self.node, _ifname('a'), _ifname('b'), {
            'extra_info': '{"parent_ifname": "\N{PILE OF POO}"}'})
        self.assertIn('\N{PILE OF POO}', {
            group.kind.parent_ifname for group in self.load()})


class TestMySQLSmallPackets(base.DatabaseMixin, testtools.TestCase):
    """A server that takes no statement longer than 64 KiB."""

    @classmethod
    def make_engine(cls):
        mysql = mariadb.MariaDB('--max-allowed-packet=64K')
        mysql.setUp()
        cls.addClassCleanup(mysql.cleanUp)
        mysql.administer('CREATE DATABASE cell')
        return engines.create_engine(mysql.url('cell'), max_retries=0)

    def test_many_nodes(self):
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.db.device_groups._BY_INDEX', 2))
        nodes = [node for _ in range(60) for node in self.add_nodes(50)]
        for node in nodes[::500]:
            self.add_devices(node, {}, {'numa_node': 1})
        statements = self.statements()
        for more in (False, True):
            loaded = device_groups.load(
                self.connection, nodes, by_device=more, stored_tags=more)
            self.assertEqual(set(nodes[::500]), set(loaded))
        # Each time the nodes are counted, too.
        self.assertEqual(8, len(statements))

    def test_longer_statement(self):
        """The server does refuse one, and hangs up."""
        self.addCleanup(self.connection.invalidate)
        self.assertRaisesRegex(
            (sa.exc.OperationalError, exception.DBConnectionError),
            'max_allowed_packet|Lost connection|gone away|Broken pipe',
            self.connection.exec_driver_sql, f"SELECT '{'x' * 65536}'")
