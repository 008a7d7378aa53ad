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

"""The audit as operators, cron and Nagios run it."""

import contextlib
import datetime
import functools
import json
import os
import pathlib
import pty
import signal
import subprocess
import threading
import time

import fixtures
from prometheus_client import parser

from pci_filter.audit import kinds
from pci_filter.compute import tracker as our_tracker
from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.tests.functional.nova import audit_servers
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import commands

INTEL = {'vendor_id': '8086', 'physical_network': 'physnet1'}


class TestAuditCommand(base.NovaTestCase):
    """Two cells, one host each, with a fault in the first one."""

    def setUp(self):
        super().setUp()
        conf.register_opts(databases.CONF)
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.hosts = [
            self.add(0, 'one.example.org'), self.add(1, 'two.example.org')]
        self.hosts[0].change(['0000:81:02.1'], status='borrowed')
        api = databases.api_db.context_manager.writer.get_engine().url
        self.file = self.directory / 'nova.conf'
        self.file.write_text(f'[api_database]\nconnection = {api}\n')

    def add(self, cell, name, **more):
        compute = audit_servers.Compute(
            self.cloud, cell=cell, name=name, **more)
        compute.start([INTEL], hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4))
        return compute

    def run_it(self, *arguments, command=(commands.COMMAND,), grace='0'):
        return subprocess.run(
            [*command, 'audit', '--config-file', self.file, '--grace', grace,
             *arguments], capture_output=True, text=True, check=False,
            timeout=120, env={**os.environ, 'COLUMNS': '80'})

    def failure(self, *arguments, code=2):
        """Return the one line that a command ends with."""
        result = self.run_it(*arguments)
        self.assertEqual((code, ''), (result.returncode, result.stdout))
        self.assertEqual(1, result.stderr.count('\n'), result.stderr)
        return result.stderr.strip()

    def url(self, cell):
        return self.cloud.cells[cell].database_connection

    def test_json_has_everything(self):
        result = self.run_it('-f', 'json')
        self.assertEqual((3, ''), (result.returncode, result.stderr))
        kind = kinds.KINDS['status-unknown']
        self.assertEqual([{
            'cell': 'cell1', 'host': 'one.example.org',
            'kind': 'status-unknown', 'subject': '0000:81:02.1',
            'severity': 'error',
            'stored': "pci_devices.status is 'borrowed'",
            'meaning': kind.meaning, 'cure': kind.cure}],
            json.loads(result.stdout))

    def test_other_formats(self):
        kind = kinds.KINDS['status-unknown']
        for arguments, expected in (
                (('-f', 'value'),
                 'cell1 one.example.org status-unknown 0000:81:02.1\n'),
                (('-f', 'csv', '--quote', 'minimal'),
                 'cell,host,kind,subject,severity,stored,meaning,cure\n'
                 'cell1,one.example.org,status-unknown,0000:81:02.1,error,'
                 "pci_devices.status is 'borrowed',\""
                 f'{kind.meaning}\",{kind.cure}\n'),
                (('-f', 'value', '-c', 'severity', '-c', 'host'),
                 'one.example.org error\n'),
                (('-f', 'value', '--long', '-c', 'stored'),
                 "pci_devices.status is 'borrowed'\n")):
            result = self.run_it(*arguments)
            self.assertEqual(
                (3, expected, ''),
                (result.returncode, result.stdout, result.stderr))

    def test_some_hosts(self):
        for arguments, code in (
                (('--host', 'one.*'), 3), (('--host=two*',), 0),
                (('--host=two.example.org,one.example.org',), 3)):
            for grace in '0', '1':
                result = self.run_it('-f', 'json', *arguments, grace=grace)
                self.assertEqual(
                    (code, ''), (result.returncode, result.stderr))
                self.assertEqual(code == 3, result.stdout.strip() != '[]')
        self.assertIn(
            "no host matches 'three*'", self.failure('--host=three*'))

    def test_table_is_in_order_and_summed_up(self):
        self.hosts[1].change(['0000:81:02.0'], status='removed')
        self.hosts[1].change(['0000:81:02.2'], status='borrowed')
        lines = self.run_it().stdout.splitlines()
        self.assertEqual(
            [('one.example.org', 'status-unknown'),
             ('two.example.org', 'status-unknown'),
             ('two.example.org', 'removed-lingering')],
            [tuple(line.split()[3:6:2]) for line in lines[3:6]])
        self.assertEqual(
            ['3 found: 2 status-unknown, 1 removed-lingering',
             '--long tells what they mean and what to do.'], lines[-2:])

    def on_a_terminal(self, *arguments):
        """Return what the command shows on a terminal with 80 columns."""
        main, terminal = pty.openpty()
        self.addCleanup(os.close, main)
        subprocess.run(['stty', 'columns', '80'], stdin=terminal, check=True)
        with subprocess.Popen(
                [commands.COMMAND, 'audit', '--config-file', self.file,
                 '--grace', '0', *arguments],
                stdout=terminal, stdin=terminal, stderr=subprocess.PIPE,
                env={**os.environ, 'COLUMNS': '80'}) as process:
            os.close(terminal)
            shown = b''
            with contextlib.suppress(OSError):
                while part := os.read(main, 4096):
                    shown += part
            self.assertEqual(b'', process.stderr.read())
        self.assertEqual(3, process.returncode)
        return shown.decode().replace('\r\n', '\n')

    def test_table_fits_a_terminal(self):
        kind = kinds.KINDS['status-unknown']
        for arguments in ((), ('--long',)):
            shown = self.on_a_terminal(*arguments)
            self.assertLessEqual(
                max(map(len, shown.splitlines())), 80, shown)
            text = ' '.join(shown.split())
            for expected in (kind.meaning, kind.cure):
                self.assertEqual(bool(arguments), expected in text, shown)

    def test_one_cell(self):
        for arguments, code in (
                (('--cell', 'cell1'), 3), (('--cell', 'cell2'), 0),
                (('--database-connection', self.url(1)), 0)):
            self.assertEqual(code, self.run_it(*arguments).returncode)

    def test_cell_that_cannot_be_read(self):
        """The others are shown all the same."""
        with self.cloud.target(self.cloud.cells[1]) as context:
            engine = databases.main_db.get_engine(context=context)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                'ALTER TABLE migrations RENAME TO moves')
        metrics = self.directory / 'audit.prom'
        for grace in ('0', '1'):
            result = self.run_it(
                '-f', 'value', '--output-metrics', metrics, grace=grace)
            self.assertEqual(1, result.returncode)
            self.assertEqual(1, result.stdout.count('\n'))
            self.assertRegex(
                result.stderr, '^pci-filter: cell cell2 cannot be read: .*'
                'no table migrations.*\n$')
            read = {}
            for family in parser.text_string_to_metric_families(
                    metrics.read_text()):
                for one in family.samples:
                    read.setdefault(family.name, {}).setdefault(
                        one.labels['cell'], []).append(one.value)
            self.assertEqual(
                {'cell1': [1], 'cell2': [0]},
                read['pci_filter_audit_cell_read'])
            counted = read['pci_filter_audit_findings']
            self.assertEqual(['cell1'], list(counted))
            self.assertEqual(
                (len(kinds.FAULTS), 1),
                (len(counted['cell1']), sum(counted['cell1'])))

    def test_kinds(self):
        self.assertEqual(0, self.run_it('--kind', 'rp-split').returncode)
        result = self.run_it(
            '-f', 'value', '--kind', 'rp-split', '--kind', 'status-unknown')
        self.assertEqual(3, result.returncode)
        self.assertIn('status-unknown', result.stdout)
        self.assertIn(
            "argument --kind: invalid choice: 'summary'",
            self.failure('--kind', 'summary'))

    def test_information_is_no_finding(self):
        self.add(1, 'ours', tracker_class=our_tracker.PciDevTracker)
        arguments = ('-f', 'json', '--cell', 'cell2')
        result = self.run_it(*arguments)
        self.assertEqual(
            (0, []), (result.returncode, json.loads(result.stdout)))
        result = self.run_it(*arguments, '--kind', 'summary-deprecated')
        self.assertEqual('', result.stderr)
        one, = json.loads(result.stdout)
        self.assertEqual(
            (0, 'ours', 'information'),
            (result.returncode, one['host'], one['severity']))

    def test_summary_that_is_not_expected(self):
        """It depends on the configuration that the audit reads."""
        self.cloud.store_summary(self.hosts[1].host, None)
        arguments = ('--cell', 'cell2', '-f', 'value')
        self.assertIn('summary-missing', self.run_it(*arguments).stdout)
        with self.file.open('a') as file:
            file.write('[pci_filter]\nwrite_pci_stats = false\n')
        result = self.run_it(*arguments)
        self.assertEqual((0, ''), (result.returncode, result.stdout))

    def test_metrics_are_of_what_was_asked_for(self):
        metrics = self.directory / 'audit.prom'
        self.run_it('--kind', 'rp-split', '--output-metrics', metrics)
        self.assertIn(
            'pci_filter_audit_findings{cell="cell2",kind="rp-split",'
            'severity="error"} 0\n', metrics.read_text())
        self.assertNotIn('status-unknown', metrics.read_text())
        for path in (self.directory, self.directory / 'no' / 'file'):
            self.assertEqual(
                f'pci-filter: --output-metrics {path}: name a file in a '
                'folder that you may write to',
                self.failure('--output-metrics', path))

    def test_sql(self):
        result = self.run_it('--sql')
        self.assertEqual((3, ''), (result.returncode, result.stderr))
        statement, = [line for line in result.stdout.splitlines()
                      if line and not line.startswith('-- ')]
        self.assertRegex(
            statement, "^UPDATE pci_devices SET status='available' WHERE .*"
            "pci_devices.status = 'borrowed';$")

    def test_without_nova(self):
        result = self.run_it(
            '-f', 'value', command=commands.WITHOUT_NOVA)
        self.assertEqual((3, ''), (result.returncode, result.stderr))
        self.assertIn('status-unknown', result.stdout)

    def test_wrong_input(self):
        self.assertIn('give a whole number from 0 to 3600',
                      self.failure('--grace', '-1'))
        self.assertIn("there is no cell 'cell3'",
                      self.failure('--cell', 'cell3'))
        self.assertIn('cannot read /nowhere',
                      self.failure('--config-file', '/nowhere'))

    def test_nobody_listens(self):
        with subprocess.Popen(
                [commands.COMMAND, 'audit', '--config-file', self.file,
                 '--grace', '0', '-f', 'value'], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True) as process:
            process.stdout.close()
            self.assertEqual('', process.stderr.read())
            self.assertEqual(128 + signal.SIGPIPE, process.wait())

    def test_interrupted_while_it_waits(self):
        with subprocess.Popen(
                [commands.COMMAND, 'audit', '--config-file', self.file,
                 '--grace', '3600'], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
                env={**os.environ, 'PYTHONUNBUFFERED': '1'},
                # Whoever runs the tests in the background ignores SIGINT.
                preexec_fn=functools.partial(
                    signal.signal, signal.SIGINT, signal.SIG_DFL)) as process:
            # Whenever it comes, also while it starts.
            timer = threading.Timer(
                5, process.send_signal, (signal.SIGINT,))
            timer.start()
            output, errors = process.communicate(timeout=60)
        self.assertEqual(
            ('', 'pci-filter: interrupted\n', 128 + signal.SIGINT),
            (output, errors, process.returncode))

    def test_what_changes_all_the_time(self):
        """That is not shown, but it is not concealed either."""
        with subprocess.Popen(
                [commands.COMMAND, 'audit', '--config-file', self.file,
                 '--grace', '1', '-f', 'json'], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True) as process:
            written = datetime.datetime(2026, 1, 1)
            while process.poll() is None:
                written += datetime.timedelta(minutes=1)
                self.hosts[0].change(['0000:81:02.1'], updated_at=written)
                time.sleep(0.1)
            output, errors = process.communicate()
        self.assertEqual((0, []), (process.returncode, json.loads(output)))
        self.assertEqual(
            'pci-filter: findings that are not shown, as they changed '
            'whenever they were looked at: 1. nova-compute is at work there; '
            'audit again\n', errors)

    def test_nothing_is_open_while_it_waits(self):
        """Who waits holds nobody up, least of all nova-compute."""
        with subprocess.Popen(
                [commands.COMMAND, 'audit', '--config-file', self.file,
                 '--grace', '4', '-f', 'json'], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                self.hosts[1].report()
                time.sleep(0.1)
            output, errors = process.communicate()
        self.assertEqual('', errors)
        self.assertEqual(
            ['status-unknown'], [one['kind'] for one in json.loads(output)])
