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

"""What benchmarks.server knows of a server while a table is read."""

import os

import testtools

from benchmarks import processes
from benchmarks import server
from pci_filter.tests.functional.db import base

ROWS = 500


class _TestServerMixin(base.ServerMixin):

    def _watched(self):
        # Not str(), which hides the password.
        url = self.engine.url.render_as_string(hide_password=False)
        return server.watched(url)

    def _fill(self):
        node, = self.add_nodes(1)
        self.add_devices(node, *(
            {'address': f'{number:04x}:81:00.0'}
            for number in range(ROWS)))
        self.connection.commit()

    def _read(self):
        with self.engine.connect() as connection:
            return len(connection.execute(base.DEVICES.select()).all())

    def test_processor_time_or_why_not(self):
        with self._watched() as watched:
            seconds = watched.cpu_seconds()
            self.assertEqual(seconds is None, 'cpu' in watched.why)
            if seconds is not None:
                self._fill()
                self.assertGreaterEqual(watched.cpu_seconds(), seconds)

    def test_server_that_cannot_be_found(self):
        with self._watched() as watched:
            watched._find = self._fail
            self.assertIsNone(watched._ask('cpu', watched._find))
            self.assertEqual('the server is on moon', watched.why['cpu'])

    @staticmethod
    def _fail():
        raise ValueError('the server is on moon')


class TestMySQL(_TestServerMixin, base.MySQLMixin, testtools.TestCase):

    def test_counts(self):
        """Other tests may use the server, so the numbers say nothing."""
        with self._watched() as watched:
            with watched.counting() as tally:
                self._read()
        self.assertNotIn(None, tally.counts)
        self.assertNotIn('rows', watched.why)


class TestPostgreSQL(
        _TestServerMixin, base.PostgreSQLMixin, testtools.TestCase):

    def test_rows(self):
        """Each database is counted alone."""
        self._fill()
        self.engine.dispose()
        with self._watched() as watched:
            self._read()
            with watched.counting() as tally:
                self._read()
                self._read()
        self.assertEqual(2 * ROWS, tally.counts.rows)

    def test_what_it_does_not_count(self):
        with self._watched() as watched, watched.counting() as tally:
            pass
        self.assertIsNone(tally.counts.statements)
        self.assertIn('statements', watched.why)


class TestSQLite(testtools.TestCase):

    def test_nothing_is_measured(self):
        with server.watched(None) as watched:
            with watched.counting() as tally:
                pass
            self.assertEqual(server.Counts(), tally.counts)
            self.assertIsNone(watched.cpu_seconds())
            self.assertIsNone(watched.wait_until_quiet(0))
        self.assertEqual({'cpu', *server.Counts._fields}, set(watched.why))


class TestProcesses(testtools.TestCase):

    def test_this_process_is_a_child_of_its_parent(self):
        mine = processes.find(os.getpid())
        self.assertEqual(os.getppid(), mine.parent)
        self.assertIn(mine.pid, [
            child.pid for child in processes.children(mine.parent)])

    def test_nobody(self):
        # The kernel gives no process this id.
        self.assertRaises(OSError, processes.find, 2 ** 30)
