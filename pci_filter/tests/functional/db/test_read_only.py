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

"""Connections that can only read, on every database."""

import datetime
import pathlib
import tempfile

import sqlalchemy as sa
import testtools

from pci_filter.db import read_only
from pci_filter.db import tables
from pci_filter import exception
from pci_filter.tests.functional.db import base


def unreadable(url, statement='SELECT 1', expected=()):
    """Return why a database cannot be read, an empty text if it can."""
    try:
        with read_only.connect(url, expected) as connection:
            connection.execute(sa.text(statement))
    except exception.DatabaseUnreadable as error:
        return str(error)
    return ''


class _Tests:

    def setUp(self):
        super().setUp()
        self.connection.commit()
        self.url = self.engine.url.render_as_string(hide_password=False)

    def test_reads(self):
        self.add_nodes(2)
        self.connection.commit()
        with read_only.connect(
                self.url, [tables.compute_nodes]) as connection:
            self.assertEqual(2, connection.execute(sa.select(
                sa.func.count()).select_from(
                    tables.compute_nodes)).scalar_one())

    def test_does_not_write(self):
        for statement in (
                'DELETE FROM pci_devices', 'CREATE TABLE other (id INTEGER)'):
            self.assertRegex(
                unreadable(self.url, statement), '(?i)read.?only')

    def test_does_not_write_in_a_later_transaction(self):
        with read_only.connect(self.url) as connection:
            connection.execute(sa.text('SELECT 1'))
            connection.rollback()
            self.assertRaises(
                sa.exc.DBAPIError, connection.execute,
                sa.text('DELETE FROM pci_devices'))

    def test_later_transaction_sees_what_was_committed(self):
        count = sa.select(sa.func.count()).select_from(tables.compute_nodes)
        with read_only.connect(self.url) as connection:
            self.assertEqual(0, connection.execute(count).scalar_one())
            connection.rollback()
            self.add_nodes(1)
            self.connection.commit()
            self.assertEqual(1, connection.execute(count).scalar_one())

    def test_transaction_sees_one_moment(self):
        if self.engine.name == 'sqlite':
            self.skipTest('the driver begins no transaction to read')
        count = sa.select(sa.func.count()).select_from(tables.compute_nodes)
        with read_only.connect(self.url) as connection:
            self.assertEqual(0, connection.execute(count).scalar_one())
            self.add_nodes(1)
            self.connection.commit()
            self.assertEqual(0, connection.execute(count).scalar_one())

    def test_missing_table(self):
        other = sa.MetaData()
        sa.Table('pci_devices', other)
        sa.Table('missing', other)
        self.assertEqual(
            'it has no table missing, so it is another database or was not '
            'set up by Nova yet',
            unreadable(self.url, expected=other.sorted_tables))

    def test_error_is_one_line_without_the_statement(self):
        message = unreadable(self.url, 'SELECT a\nFROM nowhere WHERE b = 1')
        self.assertIn('nowhere', message)
        self.assertNotIn('WHERE', message)
        self.assertEqual(1, len(message.splitlines()))


class TestSQLite(_Tests, base.DatabaseMixin, testtools.TestCase):

    @classmethod
    def make_engine(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.file = pathlib.Path(folder.name, '50% of #1.db')
        return sa.create_engine(
            sa.engine.URL.create('sqlite', database=str(cls.file)),
            future=True)

    def test_no_file_is_made(self):
        path = self.file.with_name('missing.db')
        self.assertEqual(
            'unable to open database file', unreadable(f'sqlite:///{path}'))
        self.assertFalse(path.exists())

    def test_other_file(self):
        path = self.file.with_name('other')
        path.write_text('no database' * 100)
        self.assertEqual(
            'file is not a database',
            unreadable(f'sqlite:///{path}', 'SELECT 1 FROM sqlite_master'))

    def test_moments(self):
        self.add_nodes(1)
        noon = datetime.datetime(2026, 11, 23, 12)
        for stored, read in (
                ('2026-11-23 12:00:00', noon),
                ('2026-11-23 12:00:00.000000', noon), (None, None),
                ('once', None), (5, None), ('0000-00-00 00:00:00', None)):
            self.connection.execute(sa.text(
                'UPDATE compute_nodes SET updated_at = :stored'),
                {'stored': stored})
            self.connection.commit()
            with read_only.connect(self.url) as connection:
                self.assertEqual(read, connection.execute(sa.select(
                    tables.compute_nodes.c.updated_at)).scalar_one())

    def test_what_no_nova_stored(self):
        def read():
            with read_only.connect(self.url):
                raise ValueError('a row has no vendor')

        self.assertEqual('a row has no vendor', str(self.assertRaises(
            exception.DatabaseUnreadable, read)))


class _ServerTests(_Tests):

    @classmethod
    def make_engine(cls):
        super().make_engine().dispose()
        return sa.create_engine(cls.server.url(cls._name), future=True)

    def test_wrong_password(self):
        url = self.engine.url.set(password='wr0ng/@pass')
        message = unreadable(url.render_as_string(hide_password=False))
        self.assertRegex(message, '(?i)denied|authentication failed')
        self.assertNotIn('wr0ng', message)

    def test_password_that_is_not_escaped(self):
        url = self.engine.url
        message = unreadable(
            f'{url.drivername}://user:wr0ng@pass@{url.host}/name')
        self.assertIn('***', message)
        self.assertNotIn('pass@', message)
        self.assertNotIn('wr0ng', message)

    def test_nobody_listens(self):
        url = self.engine.url.set(port=1)
        self.assertRegex(
            unreadable(url.render_as_string(hide_password=False)),
            # eventlet gives the number a name.
            '(?i)connection refused|ECONNREFUSED')


class TestMySQL(_ServerTests, base.MySQLMixin, testtools.TestCase):
    pass


class TestPostgreSQL(_ServerTests, base.PostgreSQLMixin, testtools.TestCase):
    pass


class TestMask(testtools.TestCase):

    def test_brackets_in_a_password(self):
        """What parses URLs takes them for an address."""
        for secret in ('a[Secret]b', 'Sec[ret', 'Secret]'):
            url = f'mysql+pymysql://nova:{secret}@127.0.0.1:1/nova'
            with testtools.ExpectedException(
                    exception.DatabaseUnreadable, '(?!.*[Ss]ec)'):
                with read_only.connect(url):
                    self.fail('nobody listens there')
