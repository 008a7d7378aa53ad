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

"""Threads that are used again; with Nova, as they may be green."""

import os
import queue
import threading
import time

import fixtures

from pci_filter.scheduler import threads
from pci_filter.tests.functional.nova import base


class TestThreads(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.idle = []
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.threads._idle', self.idle))

    def wait_for_idle(self, number):
        while len(self.idle) < number:
            # As long as a test may take.
            time.sleep(0.001)

    def run_at_once(self, number):
        """Return the threads in which so many functions run."""
        go, ran = threading.Event(), queue.Queue()
        self.addCleanup(go.set)

        def job():
            ran.put(threading.current_thread())
            go.wait(20)

        for _ in range(number):
            threads.run(job)
        found = [ran.get(timeout=20) for _ in range(number)]
        go.set()
        return found

    def test_used_again(self):
        first, = self.run_at_once(1)
        self.assertIsNot(threading.current_thread(), first)
        self.wait_for_idle(1)
        for _ in range(3):
            self.assertEqual([first], self.run_at_once(1))
            self.wait_for_idle(1)

    def test_nothing_waits_for_an_event(self):
        """Or Nova's tests fail that let one wait, whoever comes first."""
        self.run_at_once(1)
        self.wait_for_idle(1)
        done = queue.Queue()
        with fixtures.MockPatch('threading.Event.wait',
                                side_effect=AssertionError):
            threads.run(lambda: done.put(1))
            self.assertEqual(1, done.get(timeout=20))

    def test_at_once(self):
        self.assertEqual(100, len(set(self.run_at_once(100))))

    def test_some_are_kept(self):
        found = self.run_at_once(100)
        while sum(thread.is_alive() for thread in found) > len(self.idle):
            time.sleep(0.001)
        self.assertEqual(64, len(self.idle))
        self.assertLess(
            set(self.run_at_once(3)), set(found))

    def test_nothing_is_kept_of_a_function(self):
        freed = threading.Event()

        class Watched:
            def __call__(self):
                pass

            def __del__(self):
                freed.set()

        threads.run(Watched())
        self.assertTrue(freed.wait(20))
        self.wait_for_idle(1)


class TestFork(base.NovaTestCase):

    def test_child_has_threads_of_its_own(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        ran = queue.Queue()
        threads.run(lambda: ran.put(1))
        ran.get(timeout=20)
        while not threads._idle:
            time.sleep(0.001)
        pid = os.fork()
        if not pid:
            try:
                done = queue.Queue()
                threads.run(lambda: done.put(b'ran'))
                os.write(write, done.get(timeout=10))
            finally:
                os._exit(0)
        os.close(write)
        self.assertEqual(b'ran', os.read(read, 3))
        os.waitpid(pid, 0)
