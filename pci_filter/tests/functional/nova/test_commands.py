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

"""Pools, verdicts and capacity of a fleet that Nova's tracker wrote."""

from __future__ import annotations

import collections
import csv
import io
import json
import pathlib

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.cli import capacity
from pci_filter.cli import pool_list
from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.db import base
from pci_filter.tests.functional.nova import base as nova_base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests import installed

COLUMNS = ['cell', 'host', 'node', 'vendor_id', 'product_id', 'numa_node',
           'dev_type', 'address', 'free', 'total', 'tags', 'rp_uuid',
           'blocked']


class _FleetTests(commands.FleetMixin):

    def setUp(self):
        super().setUp()
        self.fleet.conf.write()

    def run_command(self, *arguments, code=0, stderr='', **options):
        """Run a command and return its stdout."""
        result = commands.run(
            *arguments, f'--config-file={self.fleet.conf.path}', **options)
        self.assertEqual(stderr, result.stderr)
        self.assertEqual(code, result.returncode)
        return result.stdout

    def rows(self, *arguments, **options):
        """Run a command and return its rows."""
        return json.loads(self.run_command(
            *arguments, '-f', 'json', **options))

    def test_pools_are_those_of_the_tracker(self):
        rows = self.rows('pool', 'list')
        by_host = collections.defaultdict(list)
        for row in rows:
            self.assertEqual(COLUMNS, list(row))
            by_host[row['host']].append(row)
        self.assertEqual(
            {'net-0', 'net-1', 'net-2', 'net-3', 'gpu-0'}, set(by_host))
        for name, of_host in by_host.items():
            host = self.fleet.cloud.hosts[name]
            self.assertEqual(
                {(host.cell.name, name)},
                {(row['cell'], row['node']) for row in of_host})
            self.assertEqual(
                self._sorted(pool for pool in self.fleet.pools(name)
                             if pool['count']),
                self._sorted({
                    'count': row['free'], **(row['tags'] or {}), **{
                        key: row[key] for key in (
                            'vendor_id', 'product_id', 'numa_node',
                            'dev_type', 'address')}}
                    for row in of_host if row['free']))

    @staticmethod
    def _sorted(pools):
        return sorted(json.dumps(pool, sort_keys=True) for pool in pools)

    def test_totals_count_what_is_in_use(self):
        self.assertEqual(
            [('type-PF', 0, 1), ('type-VF', 0, 8), ('type-PF', 0, 1),
             ('type-VF', 7, 8)],
            [(row['dev_type'], row['free'], row['total'])
             for row in self.rows('pool', 'list', '--host', 'net-2')])
        self.assertEqual(
            [(0, 1), (0, 8), (0, 1), (0, 8)],
            [(row['free'], row['total'])
             for row in self.rows('pool', 'list', '--host', 'net-3')])

    def test_tags_of_each_function(self):
        """Rows are read one by one where tags depend on the address."""
        self.fleet.conf.write(tag_sources='device_spec', device_spec=(
            '{"address": {"bus": "81", "slot": "02", '
            '"function": "[0-2]"}, "color": "red"}\n'
            'device_spec = {"vendor_id": "8086", "color": "blue"}'))
        rows = self.rows('pool', 'list', '--host', 'net-1')
        self.assertEqual(
            [('type-PF', 'blue', 0, 1), ('type-VF', 'blue', 2, 5),
             ('type-VF', 'red', 3, 3), ('type-PF', 'blue', 1, 1),
             ('type-VF', 'blue', 8, 8)],
            sorted([(row['dev_type'], row['tags']['color'], row['free'],
                     row['total']) for row in rows[:3]])
            + [(row['dev_type'], row['tags']['color'], row['free'],
                row['total']) for row in rows[3:]])

    def test_unknown_tags(self):
        self.fleet.conf.write(tag_sources='device_spec')
        for row in self.rows('pool', 'list', '--host', 'net-0'):
            self.assertIsNone(row['tags'])
            self.assertEqual(row['total'], row['free'])
        row, = self.rows('explain', '--alias', 'vf', '--host', 'net-0',
                         code=3, stderr='pci-filter: vf: the tags of all 18 '
                         'devices are unknown, see [pci_filter]tag_sources\n')
        self.assertEqual(
            'vf asks for 1: 16 VFs 8086:154c, the tags of 16 free ones are '
            'unknown, see [pci_filter]tag_sources (devices whose tags are '
            'unknown are left out)', row['reason'])

    def test_unknown_tags_of_each_host(self):
        """Hosts are alike only if as many devices have unknown tags."""
        self.fleet.conf.write(tag_sources='device_spec')

        def reasons(*arguments):
            return {row['host']: row['reason'] for row in json.loads(
                commands.run(
                    'capacity', '--alias', 'vf', *arguments, '-f', 'json',
                    f'--config-file={self.fleet.conf.path}').stdout)
                    if row['host']}

        together = reasons('--host=net-*')
        self.assertLess(1, len(set(together.values())))
        for host, reason in together.items():
            self.assertEqual({host: reason}, reasons(f'--host={host}'))

    def test_unknown_tags_are_not_missing_tags(self):
        """Nobody says that devices lack a tag if nobody knows theirs."""
        self.fleet.conf.write(
            tag_sources='device_spec', device_spec=(
                '{"address": {"bus": "81", "slot": "02", "function": "[0-3]"},'
                ' "color": "red"}'))
        see = ('see [pci_filter]tag_sources (devices whose tags are unknown '
               'are left out)')
        for host, reason in (
                ('net-0', '0 of 16 VFs carry color=blue, the tags of 12 free '
                 f'ones are unknown, {see}'),
                ('net-2', '0 of 16 VFs carry color=blue, the tags of 5 in use '
                 f'are unknown, the tags of 7 free ones are unknown, {see}'),
                ('net-3', '0 of 16 VFs carry color=blue, none is free')):
            result = commands.run(
                'explain', '--request={"device_type": "type-VF", "color": '
                '"blue"}', f'--host={host}', '-f', 'json',
                f'--config-file={self.fleet.conf.path}')
            row, = json.loads(result.stdout)
            self.assertEqual(
                f'request 1 asks for 1: {reason}', row['reason'])

    def test_one_cell(self):
        names = {row['host'] for row in self.rows(
            'pool', 'list', '--cell', 'cell2')}
        self.assertEqual({'net-1', 'net-3'}, names)

    def test_database_of_one_cell(self):
        installed.require_no_nova_conf()
        url = self.fleet.cloud.cells[0].database_connection
        result = commands.run(
            'pool', 'list', '-f', 'json', f'--database-connection={url}')
        self.assertEqual(('', 0), (result.stderr, result.returncode))
        self.assertEqual({'net-0', 'net-2', 'gpu-0'}, {
            row['host'] for row in json.loads(result.stdout)})

    def test_verdicts(self):
        rows = self.rows('explain', '--alias', 'vf:8')
        self.assertEqual([
            ('cell1', 'gpu-0', False,
             'vf asks for 8: none of 2 devices is 8086:154c'),
            ('cell1', 'net-0', True,
             'vf asks for 8: 16 VFs 8086:154c, 16 are free'),
            ('cell1', 'net-2', False,
             'vf asks for 8: 16 VFs 8086:154c, 7 are free'),
            ('cell2', 'net-1', True,
             'vf asks for 8: 16 VFs 8086:154c, 13 are free'),
            ('cell2', 'net-3', False,
             'vf asks for 8: 16 VFs 8086:154c, 0 are free'),
            ('cell2', 'plain-0', False,
             'vf asks for 8: the host has no PCI devices')],
            [(row['cell'], row['host'], row['passes'], row['reason'])
             for row in rows])
        for row in rows:
            requests = commands.requests(('vf', 8))
            error = self.fleet.cloud.claim_error(
                self.fleet.cloud.hosts[row['host']], requests)
            self.assertEqual(row['passes'], error is None)

    def test_aliases_of_a_flavor(self):
        self.assertEqual(
            self.rows('explain', '--alias=vf:8', '--alias=pf'),
            self.rows('explain', '--alias=vf:8,pf'))

    def test_some_hosts(self):
        for arguments in (('--host=net-0,gpu-*',),
                          ('--host=net-0', '--host', 'gpu-?')):
            self.assertEqual({'net-0', 'gpu-0'}, {
                row['host'] for row in self.rows(
                    'capacity', '--alias=vf', *arguments) if row['host']})

    def test_some_left_out(self):
        *rows, total = self.rows('capacity', '--alias=vf')
        drained = sum(row['instances'] for row in rows
                      if row['host'] in ('net-0', 'net-1'))
        *left, total_left = self.rows(
            'capacity', '--alias=vf', '--without-host=net-[01],no-*',
            stderr="pci-filter: no host matches 'no-*'\n")
        self.assertEqual(
            [row for row in rows if row['host'] not in ('net-0', 'net-1')],
            left)
        self.assertEqual(
            total['instances'] - drained, total_left['instances'])

    def test_request_of_a_port(self):
        rows = self.rows(
            'explain', '--host', 'net-[13]', '--request',
            '{"physical_network": "physnet2", "remote_managed": "False"}',
            code=3)
        self.assertEqual([
            'request 1 asks for 1: 0 of 18 devices carry physical_network='
            'physnet2, remote_managed=False, the tags of 1 in use are unknown',
            'request 1 asks for 1: 16 of 18 devices carry physical_network='
            'physnet2, remote_managed=False, 0 are free'],
            [row['reason'] for row in rows])

    def test_pf_beside_vfs_in_use(self):
        """It is not for its tags that it cannot be had."""
        row, = self.rows(
            'explain', '--host=net-3', '--request', json.dumps(
                {'device_type': 'type-PF', 'physical_network': 'physnet2'}),
            code=3)
        self.assertEqual(
            'request 1 asks for 1: 2 PFs, none is free', row['reason'])

    def test_stages(self):
        row, = self.rows('explain', '--alias', 'vf:2', '--alias', 'pf:1',
                         '--numa-cells', '1', '--host', 'net-0', code=3)
        self.assertEqual(
            'vf asks for 2: 16 VFs 8086:154c, 16 are free, 0 are on the '
            'right NUMA node (policy legacy, guest on 1)', row['reason'])
        self.assertEqual([
            {'request': 'vf', 'count': 2, 'free': 18, 'fits': False,
             'stages': [{'stage': 'spec', 'left': 16},
                        {'stage': 'numa', 'left': 0}]}], row['requests'])

    def test_stages_are_those_of_the_request(self):
        """One that asks for a PF is not told that it is none."""
        for device_type, numa, stages in (
                ('type-PF', (), ['unrequested_vdpa',
                                 'unrequested_remote_managed']),
                ('type-VF', ('--numa-cells=0',),
                 ['numa', 'unrequested_pf', 'unrequested_vdpa',
                  'unrequested_remote_managed'])):
            request = json.dumps({'device_type': device_type})
            rows = json.loads(commands.run(
                'explain', f'--request={request}', '--host=net-0', *numa,
                '-f', 'json', f'--config-file={self.fleet.conf.path}').stdout)
            self.assertEqual(
                ['spec', *stages],
                [stage['stage'] for stage in rows[0]['requests'][0]['stages']])

    def test_sockets_of_a_host(self):
        """Only gpu-0 has its two NUMA nodes in one socket."""
        for policy, code in (('required', 3), ('socket', 0)):
            row, = self.rows(
                'explain', '--alias', 'gpu:2', '--numa-cells', '1',
                '--numa-policy', policy, '--host', 'gpu-0', code=code)
            self.assertEqual(code == 0, row['passes'])

    def test_stored_request(self):
        wanted = commands.requests(('vf', 13))
        instance = self.fleet.store_request(wanted)
        rows = self.rows('explain', '--instance', instance)
        self.assertEqual(
            {'net-0', 'net-1'},
            {row['host'] for row in rows if row['passes']})

    def test_numa_guest(self):
        """Nobody has placed it, so relatives do not exclude each other."""
        wanted = commands.requests(('vf', 9), ('pf', 2))
        for topology, code in (
                (None, 3), (scheduling.instance_numa_topology([0]), 0)):
            instance = self.fleet.store_request(wanted, topology)
            self.rows('explain', '--instance', instance, '--host', 'net-0',
                      code=code)

    def test_capacity(self):
        """As many as Nova's tracker grants before it refuses."""
        for wanted in ([('vf', 1)], [('vf', 3)], [('pf', 1)], [('gpu', 2)],
                       [('vf', 5), ('pf', 1)], [('pf', 1), ('vf', 5)]):
            arguments = [f'--alias={name}:{count}' for name, count in wanted]
            *rows, total = self.rows('capacity', *arguments)
            granted = {name: self._grant(name, wanted)
                       for name in self.fleet.cloud.hosts}
            self.assertEqual(
                granted, {row['host']: row['instances'] for row in rows})
            self.assertEqual(
                (None, sum(granted.values())),
                (total['host'], total['instances']))

    def _grant(self, name, wanted):
        """Claim on a host until it is refused; return how often it worked."""
        cloud = self.fleet.cloud
        host = cloud.hosts[name]
        granted = []
        try:
            while True:
                granted.append(
                    cloud.claim(host, commands.requests(*wanted)))
        except compute_host.ClaimFailed:
            pass
        for devices in granted:
            cloud.release(host, devices)
        return len(granted)

    def test_capacity_tells_what_runs_out(self):
        rows = self.rows('capacity', '--alias=vf:5', '--alias=pf')
        self.assertEqual(
            [('gpu-0', 0, 'vf'), ('net-0', 1, 'vf'), ('net-2', 0, 'pf'),
             ('net-1', 1, 'vf'), ('net-3', 0, 'vf'), ('plain-0', 0, 'vf'),
             (None, 2, 'vf on 3 hosts, pf on 1 host')],
            [(row['host'], row['instances'], row['runs_out'])
             for row in rows])
        by_host = {row['host']: row['reason'] for row in rows}
        self.assertEqual(
            'after 1 more, vf asks for 5: 16 VFs 8086:154c, 0 are left',
            by_host['net-1'])
        self.assertEqual(
            'vf asks for 5: 16 VFs 8086:154c, 0 are free', by_host['net-3'])
        text = self.run_command('capacity', '--alias=vf:5', '--alias=pf')
        self.assertIn('| runs out first: vf on 3 hosts, pf on 1 host ', text)

    def test_no_capacity(self):
        *_, total = self.rows('capacity', '--alias=vf:17', code=3)
        self.assertEqual(0, total['instances'])


class TestSQLite(_FleetTests, testtools.TestCase):

    def test_mistakes(self):
        for request, hint in (
                ('--alias=mistyped', 'mistyped: no device anywhere is '
                 '8086:154d; did you mean 8086:154c?'),
                ('--alias=wrong-type', 'wrong-type: no device 8086:154c is '
                 'type-PF; they are type-VF'),
                ('--alias=no-type', 'no-type: all that match are type-PF, '
                 'which are given only to requests with that device_type'),
                ('--request={"vendor_id": "8086", "physical_network": "net"}',
                 'request 1: no device with vendor_id=8086 carries '
                 'physical_network=net; there is physnet1, physnet2'),
                ('--request={"vendor_id": "8086", "product_id": "154D"}',
                 'request 1: no device anywhere is 8086:154D; did you mean '
                 '8086:154c?'),
                ('--request={"physical_network": "physnett1"}',
                 'request 1: no device carries physical_network=physnett1; '
                 'did you mean physnet1?'),
                ('--request={"name": "p", "trusted": "true"}',
                 'p: no device carries trusted=true, nor any other value of '
                 'it'),
                ('--request={"physical_network": "physnet1", '
                 '"parent_ifname": "x"}',
                 'request 1: no device carries parent_ifname=x; there is '
                 'ens129f0np0, ens129f1np1')):
            for row in self.rows('explain', request, code=3,
                                 stderr=f'pci-filter: {hint}\n'):
                self.assertFalse(row['passes'])

    def test_no_devices_at_all(self):
        self.rows('explain', '--alias=vf', '--host=plain-0', code=3,
                  stderr='pci-filter: vf: there are no PCI devices on these '
                  'hosts; nova-compute reports those that its '
                  '[pci]device_spec names\n')

    def test_csv_and_value(self):
        text = self.run_command('pool', 'list', '-f', 'csv', '--host=gpu-0')
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual(COLUMNS, list(rows[0]))
        self.assertEqual({}, json.loads(rows[0]['tags']))
        text = self.run_command(
            'pool', 'list', '-f', 'value', '-c', 'host', '-c', 'free',
            '--host=gpu-0')
        self.assertEqual('gpu-0 1\ngpu-0 1\n', text)

    def test_names_do_not_control_the_terminal(self):
        """They come from databases, and may be anything."""
        evil = 'evil\x1b[31m\r\nhost\x9b'
        shown = r'evil\x1b[31m\r\nhost\x9b'
        url = self._copy_of_cell('net-0', evil)
        tag = json.dumps({'color': evil})
        options = *commands.only_cell(url), f'--host={evil}'
        for command, code in (
                (('pool', 'list', '-c', 'cell', '-c', 'host', '-c', 'node',
                  '-c', 'tags'), 0),
                (('explain', f'--request={tag}'), 3),
                (('explain', f'--request={tag}', '-c', 'reason'), 3),
                (('capacity', f'--request={tag}'), 3)):
            for formatter in ('table', 'value', 'csv'):
                result = commands.run(*command, '-f', formatter, *options)
                self.assertEqual(code, result.returncode, result.stderr)
                # CSV doubles what could be its own escape character.
                text = (result.stdout + result.stderr).replace('\\\\', '\\')
                self.assertIn(shown, text)
                self.assertTrue(text.replace('\n', '').isprintable(), text)
                if command[0] == 'explain':
                    line, = result.stderr.splitlines()
                    self.assertIn(f'carries color={shown}', line)
        rows = json.loads(commands.run(
            'pool', 'list', '-f', 'json', *options).stdout)
        self.assertEqual(
            {(evil, evil)}, {(row['host'], row['node']) for row in rows})

    def _copy_of_cell(self, host, name):
        """Return the URL of a copy of cell1 in which a host has this name."""
        path = self.useFixture(fixtures.TempDir()).join('cell.db')
        engine = sa.create_engine(
            self.fleet.cloud.cells[0].database_connection)
        with engine.connect() as connection:
            connection.execute(sa.text('VACUUM INTO :path'), {'path': path})
        engine.dispose()
        url = f'sqlite:///{path}'
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(
                sa.text('UPDATE compute_nodes SET host = :name, '
                        'hypervisor_hostname = :name WHERE host = :host'),
                {'name': name, 'host': host})
        engine.dispose()
        return url

    def test_yaml(self):
        text = self.run_command('explain', '--alias=gpu:3', '--host=gpu-0',
                                '-f', 'yaml', code=3)
        self.assertIn('  passes: false\n', text)

    def test_tables_fit_80_columns(self):
        for arguments, code, line in (
                (('pool', 'list'), 0,
                 '| cell1 | net-0 | 8086:154c VF  |    0 | 8/8  | '
                 'physical_network=physnet1 |'),
                (('explain', '--alias=vf:3'), 0,
                 '| cell1 | net-2   | yes    | vf asks for 3: 16 VFs '
                 '8086:154c, 7 are free   |'),
                (('explain', '--alias=vf:3', '--host=net-2'), 0,
                 '| vf: 3   | are free                                    '
                 '            |    7 |'),
                (('capacity', '--alias=vf:3'), 0,
                 '| cell1 | net-2   |         2 | after 2 more, vf asks for '
                 '3: 16 VFs 8086:154c, |')):
            text = self.run_command(
                *arguments, '--max-width=80', code=code)
            lines = text.splitlines()
            self.assertEqual([], [row for row in lines if len(row) > 80])
            self.assertIn(line, lines, text)

    def test_long_table_and_chosen_columns(self):
        lines = self.run_command(
            'pool', 'list', '--long', '--host=net-0').splitlines()
        self.assertEqual([], [line for line in lines if len(line) > 80])
        self.assertIn(' remote_managed=false ', '\n'.join(lines))
        self.assertNotIn('remote_managed', self.run_command(
            'pool', 'list', '--host=net-0'))
        text = self.run_command('pool', 'list', '-c', 'total')
        self.assertEqual('| total |', text.splitlines()[1])

    def test_without_nova(self):
        """As installed beside Nova, and as if it were not there."""
        instance = self.fleet.store_request(commands.requests(('vf', 2)))
        for arguments in (
                ('pool', 'list'), ('explain', f'--instance={instance}'),
                ('capacity', '--alias=vf:2')):
            self.assertEqual(
                self.rows(*arguments),
                self.rows(*arguments, command=commands.WITHOUT_NOVA))

    def test_help(self):
        for command in (('pool', 'list'), ('explain',), ('capacity',),
                        ('reservations', 'list')):
            result = commands.run(*command, '--help', COLUMNS='80')
            self.assertEqual((0, ''), (result.returncode, result.stderr))
            self.assertRegex(result.stdout, r'\nExit codes: 0 if .*\n')
            self.assertEqual([], [
                line for line in result.stdout.splitlines()
                if len(line) > 80 and 'NAME[:COUNT] |' not in line])

    def test_completion(self):
        result = commands.run('complete')
        self.assertEqual(0, result.returncode)
        self.assertIn(
            "cmds='audit capacity complete demo explain help pool "
            "reservations'",
            result.stdout)


class TestTable(testtools.TestCase):

    def test_long_table_leaves_nothing_out(self):
        row = pool_list.Row(
            'cell1', 'a', 'a.example', '8086', '154c', 0, 'type-VF',
            '0000:81:00.0', 1, 2, {'remote_managed': 'false'}, 'uuid', True)
        device = ['8086:154c VF', '0000:81:00.0']
        self.assertEqual(
            ('cell1', ['a'], device, 0, '1/2 blocked', {}),
            row.of_table(False))
        self.assertEqual(
            ('cell1', ['a', 'a.example'], [*device, 'uuid'], 0,
             '1/2 blocked', {'remote_managed': 'false'}), row.of_table(True))
        row = row._replace(node='a', rp_uuid=None, tags=None)
        self.assertEqual(
            ('cell1', ['a'], device, 0, '1/2 blocked', 'unknown'),
            row.of_table(True))


class TestHostsAlike(testtools.TestCase):
    """What is found out of a host holds for those that are like it."""

    def test_sockets_matter(self):
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        cloud = embedded.EmbeddedCloud(cells=1, directory=directory)
        cloud.open()
        self.addCleanup(cloud.close)
        conf = self.useFixture(commands.NovaConf(directory)).path
        for name, sockets in (
                ('a', (0, 0)), ('b', (0, 0)), ('c', (0, 1)), ('d', (0, 1))):
            cloud.add_host(
                0, name, [hardware.gpu(0x3b, 0), hardware.gpu(0x5e, 1)],
                ['{"vendor_id": "10de"}'],
                scheduling.host_numa_topology(sockets))
        filled = []

        def fill(*arguments):
            filled.append(arguments)
            return original(*arguments)
        original = capacity.fill
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.cli.capacity.fill', fill))
        for policy, found, looks in (
                ('socket', {'a': 1, 'b': 1, 'c': 0, 'd': 0}, 2),
                ('required', {'a': 0, 'b': 0, 'c': 0, 'd': 0}, 1)):
            filled.clear()
            _, (*rows, _) = commands.run_here(
                capacity.Capacity, f'--config-file={conf}', '--alias=gpu:2',
                '--numa-cells=1', f'--numa-policy={policy}')
            self.assertEqual(found, {
                row['host']: row['instances'] for row in rows})
            self.assertEqual(looks, len(filled))


class TestMySQL(_FleetTests, testtools.TestCase):
    server = base.MYSQL


class TestPostgreSQL(_FleetTests, testtools.TestCase):
    server = base.POSTGRESQL


class TestManyHosts(nova_base.NovaTestCase):
    """Some hosts have what is asked for, and many have not."""

    cells = 1

    def setUp(self):
        super().setUp()
        spec = ['{"vendor_id": "10de"}']
        for number in range(2):
            self.cloud.add_host(
                0, f'good-{number}', [hardware.gpu(0x3b, 0)], spec)
        for number in range(3):
            host = self.cloud.add_host(
                0, f'used-{number}',
                [hardware.gpu(0x3b + bus, 0) for bus in range(2)], spec)
            for _ in range(2 if number else 1):
                self.cloud.claim(host, [scheduling.pci_request(
                    {'vendor_id': '10de', 'product_id': '1db6'})])
        for number in range(8):
            self.cloud.add_host(0, f'plain-{number}', [], [])

    def table(self, *arguments):
        """Return the lines of a table without its borders."""
        result = commands.run(
            'explain', *commands.only_cell(
                self.cloud.cells[0].database_connection), *arguments,
            '--request={"vendor_id": "10de", "count": 2}')
        self.assertEqual((3, ''), (result.returncode, result.stderr))
        return [[cell.strip() for cell in line.strip('|').split('|')][1:3]
                for line in result.stdout.splitlines()[3:-1]]

    def test_those_that_lack_the_same(self):
        self.assertEqual([
            ['8 hosts, such as plain-0', 'no'],
            ['3 hosts, such as used-0', 'no'],
            ['2 hosts, such as good-0', 'no']], self.table())

    def test_each(self):
        hosts = [host for host, _ in self.table('--all')]
        self.assertEqual(sorted(self.cloud.hosts), hosts)

    def test_few(self):
        self.assertEqual(
            [[f'used-{number}', 'no'] for number in range(3)],
            self.table('--host=used-*'))


class TestNullTags(nova_base.NovaTestCase):

    cells = 1

    def test_table(self):
        """A tag that is null is shown as it was written."""
        self.cloud.add_host(
            0, 'host', [hardware.gpu(0x3b, 0)],
            ['{"vendor_id": "10de", "physical_network": null}'])
        result = commands.run('pool', 'list', *commands.only_cell(
            self.cloud.cells[0].database_connection))
        self.assertIn('physical_network=null', result.stdout)
