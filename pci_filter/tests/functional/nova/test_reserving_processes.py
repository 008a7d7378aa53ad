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

"""Several workers of nova-scheduler, each a process, and what kills them do.

The workers share a machine, thus the store ``local``.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import time

import fixtures
from nova import utils

from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import processes
from pci_filter.tests.functional.nova import selecting
from pci_filter.tests.functional.nova import selecting_process

#: Older releases know eventlet only.
NATIVE = hasattr(utils, 'concurrency_mode_threading')


class Worker(fixtures.Fixture):
    """A process of selecting_process.

    :param directory: with its nova.conf
    :param native: on native threads, not on eventlet
    """

    def __init__(self, directory, native):
        self._directory = directory
        self._native = native

    def _setUp(self):
        # Not a pipe, which nobody would empty in time.
        errors = (self._directory / 'worker.log').open('a')
        self.addCleanup(errors.close)
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m',
             selecting_process.__name__, str(self._directory)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, env={
                **os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING':
                    'true' if self._native else 'false'})
        self.addCleanup(self._process.stdin.close)
        self.addCleanup(self._process.stdout.close)
        self.addCleanup(self._process.wait)
        self.addCleanup(self._process.kill)

    def read(self):
        """Wait for its next line."""
        return self._process.stdout.readline()

    def wait(self):
        """Wait until it is ready."""
        if self.read() != 'ready\n':
            raise AssertionError((self._directory / 'worker.log').read_text())

    def ask(self, number):
        """Let it select destinations of so many servers at once."""
        print(number, file=self._process.stdin, flush=True)

    def answer(self):
        """Return what it found: UUIDs and hosts, and what it warned of."""
        answer = json.loads(self.read())
        return answer['found'], answer['warnings']

    def kill(self):
        """Kill it at whatever it is doing."""
        self._process.kill()
        self._process.wait()


class ProcessesTestCase(selecting.SelectingTestCase):

    #: [pci_filter]reservation_timeout of the workers, in seconds.
    timeout = 60

    def make_cloud(self):
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        return base.CloudFixture(self.cells, (), self.directory)

    def setUp(self):
        super().setUp()
        (self.directory / processes.NOVA_CONF).write_text(
            selecting_process.CONF.format(
                directory=self.directory, placement=self.placement.url,
                timeout=self.timeout))
        self.override('pci_filter', reservation_file=str(
            self.directory / 'reservations.sqlite'))
        self.manager = self.scheduler(reservation_timeout=self.timeout)

    def let_read_and_write(self):
        """Let nobody who reads keep others from writing."""
        for cell in self.cloud.cells:
            engine = self.cloud.engine(cell)
            engine.dispose()
            with contextlib.closing(sqlite3.connect(
                    engine.url.database)) as connection:
                connection.execute('PRAGMA journal_mode=WAL')

    def start(self, number, native=NATIVE):
        self.let_read_and_write()
        workers = [self.useFixture(Worker(self.directory, native))
                   for _ in range(number)]
        for worker in workers:
            worker.wait()
        return workers

    def ask_all(self, workers, each):
        """Return what the workers find for so many servers each."""
        for worker in workers:
            worker.ask(each)
        found = []
        for worker in workers:
            answer, warnings = worker.answer()
            self.assertEqual([], warnings)
            found += answer
        return found


class TestProcesses(ProcessesTestCase):

    def test_burst(self):
        self.check_burst(NATIVE)

    def test_burst_on_eventlet(self):
        if not NATIVE:
            self.skipTest('this Nova knows eventlet only')
        self.check_burst(False)

    def check_burst(self, native):
        hosts = [self.add_host(f'host{n}', functions=2) for n in range(6)]
        workers = self.start(4, native)
        found = self.ask_all(workers, 4)
        self.assertEqual(
            {None: 4, **{host.name: 2 for host in hosts}},
            collections.Counter(host for _, host in found))
        for uuid, name in found:
            if name:
                host = self.cloud.hosts[name]
                selecting.Server(self, [base.vf_request()], uuid).boot(host)
        # All of them have, and those that were refused need not wait.
        first = next(uuid for uuid, name in found if name)
        self.assertEqual(
            [None] * 4, [host for _, host in self.ask_all(workers, 1)])
        for host in hosts:
            self.assertEqual([], self.counting(host))
            for one in self.kept(host):
                server = selecting.Server(self, [], one.instance_uuid)
                server.host = host
                server.delete()
        again = self.ask_all(workers, 3)
        self.assertEqual(
            {host.name: 2 for host in hosts},
            collections.Counter(host for _, host in again))
        self.assertNotIn(first, dict(again))


class TestKilled(ProcessesTestCase):

    # Longer than it takes to see the reservation, on a busy machine too.
    timeout = 10

    def test_worker_killed_while_it_holds_a_reservation(self):
        """Nobody else is blocked, and its device is free in time."""
        hosts = [self.add_host(f'host{n}', functions=1) for n in range(2)]
        first, other = self.start(2)
        first.ask(1)
        ((uuid, name),), _ = first.answer()
        first.kill()
        # Nothing ever becomes of that server.
        ((_, second),) = self.ask_all([other], 1)
        self.assertEqual(
            {host.name for host in hosts}, {name, second})
        self.assertEqual(
            [uuid], self.counting(self.cloud.hosts[name]))
        while self.counting(self.cloud.hosts[name]):
            time.sleep(0.1)
        found = {host for _, host in self.ask_all([other], 2)}
        self.assertIn(name, found)

    def test_worker_killed_at_any_moment(self):
        """It leaves no lock behind, and no file that cannot be read."""
        self.add_host('host0', functions=8)
        self.let_read_and_write()
        chance = random.Random(20261130)
        for _ in range(5):
            worker, = self.start(1)
            worker.ask(8)
            time.sleep(chance.uniform(0, 0.15))
            worker.kill()
            try:
                self.select(base.vf_request())
            except selecting.NoValidHost:
                self.assertNotEqual(
                    [], self.counting(self.cloud.hosts['host0']))
        self.assertEqual([], self.log_lines('WARNING pci_filter'))
