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

"""What happens to reservations when a memcached server fails."""

import contextlib
import socket
import threading
import uuid

import fixtures
import testtools

from pci_filter import reservations
from pci_filter.tests.functional.reservations import base
from pci_filter.tests.functional.reservations import memcached
from pci_filter.tests.functional.reservations import test_memcached

#: The longest text that is written, in bytes.
LARGEST = 1_000_000 - 16


class FaultMixin(test_memcached.OnMemcached):
    """Has one store and its servers; the first record is written."""

    number = 1

    def start(self):
        return [self.useFixture(memcached.Memcached())
                for _ in range(self.number)]

    def setUp(self):
        super().setUp()
        self.store = self.load()
        self.write(self.store, None, 'one')

    def assertFails(self, expected, function, *args, **kwargs):
        error = self.assertRaises(
            reservations.StoreError, function, *args, **kwargs)
        text = str(error)
        self.assertEqual([text], text.splitlines())
        self.assertRegex(text, expected)
        return text


class TestFaultOneServer(FaultMixin, testtools.TestCase):

    def test_down_at_start(self):
        server, = self.servers
        server.kill()
        store = self.load()
        for ask in (store.read, lambda *args: store.write(
                args[0], None, 'two', 60, args[1]),
                lambda *args: store.read_many([args[0]], args[1])):
            self.assertFails(
                f'^memcached at {server.address}: .*(?i:refused)',
                ask, self.node, base.PATIENCE)
        server.start()
        self.assertEqual((None, None), self.read(store))
        self.assertIs(True, self.write(store, None, 'two'))

    def test_killed_between_read_and_write(self):
        token, _ = self.read(self.store)
        self.servers[0].kill()
        self.assertFails(
            '(?i:refused|closed)', self.write, self.store, token, 'two')

    def test_restarted_between_read_and_write(self):
        """memcached counts its records anew then."""
        token, _ = self.read(self.store)
        self.servers[0].kill()
        self.servers[0].start()
        self.assertIs(False, self.write(self.store, token, 'two'))
        other = self.load()
        self.assertIs(True, self.write(other, None, 'one'))
        self.assertIs(False, self.write(self.store, token, 'two'))
        self.assertEqual('one', self.read(other)[1])

    def test_restarted_empty(self):
        self.servers[0].kill()
        self.servers[0].start()
        self.assertEqual((None, None), self.read(self.store))
        self.assertEqual(
            {}, self.store.read_many([self.node], base.PATIENCE))
        self.assertIs(True, self.write(self.store, None, 'two'))
        self.assertEqual('two', self.read(self.load())[1])

    def test_answers_after_the_timeout(self):
        """A late answer is not taken for that to another question."""
        other = str(uuid.uuid4())
        self.write(self.store, None, 'other', other)
        with base.frozen(*self.servers):
            for store in (self.store, self.load()):
                self.assertFails(
                    'timed out', self.read, store, seconds=base.SHORT)
        self.assertEqual('other', self.read(self.store, other)[1])
        self.assertEqual('one', self.read(self.store)[1])

    def test_nothing_is_written_after_the_timeout(self):
        token, _ = self.read(self.store)
        with base.frozen(*self.servers):
            self.assertFails(
                'timed out', self.write, self.store, token,
                'two', seconds=base.SHORT)
            self.assertFails(
                'timed out', self.store.read_many, [self.node], base.SHORT)
        token, found = self.read(self.store)
        self.assertEqual('one', found)
        self.assertIs(True, self.write(self.store, token, 'three'))

    def test_more_threads_than_connections(self):
        """Who waits for a connection waits no longer than the others."""
        told = []

        def ask():
            try:
                self.store.read(self.node, base.SHORT)
            except reservations.StoreError as error:
                told.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        with base.frozen(*self.servers):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(20, len(told))
        for text in told:
            self.assertRegex(text, 'timed out|connections to it are in use')
        self.assertEqual('one', self.read(self.store)[1])

    def test_too_large(self):
        token, _ = self.read(self.store)
        self.assertFails(
            'memcached: a record of 1000001 bytes is too large',
            self.write, self.store, token, 'x' * (LARGEST + 1))
        self.assertEqual('one', self.read(self.store)[1])
        self.assertIs(True, self.write(self.store, token, 'x' * LARGEST))
        self.assertEqual('x' * LARGEST, self.read(self.store)[1])

    def test_too_large_for_the_server(self):
        small = self.useFixture(memcached.Memcached('-I', '512k'))
        store = self.load(self.choose([small]))
        self.write(store, None, 'one')
        token, _ = self.read(store)
        self.assertFails(
            'object too large', self.write, store, token, 'x' * LARGEST)
        self.assertEqual('one', self.read(store)[1])

    def test_garbage(self):
        for garbage in (b'', b'x', b'\xff' * 40):
            with socket.create_connection(
                    ('127.0.0.1', self.servers[0].port)) as other:
                other.sendall(b'set pci_filter:%s 0 0 %d\r\n%s\r\n' % (
                    self.node.encode(), len(garbage), garbage))
                self.assertEqual(b'STORED\r\n', other.recv(100))
            record = self.store.read(self.node, base.PATIENCE)
            self.assertEqual(garbage[16:], record.text)
            self.assertIs(True, self.write(self.store, record.token, 'two'))


class TestFaultOneOfThree(FaultMixin, testtools.TestCase):

    number = 3

    def setUp(self):
        super().setUp()
        self.nodes = [str(uuid.uuid4()) for _ in range(60)]
        for node in self.nodes:
            self.write(self.store, None, node, node)
        alone = {server: self.load(self.choose([server]))
                 for server in self.servers}
        self.kept = {
            server: [node for node in self.nodes if self.read(store, node)[1]]
            for server, store in alone.items()}

    def test_each_has_some(self):
        self.assertEqual(sorted(self.nodes), sorted(sum(
            self.kept.values(), [])))
        self.assertNotIn([], self.kept.values())

    def test_order_of_servers(self):
        """Controllers need not list them in the same order."""
        other = self.load(self.choose(self.servers[::-1]))
        for node in self.nodes:
            self.assertEqual(node, self.read(other, node)[1])

    def check_lost(self, server, *stores):
        """Check that only what was on a server is forgotten."""
        left = {node for node in self.nodes
                if node not in self.kept[server]}
        for store in stores:
            self.assertEqual(left, set(
                store.read_many(self.nodes, base.PATIENCE)))
        for node in self.kept[server]:
            # What one writes the others find.
            self.assertIs(True, self.write(stores[0], None, 'new', node))
            token, found = self.read(stores[1], node)
            self.assertEqual('new', found)
            self.assertIs(True, self.write(stores[1], token, 'more', node))
            self.assertEqual('more', self.read(stores[0], node)[1])

    def test_lost(self):
        server = self.servers[1]
        server.kill()
        self.check_lost(server, self.store, self.load())
        server.start()
        # It is asked again at once.
        self.assertEqual(
            {node for node in self.nodes if node not in self.kept[server]},
            set(self.store.read_many(self.nodes, base.PATIENCE)))

    def test_frozen(self):
        server = self.servers[2]
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.reservations.memcached._REST', 3600))
        with base.frozen(server):
            other = self.load()
            for store in (self.store, other):
                # The other two have the rest of the time.
                store.read(self.kept[server][0], 10 * base.SHORT)
            self.check_lost(server, self.store, other)

    def test_frozen_for_a_moment(self):
        server = self.servers[0]
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.reservations.memcached._REST', 0))
        node = self.kept[server][0]
        with base.frozen(server):
            self.assertEqual((None, None), self.read(
                self.store, node, 10 * base.SHORT))
        self.assertEqual(node, self.read(self.store, node)[1])

    def test_all_lost(self):
        for server in self.servers:
            server.kill()
        text = self.assertFails('.', self.read, self.store)
        self.assertEqual(text, self.assertFails(
            '.', self.store.read_many, [self.node], base.PATIENCE))
        for server in self.servers:
            self.assertIn(f'memcached at {server.address}: ', text)

    def test_killed_between_read_and_write(self):
        server = self.servers[0]
        node = self.kept[server][0]
        token, _ = self.read(self.store, node)
        server.kill()
        # Its record is not anybody else's.
        self.assertFails(
            server.address, self.write, self.store, token, 'two', node)
        self.assertEqual((None, None), self.read(self.store, node))


class _ListenerMixin:
    """Listens where memcached should; ``serve()`` tells what it does."""

    def listen(self):
        """Return a store that asks there."""
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)
        threading.Thread(
            target=self.serve, args=(listener,), daemon=True).start()
        return self.load(
            '[pci_filter]\n'
            'reservations = memcached\n'
            'reservation_servers = '
            f'127.0.0.1:{listener.getsockname()[1]}\n')


class TestFaultAnswerLost(_ListenerMixin, FaultMixin, testtools.TestCase):
    """What is between drops a connection once a record was written."""

    def setUp(self):
        super().setUp()
        self.between = self.listen()

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, socket.create_connection(
                        ('127.0.0.1', self.servers[0].port)) as server:
                    answer = b'?'
                    while answer:
                        asked = connection.recv(4096)
                        server.sendall(asked)
                        answer = asked and server.recv(4096)
                        if asked.startswith((b'add', b'cas')):
                            break
                        connection.sendall(answer)

    def test_written_but_not_told(self):
        """Not "others were first": its own record is there."""
        token, _ = self.read(self.between)
        self.assertFails(
            'closed', self.write, self.between, token, 'two')
        self.assertEqual('two', self.read(self.store)[1])
        other = str(uuid.uuid4())
        self.assertFails(
            'closed', self.write, self.between, None, 'new', other)
        self.assertEqual('new', self.read(self.store, other)[1])


class TestFaultNotMemcached(
        _ListenerMixin, base.StoreCase, testtools.TestCase):
    """Whatever listens there, it is a StoreError of one line."""

    def setUp(self):
        super().setUp()
        self.answer = b''
        self.store = self.listen()

    def serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(self.answer)

    def test_garbage(self):
        for self.answer in (
                b'', b'\0' * 100, b'HTTP/1.1 400 Bad Request\r\n\r\n',
                b'VALUE pci_filter:x 0 1 1\r\nx\r\nEND\r\n', b'VALUE\r\n',
                b'VALUE a b c d e f\r\n', b'\x1b[31m\r\n', b'\x80' * 24,
                b'SERVER_ERROR out\x85of memory\r\n', b'STORED\r\n'):
            for ask in (self.store.read, lambda node, seconds: (
                    self.store.write(node, None, 'text', 60, seconds)),
                    lambda node, seconds: (
                        self.store.read_many([node], seconds))):
                error = self.assertRaises(
                    reservations.StoreError, ask, self.node, base.PATIENCE)
                self.assertTrue(str(error).isprintable(), error)


class TestFaultTLS(test_memcached.TLSMixin, FaultMixin, testtools.TestCase):

    def test_restarted_empty(self):
        self.servers[0].kill()
        self.servers[0].start()
        self.assertEqual((None, None), self.read(self.store))

    def test_answers_after_the_timeout(self):
        with base.frozen(*self.servers):
            for store in (self.store, self.load()):
                self.assertFails(
                    'timed out', self.read, store, seconds=base.SHORT)
        self.assertEqual('one', self.read(self.store)[1])

    def test_another_certificate(self):
        self.certificate = self.useFixture(memcached.Certificate())
        self.assertFails(
            'CERTIFICATE_VERIFY_FAILED', self.read,
            self.load(self.choose(self.servers)))

    def test_server_without(self):
        plain = self.useFixture(memcached.Memcached())
        self.assertFails(
            f'memcached at {plain.address}: ', self.read,
            self.load(self.choose([plain])), seconds=5)

    def test_server_with_and_no_option(self):
        store = self.load(self.choose(
            self.servers).partition('[cache]')[0])
        self.assertFails(
            f'memcached at {self.servers[0].address}: ', self.read, store,
            seconds=5)


class TestFaultSASL(test_memcached.SASLMixin, FaultMixin, testtools.TestCase):

    def test_wrong_password(self):
        for name, password in (
                ('nova', 'not our secret'), ('nobody', 'our secret')):
            text = self.assertFails(
                f'^memcached at {self.servers[0].address}: it refuses the '
                r'user name or the password of \[cache\]$',
                self.read, self.load(self.choose(
                    self.servers).replace('nova\n', f'{name}\n').replace(
                        'our secret', password)))
            self.assertNotIn('secret', text)

    def test_no_password(self):
        self.assertFails(
            f'memcached at {self.servers[0].address}: ', self.read, self.load(
                self.choose(self.servers).partition('[cache]')[0]))

    def test_in_tls(self):
        """Nobody else hears the password."""
        memcached.require_tls()
        certificate = self.useFixture(memcached.Certificate())
        server = self.useFixture(
            self.passwords.memcached(*certificate.options))
        store = self.load(self.choose([server]) + (
            f'tls_enabled = true\ntls_cafile = {certificate.path}\n'))
        self.assertIs(True, self.write(store, None, 'one'))
        self.assertEqual('one', self.read(store)[1])

    def test_server_that_asks_for_none(self):
        """oslo.cache uses it nevertheless."""
        plain = self.useFixture(memcached.Memcached())
        store = self.load(self.choose([plain]))
        self.assertIs(True, self.write(store, None, 'one'))
        self.assertEqual('one', self.read(store)[1])

    def test_answers_after_the_timeout(self):
        with base.frozen(*self.servers):
            for store in (self.store, self.load()):
                self.assertFails(
                    'timed out', self.read, store, seconds=base.SHORT)
        self.assertEqual('one', self.read(self.store)[1])

    def test_restarted_empty(self):
        self.servers[0].kill()
        self.servers[0].start()
        self.assertEqual((None, None), self.read(self.store))

    def test_large(self):
        token, _ = self.read(self.store)
        self.assertIs(True, self.write(self.store, token, 'x' * LARGEST))
        self.assertEqual('x' * LARGEST, self.read(self.store)[1])

    def test_too_large_for_the_server(self):
        small = self.useFixture(self.passwords.memcached('-I', '512k'))
        self.assertFails(
            'status 0x03', self.write, self.load(self.choose([small])), None,
            'x' * LARGEST)
