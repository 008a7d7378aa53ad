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

"""Which compute nodes have enough devices, on each database."""

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.db import fitting_nodes
from pci_filter.db import tables
from pci_filter.matching import necessary
from pci_filter.matching import request as request_module
from pci_filter.tests.functional.db import base

IDS = {'vendor_id': '8086', 'product_id': '154c'}
OTHER = {'vendor_id': '10de', 'product_id': '20b5'}


def needs(*asked):
    """Return what nodes need to have for (count, alternatives ...)."""
    return necessary.needs([
        request_module.DeviceRequest.compile('label', count, specs)
        for count, *specs in asked])


class FittingNodesMixin(base.DatabaseMixin):
    """Three nodes that have none, one and two devices."""

    def setUp(self):
        super().setUp()
        self.nodes = self.add_nodes(3)
        for number, node in enumerate(self.nodes):
            if number:
                self.add_devices(node, count=number, **IDS)

    def found(self, *asked, of=None):
        """Return the numbers of the nodes that fit, found both ways."""
        found = []
        for by_index in (0, 99):
            self.useFixture(fixtures.MonkeyPatch(
                'pci_filter.db.fitting_nodes._BY_INDEX', by_index))
            statements = self.statements()
            uuids = fitting_nodes.load(
                self.connection, needs(*asked), of or self.nodes)
            self.assertEqual([False] * (len(statements) - 1) + [bool(
                by_index)], ['uuid IN' in text for text, _ in statements])
            found.append(sorted(
                self.nodes.index(uuid) for uuid in uuids
                if of is None or uuid in of))
        self.assertEqual(*found)
        return found[0]

    def change(self, table, node, **values):
        column = (table.c.uuid if table is tables.compute_nodes
                  else table.c.compute_node_id)
        if table is tables.pci_devices:
            node = self.connection.scalar(
                sa.select(tables.compute_nodes.c.id).where(
                    tables.compute_nodes.c.uuid == node))
        self.connection.execute(
            sa.update(table).where(column == node).values(**values))

    def test_enough(self):
        self.assertEqual([1, 2], self.found((1, IDS)))
        self.assertEqual([2], self.found((2, IDS)))
        self.assertEqual([], self.found((3, IDS)))

    def test_status(self):
        self.change(tables.pci_devices, self.nodes[1], status='claimed')
        self.change(tables.pci_devices, self.nodes[2], status='unavailable')
        self.assertEqual([], self.found((1, IDS)))

    def test_deleted_devices(self):
        self.change(tables.pci_devices, self.nodes[2], deleted=1)
        self.assertEqual([1], self.found((1, IDS)))

    def test_deleted_nodes(self):
        self.change(tables.compute_nodes, self.nodes[2], deleted=1)
        self.assertEqual([1], self.found((1, IDS)))
        self.assertEqual(set(self.nodes[:2]), set(fitting_nodes.load_counts(
            self.connection, needs((1, IDS)))))

    def test_each_need_has_to_be_met(self):
        self.add_devices(self.nodes[0], **OTHER)
        self.add_devices(self.nodes[1], **OTHER)
        self.assertEqual([1], self.found((1, IDS), (1, OTHER)))
        self.assertEqual([], self.found((2, IDS), (1, OTHER)))

    def test_alternatives(self):
        self.add_devices(self.nodes[0], **OTHER)
        self.assertEqual([0, 1, 2], self.found((1, IDS, OTHER)))

    def test_types(self):
        self.change(tables.pci_devices, self.nodes[1], dev_type='type-PF')
        self.change(tables.pci_devices, self.nodes[2], dev_type='type-VF')
        self.assertEqual([2], self.found((1, IDS)))
        self.assertEqual(
            [1], self.found((1, {**IDS, 'dev_type': 'type-PF'})))
        self.assertEqual(
            [2], self.found((1, {**IDS, 'dev_type': 'type-VF'})))
        self.change(tables.pci_devices, self.nodes[1], dev_type='type-PCI')
        self.assertIn(1, self.found((1, {**IDS, 'dev_type': 'type-PCI'})))
        self.change(tables.pci_devices, self.nodes[1], dev_type='vdpa')
        self.assertEqual([2], self.found((1, IDS)))
        self.assertEqual([1], self.found((1, {**IDS, 'dev_type': 'vdpa'})))

    def test_case(self):
        self.change(tables.pci_devices, self.nodes[1], product_id='154C')
        self.assertEqual(
            [1, 2], self.found((1, {**IDS, 'product_id': '154C'})))

    def test_only_tags(self):
        self.assertEqual(
            [2], self.found((2, {'physical_network': 'physnet1'})))

    def test_some_nodes(self):
        self.assertEqual([1], self.found((1, IDS), of=self.nodes[:2]))

    def test_few_of_many(self):
        """They are found by the index."""
        self.add_nodes(1)
        statements = self.statements()
        fitting_nodes.load(self.connection, needs((1, IDS)), self.nodes)
        self.assertNotIn('uuid IN', statements[-1][0])
        self.add_nodes(9)
        fitting_nodes.load(self.connection, needs((1, IDS)), self.nodes)
        self.assertIn('uuid IN', statements[-1][0])

    def test_counts(self):
        self.add_devices(self.nodes[0], **OTHER)
        self.assertEqual(
            dict(zip(self.nodes, ([0, 1], [1, 0], [2, 0]))),
            fitting_nodes.load_counts(
                self.connection, needs((9, IDS), (9, OTHER))))


class TestSQLite(FittingNodesMixin, testtools.TestCase):
    """Without a server."""


class TestMySQL(FittingNodesMixin, base.MySQLMixin, testtools.TestCase):
    """On MariaDB or MySQL."""


class TestPostgreSQL(
        FittingNodesMixin, base.PostgreSQLMixin, testtools.TestCase):
    """On PostgreSQL."""
