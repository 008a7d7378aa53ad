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

"""Run the commands of operators on a fleet that Nova wrote."""

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import types
import typing

import fixtures

from pci_filter.cli.nova import cells
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base

COMMAND = pathlib.Path(sys.executable).with_name('pci-filter')


def _without(package):
    """Return what runs the command as if a package were not installed."""
    return (sys.executable, '-c', f'''
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == {package!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
from pci_filter.cli import shell
sys.exit(shell.main(sys.argv[1:]))
''')


WITHOUT_NOVA = _without('nova')

WITHOUT_PLACEMENT = _without('placement')

#: The constraints of 2024.1 have no rich.
WITHOUT_RICH = _without('rich')

ALIASES = (
    {'name': 'vf', 'vendor_id': '8086', 'product_id': '154c',
     'device_type': 'type-VF'},
    {'name': 'pf', 'vendor_id': '8086', 'product_id': '1572',
     'device_type': 'type-PF', 'numa_policy': 'required'},
    {'name': 'gpu', 'vendor_id': '10DE', 'product_id': '1db6'},
    {'name': 'mistyped', 'vendor_id': '8086', 'product_id': '154d'},
    {'name': 'wrong-type', 'vendor_id': '8086', 'product_id': '154c',
     'device_type': 'type-PF'},
    {'name': 'no-type', 'vendor_id': '8086', 'product_id': '1572'},
)


def only_cell(url):
    """Return arguments for one database, whatever nova.conf there is."""
    return '--config-file', os.devnull, '--database-connection', url


def cells_of(url):
    """Return the same for a command in this process."""
    return cells.Cells(argparse.Namespace(
        database_connection=url, cell=None, config_files=[os.devnull],
        config_dirs=None, timeout=10))


def run(*arguments, command=(COMMAND,), stdin=None, **environment):
    """Run ``pci-filter`` as a process of its own."""
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True,
        check=False, timeout=120, stdin=stdin,
        env={**os.environ, 'HOME': '/nonexistent', **environment})


def run_here(command_class, *arguments):
    """Run a command in this process, which is quicker.

    :returns: exit code, and what it printed, decoded from JSON
    """
    stdout = io.StringIO()
    command = command_class(types.SimpleNamespace(stdout=stdout), None)
    parser = command.get_parser('pci-filter')
    code = command.run(parser.parse_args(['-f', 'json', *arguments]))
    return code, json.loads(stdout.getvalue())


class NovaConf(fixtures.Fixture):
    """The nova.conf of a cloud; ``.path`` is where it is.

    :param directory: where the databases of the cloud are
    :param aliases: values of [pci]alias
    """

    def __init__(self, directory, aliases=ALIASES):
        self._directory = directory
        self._aliases = aliases

    def _setUp(self):
        self.path = self._directory / 'nova.conf'
        self.write()

    def write(self, *lines, **options):
        """Write it anew.

        :param lines: to append
        :param options: of the [pci_filter] section
        """
        self.path.write_text('\n'.join((
            '[api_database]',
            f'connection = sqlite:///{self._directory}/api.db',
            '[database]',
            f'connection = sqlite:///{self._directory}/cell0.db',
            '[pci]', *(f'alias = {json.dumps(alias)}'
                       for alias in self._aliases),
            '[pci_filter]', *(f'{name} = {value}'
                              for name, value in options.items()),
            *lines, '')))


class FleetFixture(fixtures.Fixture):
    """Hosts with network cards and GPUs, some of which are in use.

    :param server: a server for the databases of the cells; None for SQLite
    """

    def __init__(self, server=None):
        self._server = server

    def _setUp(self):
        self.directory = pathlib.Path(self.useFixture(
            fixtures.TempDir()).path)
        urls = self._server and [self._new_database() for _ in range(2)]
        self.cloud = base.Cloud(
            cells=2, directory=self.directory, cell_urls=urls)
        self.cloud.open()
        self.addCleanup(self.cloud.close)
        self.conf = self.useFixture(NovaConf(self.directory))
        self._add_hosts()

    def _new_database(self):
        name = self._server.create_database()
        self.addCleanup(self._server.drop_database, name)
        return self._server.url(name).render_as_string(hide_password=False)

    def _add_hosts(self):
        function = scheduling.pci_request(
            {'vendor_id': '8086', 'product_id': '154c'}, alias_name='vf')
        for number in range(4):
            host = self.cloud.add_host(
                number % 2, f'net-{number}', hardware.network_card(
                    hardware.INTEL_X710, 0x81, 0, ports=2, vfs=8),
                [json.dumps({'address': '*:81:*.*', 'physical_network':
                             f'physnet{1 + number // 2}'})],
                scheduling.host_numa_topology((0, 1)))
            for _ in range((0, 3, 9, 16)[number]):
                self.cloud.claim(host, [function])
        self.cloud.add_host(
            0, 'gpu-0', [hardware.gpu(0x3b, 0), hardware.gpu(0x5e, 1)],
            ['{"vendor_id": "10de"}'], scheduling.host_numa_topology((0, 0)))
        self.cloud.add_host(1, 'plain-0', [], [])

    def store_request(self, requests, numa_topology=None):
        """Store what Nova stores of a new server; return its UUID."""
        spec = scheduling.request_spec(requests, numa_topology)
        spec.create()
        return spec.instance_uuid

    def pools(self, name):
        """Return the pools of a host's tracker, without its devices."""
        return [
            {key: value for key, value in pool.items() if key != 'devices'}
            for pool in self.cloud.tracker(
                self.cloud.hosts[name]).stats.pools]


def requests(*wanted):
    """Return Nova's objects for (alias, count)."""
    by_name = {alias['name']: alias for alias in ALIASES}
    return [
        scheduling.pci_request(
            {'dev_type' if key == 'device_type' else key: value
             for key, value in by_name[name].items()
             if key not in ('name', 'numa_policy')}, count, alias_name=name,
            numa_policy=by_name[name].get('numa_policy', 'legacy'))
        for name, count in wanted]


class FleetMixin:
    """A fleet for all tests of a class, ``cls.fleet``."""

    #: For the databases of the cells; None for SQLite.
    server: typing.Any = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.server:
            cls.server.require()
        cls.fleet = FleetFixture(cls.server)
        cls.fleet.setUp()
        cls.addClassCleanup(cls.fleet.cleanUp)
