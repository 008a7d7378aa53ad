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

"""Which cells the commands read, and what becomes of the others."""

import argparse
import pathlib

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.db import cell_mappings
from pci_filter.db import compute_nodes
from pci_filter.db import tables

CELL0 = ('00000000-0000-0000-0000-000000000000', 'cell0', 'none://', False)


class TestCells(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.log = self.useFixture(fixtures.FakeLogger('pci_filter'))

    def _database(self, name, metadata, table=None, rows=()):
        engine = sa.create_engine(f'sqlite:///{self.folder}/{name}')
        metadata.create_all(engine)
        with engine.begin() as connection:
            for row in rows:
                connection.execute(sa.insert(table).values(row))
        engine.dispose()
        return f'sqlite:///{self.folder}/{name}'

    def _api(self, *rows):
        """Make an API database with these cells and cell 0.

        :param rows: UUID, name, URL of the database, whether disabled
        """
        table = cell_mappings.metadata.tables['cell_mappings']
        return self._database('api.db', cell_mappings.metadata, table, [
            dict(zip(('uuid', 'name', 'database_connection', 'disabled'),
                     row)) for row in (CELL0, *rows)])

    def _cell(self, name, *hosts):
        return self._database(
            name, tables.metadata, tables.compute_nodes, [
                {'uuid': host, 'host': host, 'hypervisor_hostname': host,
                 'deleted': 0} for host in hosts])

    def _arguments(self, api=None, database='', *arguments):
        path = self.folder / 'nova.conf'
        path.write_text(
            (f'[api_database]\nconnection = {api}\n' if api else '')
            + (f'[database]\nconnection = {database}\n' if database else ''))
        parser = argparse.ArgumentParser()
        cells.add_arguments(parser)
        return parser.parse_args([f'--config-file={path}', *arguments])

    def _read(self, *arguments):
        """Return the hosts found by cell, and the exit code."""
        some = cells.Cells(self._arguments(*arguments))
        found = list(some.each(lambda cell, connection: [
            (cell.name, node.host)
            for node in compute_nodes.load(connection)]))
        return found, some.exit_code

    def _refused(self, *arguments):
        error = self.assertRaises(base.CommandError, self._read, *arguments)
        return str(error)

    def test_cells_in_their_order(self):
        api = self._api(
            ('u2', 'two', self._cell('2.db', 'c', 'd'), False),
            ('u1', None, self._cell('1.db', 'a'), False),
            ('u3', 'off', self._cell('3.db', 'e'), True))
        self.assertEqual(
            ([('two', 'c'), ('two', 'd'), ('u1', 'a')], 0), self._read(api))
        self.assertEqual('', self.log.output)

    def test_one_cell(self):
        api = self._api(
            ('u1', 'one', self._cell('1.db', 'a'), False),
            ('u2', 'off', self._cell('2.db', 'b'), True))
        for name, found in (
                ('one', ('one', 'a')), ('u1', ('one', 'a')),
                ('off', ('off', 'b'))):
            self.assertEqual(
                ([found], 0), self._read(api, '', f'--cell={name}'))

    def test_template(self):
        self._cell('1.db', 'a')
        api = self._api(('u1', 'one', '{scheme}:////{path}/1.db', False))
        self.assertEqual(
            ([('one', 'a')], 0), self._read(api, f'sqlite:///{self.folder}'))

    def test_cell_down(self):
        api = self._api(
            ('u1', 'one', f'sqlite:///{self.folder}/missing.db', False),
            ('u2', 'two', self._cell('2.db', 'b'), False),
            ('u3', 'three', 'mysql+pymysql://u:s3cret@127.0.0.1:1/c', False),
            ('u4', 'four', '{username}', False))
        self.assertEqual(([('two', 'b')], 1), self._read(api))
        self.assertEqual([
            'cell one cannot be read: unable to open database file',
            "cell three cannot be read: Can't connect to MySQL server on "
            "'127.0.0.1' ([Errno 111] Connection refused) (2003)",
            'cell four cannot be read: its URL is malformed; its URL in '
            'cell_mappings is a template that [database]connection of this '
            'configuration does not fill'],
            # eventlet gives the number a name.
            self.log.output.replace(
                'ECONNREFUSED', 'Connection refused').splitlines())

    def test_database_alone(self):
        url = self._cell('1.db', 'a')
        self.assertEqual(
            ([(f'{self.folder}/1.db', 'a')], 0),
            self._read(None, '', f'--database-connection={url}'))

    def test_malformed_url(self):
        message = self._refused(None, '', '--database-connection=s3cret')
        self.assertIn('--database-connection', message)
        self.assertNotIn('s3cret', message)

    def test_no_api_database(self):
        self.assertIn('[api_database]connection', self._refused())

    def test_api_database_cannot_be_read(self):
        self.assertEqual(
            'cannot read the API database: it has no table cell_mappings, so '
            'it is another database or was not set up by Nova yet',
            self._refused(self._cell('1.db')))

    def test_no_cells(self):
        self.assertEqual(
            'the API database has no cell that Nova schedules to',
            self._refused(self._api()))

    def test_unknown_cell(self):
        api = self._api(('u1', 'cell-one', 'sqlite://', False))
        for name, hint in (('cell-onne', 'did you mean cell-one?'),
                           ('x', 'there is: cell-one')):
            self.assertEqual(
                f'there is no cell {name!r}; {hint}',
                self._refused(api, '', f'--cell={name}'))

    def test_password_is_not_in_the_text_of_a_cell(self):
        self.assertNotIn('s3cret', repr(cells.Cell('a', '//u:s3cret@h')))
