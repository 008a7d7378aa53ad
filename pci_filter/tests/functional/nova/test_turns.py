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

import gc
import threading
import time

from pci_filter.scheduler import turns
from pci_filter.tests.functional.nova import base


class TestTurns(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.turns = turns.Turns(2)
        self.later = time.monotonic() + 60

    def take(self, deadline=None, wait=False):
        return self.turns.take(
            self.later if deadline is None else deadline, wait)

    def test_so_many_at_once(self):
        self.assertEqual([True, True, False], [self.take() for _ in range(3)])
        self.turns.give_back(self.later)
        self.assertEqual([True, False], [self.take() for _ in range(2)])

    def test_overdue_has_none(self):
        overdue = time.monotonic() - 1
        self.assertEqual([True] * 4, [
            self.take(deadline) for deadline in (
                overdue, overdue, self.later, self.later)])
        self.assertFalse(self.take())

    def test_not_more_than_twice_as_many(self):
        overdue = time.monotonic() - 1
        self.assertEqual([True] * 4 + [False], [
            self.take(overdue) for _ in range(5)])
        self.assertFalse(self.take())
        self.turns.give_back(overdue)
        self.assertTrue(self.take())

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

    def test_wait_until_somebody_is_overdue(self):
        soon = time.monotonic() + 0.3
        self.take(soon)
        self.take()
        self.assertTrue(self.take(wait=True))
        self.assertGreaterEqual(time.monotonic(), soon)

    def test_wait_in_vain(self):
        self.take()
        self.take()
        deadline = time.monotonic() + 0.2
        self.assertFalse(self.take(deadline, wait=True))
        self.assertGreaterEqual(time.monotonic(), deadline)

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
        known = len(turns._turns)
        del one
        gc.collect()
        self.assertEqual(known - 1, len(turns._turns))
