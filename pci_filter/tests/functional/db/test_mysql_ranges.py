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

"""How much a MySQL has to remember of the lists in our statements."""

import re
import uuid

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.db import audit_facts
from pci_filter.db import node_lists
from pci_filter.tests.functional.db import base
from pci_filter.tests.functional.db import questions

#: What it may take for the ranges of a statement in bytes, by default
#: (range_optimizer_max_mem_size).
MEMORY = 8388608

#: What a value in a list takes of it at most: of 1,000 UUIDs 9.7.4 takes
#: 464,000 to 700,000, though its manual says "approximately 230 bytes" for one
#: ("Limiting Memory Use for Range Optimization").
VALUE = 700

#: We are content with such a part of it; "For your DBA" says so.
PART = 8

#: ER_CAPACITY_EXCEEDED: more would be needed, so the table is read instead.
EXCEEDED = 3170

#: More nodes and instances than any statement asks for.
MANY = 2100

LIST = re.compile(r'\bIN \(((?:%\(\w+\)s(?:, )?)+)\)')


class TestRangesMySQL(
        questions.QuestionsMixin, base.MySQLMixin, testtools.TestCase):
    """Everything is asked about as many nodes and instances as may be."""

    def setUp(self):
        super().setUp()
        nodes = [str(uuid.uuid4()) for _ in range(MANY)]
        self.insert_nodes([{'uuid': one} for one in nodes])
        self.connection.commit()
        self.many = self.asked._replace(nodes=nodes, node_ids=range(MANY))
        self.instances = [str(uuid.uuid4()) for _ in range(MANY)]
        # Never is a table read because most of it is asked for.
        for module in 'device_groups', 'fitting_nodes':
            self.useFixture(fixtures.MonkeyPatch(
                f'pci_filter.db.{module}._BY_INDEX', 2))

    def ask(self):
        """Return the statements that have lists, with their parameters."""
        statements = self.statements()
        for name, question in questions.QUESTIONS.items():
            asked = self.many
            if name in ('compute_nodes.load', 'numa_topologies.load'):
                # The callers ask for no more at a time.
                asked = asked._replace(
                    nodes=asked.nodes[:node_lists.PER_STATEMENT])
            question(self.connection, asked)
            self.connection.rollback()
        for read in (audit_facts._read_instances, audit_facts._read_holdings,
                     audit_facts._read_migrations):
            list(read(self.connection, self.instances))
        return {text: parameters for text, parameters in statements
                if LIST.search(text)}

    def test_lists_are_short(self):
        lengths = [sum(found.count('%') for found in LIST.findall(text))
                   for text in self.ask()]
        self.assertGreaterEqual(max(lengths), node_lists.PER_STATEMENT)
        self.assertLess(max(lengths) * VALUE, MEMORY // PART)

    def exceed(self, statements, memory):
        """Return how many statements need more memory than that."""
        with self.connection.connection.cursor() as cursor:
            cursor.execute(
                'SET SESSION range_optimizer_max_mem_size = %s', (memory,))
            exceed = 0
            for text, parameters in statements.items():
                cursor.execute(f'EXPLAIN {text}', parameters)
                cursor.execute('SHOW WARNINGS')
                exceed += EXCEEDED in [code for _, code, _ in cursor]
            cursor.execute(
                'SET SESSION range_optimizer_max_mem_size = DEFAULT')
            return exceed

    def test_server_is_content(self):
        if self.server.is_mariadb():
            self.skipTest('MariaDB has no range_optimizer_max_mem_size')
        self.assertEqual(MEMORY, self.connection.execute(sa.text(
            'SELECT @@GLOBAL.range_optimizer_max_mem_size')).scalar_one())
        statements = self.ask()
        self.assertEqual(0, self.exceed(statements, MEMORY // PART))
        # It would have said so.
        self.assertLess(0, self.exceed(statements, MEMORY // 100))
