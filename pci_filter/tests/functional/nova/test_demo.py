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

"""``pci-filter demo`` as a newcomer runs it."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import testtools

from pci_filter.tests.functional.nova import commands


@functools.cache
def demo_output(*arguments):
    result = commands.run('demo', '--hosts', '8', *arguments, COLUMNS='80')
    return result.returncode, result.stdout, result.stderr


class TestDemo(testtools.TestCase):

    def _decisions(self, output, phase):
        return [
            decision
            for one in output['phases'] if one['phase'] == phase
            for request in one['requests'] for decision in request['hosts']]

    def test_json(self):
        code, stdout, stderr = demo_output('-f', 'json')
        self.assertEqual('', stderr)
        self.assertEqual(0, code)
        output = json.loads(stdout)
        self.assertEqual(8, output['hosts'])
        self.assertEqual(2, output['cells'])
        self.assertEqual(0, output['ours_wrong'])
        true = self._decisions(output, 'true_summaries')
        drifted = self._decisions(output, 'drifted_summaries')
        self.assertEqual(output['decisions'], len(true) + len(drifted))
        self.assertEqual(
            output['in_tree_wrong'],
            sum(d['in_tree_wrong'] for d in true + drifted))
        # The in-tree filter must be seen to err in each way.
        self.assertTrue([d for d in true if d['in_tree'] > d['claim']])
        self.assertTrue([d for d in drifted if d['in_tree'] > d['claim']])
        self.assertTrue([d for d in drifted if d['in_tree'] < d['claim']])
        self.assertEqual(
            {'', 'stale', 'lost'}, {d['summary'] for d in drifted})
        for decision in true:
            self.assertEqual(
                decision['row_devices'], decision['summary_devices'])
            self.assertNotEqual('', decision['reason'])
        self.assertTrue([d for d in true if d['claim']])
        self.assertTrue([d for d in true if not d['claim']])

    def test_many_at_once(self):
        """All of Nova's land on one host, and ours on as many as there are."""
        at_once = json.loads(demo_output('-f', 'json')[1])['at_once']
        self.assertEqual(
            {'servers': 8, 'in_tree': {'hosts': 1, 'landed': 1},
             'ours': {'hosts': 8, 'landed': 8}}, at_once)
        lines = demo_output()[1].splitlines()
        self.assertEqual(
            ['In-tree: sent to 1 of 8 hosts; 1 of 8 claims succeed at the '
             'first attempt',
             'Ours: sent to 8 of 8 hosts; 8 of 8 claims succeed at the first '
             'attempt'], [line for line in lines if 'sent to' in line])

    def test_without_placement(self):
        result = commands.run(
            'demo', '--hosts', '8', '-f', 'json',
            command=commands.WITHOUT_PLACEMENT)
        self.assertEqual(
            demo_output('-f', 'json'),
            (result.returncode, result.stdout, result.stderr))

    def test_all_json_keys_are_snake_case(self):
        def check(value):
            if isinstance(value, list):
                for item in value:
                    check(item)
            elif isinstance(value, dict):
                for key, item in value.items():
                    self.assertRegex(key, '^[a-z][a-z_]*$')
                    if not key.endswith('_devices'):
                        check(item)
        check(json.loads(demo_output('-f', 'json')[1]))

    def test_same_seed_same_outcome(self):
        again = commands.run('demo', '--hosts', '8', '-f', 'json')
        self.assertEqual(demo_output('-f', 'json')[1], again.stdout)

    def test_other_seed_other_fleet(self):
        code, stdout, _ = demo_output('-f', 'json', '--seed', '2')
        self.assertEqual(0, code)
        self.assertNotEqual(demo_output('-f', 'json')[1], stdout)

    def test_tables_fit_80_columns(self):
        code, stdout, stderr = demo_output()
        self.assertEqual('', stderr)
        self.assertEqual(0, code)
        lines = stdout.splitlines()
        self.assertEqual([], [line for line in lines if len(line) > 80])
        self.assertRegex(
            lines[-1],
            r'^In-tree filter wrong on [1-9]\d* of 64 host decisions, '
            'pci_filter wrong on 0.$')
        self.assertNotIn('\x1b', stdout)
        self.assertEqual([], [line for line in lines if line[-1:] == ' '])

    def test_tables_without_rich(self):
        result = commands.run('demo', '--hosts', '8', COLUMNS='80',
                              command=commands.WITHOUT_RICH)
        self.assertEqual(
            demo_output(),
            (result.returncode, result.stdout, result.stderr))

    def test_property_breaks_before_its_value(self):
        _, stdout, _ = demo_output()
        self.assertRegex(stdout, r'physical_network=\n +physnet1')

    def test_help_tells_exit_codes(self):
        result = commands.run('demo', '--help')
        self.assertEqual(0, result.returncode)
        self.assertIn('Exit codes: 0', result.stdout)


class TestTrouble(testtools.TestCase):

    def _refused(self, result):
        """Check for exit code 2 and one line, which is returned."""
        self.assertEqual('', result.stdout)
        self.assertEqual(2, result.returncode)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        return result.stderr

    def test_number_of_hosts(self):
        for value in ('0', '-3', '1001', 'many', '1.5', ''):
            line = self._refused(commands.run('demo', f'--hosts={value}'))
            self.assertIn('--hosts', line)
            self.assertIn(repr(value), line)
            self.assertIn('from 1 to 1000', line)

    def test_format(self):
        line = self._refused(commands.run('demo', '-f', 'xml'))
        self.assertIn('xml', line)

    def test_unknown_command(self):
        line = self._refused(commands.run('dmo'))
        self.assertIn("'dmo'", line)
        self.assertIn('demo', line)

    def test_no_command(self):
        self.assertIn('demo', self._refused(commands.run()))

    def test_nova_is_missing(self):
        line = self._refused(
            commands.run('demo', command=commands.WITHOUT_NOVA))
        self.assertIn("pip install 'pci_filter[nova]'", line)

    def test_help_without_nova(self):
        result = commands.run(
            'demo', '--help', command=commands.WITHOUT_NOVA)
        self.assertEqual(0, result.returncode)

    def _stop(self, signal_number, keep=None):
        """Stop a demo in full swing.

        :param keep: name of the folder that it is to leave
        :returns: exit code, stderr
        """
        with tempfile.TemporaryDirectory() as directory:
            folder = pathlib.Path(directory)
            arguments = ('--keep', folder / keep) if keep else ()
            process = subprocess.Popen(
                [commands.COMMAND, 'demo', '--hosts', '1000', *arguments],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env={**os.environ, 'TMPDIR': directory},
                # Whoever runs the tests in the background ignores SIGINT.
                preexec_fn=functools.partial(
                    signal.signal, signal_number, signal.SIG_DFL))
            self.addCleanup(process.kill)
            deadline = time.monotonic() + 60
            while not list(folder.glob('*/cell2.db')):
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            process.send_signal(signal_number)
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(
                [keep] if keep else [],
                [path.name for path in folder.rglob('*')])
        return process.returncode, stderr

    def test_interrupt(self):
        self.assertEqual(
            (130, 'pci-filter: interrupted\n'), self._stop(signal.SIGINT))

    def test_terminate(self):
        self.assertEqual((143, ''), self._stop(signal.SIGTERM))

    def test_interrupt_with_a_folder(self):
        """The next one can have it."""
        self.assertEqual(
            (130, 'pci-filter: interrupted\n'),
            self._stop(signal.SIGINT, 'kept'))

    def test_closed_pipe(self):
        process = subprocess.Popen(
            [commands.COMMAND, 'demo', '--hosts', '1'], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        self.assertEqual((141, ''), (process.wait(timeout=60), stderr))


class TestKeep(testtools.TestCase):
    """The folder that is left to try the other commands on."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name, 'demo')

    def test_commands_work_on_it(self):
        result = commands.run('demo', '--hosts', '12', '--keep', self.folder)
        self.assertEqual(0, result.returncode, result.stderr)
        configuration = self.folder / 'nova.conf'
        self.assertEqual(
            f'Now try: pci-filter audit --config-file {configuration}\n',
            result.stderr)
        audit = self._json(3, 'audit', '--grace', '0')
        self.assertEqual({'summary-count'}, {one['kind'] for one in audit})
        pools = self._json(0, 'pool', 'list')
        self.assertEqual(12, len({pool['host'] for pool in pools}))
        self._json(0, 'capacity', '--alias', 'gpu')

    def test_folder_with_something_in_it(self):
        self.folder.mkdir()
        precious = self.folder / 'precious'
        precious.touch()
        result = commands.run('demo', '--keep', self.folder)
        self.assertEqual(
            (2, '', f'pci-filter: {self.folder} is not empty: give --keep a '
                    'new folder\n'),
            (result.returncode, result.stdout, result.stderr))
        self.assertTrue(precious.exists())

    def test_folder_that_cannot_be(self):
        result = commands.run('demo', '--keep', '/dev/null/demo')
        self.assertEqual(
            (2, '', 'pci-filter: cannot use /dev/null/demo for --keep: Not a '
                    'directory\n'),
            (result.returncode, result.stdout, result.stderr))

    def _json(self, exit_code, *arguments):
        result = commands.run(*arguments, '-f', 'json', '--config-file',
                              self.folder / 'nova.conf')
        self.assertEqual(
            (exit_code, ''), (result.returncode, result.stderr))
        return json.loads(result.stdout)
