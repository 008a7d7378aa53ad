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

"""How many may ask a cell at a time; with Nova, as threads may be green."""

import concurrent.futures
import gc
import os
import threading
import time
import weakref

import fixtures

from pci_filter.scheduler import turns
from pci_filter.tests.functional.nova import base


class Clock:
    """On which each thread but the first one is early once, then late.

    So all come before anybody is overdue, however busy the machine is.
    """

    def __init__(self, start):
        self._start = start
        self._late = {threading.get_ident()}

    def monotonic(self):
        me = threading.get_ident()
        if me in self._late:
            return self._start + 1
        self._late.add(me)
        return self._start


class TestTurns(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.turns = turns.Turns(2)
        self.start = time.monotonic()
        self.later = self.start + 60

    def take(self, deadline=None, wait=False):
        return self.turns.take(
            self.later if deadline is None else deadline, wait)

    def test_so_many_at_once(self):
        self.assertEqual([True, True, False], [self.take() for _ in range(3)])
        self.turns.give_back(self.later)
        self.assertEqual([True, False], [self.take() for _ in range(2)])

    def test_fewer_beside_those_who_are_overdue(self):
        overdue = time.monotonic() - 1
        self.assertEqual([True, True, False], [
            self.take(deadline) for deadline in (
                overdue, self.later, self.later)])

    def test_one_tries_whether_it_is_back(self):
        overdue = time.monotonic() - 1
        for _ in range(3):
            self.assertTrue(self.take(overdue))
        self.assertEqual([True, False], [self.take() for _ in range(2)])
        self.turns.give_back(self.later)
        self.assertEqual([True, False], [self.take() for _ in range(2)])

    def test_not_more_than_twice_as_many(self):
        overdue = time.monotonic() - 1
        self.assertEqual([True] * 4 + [False], [
            self.take(overdue) for _ in range(5)])
        self.assertFalse(self.take())
        # At once.
        self.assertFalse(self.take(wait=True))
        self.assertLess(time.monotonic(), self.later)
        self.turns.give_back(overdue)
        self.assertTrue(self.take())

    def wait_at_once(self, number):
        """Return who had a turn, of so many who wait for it."""
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.turns.time', Clock(self.start)))
        come = threading.Barrier(number)

        def take(_):
            # One thread each.
            come.wait(20)
            return self.take(wait=True)

        with concurrent.futures.ThreadPoolExecutor(number) as threads:
            return list(threads.map(take, range(number)))

    def test_burst_uses_no_turns_up(self):
        soon = self.start + 0.5
        self.take(soon)
        self.take(soon + 0.1)
        self.assertEqual([False] * 3, self.wait_at_once(3))
        self.assertLess(time.monotonic(), self.later)
        # The next one tries.
        self.assertTrue(self.take())

    def test_those_who_waited_do_not_try_again(self):
        for _ in range(2):
            self.take(self.start - 1)
        self.take(self.start + 0.5)
        self.assertEqual([False] * 3, self.wait_at_once(3))
        self.assertLess(time.monotonic(), self.later)
        self.assertTrue(self.take())

    def test_those_who_waited_have_a_turn_if_it_is_back(self):
        for _ in range(2):
            self.take(time.monotonic() - 1)
        self.take()
        timer = threading.Timer(0.2, self.turns.give_back, [self.later])
        timer.start()
        self.addCleanup(timer.join)
        self.assertTrue(self.take(wait=True))

    def test_wait(self):
        took = threading.Semaphore(0)

        def wait():
            self.take(wait=True)
            took.release()

        self.take()
        self.take()
        for _ in range(2):
            threading.Thread(target=wait, daemon=True).start()
        self.assertFalse(took.acquire(timeout=0.1))
        for _ in range(2):
            self.turns.give_back(self.later)
            self.assertTrue(took.acquire(timeout=20))
            self.assertFalse(took.acquire(timeout=0.1))

    def test_wait_until_all_are_overdue(self):
        soon = self.start + 0.3
        self.take(soon)
        self.take(soon)
        self.assertEqual([False], self.wait_at_once(1))
        self.assertGreaterEqual(time.monotonic(), soon)
        self.assertLess(time.monotonic(), self.later)

    def test_wait_while_some_are_overdue(self):
        self.take(time.monotonic() + 0.2)
        self.take()
        timer = threading.Timer(0.5, self.turns.give_back, [self.later])
        timer.start()
        self.addCleanup(timer.join)
        self.assertTrue(self.take(wait=True))

    def test_wait_in_vain(self):
        self.take()
        self.take()
        deadline = time.monotonic() + 0.2
        self.assertFalse(self.take(deadline, wait=True))
        self.assertGreaterEqual(time.monotonic(), deadline)

    def test_too_late(self):
        """Who has no time left does not ask, though nobody else does."""
        self.assertFalse(self.take(time.monotonic() - 1, wait=True))
        self.assertEqual([True, True], [self.take() for _ in range(2)])

    def at_once(self, size, overflow):
        """Return how many turns a database has by these options."""
        self.override('database', max_pool_size=size, max_overflow=overflow)
        ours = turns.of_database(type('Manager', (), {})())
        for number in range(100):
            if not ours.take(self.later, wait=False):
                return number

    def test_a_third_of_the_connections(self):
        for size, overflow, expected in (
                (5, 50, 16), (5, 10, 5), (1, 0, 1), (2, 1, 1), (60, 0, 16),
                # Any number of them.
                (0, 0, 16), (5, -1, 16)):
            self.assertEqual(
                expected, self.at_once(size, overflow), (size, overflow))

    def test_each_database_has_its_own(self):
        class Manager:
            pass

        one, other = Manager(), Manager()
        self.assertIs(turns.of_database(one), turns.of_database(one))
        self.assertIsNot(turns.of_database(one), turns.of_database(other))
        gone = weakref.ref(one)
        del one
        gc.collect()
        self.assertIsNone(gone())


class TestFork(base.NovaTestCase):

    def test_child_has_turns_of_its_own(self):
        class Manager:
            pass

        manager = Manager()
        ours = turns.of_database(manager)
        pid = os.fork()
        if not pid:
            wrong = True
            try:
                wrong = turns.of_database(manager) is ours
            finally:
                os._exit(wrong)
        self.assertEqual(0, os.waitpid(pid, 0)[1])
        self.assertIs(ours, turns.of_database(manager))
