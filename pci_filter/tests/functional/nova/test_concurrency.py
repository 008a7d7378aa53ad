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

"""Many requests at a time, while another process claims and frees devices.

nova-scheduler and the trackers of nova-compute are processes of their own,
scheduling_process and claiming_process, on one database. No verdict may
contradict the rows: those of a host that nobody touches while a call goes on
allow one verdict, those of another host as many as it had states meanwhile.

PCI_FILTER_MEMORY_REQUESTS is how many requests there are for the memory.
"""

import collections
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import typing
import uuid

import fixtures
from nova import utils
import sqlalchemy as sa
import testtools

from pci_filter.fixture import hardware
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import claiming_process
from pci_filter.tests.functional.nova import processes
from pci_filter.tests.functional.nova import scheduling_process

HOSTS = 200
FUNCTIONS = 4

#: Blocks of memory that come and go, whatever the number of requests.
MARGIN = 500

#: Blocks of memory that a timer of eventlet has.
TIMER = 5

SERVERS = 'PCI_FILTER_TEST_MYSQL_URL', 'PCI_FILTER_TEST_POSTGRESQL_URL'


class Rows:
    """What the rows of hosts were, and when.

    :param changes: host, when they were about to change and when that was
        committed, and how many functions and ports were free then
    """

    def __init__(self, changes):
        self._changes = collections.defaultdict(list)
        for host, *change in changes:
            self._changes[host].append(change)

    def between(self, host, before, after):
        """Return what the rows of a host may have been between two times."""
        changes = self._changes[host]
        ends = [committed for _, committed, *_ in changes[1:]]
        return [
            tuple(free)
            for (begun, _, *free), end in zip(
                changes, [*ends, float('inf')])
            if begun <= after and end >= before]


def fits(wanted, free):
    """Tell whether a host with so many functions and ports suffices."""
    dev_type, count = wanted
    return dict(zip((hardware.VF, hardware.PF), free))[dev_type] >= count


class TestRows(testtools.TestCase):

    def test_between(self):
        rows = Rows([['a', 0, 1, 4, 1], ['b', 0, 1, 0, 0],
                     ['a', 10, 11, 3, 0], ['a', 20, 21, 4, 1]])
        first, second = (4, 1), (3, 0)
        for before, after, states in (
                (2, 3, [first]), (2, 9, [first]), (2, 10, [first, second]),
                (10.5, 10.6, [first, second]), (11, 12, [first, second]),
                (11.5, 19, [second]), (5, 25, [first, second, first]),
                (12, 20, [second, first]), (22, 30, [first])):
            self.assertEqual(states, rows.between('a', before, after))
        self.assertEqual([(0, 0)], rows.between('b', 5, 50))

    def test_fits(self):
        for wanted, free, expected in (
                ((hardware.VF, 3), (3, 0), True),
                ((hardware.VF, 3), (2, 1), False),
                ((hardware.PF, 1), (4, 1), True),
                ((hardware.PF, 1), (4, 0), False)):
            self.assertIs(expected, fits(wanted, free))


class ConcurrencyMixin:
    """Two cells with 200 hosts, in SQLite files or in a server."""

    #: What names the server; SQLite files if empty.
    variable: typing.ClassVar[str] = ''

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.variable and cls.variable not in os.environ:
            raise cls.skipException(f'{cls.variable} is not set')
        named = [name for name in SERVERS if name in os.environ]
        if named and not cls.variable:
            raise cls.skipException(f'{named[0]} is set')
        cls.directory = fixtures.TempDir()
        cls.directory.setUp()
        cls.addClassCleanup(cls.directory.cleanUp)
        cls.path = pathlib.Path(cls.directory.path)
        cls.server = os.environ.get(cls.variable)
        cls.cloud = base.Cloud(
            cells=2, directory=cls.path, cell_urls=cls.make_databases())
        cls.cloud.open()
        cls.addClassCleanup(cls.cloud.close)
        cls.add_hosts()

    @classmethod
    def make_databases(cls):
        """Create a database for each cell; return their URLs."""
        if not cls.server:
            return None
        names = [f'pci_filter_{uuid.uuid4().hex[:12]}' for _ in range(2)]
        engine = sa.create_engine(
            cls.server, isolation_level='AUTOCOMMIT',
            poolclass=sa.pool.NullPool)

        def execute(statement):
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)

        for name in names:
            execute(f'CREATE DATABASE {name}')
            cls.addClassCleanup(execute, f'DROP DATABASE {name}')
        return [engine.url.set(database=name).render_as_string(
            hide_password=False) for name in names]

    @classmethod
    def add_hosts(cls):
        for number in range(HOSTS):
            cls.cloud.add_host(
                number % 2, f'host{number:03}', hardware.network_card(
                    hardware.INTEL_X710, 0x81, 0, ports=1, vfs=FUNCTIONS),
                ['{"address": "*:81:*.*", "physical_network": "physnet1"}'])
        for cell in cls.cloud.cells:
            engine = cls.cloud.engine(cell)
            engine.dispose()
            if not cls.server:
                # Else a commit waits for all who read.
                with contextlib.closing(sqlite3.connect(
                        engine.url.database)) as connection:
                    connection.execute('PRAGMA journal_mode=WAL')
        processes.store_hosts(cls.path, cls.cloud.hosts.values())
        (cls.path / processes.NOVA_CONF).write_text(
            processes.CONF.format(directory=cls.path))

    def start(self, module, native=True):
        """Start a process, and wait until it is ready or idle.

        It ends with the test at the latest.
        """
        # Not a pipe, which nobody would empty in time.
        errors = (self.path / f'{module.__name__}.log').open('w+')
        self.addCleanup(errors.close)
        process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', module.__name__,
             str(self.path)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=errors,
            env={**os.environ,
                 'OS_NOVA_DISABLE_EVENTLET_PATCHING':
                     'true' if native else 'false',
                 'PCI_FILTER_TEST_SERVER_URL': self.server or ''})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        said = process.stdout.readline()
        errors.seek(0)
        self.assertIn(said, ('ready\n', 'idle\n'), errors.read())
        return process

    def finish(self, process):
        """Let a process go on to its end."""
        process.communicate('')
        self.assertEqual(0, process.returncode)

    def check(self, native):
        claiming = self.start(claiming_process)
        idle = self.start(scheduling_process, native)
        self.finish(claiming)
        self.finish(idle)
        seen = processes.load(self.path / processes.CALLS)
        self.assertEqual([], seen['errors'])
        self.assertEqual([], seen['warnings'])
        self.assertIs(native, not seen['green'])
        self.check_calls(
            seen['calls'], processes.load(self.path / processes.CHANGES))
        self.check_connections(seen)
        self.check_memory(seen['memory'], native)

    def check_calls(self, calls, changes):
        """Check each verdict on each host against what its rows were."""
        rows = Rows(changes)
        tally = collections.Counter()
        names = {host for host, *_ in changes}
        self.assertEqual(HOSTS, len(names))
        self.assertEqual(
            scheduling_process.AT_ONCE * scheduling_process.CALLS,
            len(calls))
        for before, after, wanted, pools, passed in calls:
            self.assertLessEqual(pools.keys(), names)
            for host in sorted(names):
                # Without pools if it was left out before Nova loaded it.
                counts = pools.get(host)
                states = set(rows.between(host, before, after))
                verdict = host in passed
                what = host, before, after, wanted, counts, verdict, states
                self.assertIn(verdict, {
                    fits(wanted, free) for free in states}, what)
                if host in pools:
                    self.assertIsNotNone(counts, what)
                    if len(states) == 1:
                        self.assertEqual(states, {tuple(counts)}, what)
                tally['several' if len(states) > 1
                      else f'one, {verdict}'] += 1
        during = sum(
            calls[0][0] < committed for _, _, committed, *_ in changes)
        # The original, as stestr captures the other.
        print(f'concurrency: {len(calls)} calls, {during} commits since '
              f'the first, verdicts by states of the host: {dict(tally)}, '
              f'{self.id()}', file=sys.__stdout__, flush=True)
        # Else nothing was proved.
        self.assertEqual({'several', 'one, True', 'one, False'}, set(tally))

    def check_connections(self, seen):
        """What the server counts is in the pools, and none is lent."""
        self.assertEqual(
            (0, seen['kept'], 0),
            (seen['lent'], seen['counted'], seen['left']))

    def check_memory(self, blocks, native):
        """Next to none: what is kept of a request has tens of blocks.

        On eventlet the timer by which Nova gives up on the cells is among
        them for CELL_TIMEOUT, though it was cancelled; so it is without us.
        """
        first, last = blocks
        requests = scheduling_process.REQUESTS
        print(f'concurrency: {first} blocks of memory in use after a fifth '
              f'of {requests} requests, {last - first} more after all: '
              f'{self.id()}', file=sys.__stdout__, flush=True)
        per_request = 0.1 if native else 1 + TIMER
        self.assertLess(last - first, per_request * requests + MARGIN)

    def test_native_threads(self):
        if not hasattr(utils, 'concurrency_mode_threading'):
            self.skipTest('this Nova knows eventlet only')
        self.check(native=True)

    def test_eventlet(self):
        self.check(native=False)


class TestSQLite(ConcurrencyMixin, testtools.TestCase):
    pass


class TestMySQL(ConcurrencyMixin, testtools.TestCase):
    variable = SERVERS[0]


class TestPostgreSQL(ConcurrencyMixin, testtools.TestCase):
    variable = SERVERS[1]
