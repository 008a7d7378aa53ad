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

"""``pci-filter reservations list`` on what the real scheduler reserved."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sqlite3

import fixtures
import nova.conf
from nova.db.api import api as api_db
from nova.db.api import models as api_models
from nova.db.main import api as main_db
from oslo_utils import uuidutils
import sqlalchemy as sa
import testtools

from pci_filter.cli import reservations_list
from pci_filter import conf as pci_filter_conf
from pci_filter.db import clock
from pci_filter.fixture import databases
from pci_filter.fixture import destinations
from pci_filter.fixture import scheduling
from pci_filter.reservations import reservation
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.db import base
from pci_filter.tests.functional.nova import base as nova_base
from pci_filter.tests.functional.nova import commands

COLUMNS = ['cell', 'host', 'node', 'devices', 'instance', 'age', 'left',
           'worker', 'counts', 'state']

LIST = ('reservations', 'list')


class _Tests(commands.FleetMixin):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path = self.folder / 'reservations.sqlite'
        self.fleet.conf.write(reservation_file=self.path)
        self.cloud = self.fleet.cloud
        pci_filter_conf.register_opts(nova.conf.CONF)
        with databases.overriding(
                'pci_filter', reservation_file=str(self.path)):
            self.manager = self.cloud.host_manager(
                scheduling.PCI_FILTER, scheduling.OUR_FILTERS)
        self.addCleanup(hook.detach)
        self.store = self.manager.enabled_filters[0].reserver.store
        self.addCleanup(self._close)

    def _close(self):
        if self.store._connection:
            self.store._connection.close()
            self.store._connection = None

    def choose(self, *wanted):
        """Let the scheduler choose a host; return it and the instance."""
        scheduler = destinations.Scheduler(self.manager, [
            host.node_uuid for host in self.cloud.hosts.values()])
        spec = scheduling.request_spec(commands.requests(*wanted))
        return scheduler.choose(spec), spec.instance_uuid

    def now(self, host):
        engine = self.cloud.engine(self.cloud.hosts[host].cell)
        with engine.connect() as connection:
            return float(connection.execute(sa.select(clock.now())).scalar())

    def write(self, host, text):
        node_uuid = self.cloud.hosts[host].node_uuid
        token = self.store.read(node_uuid, 5).token
        self.assertTrue(self.store.write(node_uuid, token, text, 60, 5))

    def rows(self, *arguments, code=0, stderr='', **options):
        result = commands.run(
            *LIST, f'--config-file={self.fleet.conf.path}', '-f', 'json',
            *arguments, **options)
        self.assertEqual(stderr, result.stderr)
        self.assertEqual(code, result.returncode)
        return json.loads(result.stdout)

    def test_what_the_scheduler_reserved(self):
        host, instance = self.choose(('gpu', 2))
        row, = self.rows()
        self.assertEqual(COLUMNS, list(row))
        self.assertEqual(
            ('cell1', 'gpu-0', 'gpu-0', '2 x gpu', instance, True,
             'its claim is to come'),
            (row['cell'], host, row['node'], row['devices'], row['instance'],
             row['counts'], row['state']))
        self.assertIn(row['age'] + row['left'], (59, 60))
        self.assertRegex(row['worker'], r'^\S+:\d+$')

    def test_only_some(self):
        first, _ = self.choose(('vf', 1))
        second, _ = self.choose(('gpu', 1))
        self.assertEqual(
            {first, second}, {row['host'] for row in self.rows()})
        for arguments in (['--host=gpu-*'], ['--cell=cell1', '--host=gpu-0'], [
                '--database-connection',
                self.cloud.hosts['gpu-0'].cell.database_connection]):
            self.assertEqual(
                ['gpu-0'], [row['host'] for row in self.rows(*arguments)
                            if row['host'] != first])
        self.assertEqual([], self.rows('--host=plain-*'))

    def _instance(self, host, **values):
        """Make the row of an instance; return its UUID."""
        uuid = uuidutils.generate_uuid()
        with self.cloud.transaction(self.cloud.hosts[host].cell) as context:
            main_db.instance_create(context, {'uuid': uuid, **values})
        return uuid

    def test_each_end(self):
        """Each in the words that the log of nova-scheduler has."""
        self.choose(('gpu', 1))
        node_uuid = self.cloud.hosts['gpu-0'].node_uuid
        one, = reservation.loads(self.store.read(node_uuid, 5).text)
        claimed, = self.cloud.claim(
            self.cloud.hosts['gpu-0'], commands.requests(('gpu', 1)))
        self.addCleanup(
            self.cloud.release, self.cloud.hosts['gpu-0'], [claimed])
        ends = {
            one.instance_uuid: 'its claim is to come',
            'expired': 'its time is up',
            'moves': 'the instance is deleted',
            claimed.instance_uuid: 'its devices are claimed',
            self._instance('gpu-0', node='net-0', vm_state='building'):
                'the instance is on another host',
            self._instance('gpu-0', node='gpu-0', vm_state='error'):
                'the instance is past its claim'}
        made = [dataclasses.replace(
            one, instance_uuid=uuid, made_at=one.made_at + 0.001 * number)
            for number, uuid in enumerate(ends)]
        made[1] = dataclasses.replace(
            made[1], made_at=self.now('gpu-0') - 61)
        made[2] = dataclasses.replace(made[2], waits_in='resize_prep')
        self.write('gpu-0', reservation.dumps(made))
        rows = self.rows()
        self.assertEqual(ends, {
            row['instance']: row['state'] for row in rows})
        # The oldest is the first.
        self.assertEqual('expired', rows[0]['instance'])
        self.assertEqual({False: {0}}, {
            row['counts']: {row['left']} for row in rows
            if not row['counts']})

    def test_called_off(self):
        """Nova's API database is asked, if it can be read."""
        _, instance = self.choose(('gpu', 1))
        with api_db.get_engine().begin() as connection:
            connection.execute(sa.insert(
                api_models.RequestSpec.__table__).values(
                    instance_uuid=instance, spec='{}'))
        row, = self.rows()
        self.assertEqual((False, 'its build was called off'),
                         (row['counts'], row['state']))
        row, = self.rows(
            '--database-connection',
            self.cloud.hosts['gpu-0'].cell.database_connection)
        self.assertTrue(row['counts'])

    def test_garbage(self):
        """Of one host nothing can be read, and of the others all."""
        self.choose(('gpu', 1))
        self.write('net-1', 'garbage')
        row, = self.rows(
            code=1, stderr='pci-filter: the reservations of host net-1 '
            'cannot be read: Expecting value: line 1 column 1 (char 0)\n')
        self.assertEqual('gpu-0', row['host'])


class TestSQLite(_Tests, testtools.TestCase):

    def _files(self):
        return {path.name: (path.stat().st_size, path.stat().st_mtime_ns)
                for path in self.folder.iterdir()}

    def test_nothing_is_written(self):
        """Whether or not nova-scheduler is running."""
        self.choose(('gpu', 1))
        before = self._files()
        self.assertEqual(3, len(before))
        self.assertEqual(1, len(self.rows()))
        self.assertEqual(before, self._files())
        self._close()
        before = self._files()
        self.assertEqual(1, len(before))
        self.assertEqual(1, len(self.rows()))
        self.assertEqual(before, self._files())

    def test_no_file(self):
        """Reading makes none."""
        self.assertEqual([], self.rows(
            stderr=f'pci-filter: there are no reservations: there is no file '
            f'{self.path}. Run this where nova-scheduler runs, as its user '
            'and with its configuration\n'))
        self.assertEqual({}, self._files())

    def test_usual_file(self):
        """It is in state_path."""
        self.choose(('gpu', 1))
        self._close()
        self.path.rename(self.folder / 'pci_filter-reservations.sqlite')
        self.fleet.conf.write('[DEFAULT]', f'state_path = {self.folder}')
        self.assertEqual(['gpu-0'], [row['host'] for row in self.rows()])

    def test_none(self):
        self.fleet.conf.write(reservations='none')
        self.assertEqual([], self.rows(
            stderr='pci-filter: there are no reservations: '
            '[pci_filter]reservations is none, so that none are made. Run '
            'this where nova-scheduler runs, as its user and with its '
            'configuration\n'))

    def _refused(self, *arguments):
        result = commands.run(
            *LIST, f'--config-file={self.fleet.conf.path}', '-f', 'json',
            *arguments)
        self.assertEqual(2, result.returncode)
        line, = result.stderr.splitlines()
        return line

    def test_another_file(self):
        with sqlite3.connect(self.path) as connection:
            connection.execute('CREATE TABLE other (id INTEGER)')
        connection.close()
        self.assertEqual(
            f'pci-filter: the reservations cannot be read: {self.path}: it '
            'is not a file of reservations, or of another version of '
            'pci_filter; remove it. Run this where nova-scheduler runs, as '
            'its user and with its configuration', self._refused())

    def test_no_file_at_all(self):
        self.path.write_text('x' * 5000)
        self.assertIn(
            f'cannot be read: {self.path}: file is not a database. Run',
            self._refused())

    def test_folder_that_is_none(self):
        self.fleet.conf.write(reservation_file='/dev/null/file')
        self.assertIn(
            'cannot be read: /dev/null/file: Not a directory. Run',
            self._refused())

    def test_unknown_store(self):
        self.fleet.conf.write(reservations='locall')
        self.assertIn(
            "names the unknown store 'locall'. Choose from: local",
            self._refused())

    def test_no_host_matches(self):
        self.choose(('gpu', 1))
        self.assertEqual(
            "pci-filter: no host matches 'nobody'",
            self._refused('--host=nobody'))

    def test_table_fits_80_columns(self):
        _, instance = self.choose(('gpu', 2))
        text = commands.run(
            *LIST, f'--config-file={self.fleet.conf.path}',
            '--max-width=80').stdout
        lines = text.splitlines()
        self.assertEqual([], [line for line in lines if len(line) > 80])
        self.assertRegex(
            text, rf'\| cell1 \| gpu-0 \| {instance} +\| +\d+ \| +\d+ \|\n'
            r'\|       \|       \| 2 x gpu +\|     \|      \|\n'
            r'\|       \|       \| its claim is to come +\|     \|      \|\n'
            r'\|       \|       \| by \S+:\d+ +\|     \|      \|\n')

    def test_node_of_another_name(self):
        row = reservations_list.Row(
            'cell1', 'a', 'a.example', '1 x gpu', 'uuid', 1, 59, 'c:1', True,
            'its claim is to come')
        self.assertEqual(['a', 'a.example'], row.of_table()[1])
        self.assertEqual(['a'], row._replace(node='a').of_table()[1])

    def test_without_nova(self):
        self.choose(('gpu', 1))
        self.assertEqual(
            ['gpu-0'], [row['host'] for row in self.rows(
                command=commands.WITHOUT_NOVA)])

    def test_statements(self):
        """Hosts without reservations cost nothing."""
        self.choose(('gpu', 1))
        asked = []
        read_many = type(self.store).read_many

        def count(store, node_uuids, seconds):
            asked.append(len(node_uuids))
            return read_many(store, node_uuids, seconds)
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.reservations.local.LocalStore.read_many', count))
        numbers = []
        for name in (None, 'more-1', 'more-2'):
            if name:
                self.cloud.add_host(0, name, [], [])
            with nova_base.Statements() as statements:
                _, rows = commands.run_here(
                    reservations_list.ReservationsList,
                    f'--config-file={self.fleet.conf.path}',
                    '--cell=cell1')
            self.assertEqual(['gpu-0'], [row['host'] for row in rows])
            numbers.append(len(statements.texts))
        self.assertEqual([numbers[0]] * 3, numbers)
        self.assertEqual([3, 4, 5], asked)


class TestMySQL(_Tests, testtools.TestCase):
    server = base.MYSQL


class TestPostgreSQL(_Tests, testtools.TestCase):
    server = base.POSTGRESQL
