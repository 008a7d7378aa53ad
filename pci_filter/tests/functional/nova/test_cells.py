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

"""Cells that are disabled, down, slow, talk nonsense, or come later.

The hosts of healthy cells are always served, from their rows.
"""

import contextlib
import os
import pathlib
import shutil
import types

import fixtures
from nova import context as nova_context
from nova import objects as nova_objects
from nova.scheduler import manager as scheduler_manager
from nova import service
from nova import utils
import sqlalchemy as sa

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import faults
from pci_filter.tests.functional.nova import servers


class CellsMixin:
    """Three cells, each with a host that is full and one that is not.

    The summaries of all promise devices.
    """

    cells = 3

    def setUp(self):
        # Or Nova would try for 100 seconds to connect.
        self.override('database', max_retries=0)
        super().setUp()
        for cell in range(3):
            self.add_hosts(cell)
        self._seen = 0

    def add_hosts(self, cell):
        full = self.add_host(f'full{cell}', cell=cell)
        self.cloud.claim(full, [base.vf_request(4)])
        for host in full, self.add_host(f'free{cell}', cell=cell):
            self.cloud.falsify_counts(host, faults.unpromised)

    def break_down(self, number):
        """Let a cell refuse connections."""
        raise NotImplementedError

    def slow_down(self, number):
        """Let a cell take longer than anybody waits."""
        raise NotImplementedError

    def garble(self, number):
        """Let a cell answer nonsense."""
        raise NotImplementedError

    def mend(self, number):
        """Let a cell be well again."""
        raise NotImplementedError

    def ask(self, manager, ahead=True, **fields):
        """Return which hosts pass; see faults.FaultTestCase.ask."""
        spec = scheduling.request_spec([base.vf_request()], **fields)
        uuids = [host.node_uuid for host in self.cloud.hosts.values()]
        return scheduling.passing_hosts(manager, scheduling.host_states(
            manager, spec, uuids if ahead else None), spec)

    def assertPassing(self, expected, manager, **fields):
        for ahead in (True, False):
            self.assertEqual(expected, self.ask(manager, ahead, **fields))

    def news(self):
        """Return our lines since the last call."""
        lines = self.log.output.splitlines()
        news, self._seen = lines[self._seen:], len(lines)
        return [line for line in news if faults.LOGGER in line]

    def check(self, trouble, told='unreadable'):
        """See what becomes of requests while the first cell is in trouble.

        :param told: name of the documented line that tells of it
        """
        cell = self.cloud.cells[0].uuid
        for on_load_failure in ('summary', 'reject'):
            manager = self.our_manager(
                on_load_failure=on_load_failure, load_timeout=2)
            self.assertPassing({'free0', 'free1', 'free2'}, manager)
            self.assertEqual([], self.news())
            trouble(0)
            try:
                news = []
                # Our failure may come later than Nova's.
                while not news:
                    self.assertEqual({'free1', 'free2'}, self.ask(manager))
                    news = self.news()
                self.assertPassing({'free1', 'free2'}, manager)
            finally:
                self.mend(0)
            self.assertPassing({'free0', 'free1', 'free2'}, manager)
            failed, recovered = news + self.news()
            for name, line in (
                    (told, failed), ('readable-again', recovered)):
                self.assertRegex(line, documented.pattern(
                    name, on_load_failure == 'reject'))
                self.assertIn(cell, line)
            self.assertIn('Hosts of it in this request: 0.', failed)

    def test_cell_down(self):
        self.check(self.break_down)

    def test_cell_slow(self):
        self.useFixture(fixtures.MonkeyPatch('nova.context.CELL_TIMEOUT', 3))
        self.check(self.slow_down, 'timeout')

    def test_cell_garbage(self):
        self.check(self.garble)

    def test_cell_disabled(self):
        """Nobody asks it, so it may be down."""
        cell = self.cloud.cells[0]
        cell.disabled = True
        cell.save()
        self.break_down(0)
        self.addCleanup(self.mend, 0)
        self.assertPassing({'free1', 'free2'}, self.our_manager())
        self.assertEqual([], self.news())

    def test_cell_requested(self):
        """Others may be down; but if it is down itself, it is told."""
        manager = self.our_manager()

        def requested(number):
            return nova_objects.Destination(
                cell=self.cloud.cells[number], allow_cross_cell_move=False)

        self.break_down(0)
        try:
            self.assertPassing(
                {'free1'}, manager, requested_destination=requested(1))
            self.assertEqual([], self.news())
            news = []
            while not news:
                self.assertPassing(
                    set(), manager, requested_destination=requested(0))
                news = self.news()
        finally:
            self.mend(0)
        self.assertPassing(
            {'free0'}, manager, requested_destination=requested(0))
        self.assertEqual(2, len(news + self.news()))

    def test_cells_down_one_by_one(self):
        manager = self.our_manager()
        passing = {'free0', 'free1', 'free2'}
        with contextlib.ExitStack() as mending:
            for number, trouble in enumerate(
                    (self.break_down, self.garble, self.break_down)):
                trouble(number)
                mending.callback(self.mend, number)
                passing -= {f'free{number}'}
                news = []
                while not news:
                    self.assertPassing(passing, manager)
                    news = self.news()
                self.assertEqual(1, len(news), news)
                self.assertIn(self.cloud.cells[number].uuid, news[0])
            self.assertEqual(set(), passing)
        self.assertPassing({'free0', 'free1', 'free2'}, manager)
        self.assertEqual(3, len(self.news()))

    def test_host_without_mapping(self):
        """Nova finds hosts in the cells; so do we."""
        context = nova_context.get_admin_context()
        for name in ('full0', 'free0'):
            nova_objects.HostMapping.get_by_host(context, name).destroy()
        manager = self.our_manager()
        self.assertPassing({'free0', 'free1', 'free2'}, manager)
        self.assertEqual([], self.news())

    def sighup(self, manager):
        """Do what nova-scheduler does at SIGHUP, if it runs on eventlet.

        It does not on native threads; the deployment sends a real one.
        """
        service.Service.reset(types.SimpleNamespace(
            manager=types.SimpleNamespace(
                reset=lambda: scheduler_manager.SchedulerManager.reset(
                    types.SimpleNamespace(host_manager=manager)))))

    def test_sighup_adds_cell(self):
        cell = self.cloud.cells[2]
        context = nova_context.get_admin_context()
        for name in ('full2', 'free2'):
            nova_objects.HostMapping.get_by_host(context, name).destroy()
        cell.destroy()
        manager = self.our_manager()
        self.assertPassing({'free0', 'free1'}, manager)
        nova_objects.CellMapping(
            context, uuid=cell.uuid, name=cell.name,
            transport_url=cell.transport_url,
            database_connection=cell.database_connection).create()
        self.assertPassing({'free0', 'free1'}, manager)
        self.sighup(manager)
        self.assertPassing({'free0', 'free1', 'free2'}, manager)
        self.assertEqual([], self.news())

    def test_sighup_corrects_cell(self):
        """Its database is elsewhere than the mapping says."""
        cell = self.cloud.cells[0]
        right = cell.database_connection

        def move(connection):
            cell.database_connection = connection
            cell.save()

        self.cloud.engine(cell).dispose()
        move('mysql+pymysql://nova:s3cret@127.0.0.1:1/nova')
        self.addCleanup(nova_context.CELL_CACHE.clear)
        self.addCleanup(move, right)
        nova_context.CELL_CACHE.clear()
        manager = self.our_manager()
        news = []
        while not news:
            self.assertPassing({'free1', 'free2'}, manager)
            news = self.news()
        move(right)
        self.sighup(manager)
        self.assertPassing({'free0', 'free1', 'free2'}, manager)
        self.assertEqual(2, len(news + self.news()))
        self.assertNotIn('s3cret', self.log.output)


class TestCells(CellsMixin, base.NovaTestCase):
    """Each cell is a file."""

    cell_urls = ()

    def setUp(self):
        super().setUp()
        self._locks = {}

    def path(self, number):
        return pathlib.Path(self.cloud.cells[number].database_connection
                            .removeprefix('sqlite:///'))

    def break_down(self, number):
        path = self.path(number)
        path.rename(f'{path}.away')
        path.mkdir()

    def slow_down(self, number):
        in_threads = getattr(utils, 'concurrency_mode_threading', None)
        if not (in_threads and in_threads()):
            self.skipTest('who waits for a file blocks all green threads')
        # A reader waits 5 seconds for the lock.
        engine = sa.create_engine(f'sqlite:///{self.path(number)}')
        lock = self._locks[number] = engine.connect()
        lock.exec_driver_sql('BEGIN EXCLUSIVE')

    def garble(self, number):
        path = self.path(number)
        shutil.copy(path, f'{path}.away')
        path.write_bytes(os.urandom(8192))

    def mend(self, number):
        path = self.path(number)
        if number in self._locks:
            self._locks.pop(number).close()
        else:
            if path.is_dir():
                path.rmdir()
            pathlib.Path(f'{path}.away').replace(path)


class OnServerMixin(CellsMixin):
    """Each cell is a database behind a proxy."""

    def break_down(self, number):
        self.proxies[number].refuse()

    def slow_down(self, number):
        self.proxies[number].hold(b'SELECT')

    def garble(self, number):
        self.proxies[number].garble(b'SELECT')

    def mend(self, number):
        self.proxies[number].behave()
        self.proxies[number].listen()


class TestCellsMySQL(
        OnServerMixin, faults.ProxiesMixin, servers.MySQLMixin):
    pass


class TestCellsPostgreSQL(
        OnServerMixin, faults.ProxiesMixin, servers.PostgreSQLMixin):
    pass
