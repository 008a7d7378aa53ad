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

"""What fails while devices are reserved costs the reservation, no more.

The workers that are killed are in test_reserving_processes.
"""

import contextlib
import os
import pathlib
import sqlite3
import sys
import time

import fixtures
import nova.conf
from oslo_utils import uuidutils

from pci_filter.db import device_groups
from pci_filter import matching
from pci_filter import reservations
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import store as store_module
from pci_filter.tests.functional.nova import selecting


class Troubled(store_module.Store):
    """A store to which something happens.

    :param store: the store
    """

    def __init__(self, store):
        self._store = store
        self.before_read = self.before_write = lambda: None
        self.asked = 0

    def read(self, node_uuid, seconds):
        self.asked += 1
        self.before_read()
        return self._store.read(node_uuid, seconds)

    def write(self, *args):
        self.asked += 1
        self.before_write()
        return self._store.write(*args)


class InMemory(store_module.Store):
    """A store that several controllers have in common, without a clock."""

    def __init__(self):
        self._records = {}

    def read(self, node_uuid, seconds):
        return self._records.get(node_uuid, store_module.NO_RECORD)

    def write(self, node_uuid, token, text, lifetime, seconds):
        if token is not self.read(node_uuid, seconds).token:
            return False
        self._records[node_uuid] = store_module.Record(object(), text)
        return True


class FaultsTestCase(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add_gpus('host0', 2)
        self.trouble = self.reserver.store = Troubled(self.reserver.store)
        self.seen = 0

    @property
    def path(self):
        return pathlib.Path(nova.conf.CONF.pci_filter.reservation_file)

    def news(self):
        """Return what was told of failures since the last time."""
        lines = self.log_lines(selecting.FAILURES)
        news, self.seen = lines[self.seen:], len(lines)
        return [line for line in news if not line.startswith('DEBUG')]

    def check_goes_on(self, *texts, told=True):
        """Requests are served, though there are more than devices.

        :param texts: what is in the only line that the log has of it
        """
        for _ in range(3):
            self.assertEqual(
                self.host, self.select(selecting.gpu_request()).host)
        news = self.news()
        self.assertEqual(int(told), len(news), news)
        for line in news:
            self.assertRegex(
                line, '^WARNING .* PCI devices cannot be reserved: .*Until '
                'they can, requests are served as without reservations: '
                'servers that are asked for at the same time may '
                r'be sent to the same device, and are retried\. ')
            for text in texts:
                self.assertIn(text, line)

    def check_recovered(self, told=True):
        """Devices are reserved, and nobody has to start anything anew."""
        # A store that was slow has a rest.
        self.reserver._paused_until = 0
        before = len(self.counting(self.host))
        for _ in range(2 - before):
            self.select(selecting.gpu_request())
        self.assertIn('host0, for 2', self.assertNoneFits(
            selecting.gpu_request()))
        self.assertEqual(
            [f'INFO {selecting.FAILURES} PCI devices can be reserved again.']
            if told else [], self.news())


class TestStore(FaultsTestCase):

    def test_store_down_at_start(self):
        directory = self.path.parent / 'later'
        self.manager = self.scheduler(
            reservation_file=str(directory / 'file'))
        self.check_goes_on('StoreError', 'No such file or directory')
        directory.mkdir()
        self.check_recovered()

    def test_store_killed_between_read_and_write(self):
        def die():
            self.trouble.before_read = die
            raise reservations.StoreError('memcached: connection reset')

        self.trouble.before_write = die
        self.check_goes_on('StoreError: memcached: connection reset')
        self.trouble.before_read = self.trouble.before_write = lambda: None
        self.assertEqual([], self.kept(self.host))
        self.check_recovered()

    def test_record_written_but_not_told(self):
        """Who does not know of his reservation does not wait for it."""
        write = self.trouble.write

        def written(*args):
            write(*args)
            raise reservations.StoreError('memcached: connection reset')

        self.trouble.write = written
        server = self.select(selecting.gpu_request())
        self.assertEqual([server.uuid], self.counting(self.host))
        self.assertEqual(1, len(self.news()))
        self.trouble.write = write
        server.boot(self.host)
        self.assertEqual([], self.counting(self.host))
        self.select(selecting.gpu_request()).boot(self.host)
        self.assertEqual('', self.assertNoneFits(selecting.gpu_request()))

    def test_store_answers_after_the_timeout(self):
        """It is asked once, and has a rest then."""
        self.manager = self.scheduler(reservation_store_timeout=20)
        self.trouble = self.reserver.store = Troubled(self.reserver.store)
        self.trouble.before_read = lambda: time.sleep(0.05)
        self.reserver._stop = lambda patience: setattr(
            self.reserver, '_paused_until', float('inf'))
        self.check_goes_on(
            'StoreError: the store needs longer than '
            '[pci_filter]reservation_store_timeout')
        self.assertEqual(1, self.trouble.asked)
        self.trouble.before_read = lambda: None
        del self.reserver._stop
        self.check_recovered()

    def test_many_instances_wait_once(self):
        self.manager = self.scheduler(reservation_store_timeout=20)
        self.trouble = self.reserver.store = Troubled(self.reserver.store)

        def hang():
            time.sleep(0.05)
            raise reservations.StoreError('memcached: timed out')

        self.trouble.before_write = hang
        self.select_all(self.spec(
            selecting.gpu_request(), num_instances=2),
            [uuidutils.generate_uuid() for _ in range(2)])
        # By the first, to read and to write. On a busy machine the time is up
        # when it has read.
        self.assertIn(self.trouble.asked, (1, 2))

    def test_store_locked(self):
        """Somebody else keeps the file from being written."""
        self.manager = self.scheduler(reservation_store_timeout=20)
        self.select(selecting.gpu_request()).create(self.host).set(deleted=1)
        with contextlib.closing(sqlite3.connect(
                self.path, isolation_level=None)) as other:
            other.execute('BEGIN IMMEDIATE')
            self.check_goes_on('StoreError: ')
        self.check_recovered()

    def test_store_full(self):
        self.manager = self.scheduler()
        store = self.reserver.store
        open_store = type(store)._open

        def open_small(this):
            connection = open_store(this)
            connection.execute('PRAGMA max_page_count = 3')
            return connection

        with fixtures.MonkeyPatch(
                'pci_filter.reservations.local.LocalStore._open', open_small):
            with contextlib.suppress(reservations.StoreError):
                while True:
                    store.write(
                        uuidutils.generate_uuid(), None, 'x' * 100, 60, 10)
            self.check_goes_on('StoreError: ', 'full')
        # As when there is room again.
        store._forget_connection(busy=False)
        self.check_recovered()

    def test_file_of_others(self):
        """It is not touched, and when it is gone all is well."""
        self.path.write_bytes(b'not a database at all' * 100)
        self.check_goes_on('StoreError', 'file is not a database')
        self.assertIn(b'not a database at all', self.path.read_bytes())
        self.path.unlink()
        self.check_recovered()


class TestRecord(FaultsTestCase):

    def check_unreadable(self, text, told):
        self.trouble.write(
            self.host.node_uuid, None, text, 60, 10)
        self.check_goes_on(
            'UnreadableRecord: what it has of a compute node is unreadable: '
            + told)
        record = self.reserver.store.read(self.host.node_uuid, 10)
        self.assertEqual(text, record.text)
        # That it is out of date is for the store to say.
        self.assertTrue(self.trouble.write(
            self.host.node_uuid, record.token, 'x', -1, 10))
        # On other nodes devices could be reserved all the time.
        self.check_recovered(told=False)

    def test_record_of_another_version(self):
        """A newer pci_filter may be about to be installed, or an older."""
        self.check_unreadable(
            '{"version": 2, "promises": []}', 'version 2 instead of 1')

    def test_garbage_record(self):
        self.check_unreadable('\x00garbage', 'Expecting value')

    def test_record_of_something_else(self):
        self.check_unreadable('[1]', 'not a record of reservations')


class TestClock(FaultsTestCase):

    def set_clock(self, seconds):
        """Let the clock be fast by so much while devices are reserved.

        Not all the time: Nova's client of placement would wait for it.
        """
        clock = time.time
        reserve = self.reserver.reserve

        def reserve_then(*args):
            with fixtures.MonkeyPatch(
                    'time.time', lambda: clock() + seconds):
                return reserve(*args)

        self.reserver.reserve = reserve_then

    def test_clocks_of_two_controllers_five_minutes_apart(self):
        """None of them matters, but that of the database."""
        store = InMemory()
        managers = {}
        for name, seconds in (('slow', -300), ('right', 0), ('fast', 300)):
            self.manager = managers[name] = self.scheduler()
            self.reserver.store = store
            self.set_clock(seconds)

        def select(name):
            return self.select(
                selecting.gpu_request(), manager=managers[name])

        for first, second, third in (
                ('slow', 'fast', 'right'), ('fast', 'slow', 'fast')):
            servers = [select(first), select(second)]
            self.assertRaises(selecting.NoValidHost, select, third)
            self.assertRegex(
                self.log_lines(selecting.ALL_RESERVED)[-1],
                r'for at most (5\d|60) s\. What ')
            for server in servers:
                server.create(self.host).set(deleted=1)
        # One that times out does so for all.
        select('fast')
        select('slow')
        for manager in managers.values():
            self.manager = manager
            self.assertEqual(2, len(self.counting(self.host)))
            self.reserver.timeout = 0
            self.assertEqual([], self.counting(self.host))


class TestDatabase(FaultsTestCase):
    """The cell's database goes away between the load and the claim."""

    def check(self, before, after):
        looks = []
        self.trouble.before_read = lambda: looks or (
            looks.append(1), before())
        self.assertEqual(
            self.host, self.select(selecting.gpu_request()).host)
        after()
        line, = self.news()
        self.assertRegex(line, '^WARNING .* PCI devices cannot be reserved: ')
        self.assertNotIn('WARNING', ''.join(self.news()))
        self.trouble.before_read = lambda: None
        self.check_recovered()
        return line

    def test_database_killed_between_load_and_claim(self):
        self.assertIn('no such table', self.check(
            lambda: self.cloud.execute(
                self.host.cell, 'ALTER TABLE pci_devices RENAME TO gone'),
            lambda: self.cloud.execute(
                self.host.cell, 'ALTER TABLE gone RENAME TO pci_devices')))

    def test_database_frozen_between_load_and_claim(self):
        seconds = self.reserver._load_timeout
        self.reserver._load_timeout = 0.1
        url = self.cloud.engine(self.host.cell).url
        with contextlib.closing(sqlite3.connect(
                url.database, isolation_level=None,
                check_same_thread=False)) as other:
            self.assertIn('did not answer in time', self.check(
                lambda: other.execute('BEGIN EXCLUSIVE'),
                lambda: (other.execute('COMMIT'), setattr(
                    self.reserver, '_load_timeout', seconds))))

    def test_many_instances_wait_once(self):
        looks = []
        self.trouble.before_read = lambda: looks.append(
            self.cloud.execute(
                self.host.cell, 'ALTER TABLE pci_devices RENAME TO gone'))
        self.select_all(
            self.spec(selecting.gpu_request(), num_instances=2),
            [uuidutils.generate_uuid() for _ in range(2)])
        self.assertEqual(1, len(looks))
        self.cloud.execute(
            self.host.cell, 'ALTER TABLE gone RENAME TO pci_devices')


class TestUndecidable(FaultsTestCase):
    """Where our pools do not decide nothing is reserved."""

    def ask(self, **options):
        def load(*args, **kwargs):
            raise RuntimeError('gone')

        self.manager = self.scheduler(**options)
        with fixtures.MonkeyPatch(
                f'{device_groups.__name__}.load', load):
            return self.select(selecting.gpu_request())

    def test_summary_decides(self):
        for _ in range(3):
            self.assertEqual(self.host, self.ask().host)
        self.assertEqual([], self.kept(self.host))
        self.assertEqual([], self.log_lines('cannot be reserved'))

    def test_nobody_decides(self):
        self.assertRaises(
            selecting.NoValidHost, self.ask, on_load_failure='reject')
        self.assertEqual([], self.log_lines(selecting.ALL_RESERVED))


class TestTenThousand(selecting.SelectingTestCase):
    """A cloud that deletes nothing, and of which nothing is heard."""

    def fill(self, hosts, each):
        """Write reservations, as if they had been made just now."""
        request = matching.DeviceRequest.compile(
            'gpu', 1, [selecting.GPU], 'legacy', frozenset(), frozenset())
        for node_uuid in hosts:
            self.assertTrue(self.reserver.store.write(
                node_uuid, None, reservation_module.dumps(
                    reservation_module.Reservation(
                        uuidutils.generate_uuid(), (request,), 1,
                        frozenset(), reservation_module.BOOT, time.time(),
                        'controller:1')
                    for _ in range(each)), 120, 10))

    def check(self, hosts, each):
        host = self.add_gpus('host0', 12)
        self.fill([host.node_uuid, *(
            uuidutils.generate_uuid() for _ in range(hosts - 1))], each)
        took = []
        for _ in range(2):
            before = time.monotonic()
            self.select(selecting.gpu_request()) if each < 10 else (
                self.assertNoneFits(selecting.gpu_request()))
            took.append(time.monotonic() - before)
        self.assertEqual([], self.log_lines('WARNING pci_filter'))
        path = nova.conf.CONF.pci_filter.reservation_file
        size = sum(os.path.getsize(path + end) for end in ('', '-wal'))
        # The original, as stestr captures the other.
        print(f'10,000 reservations: {hosts} hosts, {each} each: '
              f'{size / 1e6:.1f} MB, whole requests took '
              f'{", ".join(f"{1000 * one:.0f} ms" for one in took)}',
              file=sys.__stdout__, flush=True)

    def test_10000_reservations_on_many_hosts(self):
        self.check(2000, 5)

    def test_10000_reservations_on_one_host(self):
        """More than there are devices, which no scheduler would write."""
        self.check(1, 10000)
