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


"""``pci-filter-status upgrade check`` as an operator runs it."""

import json
import os
import pathlib
import subprocess
import sys

from nova import version

from pci_filter.cmd import nova_checks
from pci_filter.compute import tracker
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import status
from pci_filter.tests import installed

NO_NOVA = """
class NoNova:
    def __init__(self, finder):
        self._finder = finder
    def __getattr__(self, name):
        return getattr(self._finder, name)
    def find_spec(self, name, *more):
        if name.partition('.')[0] != 'nova':
            return self._finder.find_spec(name, *more)
sys.meta_path[:] = map(NoNova, sys.meta_path)
"""

OTHER_NOVA = """
import os
import warnings
warnings.simplefilter('ignore')
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = '1'
from nova import version
version.version_string = lambda: '99.1.0'
from nova.scheduler import host_manager
del host_manager.HostManager.get_host_states_by_uuids
"""

SLOWER_NOVA = """
import os
import warnings
warnings.simplefilter('ignore')
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = '1'
from nova.scheduler import host_manager
del host_manager.HostManager.host_state_cls
"""

#: The checks that need Nova.
OF_NOVA = status.TITLES[:4]


class TestAllWell(status.StatusTestCase):

    def test_nova_as_it_is(self):
        self.add('a')
        self.add('b', 'c', cell=1)
        results = self.results(0)
        self.check(results, 'Nova Release', 0, version.version_string())
        self.check(results, 'PCI Aliases', 0, ': 1.')
        self.check(results, 'Tag Sources', 0,
                   'pci_devices, device_spec, pci_stats')
        self.check(results, 'Cell Databases', 0, 'cell1, cell2')
        self.check(results, 'Device Tags', 0,
                   '6 of 6 groups', ': 6 from pci_stats.')
        self.check(results, 'Use of pci_stats', 0,
                   'NULL on 0 of the 3 hosts', 'on 3 hosts: a, b, c.')
        self.check_rest(results)

    def test_our_tracker(self):
        self.add('a', 'b', tracker=tracker.PciDevTracker)
        self.cloud.store_summary(self.cloud.hosts['b'], None)
        results = self.results(0)
        self.check(results, 'Device Tags', 0, ': 4 from pci_devices.')
        self.check(results, 'Use of pci_stats', 0,
                   'NULL on 1 of the 2 hosts', 'could be NULL on all')
        self.check_rest(results)

    def test_names_do_not_control_the_terminal(self):
        self.add('a')
        self.cloud.execute(self.cloud.cells[0], (
            "UPDATE compute_nodes SET host = 'e\x1b[2J\nvil'"))
        run = self.start('upgrade', 'check')
        self.assertIn(r'e\x1b[2J\nvil', run.stdout)
        self.assertNotIn('\x1b', run.stdout)

    def test_no_hosts(self):
        results = self.results(0)
        self.check(results, 'Device Tags', 0, 'No PCI device is available')
        self.check(results, 'Use of pci_stats', 0, 'No host has PCI devices')
        self.check_rest(results)

    def test_table(self):
        self.add(*(f'host{number:02}' for number in range(12)))
        paths = [
            pathlib.Path(engine.url.database) for engine in (
                self.api, *map(self.cloud.engine, self.cloud.cells))
            if engine.name == 'sqlite']
        before = [path.read_bytes() for path in paths]
        run = self.start('upgrade', 'check')
        self.assertEqual((0, ''), (run.returncode, run.stderr))
        for title in status.TITLES:
            self.assertIn(f'| Check: {title} ', run.stdout)
        self.assertIn('host09 and 2 more', ' '.join(run.stdout.split()))
        self.assertNotIn('host10', run.stdout)
        self.assertEqual([], [
            line for line in run.stdout.splitlines() if len(line) > 80])
        self.assertNotIn('without', run.stdout)
        self.assertEqual(before, [path.read_bytes() for path in paths])
        self.check(self.results(0), 'Use of pci_stats', 0, ', host11.')


class TestNova(status.StatusTestCase):

    def test_no_nova(self):
        self.add('a')
        results = self.results(1, before=NO_NOVA)
        for title in OF_NOVA:
            self.check(results, title, 1, 'Nova is not installed')
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)

    def test_other_nova(self):
        results = self.results(2, before=OTHER_NOVA)
        self.check(results, 'Nova Release', 1, 'Nova 99.1.0')
        self.check(results, 'Scheduler Hook', 2,
                   'HostManager has no get_host_states_by_uuids()',
                   'Supported releases: ')
        self.check_rest(results)

    def test_slower_nova(self):
        results = self.results(1, before=SLOWER_NOVA)
        self.check(results, 'Scheduler Hook', 1,
                   'its HostManager has no host_state_cls(). Verdicts are '
                   'the same, but nova-scheduler parses more of what ')
        self.check_rest(results)

    def test_nothing_is_attached(self):
        self.assertEqual(0, nova_checks.check_hook().code)
        for owner, name, *_ in hook.REPLACED:
            self.assertFalse(
                hasattr(getattr(owner, name), 'pci_filter_original'), name)


class TestConfiguration(status.StatusTestCase):

    def without(self, line, instead=''):
        self.assertIn(line, self.conf)
        return self.conf.replace(line, instead)

    def problems(self, conf, **texts):
        """Run once with several faults, and check that each is found.

        :param conf: nova.conf
        :param texts: what the details of filters, aliases and sources have
        """
        results = self.results(2, conf=conf)
        for title, key in (('Scheduler Filters', 'filters'),
                           ('PCI Aliases', 'aliases'),
                           ('Tag Sources', 'sources')):
            if key in texts:
                self.check(results, title, 2, *texts[key])
        return results

    def test_defaults(self):
        self.check_rest(self.problems(
            f'[api_database]\nconnection = {self.api.url}\n',
            filters=[
                'is not available: [filter_scheduler] needs the line '
                '"available_filters = nova.scheduler.filters.all_filters" and '
                'after it the line "available_filters = '
                'pci_filter.scheduler.filters.all_filters"',
                'is not enabled: add PciPassthroughFilter']))

    def test_order_of_the_lines(self):
        theirs, ours = (line + '\n' for line in self.conf.splitlines()
                        if line.startswith('available'))
        self.check_rest(self.problems(
            self.without(theirs + ours, ours + theirs)
            + 'alias = {"name": "nic"\n'
            '[pci_filter]\ntag_sources = device_spec\n',
            filters=['Another PciPassthroughFilter'],
            aliases=['[pci]alias = {"name": "nic": '],
            sources=['no request could get a device']))

    def test_filters_of_nova_are_missing(self):
        results = self.problems(
            self.without(
                'available_filters = nova.scheduler.filters.all_filters\n')
            + 'alias = {"name": "nic", "vendor": "8086"}\n'
            '[pci_filter]\ntag_sources = pci_stat\n',
            filters=['names ComputeFilter, which is not available'],
            aliases=["'vendor'"],
            sources=['does not start', "unknown source 'pci_stat'"])
        for title in status.TITLES[-4:-1]:
            self.check(results, title, 1, 'Not checked')
        self.check_rest(results)

    def test_two_filters_in_a_line(self):
        theirs, ours = (line for line in self.conf.splitlines()
                        if line.startswith('available'))
        results = self.problems(
            self.without(f'{theirs}\n{ours}', f'{theirs},{ours[20:]}')
            + '[pci_filter]\ndevice_spec = {"vendor_id": 1}\n',
            filters=['available_filters cannot be loaded', 'another one'],
            sources=['does not start', '{"vendor_id": 1}'])
        for title in status.TITLES[-4:-1]:
            self.check(results, title, 1, 'Not checked')
        self.check_rest(results)

    def test_device_spec_that_is_not_used(self):
        results = self.results(1, conf=(
            f'{self.conf}[pci_filter]\ntag_sources = pci_stats\n'
            'device_spec = {"vendor_id": "8086"}\n'))
        self.check(results, 'Tag Sources', 1, 'set but not used')
        self.check_rest(results)


class TestTrouble(status.StatusTestCase):

    def refused(self, *arguments, command=(status.COMMAND,), **environment):
        """Check for exit code 255 and one line, which is returned."""
        run = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True,
            check=False, timeout=120, env={**os.environ, **environment})
        self.assertEqual((255, ''), (run.returncode, run.stdout), run.stderr)
        self.assertEqual(1, len(run.stderr.splitlines()), run.stderr)
        self.assertTrue(
            run.stderr.startswith('pci-filter-status'), run.stderr)
        return run.stderr

    def test_no_configuration(self):
        installed.require_no_nova_conf()
        self.assertIn('there is no nova.conf', self.refused(
            'upgrade', 'check', HOME=str(self.folder)))

    def test_configuration(self):
        check = ('upgrade', 'check')
        missing = self.folder / 'missing.conf'
        self.assertIn(
            str(missing), self.refused('--config-file', missing, *check))
        faulty = self.folder / 'faulty.conf'
        faulty.write_text('[database]\nconnection s3cret\n')
        said = self.refused('--config-file', faulty, *check)
        self.assertIn(f'{faulty}:2', said)
        self.assertNotIn('s3cret', said)

    def test_files_are_named_anywhere(self):
        """Those before the command and after it count, later ones win."""
        paths = [self.folder / name for name in ('one.conf', 'two.conf')]
        paths[0].write_text(self.conf)
        paths[1].write_text('[pci]\nalias = {"name": "nic"\n')
        for arguments in (
                ('--config-file', paths[0], 'upgrade', 'check',
                 f'--config-file={paths[1]}', '--json'),
                ('upgrade', 'check', '--json', '--config-file', paths[0],
                 '--config-file', paths[1])):
            run = subprocess.run(
                [status.COMMAND, *arguments], capture_output=True, text=True,
                check=False, timeout=120)
            self.assertEqual((2, ''), (run.returncode, run.stderr))
            found = {one['check']: one for one in json.loads(
                run.stdout)['checks']}
            self.assertEqual(2, found['PCI Aliases']['result'])
            self.assertEqual(0, found['Cell Databases']['result'])
        self.assertIn('--config-file', self.refused(
            'upgrade', 'check', '--config-file'))

    def test_usage(self):
        for arguments in ((), ('upgrade',), ('upgrade', 'chekc'),
                          ('upgrade', 'check', '--jsno')):
            self.assertIn('--help', self.refused(*arguments))

    def test_help(self):
        for arguments in (('--help',), ('upgrade', 'check', '--help')):
            run = self.start(*arguments)
            self.assertEqual((0, ''), (run.returncode, run.stderr))
            self.assertIn('--config-file FILE', run.stdout)
            for code in (0, 1, 2, 255):
                self.assertRegex(run.stdout, fr'(?m)^  {code} +\w')

    def test_unexpected_error(self):
        path = self.folder / 'nova.conf'
        path.write_text(self.conf)
        said = self.refused(
            f'--config-file={path}', 'upgrade', 'check',
            command=(sys.executable, '-c', status.RUN.format(
                'from pci_filter.cmd import cell_checks\n'
                'def fail(conf):\n'
                "    raise ValueError('s3cret')\n"
                'cell_checks.find_cells = fail')))
        self.assertIn('unexpected ValueError at <string>:5', said)
        self.assertNotIn('s3cret', said)

    def test_closed_pipe(self):
        path = self.folder / 'nova.conf'
        path.write_text(self.conf)
        process = subprocess.Popen(
            [status.COMMAND, f'--config-file={path}', 'upgrade', 'check'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        self.assertEqual((141, ''), (process.wait(timeout=60), stderr))
