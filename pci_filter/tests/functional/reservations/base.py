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

"""What every store of reservations has to do."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import time
import uuid

import fixtures
from oslo_config import cfg

from pci_filter import conf
from pci_filter import reservations
from pci_filter.reservations import making
from pci_filter.reservations import store as store_module

#: How long a store may take in a test that is not about that, in seconds.
PATIENCE = 60

#: How long a store may take in one that is.
SHORT = 0.2

#: Who counts.
COUNTING = 'pci_filter.tests.functional.reservations.counting'

#: What Nova does first where it runs on eventlet.
GREEN = 'import eventlet\neventlet.monkey_patch()'


def configuration(path):
    """Return the options of a nova.conf."""
    parsed = cfg.ConfigOpts()
    conf.register_opts(parsed)
    parsed(['--config-file', str(path)], project='nova',
           default_config_dirs=[])
    return parsed


class _Node:
    """A compute node of which the database is never read."""

    def __init__(self, node_uuid):
        self.uuid = node_uuid


class StoreCase:
    """Makes a store of the text of a nova.conf."""

    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'nova.conf')
        self.node = str(uuid.uuid4())

    def load(self, options=None):
        """Return the store as a process makes it."""
        self.path.write_text(options or self.options)
        return reservations.load(configuration(self.path))

    def read(self, store, node=None, seconds=PATIENCE):
        record = store.read(node or self.node, seconds)
        return record.token, None if record.text is None else (
            record.text if isinstance(record.text, str)
            else record.text.decode())

    def write(self, store, token, text, node=None, lifetime=60,
              seconds=PATIENCE):
        return store.write(
            node or self.node, token, text, lifetime, seconds)


class StoreMixin(StoreCase):
    """Tests of a store.

    Who mixes it in has ``options``: the section that chooses the store, and
    ``blocked()``: while it is entered nothing can be written.
    """

    def test_nothing(self):
        self.assertEqual(
            store_module.NO_RECORD, self.load().read(self.node, PATIENCE))

    def test_written(self):
        store = self.load()
        text = 'this is \N{SNOWMAN}, "that" is not\r\nEND\r\n'
        self.assertIs(True, self.write(store, None, text))
        token, found = self.read(store)
        self.assertEqual(text, found)
        self.assertIsNotNone(token)
        self.assertEqual(
            store_module.NO_RECORD, store.read(str(uuid.uuid4()), PATIENCE))

    def test_seen_by_others(self):
        first, second = self.load(), self.load()
        self.write(first, None, 'one')
        token, found = self.read(second)
        self.assertEqual('one', found)
        self.assertIs(True, self.write(second, token, 'two'))
        self.assertEqual('two', self.read(first)[1])

    def test_written_by_another_first(self):
        first, second = self.load(), self.load()
        self.assertIs(True, self.write(first, None, 'one'))
        self.assertIs(False, self.write(second, None, 'two'))
        token, found = self.read(second)
        self.assertEqual('one', found)
        self.assertIs(True, self.write(first, token, 'three'))
        self.assertIs(False, self.write(second, token, 'four'))
        self.assertEqual('three', self.read(second)[1])

    def test_same_text_is_another_record(self):
        store = self.load()
        self.write(store, None, 'one')
        token, _ = self.read(store)
        self.assertIs(True, self.write(store, token, 'one'))
        self.assertIs(False, self.write(store, token, 'two'))

    def test_out_of_date(self):
        store = self.load()
        self.write(store, None, 'one', lifetime=1)
        token, _ = self.read(store)
        deadline = time.monotonic() + PATIENCE
        while self.read(store)[1] is not None:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        # Whether the record is still there is the store's matter, so its own
        # token is good.
        self.assertIs(True, self.write(store, self.read(store)[0], 'two'))
        self.assertIs(False, self.write(store, token, 'three'))
        self.assertEqual('two', self.read(store)[1])

    def test_lifetime_begins_anew(self):
        store = self.load()
        self.write(store, None, 'one', lifetime=1)
        self.write(store, self.read(store)[0], 'two', lifetime=3600)
        time.sleep(4)
        self.assertEqual('two', self.read(store)[1])

    def test_many_nodes(self):
        store = self.load()
        nodes = [str(uuid.uuid4()) for _ in range(1200)]
        for node in nodes[::40]:
            self.write(store, None, node, node)
        found = store.read_many(nodes, PATIENCE)
        self.assertEqual(
            {node: node.encode() for node in nodes[::40]},
            {node: text if isinstance(text, bytes) else text.encode()
             for node, text in found.items()})
        self.assertEqual({}, store.read_many([], PATIENCE))

    def test_unreadable(self):
        store = self.load()
        self.write(store, None, '{"version": 2}')
        error = self.assertRaises(
            reservations.StoreError, reservations.reserve, store,
            _Node(self.node), making.Asker('an instance', 1, 'here'), 60,
            making.Patience(PATIENCE))
        self.assertEqual(
            'what it has of a compute node is unreadable: version 2 instead '
            'of 1', str(error))

    def test_time_is_limited(self):
        store = self.load()
        self.write(store, None, 'one')
        token, _ = self.read(store)
        with self.blocked():
            self.assertRaises(
                reservations.StoreError, self.write, store, token, 'two',
                seconds=SHORT)
        token, found = self.read(store)
        self.assertIs(True, self.write(store, token, 'three'))
        self.assertEqual('three', self.read(store)[1])

    def count(self, *arguments, first=''):
        """Let processes count with the store, and return where they end."""
        self.load()
        ran = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c',
             f'{first}\nimport runpy\nrunpy.run_module({COUNTING!r})',
             str(self.path), self.node, *arguments],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(
                filter(None, sys.path))),
            capture_output=True, text=True, check=False)
        self.assertEqual(0, ran.returncode, ran.stderr)
        return int(ran.stdout)

    def test_many_at_a_time(self):
        self.assertEqual(4 * 8 * 5, self.count('4', '8', '5'))

    def test_many_green_ones_at_a_time(self):
        self.assertEqual(4 * 8 * 5, self.count(
            '4', '8', '5', first=GREEN))


@contextlib.contextmanager
def frozen(*servers):
    """Let servers be silent."""
    for server in servers:
        server.freeze()
    try:
        yield
    finally:
        for server in servers:
            server.thaw()
