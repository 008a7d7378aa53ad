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

"""``pci-filter-nova-compute`` as an operator starts it."""

import os
import pathlib
import subprocess
import sys

import fixtures
from nova import version
import testtools

import pci_filter

COMMAND = pathlib.Path(sys.executable).with_name('pci-filter-nova-compute')
PACKAGE = pathlib.Path(pci_filter.__file__).resolve().parent

# Runs the command after what stands in place of the braces.
RUN = '''
import runpy
import sys
sys.argv = sys.argv[1:]
from nova.cmd import compute
from nova.pci import manager
{}
runpy.run_path(sys.argv[0], run_name='__main__')
'''

# In place of Nova's own, which serves forever.
MAIN = '''
def main():
    from nova.compute import resource_tracker
    found = resource_tracker.pci_manager.PciDevTracker
    print(found.__module__, *sys.argv[1:])

compute.main = main
'''

PRINT_DRIVER = '''
def main():
    import sys
    from nova import config
    config.parse_args(sys.argv)
    print(config.CONF.compute_driver)

compute.main = main
'''

IMPORT_ALL = '''
import importlib
import pkgutil
import sys
import pci_filter
# Not those: they prepare the process, and walk_packages() imports packages.
sys.modules['pci_filter.tests'] = None
from nova.pci import manager
original = dict(vars(manager))
for module in pkgutil.walk_packages(pci_filter.__path__, 'pci_filter.'):
    if not module.name.startswith('pci_filter.tests'):
        importlib.import_module(module.name)
        print(module.name)
assert original == dict(vars(manager)), 'something is patched'
'''


class TestNovaCompute(testtools.TestCase):

    def run_it(self, *command, path=PACKAGE.parent):
        return subprocess.run(
            [str(part) for part in command], capture_output=True, text=True,
            check=False, timeout=120,
            env={**os.environ, 'PYTHONPATH': str(path)})

    def check_refusal(self, result):
        """Check for exit code 1 and one line, which is returned."""
        self.assertEqual(1, result.returncode, result.stderr)
        self.assertEqual('', result.stdout)
        self.assertNotIn('Traceback', result.stderr)
        # Nova may have something to say about eventlet first.
        line, = [line for line in result.stderr.splitlines()
                 if 'pci' in line]
        self.assertEqual(line, result.stderr.splitlines()[-1])
        prefix, line = line.split(': ', 1)
        self.assertEqual('pci-filter-nova-compute', prefix)
        return line

    def test_without_nova(self):
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (directory / 'pci_filter').symlink_to(PACKAGE)
        # -S: none of the packages of this environment.
        result = self.run_it(sys.executable, '-S', COMMAND, path=directory)
        self.assertEqual(1, len(result.stderr.splitlines()), result.stderr)
        self.assertEqual(
            'Nova is not installed in this environment. Install pci_filter '
            'into the one that nova-compute runs in.',
            self.check_refusal(result))

    def run_after(self, code, *arguments):
        return self.run_it(
            sys.executable, '-c', RUN.format(code), COMMAND, *arguments)

    def test_unknown_release(self):
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for release in ('99.1.0', '28.3.0', 'unknown'):
            (directory / 'sitecustomize.py').write_text(
                'from pbr import version\n'
                'version.VersionInfo.version_string = '
                f'lambda self: {release!r}\n')
            line = self.check_refusal(self.run_it(
                COMMAND, path=f'{directory}{os.pathsep}{PACKAGE.parent}'))
            self.assertIn(f'it is Nova {release}. Supported releases: ', line)
            self.assertIn("Run Nova's own nova-compute", line)

    def test_unknown_tracker(self):
        line = self.check_refusal(self.run_after(
            'manager.PciDevTracker.save = lambda self, context, force: 0'))
        self.assertIn(
            'PciDevTracker.save() takes self, context, force instead of '
            'self, context', line)
        line = self.check_refusal(self.run_after(
            'del manager.PciDevTracker._free_device'))
        self.assertIn('its PciDevTracker has no _free_device()', line)

    def test_version(self):
        ours, novas = (
            self.run_it(command, '--config-file', os.devnull, '--version')
            for command in (COMMAND, COMMAND.with_name('nova-compute')))
        self.assertEqual(0, ours.returncode, ours.stderr)
        self.assertIn(version.version_string(), ours.stdout)
        self.assertEqual(novas.stdout, ours.stdout)

    def test_tracker_is_in_place(self):
        result = self.run_after(MAIN, '--debug')
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertEqual(
            'pci_filter.compute.tracker --debug', result.stdout.strip())

    def test_configuration_files(self):
        """Files that are named after nova-compute are read as ever."""
        home = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(fixtures.EnvironmentVariable('HOME', str(home)))
        (home / '.nova').mkdir()
        (home / '.nova' / 'nova.conf').write_text('')
        (home / '.nova' / 'nova-compute.conf').write_text(
            '[DEFAULT]\ncompute_driver = fake.FakeDriver\n')
        result = self.run_after(PRINT_DRIVER)
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertEqual('fake.FakeDriver', result.stdout.strip())

    def test_nothing_is_patched_by_importing(self):
        result = self.run_it(sys.executable, '-c', IMPORT_ALL)
        self.assertEqual(0, result.returncode, result.stderr)
        for name in ('compute.tracker', 'compute.activation',
                     'cmd.nova_compute', 'scheduler.host_manager'):
            self.assertIn(f'pci_filter.{name}\n', result.stdout)
