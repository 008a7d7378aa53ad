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


"""What the tests of ``pci-filter-status`` share."""

import json
import pathlib
import subprocess
import sys

import fixtures
from nova.db.api import api as api_db

from pci_filter.fixture import hardware
from pci_filter.tests.functional.nova import base

COMMAND = pathlib.Path(sys.executable).with_name('pci-filter-status')

CONF = """
[DEFAULT]
state_path = {state}
[api_database]
connection = {api}
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

TITLES = [
    'Nova Release', 'Scheduler Hook', 'Scheduler Filters', 'PCI Aliases',
    'Tag Sources', 'Cell Databases', 'Device Tags', 'Stale Tags',
    'Use of pci_stats', 'Reservations']

SPEC = ['{"address": "*:81:*.*", "physical_network": "physnet1"}']


def port(vfs=4):
    return hardware.network_card(
        hardware.INTEL_X710, 0x81, 0, ports=1, vfs=vfs)


class StatusTestCase(base.NovaTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.api = api_db.context_manager.writer.get_engine()
        self.conf = CONF.format(
            api=self.api.url, state=self.folder)

    def add(self, *names, cell=0, **more):
        for name in names:
            self.cloud.add_host(cell, name, port(), SPEC, **more)

    def rename(self, *names):
        """Rename a column in the first cell until the test is over."""
        statement = 'ALTER TABLE pci_devices RENAME COLUMN {} TO {}'
        self.cloud.execute(self.cloud.cells[0], statement.format(*names))
        self.addCleanup(self.cloud.execute, self.cloud.cells[0],
                        statement.format(*reversed(names)))

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
