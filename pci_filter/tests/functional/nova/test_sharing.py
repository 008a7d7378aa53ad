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

"""Requests at the same time are served by one read after the other."""

import concurrent.futures
import contextlib
import sqlite3
import threading
import time

import fixtures
from nova import context as nova_context

from pci_filter.db import device_groups
from pci_filter.fixture import scheduling
from pci_filter.scheduler import cell_databases
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import servers

LOAD = 'pci_filter.db.device_groups.load'


class SharingMixin:
    """Eight requests, before each of which a device is claimed."""

    requests = 8

    def setUp(self):
        super().setUp()
        self.hosts = [self.add_host(f'host{number}', functions=1)
                      for number in range(self.requests)]
        self.manager = self.our_manager()
        #: The nodes of each read.
        self.read = []
        self.go = threading.Event()
        self.addCleanup(self.go.set)
        load = device_groups.load

        def held(connection, node_uuids, *args):
            found = load(connection, node_uuids, *args)
            if args[-1]:
                # For the log.
                return found
            self.read.append(sorted(node_uuids))
            self.assertTrue(self.go.wait(60))
            return found

        self.useFixture(fixtures.MonkeyPatch(LOAD, held))

    def claim(self, host):
        self.cloud.claim(host, [base.vf_request()])

    def ask(self, hosts):
        spec = scheduling.request_spec([base.vf_request()])
        states = scheduling.host_states(
            self.manager, spec, [host.node_uuid for host in hosts])
        return scheduling.passing_hosts(self.manager, states, spec)

    def wait_for(self, condition):
        while not condition():
            # As long as a test may take.
            time.sleep(0.001)

    def shared(self):
        """Return how many requests wait for the next read."""
        reads = cell_databases.of_cell(
            nova_context.get_admin_context(), self.cloud.cells[0], 10).reads
        return sum(batch.requests for batch in reads._next.values())

    def test_sharing(self):
        with concurrent.futures.ThreadPoolExecutor(self.requests) as threads:
            answers = []
            for number, host in enumerate(self.hosts):
                self.claim(host)
                answers.append(threads.submit(self.ask, self.hosts[number:]))
                # It has begun before the next device is claimed.
                if number:
                    self.wait_for(lambda: self.shared() == number)
                else:
                    self.wait_for(lambda: self.read)
            self.go.set()
            first, *others = (answer.result() for answer in answers)
        # Who came while it was read is told what was so when it ended.
        names = [host.name for host in self.hosts]
        self.assertEqual(set(names[1:]), first)
        self.assertEqual([set()] * (self.requests - 1), others)
        uuids = [host.node_uuid for host in self.hosts]
        self.assertEqual([sorted(uuids), sorted(uuids[1:])], self.read)

    def test_one_after_the_other(self):
        """Nothing is kept for who asks later."""
        self.go.set()
        for number, host in enumerate(self.hosts):
            self.claim(host)
            self.assertEqual(
                {other.name for other in self.hosts[number + 1:]},
                self.ask(self.hosts))
        self.assertEqual(self.requests, len(self.read))


class TestSharing(SharingMixin, base.NovaTestCase):
    cells = 1

    def setUp(self):
        super().setUp()
        url = self.cloud.engine(self.cloud.cells[0]).url
        if url.get_backend_name() == 'sqlite':
            # Else a commit waits for all who read.
            with contextlib.closing(
                    sqlite3.connect(url.database)) as connection:
                connection.execute('PRAGMA journal_mode=WAL')


class TestSharingMySQL(SharingMixin, servers.MySQLMixin):
    cells = 1


class TestSharingPostgreSQL(SharingMixin, servers.PostgreSQLMixin):
    cells = 1
