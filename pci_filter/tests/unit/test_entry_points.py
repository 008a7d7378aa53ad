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

"""Every entry point, loaded from the installed metadata.

A test that calls the function behind an entry point does not notice that the
entry point has a wrong name, so these start from the name.
"""

from importlib import metadata
import inspect

from cliff import command
from nova.scheduler import filters
import testtools

CONTRACT = {
    'pci_filter.reservations': {'local', 'memcached', 'none'},
    'pci_filter.scheduler.filters': {'PciPassthroughFilter'},
    'pci_filter.scheduler.host_manager': {'pci_pools'},
    'pci_filter.tag_sources': {'device_spec', 'pci_devices', 'pci_stats'},
    'oslo.config.opts': {'pci_filter'},
    'console_scripts': {
        'pci-filter', 'pci-filter-nova-compute', 'pci-filter-status'},
    'pci_filter.cli': {
        'audit', 'capacity', 'demo', 'explain', 'pool_list',
        'reservations_list'},
}

OPTIONS = {'device_spec', 'load_for', 'load_timeout', 'on_load_failure',
           'reservation_file', 'reservation_servers',
           'reservation_store_timeout',
           'reservation_timeout', 'reservations', 'tag_sources',
           'write_pci_stats', 'write_tags'}


class TestEntryPoints(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.entry_points = metadata.distribution('pci_filter').entry_points

    def _load(self, group):
        loaded = {
            point.name: point.load()
            for point in self.entry_points if point.group == group}
        self.assertNotEqual({}, loaded)
        return loaded

    def test_names(self):
        found = {}
        for point in self.entry_points:
            found.setdefault(point.group, set()).add(point.name)
        self.assertEqual(CONTRACT, found)

    def test_filters(self):
        for name, loaded in self._load('pci_filter.scheduler.filters').items():
            self.assertTrue(issubclass(loaded, filters.BaseHostFilter))
            # Nova keys filters by class name.
            self.assertEqual(name, loaded.__name__)

    def test_host_manager_hook(self):
        loaded = self._load('pci_filter.scheduler.host_manager')
        self.assertTrue(inspect.isfunction(loaded['pci_pools']))

    def test_tag_sources(self):
        for loaded in self._load('pci_filter.tag_sources').values():
            self.assertTrue(inspect.isclass(loaded), loaded)
            self.assertFalse(inspect.isabstract(loaded), loaded)

    def test_options(self):
        list_opts = self._load('oslo.config.opts')['pci_filter']
        groups = {
            getattr(group, 'name', group): {opt.dest for opt in opts}
            for group, opts in list_opts()}
        self.assertEqual(['pci_filter'], list(groups))
        self.assertEqual(set(), OPTIONS - groups['pci_filter'])

    def test_console_scripts(self):
        for loaded in self._load('console_scripts').values():
            self.assertTrue(inspect.isfunction(loaded), loaded)

    def test_commands(self):
        for name, loaded in self._load('pci_filter.cli').items():
            self.assertTrue(issubclass(loaded, command.Command), loaded)
            # cliff prints it as the command's help.
            self.assertTrue(inspect.getdoc(loaded), f'{name} has no help')
