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

"""The store ``local``, on real files."""

import json
import os
import pathlib
import resource
import signal
import sqlite3
import stat
import sys
import threading
import time
import types
import unittest

import fixtures

from pci_filter import reservations
from pci_filter.reservations import local
from pci_filter.reservations import store as store_module
from pci_filter.tests import base

#: Seconds that a store may take where it is not what is tested.
LONG = 60


def _store(path):
    options = types.SimpleNamespace(reservation_file=str(path))
    return local.LocalStore(types.SimpleNamespace(
        pci_filter=options, state_path='/nowhere'))


def _put(store, node, text, lifetime=LONG):
    while not store.write(
            node, store.read(node, LONG).token, text, lifetime, LONG):
        pass


def _count_up(store, node, times):
    """Add one to the number that a record is, so many times."""
    for _ in range(times):
        done = False
        while not done:
            token, text = store.read(node, LONG)
            done = store.write(
                node, token, str(int(text or 0) + 1), LONG, LONG)


class LocalTestCase(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / 'reservations.sqlite'

    def fails(self, store, text, seconds=LONG, many=None):
        """See what is said, of all nodes too unless something else is."""
        self.fails_for_one(store, text, seconds)
        error = self.assertRaises(
            reservations.StoreError, store.read_many, ['node'], seconds)
        self.assertEqual(f'{self.path}: {many or text}', str(error))

    def fails_for_one(self, store, text, seconds=LONG):
        for ask in (lambda: store.read('node', seconds),
                    lambda: store.write('node', None, 'a', LONG, seconds)):
            error = self.assertRaises(reservations.StoreError, ask)
            self.assertEqual(f'{self.path}: {text}', str(error))

    def wait(self, *children):
        for child in children:
            self.assertEqual(0, os.waitpid(child, 0)[1])


class TestRecords(LocalTestCase):

    def test_nothing(self):
        store = _store(self.path)
        # Nothing is touched before the service forks.
        self.assertEqual([], list(self.folder.iterdir()))
        self.assertEqual(store_module.NO_RECORD, store.read('node', LONG))
        self.assertEqual({}, store.read_many(['node'], LONG))

    def test_default_path(self):
        store = local.LocalStore(types.SimpleNamespace(
            pci_filter=types.SimpleNamespace(reservation_file=None),
            state_path=str(self.folder)))
        store.read('node', LONG)
        self.assertTrue(
            (self.folder / 'pci_filter-reservations.sqlite').exists())

    def test_nobody_else_reads_it(self):
        self.addCleanup(os.umask, os.umask(0))
        _put(_store(self.path), 'node', 'a')
        for path in self.folder.iterdir():
            self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode), path)

    def test_compare_and_set(self):
        store, other = _store(self.path), _store(self.path)
        self.assertTrue(store.write('node', None, 'a', LONG, LONG))
        self.assertFalse(store.write('node', None, 'b', LONG, LONG))
        first = other.read('node', LONG)
        self.assertEqual('a', first.text)
        self.assertTrue(store.write('node', first.token, 'b', LONG, LONG))
        self.assertFalse(other.write('node', first.token, 'c', LONG, LONG))
        # The same text is not the same record.
        _put(store, 'node', 'a')
        self.assertFalse(other.write('node', first.token, 'c', LONG, LONG))
        self.assertEqual('a', other.read('node', LONG).text)

    def test_expired(self):
        store = _store(self.path)
        _put(store, 'node', 'a', -1)
        token, text = store.read('node', LONG)
        self.assertIsNone(text)
        self.assertIsNotNone(token)
        self.assertEqual({}, store.read_many(['node'], LONG))
        self.assertFalse(store.write('node', None, 'b', LONG, LONG))
        self.assertTrue(store.write('node', token, 'b', LONG, LONG))
        self.assertEqual('b', store.read('node', LONG).text)

    def test_expired_ones_are_removed_at_the_start(self):
        _put(_store(self.path), 'node', 'a', -1)
        self.assertEqual(
            store_module.NO_RECORD, _store(self.path).read('node', LONG))

    def test_many(self):
        store = _store(self.path)
        names = [f'node-{number}' for number in range(1200)]
        for name in names[::2]:
            _put(store, name, name)
        self.assertEqual({name: name for name in names[::2]},
                         store.read_many(names, LONG))

    def test_ten_thousand_reservations_on_one_node(self):
        store = _store(self.path)
        text = json.dumps(['x' * 300] * 10000)
        _put(store, 'node', text)
        self.assertEqual(text, _store(self.path).read('node', LONG).text)

    def test_ten_thousand_nodes(self):
        store = _store(self.path)
        store.read('node', LONG)
        connection = sqlite3.connect(self.path)
        with connection:
            connection.executemany(
                'INSERT INTO reservations VALUES (?, 1, ?, ?)',
                ((f'node-{number}', 'a', time.time() + LONG)
                 for number in range(10000)))
        connection.close()
        _put(store, 'node-7', 'b')
        self.assertEqual('b', store.read('node-7', LONG).text)
        self.assertEqual(10000, len(store.read_many(
            [f'node-{number}' for number in range(10000)], LONG)))


class TestTogether(LocalTestCase):

    def test_threads(self):
        store = _store(self.path)
        base.run_in_threads(16, lambda: _count_up(store, 'node', 20))
        self.assertEqual('320', store.read('node', LONG).text)

    def test_forked_processes(self):
        store = _store(self.path)
        _count_up(store, 'node', 1)
        # They have the parent's connection, and must not use it.
        self.wait(*(base.fork(lambda: base.run_in_threads(
            3, lambda: _count_up(store, 'node', 15))) for _ in range(4)))
        _count_up(store, 'node', 1)
        self.assertEqual('182', store.read('node', LONG).text)

    def test_first_of_all_at_once(self):
        # Each makes the file if it is not there.
        self.wait(*(base.fork(
            lambda: _count_up(_store(self.path), 'node', 5))
            for _ in range(6)))
        self.assertEqual('30', _store(self.path).read('node', LONG).text)

    def test_child_of_a_child(self):
        store = _store(self.path)
        _count_up(store, 'node', 1)

        def child():
            _count_up(store, 'node', 1)
            grandchild = base.fork(lambda: _count_up(store, 'node', 1))
            self.wait(grandchild)
            _count_up(store, 'node', 1)

        self.wait(base.fork(child))
        _count_up(store, 'node', 1)
        self.assertEqual('5', store.read('node', LONG).text)

    def test_fork_while_a_thread_holds_the_lock(self):
        store = _store(self.path)
        _count_up(store, 'node', 1)
        with store._lock:
            child = base.fork(lambda: _count_up(store, 'node', 1))
        self.wait(child)
        self.assertEqual('2', store.read('node', LONG).text)


class TestKilled(LocalTestCase):

    def test_nobody_who_is_killed_leaves_a_lock(self):
        store = _store(self.path)
        _put(store, 'other', 'a')
        before = 0
        for number in range(20):
            reader, writer = os.pipe()

            def loop():
                own = _store(self.path)
                os.write(writer, b'.')
                _count_up(own, 'node', sys.maxsize)

            child = base.fork(loop)
            self.assertEqual(b'.', os.read(reader, 1))
            # At another instruction each time.
            time.sleep(0.003 * number)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reader)
            os.close(writer)
            _count_up(store, 'node', 1)
            count = int(store.read('node', LONG).text)
            self.assertGreater(count, before)
            before = count
        self.assertEqual('a', store.read('other', LONG).text)

    def test_killed_within_a_transaction(self):
        store = _store(self.path)
        _put(store, 'node', 'a')
        reader, writer = os.pipe()

        def write_and_die():
            connection = sqlite3.connect(self.path, isolation_level=None)
            connection.execute('BEGIN IMMEDIATE')
            connection.execute("UPDATE reservations SET text = 'b'")
            os.write(writer, b'.')
            time.sleep(LONG)

        child = base.fork(write_and_die)
        self.assertEqual(b'.', os.read(reader, 1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.assertEqual('a', store.read('node', LONG).text)
        _put(store, 'node', 'c')
        self.assertEqual('c', store.read('node', LONG).text)


class TestFaults(LocalTestCase):

    def test_the_lock_is_held(self):
        store = _store(self.path)
        _put(store, 'node', 'a')
        holder = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(holder.close)
        holder.execute('BEGIN IMMEDIATE')
        # Who only reads does not mind.
        token, text = store.read('node', 0.1)
        self.assertEqual('a', text)
        began = time.monotonic()
        error = self.assertRaises(
            reservations.StoreError, store.write, 'node', token, 'b', LONG,
            0.1)
        # It neither gives up at once nor waits for SQLite's own 5 seconds.
        self.assertGreater(time.monotonic() - began, 0.05)
        self.assertEqual(
            f'{self.path}: database is locked', str(error))
        holder.execute('ROLLBACK')
        self.assertTrue(store.write('node', token, 'b', LONG, 0.1))

    def test_another_waits_meanwhile(self):
        # Nothing is held while somebody waits for the file.
        store = _store(self.path)
        _put(store, 'node', 'a')
        token = store.read('node', LONG).token
        holder = sqlite3.connect(self.path, isolation_level=None,
                                 check_same_thread=False)
        self.addCleanup(holder.close)
        holder.execute('BEGIN IMMEDIATE')
        written = []
        waiting = threading.Thread(target=lambda: written.append(
            store.write('node', token, 'b', LONG, LONG)))
        waiting.start()
        self.assertEqual('a', store.read('node', LONG).text)
        holder.execute('ROLLBACK')
        waiting.join()
        self.assertEqual([True], written)

    def test_garbage(self):
        self.path.write_bytes(b'garbage ' * 1000)
        self.fails(_store(self.path), 'file is not a database')

    def test_garbage_while_in_use(self):
        store = _store(self.path)
        _put(store, 'node', 'a')
        for path in list(self.folder.iterdir()):
            path.unlink()
        self.path.write_bytes(b'garbage ' * 1000)
        # It is another file; sooner or later it is opened anew.
        try:
            store.read('node', LONG)
        except reservations.StoreError:
            pass
        self.path.unlink()
        _put(_store(self.path), 'node', 'b')
        self.assertEqual('b', _store(self.path).read('node', LONG).text)

    def test_file_of_another_application(self):
        connection = sqlite3.connect(self.path)
        connection.execute('CREATE TABLE theirs (id INTEGER)')
        connection.close()
        before = self.path.read_bytes()
        self.fails(_store(self.path), (
            'it is not a file of reservations, or of another version of '
            'pci_filter; remove it'))
        self.assertEqual(before, self.path.read_bytes())

    def test_no_directory(self):
        self.path = self.folder / 'none' / 'file'
        store = _store(self.path)
        self.fails_for_one(store, 'No such file or directory')
        # Nobody has reserved anything.
        self.assertEqual({}, store.read_many(['node'], LONG))
        self.path.parent.mkdir()
        _put(_store(self.path), 'node', 'a')

    def test_a_directory_instead(self):
        self.path.mkdir()
        self.fails(_store(self.path), 'unable to open database file',
                   many='disk I/O error')

    @unittest.skipIf(os.geteuid() == 0, 'root may write everywhere')
    def test_read_only(self):
        _put(_store(self.path), 'node', 'a')
        self.path.chmod(0o400)
        self.fails_for_one(
            _store(self.path), 'attempt to write a readonly database')

    @unittest.skipIf(os.geteuid() == 0, 'root may write everywhere')
    def test_directory_not_writable(self):
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        self.fails_for_one(_store(self.path), 'Permission denied')

    def test_as_nobody(self):
        if os.geteuid():
            self.skipTest('only root can become somebody else')
        _put(_store(self.path), 'node', 'a')

        def check():
            os.setuid(65534)
            self.fails(_store(self.path), 'Permission denied')

        self.wait(base.fork(check))

    def test_another_thread_hangs(self):
        store = _store(self.path)
        _put(store, 'node', 'a')
        with store._lock:
            error = self.assertRaises(
                reservations.StoreError, store.read, 'node', 0.1)
        self.assertIn('other threads of this process', str(error))

    def test_full(self):
        store = _store(self.path)
        _put(store, 'node', 'a')
        token = store.read('node', LONG).token

        def check():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 ** 16, 2 ** 16))
            error = self.assertRaises(
                reservations.StoreError, store.write, 'node', token,
                'x' * 2 ** 20, LONG, LONG)
            self.assertIn('disk', str(error))
            # Nothing of it was written.
            self.assertEqual('a', store.read('node', LONG).text)

        self.wait(base.fork(check))
        self.assertEqual('a', store.read('node', LONG).text)
        self.assertTrue(store.write('node', token, 'b', LONG, LONG))

    def test_deleted_while_in_use(self):
        store, other = _store(self.path), _store(self.path)
        _put(store, 'node', 'a')
        other.read('node', LONG)
        for path in list(self.folder.iterdir()):
            path.unlink()
        # Both must not go on with two different files for ever: who is
        # started now makes a new one, and they have to find it.
        new = _store(self.path)
        _put(new, 'node', 'b')
        for one in (store, other):
            self.assertEqual('b', one.read('node', LONG).text)
            _put(one, 'node', 'c')
            self.assertEqual('c', new.read('node', LONG).text)
            _put(new, 'node', 'b')
