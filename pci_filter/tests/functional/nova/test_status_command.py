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
import sqlite3
import subprocess
import sys
import tempfile
import uuid

import fixtures
from nova import version
import testtools

from pci_filter.cli.demo import hardware
from pci_filter.cmd import nova_checks
from pci_filter.compute import tracker
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.db import base as db_base
from pci_filter.tests.functional.nova import base

COMMAND = pathlib.Path(sys.executable).with_name('pci-filter-status')

CONF = """
[api_database]
connection = sqlite:///{folder}/api.db
[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = pci_filter.scheduler.filters.all_filters
enabled_filters = PciPassthroughFilter,ComputeFilter
[pci]
alias = {{"name": "nic", "vendor_id": "8086", "product_id": "154c"}}
"""

# Runs the command after what stands in place of the braces.
RUN = """
import sys
{}
from pci_filter.cmd import status
sys.exit(status.main(sys.argv[1:]))
"""

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
del host_manager.HostManager.host_state_cls
"""

TITLES = [
    'Nova Release', 'Scheduler Hook', 'Scheduler Filters', 'PCI Aliases',
    'Tag Sources', 'Cell Databases', 'Device Tags', 'Use of pci_stats']

#: The checks that need Nova.
OF_NOVA = TITLES[:4]


def port(vfs=4):
    return hardware.network_card(
        hardware.INTEL_X710, 0x81, 0, ports=1, vfs=vfs)


SPEC = ['{"address": "*:81:*.*", "physical_network": "physnet1"}']


class StatusTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.useFixture(fixtures.FakeLogger())
        self.cloud = base.Cloud(2, self.folder, self.cell_urls())
        self.cloud.open()
        self.addCleanup(self.cloud.close)
        self.conf = CONF.format(folder=self.folder)

    def cell_urls(self):
        """Return the databases of the cells, None for files."""

    def add(self, *names, cell=0, **more):
        for name in names:
            self.cloud.add_host(cell, name, port(), SPEC, **more)

    def start(self, *arguments, before=None, conf=None):
        """Run the command; see :meth:`results` for the rest."""
        path = self.folder / 'nova.conf'
        path.write_text(self.conf if conf is None else conf)
        command = (COMMAND,) if before is None else (
            sys.executable, '-c', RUN.format(before))
        return subprocess.run(
            [*command, f'--config-file={path}', *arguments],
            capture_output=True, text=True, check=False, timeout=120)

    def results(self, code, **more):
        """Return details and code of each check by its title.

        :param code: the exit code that is right
        :param more: see :meth:`start`
        """
        run = self.start('upgrade', 'check', '--json', **more)
        self.assertEqual('', run.stderr)
        self.assertEqual(code, run.returncode, run.stdout)
        output = json.loads(run.stdout)
        self.assertEqual(
            TITLES, [one['check'] for one in output['checks']])
        return {one['check']: (one['result'], one['details'])
                for one in output['checks']}

    def check(self, results, title, code, *texts):
        """Check the result of one check, and take it out."""
        found, details = results.pop(title)
        self.assertEqual(code, found, details)
        for text in texts:
            self.assertIn(text, details)

    def check_rest(self, results, code=0):
        self.assertEqual(
            {title: code for title in results},
            {title: found for title, (found, _) in results.items()}, results)


class TestAllWell(StatusTestCase):

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

    def test_no_hosts(self):
        results = self.results(0)
        self.check(results, 'Device Tags', 0, 'No PCI device is available')
        self.check(results, 'Use of pci_stats', 0, 'No host has PCI devices')
        self.check_rest(results)

    def test_table(self):
        self.add(*(f'host{number:02}' for number in range(12)))
        before = {path.name: path.read_bytes()
                  for path in self.folder.glob('*.db')}
        run = self.start('upgrade', 'check')
        self.assertEqual((0, ''), (run.returncode, run.stderr))
        for title in TITLES:
            self.assertIn(f'| Check: {title} ', run.stdout)
        self.assertIn('host09 and 2 more', ' '.join(run.stdout.split()))
        self.assertNotIn('host10', run.stdout)
        self.assertEqual([], [
            line for line in run.stdout.splitlines() if len(line) > 80])
        self.assertEqual(before, {
            path.name: path.read_bytes()
            for path in self.folder.glob('*.db')})
        self.check(self.results(0), 'Use of pci_stats', 0, ', host11.')


class TestNova(StatusTestCase):

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
                   'HostManager has no host_state_cls()',
                   'Supported releases: ')
        self.check_rest(results)

    def test_nothing_is_attached(self):
        self.assertEqual(0, nova_checks.check_hook().code)
        for owner, name, _ in hook._REPLACED:
            self.assertFalse(
                hasattr(getattr(owner, name), 'pci_filter_original'), name)


class TestConfiguration(StatusTestCase):

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
            f'[api_database]\nconnection = sqlite:///{self.folder}/api.db\n',
            filters=[
                'is not available: add the line "available_filters = '
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
        for title in TITLES[-2:]:
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
        for title in TITLES[-2:]:
            self.check(results, title, 1, 'Not checked')
        self.check_rest(results)

    def test_device_spec_that_is_not_used(self):
        results = self.results(1, conf=(
            f'{self.conf}[pci_filter]\ntag_sources = pci_stats\n'
            'device_spec = {"vendor_id": "8086"}\n'))
        self.check(results, 'Tag Sources', 1, 'set but not used')
        self.check_rest(results)


class TestDevices(StatusTestCase):

    def test_nobody_knows_tags(self):
        self.add('a', 'b', 'c')
        for name in 'bc':
            self.cloud.store_summary(self.cloud.hosts[name], None)
        results = self.results(1)
        self.check(results, 'Device Tags', 1,
                   '2 of 6 groups', ': 2 from pci_stats.', ' on b, c. ')
        self.check(results, 'Use of pci_stats', 0,
                   'NULL on 2 of the 3', ': a, b, c.')
        self.check_rest(results)
        self.cloud.store_summary(self.cloud.hosts['a'], 'no JSON')
        self.check(self.results(2), 'Device Tags', 2,
                   '0 of 6 groups of available devices have their tags. No')
        self.check(self.results(0, conf=(
            self.conf + '[pci_filter]\n'
            'device_spec = {"vendor_id": "8086"}\n')),
            'Use of pci_stats', 0, 'could be NULL on all')

    def test_tags_differ_within_a_port(self):
        self.cloud.add_host(0, 'a', port(), [
            '{"address": "0000:81:02.0", "trusted": "true"}', *SPEC])
        results = self.results(1)
        self.check(results, 'Device Tags', 1,
                   '2 of 2 groups', 'In 1 groups', ', on a. ')
        self.check_rest(results)

    def test_devices_in_use(self):
        """They have no tags in the summary of a tracker that restarts."""
        self.add('a')
        self.cloud.claim(self.cloud.hosts['a'], [base.vf_request(4)])
        self.cloud.restart(self.cloud.hosts['a'])
        results = self.results(0)
        self.check(results, 'Device Tags', 0, 'No PCI device is available')
        self.check(results, 'Use of pci_stats', 0, ' on 1 hosts: a.')
        self.check_rest(results)

    def test_providers(self):
        """Only the summary has those that rows were written before."""
        self.add('a', in_placement=True)
        host = self.cloud.hosts['a']
        self.cloud.execute(host.cell, (
            "UPDATE pci_devices SET extra_info = '{}'"))
        conf = self.conf + (
            '[pci_filter]\ndevice_spec = {"vendor_id": "8086"}\n')
        self.check(self.results(0, conf=conf), 'Use of pci_stats', 0,
                   'could be NULL on all')
        conf = conf.replace('[filter_scheduler]',
                            '[filter_scheduler]\npci_in_placement = true')
        self.check(self.results(0, conf=conf), 'Use of pci_stats', 0,
                   ' on 1 hosts: a.')


class TestCells(StatusTestCase):

    def change(self, name, statement):
        connection = sqlite3.connect(self.folder / name)
        connection.execute(statement)
        connection.commit()
        connection.close()

    def cells(self, code, *texts):
        results = self.results(code)
        self.check(results, 'Cell Databases', 2, *texts)
        return results

    def test_column_is_missing(self):
        self.add('a', cell=1)
        self.change(
            'cell1.db', 'ALTER TABLE compute_nodes DROP COLUMN pci_stats')
        results = self.cells(
            2, 'Cell cell1 has no compute_nodes.pci_stats. Run "nova-manage')
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)

    def test_cell_is_down(self):
        self.add('a', cell=1)
        self.change('api.db', (
            'UPDATE cell_mappings SET database_connection = '
            "'mysql+pymysql://nova:s3cret@127.0.0.1:1/nova' "
            "WHERE name = 'cell1'"))
        results = self.cells(2, 'Cell cell1 cannot be read: ', 'refused')
        self.assertNotIn('s3cret', str(results))
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)

    def no_cell(self, conf, *texts):
        results = self.results(2, conf=conf)
        self.check(results, 'Cell Databases', 2, *texts)
        for title in TITLES[-2:]:
            self.check(results, title, 1, 'Not checked')
        self.check_rest(results)

    def test_other_database(self):
        self.no_cell(self.conf.replace('api.db', 'cell1.db'),
                     'it has no table cell_mappings')
        self.no_cell(
            self.conf.replace(f'sqlite:///{self.folder}/api.db',
                              'mysql+pymysql://n:s3cret@127.0.0.1:1/api'),
            'cannot read the API database', 'refused')
        self.no_cell(self.conf.replace('connection', '# connection'),
                     '[api_database]connection is not set')
        self.change('api.db', (
            'UPDATE cell_mappings SET database_connection = '
            f"'sqlite:///{self.folder}/api.db'"))
        self.no_cell(self.conf, 'Cell cell1 cannot be read: it has no table',
                     'Cell cell2 cannot be read: it has no table')


class TestTrouble(StatusTestCase):

    def refused(self, *arguments, command=(COMMAND,), **environment):
        """Check for exit code 255 and one line, which is returned."""
        run = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True,
            check=False, timeout=120, env={**os.environ, **environment})
        self.assertEqual((255, ''), (run.returncode, run.stdout), run.stderr)
        self.assertEqual(1, len(run.stderr.splitlines()), run.stderr)
        self.assertTrue(
            run.stderr.startswith('pci-filter-status'), run.stderr)
        return run.stderr

    def test_configuration(self):
        check = ('upgrade', 'check')
        self.assertIn('there is no nova.conf', self.refused(
            *check, HOME=str(self.folder)))
        missing = self.folder / 'missing.conf'
        self.assertIn(
            str(missing), self.refused('--config-file', missing, *check))
        faulty = self.folder / 'faulty.conf'
        faulty.write_text('[database]\nconnection s3cret\n')
        said = self.refused('--config-file', faulty, *check)
        self.assertIn(f'{faulty}:2', said)
        self.assertNotIn('s3cret', said)

    def test_usage(self):
        for arguments in ((), ('upgrade',), ('upgrade', 'chekc'),
                          ('upgrade', 'check', '--jsno')):
            self.assertIn('--help', self.refused(*arguments))

    def test_help(self):
        for arguments in (('--help',), ('upgrade', 'check', '--help')):
            run = self.start(*arguments)
            self.assertEqual((0, ''), (run.returncode, run.stderr))
            for code in (0, 1, 2, 255):
                self.assertRegex(run.stdout, fr'(?m)^  {code} +\w')

    def test_unexpected_error(self):
        path = self.folder / 'nova.conf'
        path.write_text(self.conf)
        said = self.refused(
            f'--config-file={path}', 'upgrade', 'check',
            command=(sys.executable, '-c', RUN.format(
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
            [COMMAND, f'--config-file={path}', 'upgrade', 'check'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        stderr = process.stderr.read()
        process.stderr.close()
        self.assertEqual((141, ''), (process.wait(timeout=60), stderr))


class TestMySQL(StatusTestCase):

    def cell_urls(self):
        if db_base.MySQLMixin.variable not in os.environ:
            self.skipTest(f'{db_base.MySQLMixin.variable} is not set')
        return [self.useFixture(Database()).url for _ in range(2)]

    def test_all_well_and_a_column_less(self):
        self.add('a')
        self.add('b', cell=1, tracker=tracker.PciDevTracker)
        results = self.results(0)
        self.check(results, 'Device Tags', 0, '4 of 4 groups',
                   '2 from pci_stats', '2 from pci_devices')
        self.check(results, 'Use of pci_stats', 0, ' on 1 hosts: a.')
        self.check_rest(results)
        self.cloud.execute(
            self.cloud.cells[0],
            'ALTER TABLE pci_devices DROP COLUMN parent_addr')
        results = self.results(2)
        self.check(results, 'Cell Databases', 2,
                   'Cell cell1 has no pci_devices.parent_addr.')
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)


class Database(fixtures.Fixture):
    """An empty database on the MySQL server, at ``.url``."""

    def _setUp(self):
        class Server(db_base.MySQLMixin):
            _name = f'pci_filter_{uuid.uuid4().hex[:12]}'

        Server._administer(f'CREATE DATABASE {Server._name}')
        self.addCleanup(Server.remove_database)
        self.url = Server._url().set(
            database=Server._name).render_as_string(hide_password=False)
