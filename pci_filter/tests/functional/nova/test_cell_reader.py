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
        self.context = nova_context.get_admin_context()

    def reader(self, read, cells=None, **more):
        return cell_reader.CellReader(
            self.context, self.cloud.cells if cells is None else cells, read,
            **more)

    def limit(self, seconds):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.context.CELL_TIMEOUT', seconds))

    def test_answers(self):
        reader = self.reader(lambda context: context.cell_uuid)
        self.assertEqual(
            {uuid: uuid for uuid in self.uuids}, reader.answers(self.uuids))
        # Again, and of some only.
        for uuid in self.uuids:
            self.assertEqual({uuid: uuid}, reader.answers([uuid]))

    def test_context_given_is_not_targeted(self):
        self.reader(lambda context: None).answers(self.uuids)
        self.assertIsNone(self.context.cell_uuid)
        self.assertIsNone(self.context.db_connection)

    def test_cells_not_asked(self):
        reader = self.reader(
            lambda context: 1, self.cloud.cells[:1])
        self.assertEqual({self.uuids[0]: 1}, reader.answers(
            [*self.uuids, 'unknown']))
        self.assertEqual({}, reader.answers([]))
        self.assertEqual(
            {}, self.reader(lambda context: 1, []).answers(self.uuids))

    def test_failure(self):
        error = LookupError('x')

        def read(context):
            if context.cell_uuid == self.uuids[0]:
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

        def read(context):
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

        def read(context):
            if context.cell_uuid == self.uuids[0]:
                go.wait(20)
            return 'late'

        self.limit(0.3)
        reader = self.reader(read)
        before = time.monotonic()
        self.assertEqual(
            {self.uuids[0]: nova_context.did_not_respond_sentinel,
             self.uuids[1]: 'late'}, reader.answers(self.uuids))
        self.assertLess(time.monotonic() - before, 10)
        go.set()
        while reader.answers(self.uuids)[self.uuids[0]] != 'late':
            # As long as a test may take.
            time.sleep(0.01)

    def test_answers_so_far(self):
        """Nobody waits for a cell that is still busy, unless it is late."""
        go = threading.Event()
        self.addCleanup(go.set)
        error = LookupError('x')

        def read(context):
            if context.cell_uuid == self.uuids[0]:
                raise error
            return go.wait(20)

        reader = self.reader(read)
        while not reader.answers_so_far():
            # As long as a test may take.
            time.sleep(0.01)
        self.assertEqual({self.uuids[0]: error}, reader.answers_so_far())
        self.limit(0)
        late = self.reader(read).answers_so_far()
        self.assertEqual(
            nova_context.did_not_respond_sentinel, late[self.uuids[1]])
        go.set()
        self.assertEqual({self.uuids[1]: True}, reader.answers(
            self.uuids[1:]))

    def test_timeout_is_for_all_cells_together(self):
        go = threading.Event()
        self.addCleanup(go.set)
        self.limit(0.5)
        reader = self.reader(lambda context: go.wait(20))
        before = time.monotonic()
        self.assertEqual(
            dict.fromkeys(self.uuids, nova_context.did_not_respond_sentinel),
            reader.answers(self.uuids))
        self.assertLess(time.monotonic() - before, 0.95)

    def test_asked_by_many(self):
        """Nova needs connections too, so only some readers get one."""
        go, started = threading.Event(), threading.Semaphore(0)
        self.addCleanup(go.set)

        def read(context):
            started.release()
            return go.wait(20)

        ahead = [self.reader(read, wait_for_turn=False) for _ in range(16)]
        for _ in range(32):
            self.assertTrue(started.acquire(timeout=20))
        # One more does not ask, or asks when it is its turn.
        self.assertEqual({}, self.reader(
            read, wait_for_turn=False).answers(self.uuids))
        waiting = self.reader(read)
        self.assertFalse(started.acquire(timeout=0.2))
        go.set()
        for reader in [*ahead, waiting]:
            self.assertEqual(
                dict.fromkeys(self.uuids, True), reader.answers(self.uuids))

    def test_turn_does_not_come(self):
        go = threading.Event()
        self.addCleanup(go.set)
        for _ in range(16):
            self.reader(lambda context: go.wait(20), wait_for_turn=False)
        self.limit(0.2)
        self.assertEqual(
            dict.fromkeys(self.uuids, nova_context.did_not_respond_sentinel),
            self.reader(lambda context: 1).answers(self.uuids))

    def test_turns_end(self):
        def read(context):
            raise LookupError('x')

        for _ in range(40):
            self.assertEqual(set(self.uuids), set(self.reader(
                read, wait_for_turn=False).answers(self.uuids)))

    def test_thread_that_cannot_start(self):
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.threads._idle', []))
        with fixtures.MockPatch('threading.Thread.start',
                                side_effect=RuntimeError('no more')):
            for _ in range(40):
                self.assertRaises(RuntimeError, self.reader, None,
                                  wait_for_turn=False)
        self.assertEqual(
            dict.fromkeys(self.uuids, 1), self.reader(
                lambda context: 1, wait_for_turn=False).answers(self.uuids))

    def test_not_in_the_threads_of_nova(self):
        """A cell that hangs does not keep Nova from asking it."""
        go = threading.Event()
        self.addCleanup(go.set)
        readers = [self.reader(lambda context: go.wait(20))
                   for _ in range(20)]
        self.assertEqual(
            dict.fromkeys(self.uuids, 1), nova_context.scatter_gather_cells(
                self.context, self.cloud.cells, 20, lambda context: 1))
        go.set()
        for reader in readers:
            self.assertEqual(
                dict.fromkeys(self.uuids, True), reader.answers(self.uuids))

    def test_nothing_is_kept_of_a_cell(self):
        """At SIGHUP it may get another database."""
        contexts = []

        def read(context):
            contexts.append(weakref.ref(context))
            return contexts

        self.reader(read).answers(self.uuids)
        # As Nova does for each request, in the thread that serves it.
        self.context.update_store()
        while any(context() for context in contexts):
            # As long as a test may take.
            gc.collect()
            time.sleep(0.01)

    def test_refused_a_turn(self):
        """It is told at once, not when the time is up."""
        go = threading.Event()
        self.addCleanup(go.set)
        now = time.monotonic()
        for _ in range(32):
            self.reader(lambda context: go.wait(20), wait_for_turn=False,
                        deadline=now - 1)
        self.assertEqual(
            dict.fromkeys(
                self.uuids, nova_context.did_not_respond_sentinel),
            self.reader(lambda context: 1, deadline=now + 60).answers(
                self.uuids))
        self.assertLess(time.monotonic(), now + 60)

    def test_another_database_of_a_cell(self):
        """Nobody waits for those who ask the one it had before SIGHUP."""
        go = threading.Event()
        self.addCleanup(go.set)
        for _ in range(16):
            self.reader(lambda context: go.wait(20))
        self.useFixture(fixtures.MonkeyPatch('nova.context.CELL_CACHE', {}))
        self.assertEqual(
            dict.fromkeys(self.uuids, 1), self.reader(
                lambda context: 1, wait_for_turn=False).answers(self.uuids))
