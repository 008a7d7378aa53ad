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

"""Asking cells in the background."""

import gc
import threading
import time
import weakref

import fixtures
from nova import context as nova_context

from pci_filter.scheduler import cell_reader
from pci_filter.tests.functional.nova import base


class TestCellReader(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.uuids = [cell.uuid for cell in self.cloud.cells]
        self.names = {self.url(cell): cell.uuid for cell in self.cloud.cells}
        self.context = nova_context.get_admin_context()

    def url(self, cell):
        return self.cloud.engine(cell).url.database

    def cell_of(self, connection):
        """Return the UUID of the cell that is read."""
        return self.names[connection.engine.url.database]

    def reader(self, read, cells=None, timeout=60, **more):
        return cell_reader.CellReader(
            self.context, [
                (cell, ['node']) for cell in (
                    self.cloud.cells if cells is None else cells)],
            lambda connection, nodes: read(connection), timeout, **more)

    def soon(self):
        return time.monotonic() + 0.2

    def test_answers(self):
        reader = self.reader(self.cell_of)
        self.assertEqual(
            {uuid: uuid for uuid in self.uuids}, reader.answers(self.uuids))
        # Again, and of some only.
        for uuid in self.uuids:
            self.assertEqual({uuid: uuid}, reader.answers([uuid]))

    def test_nodes_of_each_cell(self):
        one, other = self.cloud.cells
        reader = cell_reader.CellReader(
            self.context, [(one, ['a', 'b']), (other, [])],
            lambda connection, nodes: nodes, 60)
        self.assertEqual({one.uuid: ['a', 'b'], other.uuid: []},
                         reader.answers(self.uuids))

    def test_context_given_is_not_targeted(self):
        self.reader(lambda connection: None).answers(self.uuids)
        self.assertIsNone(self.context.cell_uuid)
        self.assertIsNone(self.context.db_connection)

    def test_cells_not_asked(self):
        reader = self.reader(
            lambda connection: 1, self.cloud.cells[:1])
        self.assertEqual({self.uuids[0]: 1}, reader.answers(
            [*self.uuids, 'unknown']))
        self.assertEqual({}, reader.answers([]))
        self.assertEqual(
            {}, self.reader(lambda connection: 1, []).answers(self.uuids))

    def test_failure(self):
        error = LookupError('x')

        def read(connection):
            if self.cell_of(connection) == self.uuids[0]:
                raise error
            return 'fine'

        self.assertEqual(
            {self.uuids[0]: error, self.uuids[1]: 'fine'},
            self.reader(read).answers(self.uuids))
        # Nova would log a traceback, maybe with a password in it.
        self.assertNotIn('Traceback', self.log.output)
        self.assertNotIn('LookupError', self.log.output)

    def test_in_the_background(self):
        go, started = threading.Event(), threading.Semaphore(0)
        self.addCleanup(go.set)

        def read(connection):
            started.release()
            self.assertTrue(go.wait(20))
            return threading.current_thread()

        reader = self.reader(read)
        for _ in self.uuids:
            self.assertTrue(started.acquire(timeout=20))
        go.set()
        threads = set(reader.answers(self.uuids).values())
        self.assertEqual(2, len(threads))
        self.assertNotIn(threading.current_thread(), threads)

    def test_timeout(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def read(connection):
            if self.cell_of(connection) == self.uuids[0]:
                go.wait(20)
            return 'late'

        reader = self.reader(read)
        reader.answers(self.uuids[1:])
        self.assertEqual(
            {self.uuids[0]: nova_context.did_not_respond_sentinel,
             self.uuids[1]: 'late'},
            reader.answers(self.uuids, self.soon()))
        go.set()
        # Who is late himself gets what there is.
        self.assertEqual(
            dict.fromkeys(self.uuids, 'late'), reader.answers(self.uuids))
        self.assertEqual(
            dict.fromkeys(self.uuids, 'late'), reader.answers(self.uuids, 0))

    def test_timeout_of_the_option(self):
        go = threading.Event()
        self.addCleanup(go.set)
        before = time.monotonic()
        reader = self.reader(lambda connection: go.wait(20), timeout=1)
        self.assertEqual(
            dict.fromkeys(self.uuids, nova_context.did_not_respond_sentinel),
            reader.answers(self.uuids))
        self.assertGreaterEqual(time.monotonic() - before, 1)

    def test_answers_so_far(self):
        """Nobody waits for a cell that is still busy, unless it is late."""
        go = threading.Event()
        self.addCleanup(go.set)
        error = LookupError('x')

        def read(connection):
            if self.cell_of(connection) == self.uuids[0]:
                raise error
            return go.wait(20)

        reader = self.reader(read)
        while not reader.answers_so_far():
            # As long as a test may take.
            time.sleep(0.01)
        self.assertEqual({self.uuids[0]: error}, reader.answers_so_far())
        reader.deadline = time.monotonic()
        self.assertEqual(
            nova_context.did_not_respond_sentinel,
            reader.answers_so_far()[self.uuids[1]])
        go.set()
        self.assertEqual({self.uuids[1]: True}, reader.answers(
            self.uuids[1:], time.monotonic() + 20))

    def test_thread_that_cannot_start(self):
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.threads._idle', []))
        with fixtures.MockPatch('threading.Thread.start',
                                side_effect=RuntimeError('no more')):
            for _ in range(3):
                self.assertEqual(
                    ['no more'] * 2, [str(error) for error in self.reader(
                        None, question='same').answers(self.uuids).values()])
        self.assertEqual(
            dict.fromkeys(self.uuids, 1), self.reader(
                lambda connection: 1, question='same').answers(self.uuids))

    def test_not_in_the_threads_of_nova(self):
        """A cell that hangs does not keep Nova from asking it."""
        go = threading.Event()
        self.addCleanup(go.set)
        readers = [self.reader(lambda connection: go.wait(20))
                   for _ in range(20)]
        self.assertEqual(
            dict.fromkeys(self.uuids, 1), nova_context.scatter_gather_cells(
                self.context, self.cloud.cells, 20, lambda context: 1))
        go.set()
        for reader in readers:
            self.assertEqual(
                dict.fromkeys(self.uuids, True), reader.answers(self.uuids))

    def test_nothing_is_kept_of_a_request(self):
        contexts = [weakref.ref(self.context)]
        self.reader(lambda connection: 1).answers(self.uuids)
        # As Nova does for each request, in the thread that serves it.
        self.context = nova_context.get_admin_context()
        self.context.update_store()
        while any(context() for context in contexts):
            # As long as a test may take.
            gc.collect()
            time.sleep(0.01)
