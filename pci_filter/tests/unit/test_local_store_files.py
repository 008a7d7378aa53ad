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

import pathlib
import subprocess
import sys
import textwrap
import types

import fixtures
import testtools

from pci_filter.reservations import local


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
