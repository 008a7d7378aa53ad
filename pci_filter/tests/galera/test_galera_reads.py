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
"""Verdicts by one node right after claims on another one.

Nova's scheduler with its placement selects, Nova's tracker claims and frees.
How many verdicts there are, and where the figures go, the environment may say.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import statistics
import threading
import time
import typing
import unittest
from unittest import mock

from nova import context as nova_context

from pci_filter.db import in_flight
from pci_filter.scheduler import cell_databases
from pci_filter.tests.functional.nova import base as nova_base
from pci_filter.tests.functional.nova import selecting
from pci_filter.tests.galera import base

#: How many verdicts, and the file that the figures are written to.
VERDICTS: typing.Final = 'PCI_FILTER_GALERA_VERDICTS'
RESULTS: typing.Final = 'PCI_FILTER_GALERA_RESULTS'

#: Rows that are written by somebody else in one transaction, and the seconds
#: between two of these: the second node has something to apply then.
ROWS: typing.Final = 3000
PAUSE: typing.Final = 0.02


#: Reads that are timed.
READS: typing.Final = 5000


def load_tests(
    loader: unittest.TestLoader, standard_tests: unittest.TestSuite,
    pattern: object,
) -> unittest.TestSuite:
    """Leave the tests out unless they are asked for."""
    if os.environ.get(base.VARIABLE):
        return standard_tests
    return unittest.TestSuite()


class Verdicts(typing.NamedTuple):
    """What became of requests for the only device.

    :param number: how many there were
    :param promised: those that got a device in use
    :param refused: those that did not get a free device
    :param median: milliseconds that one took
    :param slow: milliseconds that one in a hundred took, or more
    """

    number: int
    promised: int
    refused: int
    median: float
    slow: float


class ReadingTestCase(base.GaleraMixin, selecting.SelectingTestCase):
    """One host with one device; the scheduler reads from the second node."""

    def setUp(self) -> None:
        super().setUp()
        self.add_host('host0', functions=1)
        self.schedule_through(self.cluster.nodes[1].url(self.database))

    @contextlib.contextmanager
    def writing(self) -> typing.Iterator[None]:
        """Let somebody else write to the first node meanwhile."""
        first = self.cluster.nodes[0]
        first.administer(
            f'CREATE TABLE IF NOT EXISTS {self.database}.others '
            '(id INT AUTO_INCREMENT PRIMARY KEY, words VARCHAR(200))')
        over = threading.Event()

        def write() -> None:
            with first.connect() as connection:
                connection.exec_driver_sql(f'USE {self.database}')
                while not over.wait(PAUSE):
                    connection.exec_driver_sql(
                        'INSERT INTO others (words) SELECT '
                        f"REPEAT('x', 200) FROM seq_1_to_{ROWS}")
                    connection.exec_driver_sql('DELETE FROM others')

        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            writer = executor.submit(write)
            try:
                yield
            finally:
                over.set()
            writer.result()

    def measure(
        self, number: int, causal_reads: bool, reservations: str,
    ) -> Verdicts:
        """Ask for the device by turns while it is in use and is free.

        What changes that is committed while the request is with placement,
        right before the scheduler asks the cell.
        """
        self.override('pci_filter', causal_reads=causal_reads)
        cell_databases.forget()
        manager = self.scheduler(reservations=reservations)
        hosts = manager.host_manager
        seconds: list[float] = []

        def select(
            change: typing.Callable[[], object] = bool,
        ) -> selecting.Server | None:
            asked = hosts.get_host_states_by_uuids
            took = 0.0

            def change_and_ask(*args: typing.Any) -> typing.Any:
                nonlocal took
                began = time.perf_counter()
                change()
                took = time.perf_counter() - began
                return asked(*args)

            began = time.perf_counter()
            with mock.patch.object(
                    hosts, 'get_host_states_by_uuids', change_and_ask):
                try:
                    return self.select(
                        nova_base.vf_request(), manager=manager)
                except selecting.NoValidHost:
                    return None
                finally:
                    seconds.append(time.perf_counter() - began - took)

        wrong: collections.Counter[str] = collections.Counter()
        with self.writing():
            server = select()
            seconds.clear()
            while len(seconds) < number:
                while server is None:
                    # It may be long until the node has caught up.
                    server = select()
                    seconds.pop()
                other = select(server.create(server.host).arrive().claim)
                if other:
                    wrong['promised'] += 1
                    self.client.forget(other.uuid)
                server.build().set(task_state='deleting')
                following = select(server.free)
                wrong['refused'] += following is None
                self.forget(server)
                server = following
        if server:
            # Its reservation would keep the next one waiting.
            server.boot(server.host).delete()
        return Verdicts(
            len(seconds), wrong['promised'], wrong['refused'],
            statistics.median(seconds) * 1000,
            statistics.quantiles(seconds, n=100)[-1] * 1000)

    def forget(self, server: selecting.Server) -> None:
        """Do the rest when a server is deleted whose devices are free."""
        server.set(vm_state='deleted', task_state=None, deleted=1)
        self.client.forget(server.uuid)


class TestReads(ReadingTestCase):

    def test_no_verdict_is_out_of_date(self) -> None:
        for reservations in ('none', 'local'):
            found = self.measure(100, True, reservations)
            self.assertEqual((100, 0, 0), found[:3])


@unittest.skipUnless(os.environ.get(VERDICTS), 'nobody wants figures')
class TestFigures(ReadingTestCase):

    log_level = logging.ERROR

    def setUp(self) -> None:
        super().setUp()
        # A log of so many requests is too long for the stream of results.
        logging.getLogger('pci_filter').setLevel(logging.ERROR)

    def cost(self, causal_reads: bool) -> tuple[float, float]:
        """Return what our smallest read takes while nobody writes.

        :returns: the median and the 99th percentile, in milliseconds
        """
        self.override('pci_filter', causal_reads=causal_reads)
        cell_databases.forget()
        database = cell_databases.of_cell(
            nova_context.get_admin_context(), self.cloud.cells[0], 10)
        node = self.cloud.hosts['host0'].node_uuid
        seconds = []
        for _ in range(READS):
            began = time.perf_counter()
            with database.connect() as connection:
                in_flight.load_owned(connection, node, [node])
            seconds.append(time.perf_counter() - began)
        return (statistics.median(seconds) * 1000,
                statistics.quantiles(seconds, n=100)[-1] * 1000)

    def test_figures(self) -> None:
        """Write the figures, for the documentation."""
        number = int(os.environ[VERDICTS])
        costs = [self.cost(causal_reads) for causal_reads in (False, True)]
        found: list[tuple[bool, str, dict[str, typing.Any]]] = [
            (causal_reads, reservations,
             self.measure(number, causal_reads, reservations)._asdict())
            for reservations in ('none', 'local')
            for causal_reads in (False, True)]
        pathlib.Path(os.environ[RESULTS]).write_text(
            json.dumps({'verdicts': found, 'costs': costs}))
        for causal_reads, _, verdicts in found:
            if causal_reads:
                self.assertEqual(
                    (0, 0), (verdicts['promised'], verdicts['refused']))
