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

"""One read for all requests that ask the same; with Nova's threads."""

import concurrent.futures
import contextlib
import os
import threading
import time

from nova import context as nova_context

from pci_filter.scheduler import shared_reads
from pci_filter.tests.functional.nova import base


class Database:
    """Tells who connects, abandons and hangs up."""

    def __init__(self):
        self.connections = []
        self.abandoned = 0
        self.hung_up = []
        #: The connection of each descriptor.
        self.lines = {}

    @contextlib.contextmanager
    def connect(self):
        number = len(self.connections)
        self.connections.append(shared_reads.note_connection(f'c{number}'))
        yield number
        shared_reads.note_connection(None)

    def abandon(self):
        self.abandoned += 1

    def line(self, connection):
        line = os.dup(2)
        self.lines[line] = connection
        return line

    def hang_up(self, line):
        self.hung_up.append(self.lines[line])


class TestSharedReads(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.database = Database()
        self.reads = shared_reads.SharedReads(self.database)
        self.context = nova_context.get_admin_context()
        #: The nodes of each read, as it begins.
        self.begun = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.addCleanup(self.let_go, 99)
        #: What there is to be read.
        self.state = 0

    def let_go(self, reads=1):
        for _ in range(reads):
            self.go.release()

    def read(self, connection, nodes):
        """Read what there is when it begins."""
        found = self.state
        self.begun.append(nodes)
        self.started.release()
        self.assertTrue(self.go.acquire(timeout=20))
        return found

    def join(self, nodes=('a',), question='q', seconds=60, read=None):
        return self.reads.join(
            question, read or self.read, nodes, time.monotonic() + seconds,
            self.context)

    def wait(self, batch, seconds=20):
        return self.reads.wait(batch, time.monotonic() + seconds)

    def wait_for_begin(self):
        self.assertTrue(self.started.acquire(timeout=20))

    def test_alone(self):
        batch = self.join(['a', 'b'])
        self.let_go()
        self.assertEqual(0, self.wait(batch))
        self.assertEqual([['a', 'b']], self.begun)

    def test_those_who_come_meanwhile_share_the_next(self):
        first = self.join()
        self.wait_for_begin()
        self.state = 1
        others = [self.join([name, 'a']) for name in 'bcd']
        self.assertEqual(1, len(set(others)))
        self.let_go(2)
        self.assertEqual(0, self.wait(first))
        self.assertEqual([1] * 3, [self.wait(batch) for batch in others])
        self.assertEqual([['a'], ['b', 'a', 'c', 'd']], self.begun)

    def test_never_what_was_read_before(self):
        """Not even if it has all nodes that are asked for."""
        first = self.join(['a', 'b'])
        self.wait_for_begin()
        self.state = 1
        second = self.join(['a'])
        self.let_go(2)
        self.assertEqual([0, 1], [self.wait(first), self.wait(second)])
        # Nobody asks any more.
        self.state = 2
        self.let_go()
        self.assertEqual(2, self.wait(self.join()))

    def test_another_question(self):
        batches = [self.join(question=name) for name in 'qr']
        for _ in batches:
            self.wait_for_begin()
        self.let_go(2)
        self.assertEqual([0, 0], [self.wait(batch) for batch in batches])

    def test_failure_is_told_to_all(self):
        error = LookupError('x')

        def fail(connection, nodes):
            raise error

        first = self.join()
        self.wait_for_begin()
        others = [self.join(read=fail) for _ in range(2)]
        self.let_go()
        self.assertEqual([0, error, error], [
            self.wait(batch) for batch in (first, *others)])
        self.let_go()
        self.assertEqual(0, self.wait(self.join()))

    def test_each_waits_for_itself(self):
        first = self.join()
        self.wait_for_begin()
        batch = self.join()
        self.assertIs(batch, self.join())
        self.assertIs(nova_context.did_not_respond_sentinel,
                      self.wait(batch, 0.1))
        self.let_go(2)
        self.assertEqual([0, 0], [self.wait(first), self.wait(batch)])

    def test_nobody_waits_for_one_that_all_gave_up(self):
        first = self.join()
        self.wait_for_begin()
        first.deadline = 0
        self.assertEqual(0, self.database.abandoned)
        second = self.join()
        # It begins though the first one has not ended.
        self.wait_for_begin()
        self.assertEqual(1, self.database.abandoned)
        third = self.join()
        self.assertIsNot(second, third)
        self.let_go(3)
        for batch in first, second, third:
            self.assertEqual(0, self.wait(batch))
        self.assertEqual(1, self.database.abandoned)
        self.assertEqual(3, len(self.begun))

    def test_nothing_is_read_for_those_who_left(self):
        first = self.join()
        self.wait_for_begin()
        second = self.join()
        second.deadline = 0
        self.let_go()
        self.assertEqual(0, self.wait(first))
        while self.reads._busy:
            time.sleep(0.001)
        # Nor for who looks once more whether there is an answer.
        self.assertIs(nova_context.did_not_respond_sentinel,
                      self.reads.wait(second, 0))
        self.assertEqual(1, len(self.begun))
        # Nor are the connections abandoned for that.
        self.let_go(2)
        self.assertEqual(0, self.wait(self.join(question='other')))
        self.assertEqual(0, self.database.abandoned)
        # Who comes back has it read.
        self.assertEqual(0, self.wait(second))
        self.assertEqual(3, len(self.begun))

    def test_what_hangs_for_good_is_bounded(self):
        """Then the pool has no more connections for who comes."""
        most = shared_reads._MOST_HANGING
        for _ in range(most + 3):
            batch = self.join()
            self.wait_for_begin()
            batch.deadline = 0
        self.join()
        self.wait_for_begin()
        self.assertEqual(most, self.database.abandoned)
        self.let_go(most + 4)
        while self.reads._busy:
            time.sleep(0.001)
        # As before when they have ended.
        self.join().deadline = 0
        self.wait_for_begin()
        self.join()
        self.wait_for_begin()
        self.assertEqual(most + 1, self.database.abandoned)
        self.let_go(2)

    def test_who_waits_notices_that_all_gave_up(self):
        """Nobody else needs to come."""
        self.join(seconds=0.2)
        self.wait_for_begin()
        second = self.join()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(self.wait, second)
            self.wait_for_begin()
            self.assertEqual(1, self.database.abandoned)
            self.let_go(2)
            self.assertEqual(0, waiting.result())

    def test_what_hangs_is_hung_up_on(self):
        first = self.join()
        self.wait_for_begin()
        first.deadline = time.monotonic() - shared_reads._PATIENCE + 60
        self.join(question='other')
        self.wait_for_begin()
        self.assertEqual([], self.database.hung_up)
        first.deadline -= 61
        self.join(question='r')
        self.wait_for_begin()
        self.assertEqual(['c0'], self.database.hung_up)
        # Once.
        self.join(question='s')
        self.assertEqual(['c0'], self.database.hung_up)

    def test_what_ended_is_not_hung_up_on(self):
        """Somebody else may have its connection."""
        self.let_go(2)
        first = self.join()
        self.wait(first)
        first.deadline = 0
        self.wait(self.join())
        self.assertEqual([], self.database.hung_up)

    def test_burst(self):
        """However they come, each is told what was so when it asked."""
        wrong = []
        lock = threading.Lock()

        def read(connection, nodes):
            return self.state

        def ask(number):
            for _ in range(50):
                with lock:
                    self.state += 1
                    mine = self.state
                found = self.wait(self.join(read=read))
                if found < mine:
                    wrong.append((found, mine))

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(ask, range(8)))
        self.assertEqual([], wrong)
        # The last ones leave nothing.
        while self.reads._busy:
            time.sleep(0.001)
        self.assertEqual(({}, {}), (self.reads._next, self.reads._current))
