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

"""What the store ``local`` does with its files."""

import os
import pathlib
import sqlite3
import subprocess
import sys
import textwrap
import types

import fixtures
import testtools

from pci_filter.reservations import local
from pci_filter.reservations import store as store_module


def store(path):
    return local.LocalStore(types.SimpleNamespace(
        pci_filter=types.SimpleNamespace(reservation_file=str(path))))


def elsewhere(path, body):
    """Run something with a store ``one`` in another process, and end it."""
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(f'''
            from pci_filter.tests.unit import test_local_store_files
            one = test_local_store_files.store({str(path)!r})
            {body}
            one._connection.close()''')],
        check=True, capture_output=True, text=True, timeout=60)
    return result.stdout


class TestFiles(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / 'reservations.sqlite'

    def test_two_stores_of_one_process(self):
        """The second one does not give up the locks of the first."""
        first, second = store(self.path), store(self.path)
        self.addCleanup(lambda: first._connection.close())
        self.addCleanup(lambda: second._connection.close())
        first.write('a', None, 'text', 60, 5)
        second.write('b', None, 'text', 60, 5)
        elsewhere(self.path, "one.write('c', None, 'text', 60, 5)")
        first.write('d', None, 'text', 60, 5)
        self.assertEqual('text\n' * 4, elsewhere(
            self.path,
            "print(*(one.read(name, 5).text for name in 'abcd'), sep='\\n')"))

    def _files(self):
        return {path.name: (path.stat().st_size, path.stat().st_mtime_ns)
                for path in self.folder.iterdir()}

    def test_seeing_writes_nothing(self):
        """With a writer, after it was killed, and after it has ended."""
        killed = ('import os, signal; one.write("a", None, "text", 60, 5); '
                  'os.kill(os.getpid(), signal.SIGKILL)')
        self.assertRaises(
            subprocess.CalledProcessError, elsewhere, self.path, killed)
        writer = store(self.path)
        for number, act in ((3, lambda: None),
                            (3, lambda: writer.read('a', 5)),
                            (1, lambda: writer._connection.close())):
            act()
            before = self._files()
            self.assertEqual(number, len(before))
            self.assertEqual(
                {'a': 'text'}, store(self.path).read_many(['a', 'b'], 5))
            store(self.path).probe(5)
            self.assertEqual(before, self._files())

    def test_seeing_makes_nothing(self):
        one = store(self.path)
        self.assertEqual({}, one.read_many(['a'], 5))
        self.assertEqual(f'there is no file {self.path}', one.nothing_kept())
        self.assertRegex(
            one.probe(5),
            rf'^\w+ may make {self.path}, which is not there yet$')
        self.assertEqual({}, self._files())

    def test_file_that_is_just_being_made(self):
        self.path.touch()
        self.assertEqual({}, store(self.path).read_many(['a'], 5))
        self.assertEqual('', store(self.path).nothing_kept())

    def test_what_is_out_of_date_is_not_seen(self):
        one = store(self.path)
        self.addCleanup(lambda: one._connection.close())
        one.write('a', None, 'text', 0, 5)
        one.write('b', None, 'text', 60, 5)
        self.assertEqual(
            {'b': 'text'}, store(self.path).read_many(['a', 'b'], 5))

    def _refused(self, path):
        return str(self.assertRaises(
            store_module.StoreError, store(path).probe, 5))

    def test_folder_that_is_not_there(self):
        self.assertEqual(
            f'{self.folder}/no/file: there is no folder {self.folder}/no',
            self._refused(self.folder / 'no' / 'file'))

    def test_another_file(self):
        connection = sqlite3.connect(self.path)
        connection.execute('CREATE TABLE other (id INTEGER)')
        connection.close()
        self.assertEqual(
            f'{self.path}: it is not a file of reservations, or of another '
            'version of pci_filter; remove it', self._refused(self.path))

    def test_forbidden(self):
        if not os.geteuid():
            self.skipTest('root may write everywhere')
        one = store(self.path)
        one.write('a', None, 'text', 60, 5)
        one._connection.close()
        self.path.chmod(0)
        self.assertIn('may not write to it', self._refused(self.path))
        self.assertIn('may not read it', str(self.assertRaises(
            store_module.StoreError, one.read_many, ['a'], 5)))
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        self.assertIn(
            f'may not make files in {self.folder}', self._refused(self.path))
