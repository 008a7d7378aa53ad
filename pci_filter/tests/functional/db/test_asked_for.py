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

"""What Nova's API database has of instances that were asked for."""

import sqlalchemy as sa
import testtools

from pci_filter.db import asked_for
from pci_filter.db import cell_mappings
from pci_filter.reservations import sight
from pci_filter.tests.functional.db import base

CELLS = {1: cell_mappings.CELL0_UUID, 2: 'cell1'}

#: By instance, in which tables it has a row, and the cell it is mapped to.
ROWS = {
    'waits': (('request_specs', 'build_requests', 'instance_mappings'), None),
    'mapped': (('request_specs', 'build_requests', 'instance_mappings'), 2),
    'built': (('request_specs', 'instance_mappings'), 2),
    'buried': (('request_specs', 'instance_mappings'), 1),
    'deleted': (('request_specs', 'instance_mappings'), None),
    'forgotten': (('request_specs',), None),
    'no spec': (('build_requests', 'instance_mappings'), None),
}


class _AskedFor:

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        asked_for.metadata.create_all(cls.engine)

    def setUp(self):
        super().setUp()
        tables = asked_for.metadata.tables
        for table in tables.values():
            self.connection.execute(sa.delete(table))
        self.connection.execute(sa.insert(tables['cell_mappings']), [
            {'id': number, 'uuid': uuid} for number, uuid in CELLS.items()])
        for table in tables.values():
            for uuid, (names, cell) in ROWS.items():
                values = {'instance_uuid': uuid}
                if table.name == 'instance_mappings':
                    values['cell_id'] = cell
                if table.name in names:
                    self.connection.execute(sa.insert(table).values(values))

    def test_load(self):
        statements = self.statements()
        self.assertEqual({
            'waits': sight.Asked(True, False),
            'mapped': sight.Asked(True, True),
            'built': sight.Asked(False, True),
            'buried': sight.Asked(False, False),
            'deleted': sight.Asked(False, False),
            'forgotten': sight.Asked(False, False),
        }, asked_for.load(self.connection, [*ROWS, 'unknown']))
        self.assertEqual(1, len(statements))

    def test_only_those_asked_for(self):
        self.assertEqual({}, asked_for.load(self.connection, []))
        self.assertEqual(
            ['built'], list(asked_for.load(self.connection, ['built'])))


class TestSQLite(_AskedFor, base.DatabaseMixin, testtools.TestCase):
    pass


class TestMySQL(_AskedFor, base.MySQLMixin, testtools.TestCase):
    pass


class TestPostgreSQL(_AskedFor, base.PostgreSQLMixin, testtools.TestCase):
    pass
