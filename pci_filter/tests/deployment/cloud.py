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

"""A Nova deployment on loopback: all its processes, and what they share.

Two cells, each with its database, virtual host, conductor and computes; for
both an API, a conductor and a scheduler; placement. Nobody has to prove
who he is, and ``empty_service`` stands in for what Nova cannot do without.
"""

import concurrent.futures
import functools
import json
import os
import pathlib
import subprocess
import sys

import sqlalchemy as sa
from sqlalchemy import pool

from pci_filter.tests.deployment import books
from pci_filter.tests.deployment import client
from pci_filter.tests.deployment import configuration
from pci_filter.tests.deployment import hosts
from pci_filter.tests.deployment import processes
from pci_filter.tests.deployment import servers

_BIN = pathlib.Path(sys.executable).parent
_HERE = pathlib.Path(__file__).resolve().parent

_DATABASES = ('placement', 'nova_api', 'nova_cell0',
              *(f'nova_{cell}' for cell in hosts.CELLS))


class Cloud:
    """All servers of the deployment.

    :param directory: an empty one, for everything that they write
    :param say: is called with a text before each stage
    :param fleet: the compute hosts, a hosts.Fleet
    """

    def __init__(self, directory, say, fleet):
        self.directory = pathlib.Path(directory)
        self._say = say
        self._fleet = fleet
        self.logs = self.directory / 'logs'
        self.logs.mkdir()
        self.mariadb = servers.MariaDB(self.directory / 'mariadb', self.logs)
        self.rabbitmq = servers.RabbitMQ(
            self.directory / 'rabbitmq', self.logs, ('api', *hosts.CELLS))
        api, placement, empty = processes.free_ports(3)
        self.api_url = f'http://127.0.0.1:{api}/v2.1'
        self.placement_url = f'http://127.0.0.1:{placement}'
        self.configuration = configuration.Configuration(
            self.directory, self.mariadb.url, self.rabbitmq.url,
            self.placement_url, f'http://127.0.0.1:{empty}')
        # Those that have come later, by add().
        self._added = []
        self.client = client.Client(self.api_url, self.placement_url)
        self.books = books.Books(
            [self.mariadb.url(f'nova_{cell}') for cell in hosts.CELLS])
        self._define(api, placement, empty)

    def _define(self, api, placement, empty):
        write = self.configuration
        self.controller_conf = write.write_controller()
        self.scheduler_conf = write.write_scheduler()
        self.placement = self._application(
            'placement', 'placement.wsgi.api', placement,
            OS_PLACEMENT_CONFIG_DIR=str(write.write_placement()))
        self.empty_service = self._application(
            'empty-service', 'pci_filter.tests.deployment.empty_service',
            empty)
        self.api = self._application(
            'nova-api', 'nova.wsgi.osapi_compute', api,
            OS_NOVA_CONFIG_DIR=str(write.write_api()))
        self.scheduler = self._service('nova-scheduler', self.scheduler_conf)
        self.conductors = [
            self._service('nova-conductor', self.controller_conf)] + [
            self._service('nova-conductor', write.write_conductor(cell),
                          f'nova-conductor-{cell}') for cell in hosts.CELLS]
        self.computes = {}
        for host in self._fleet.values():
            self.computes[host.name] = self._service(
                host.command, write.write_compute(host),
                f'{host.command}-{host.name}',
                PYTHONPATH=os.pathsep.join(filter(None, (
                    str(_HERE / 'compute_site'),
                    os.environ.get('PYTHONPATH')))))
            (write.state(host.name) / 'hardware.json').write_text(
                json.dumps(host.hardware()))

    def add(self, process):
        """Let another process end with the cloud."""
        self._added.append(process)

    def _application(self, name, module, port, **environment):
        return processes.Process(
            name, [sys.executable, '-m',
                   'pci_filter.tests.deployment.wsgi_server', module, port],
            self.logs, environment)

    def new_scheduler(self, conf, name):
        """Return another nova-scheduler, to be started and added."""
        return self._service('nova-scheduler', conf, name)

    def _service(self, command, conf, name=None, **environment):
        return processes.Process(
            name or command, [_BIN / command, '--config-file', conf],
            self.logs, environment)

    @property
    def processes(self):
        """All of them, those that others need last."""
        return [
            *self.computes.values(), self.api, self.scheduler,
            *self.conductors, self.placement, self.empty_service,
            self.rabbitmq.process, self.rabbitmq.epmd, self.mariadb.process,
            *self._added]

    def start(self):
        self._say('MariaDB and RabbitMQ start')
        self.rabbitmq.launch()
        self.mariadb.create(_DATABASES)
        self._say('databases of placement and of Nova are created')
        self._create_schemas()
        self.rabbitmq.wait()
        self._say(
            f'placement, Nova and {len(self.computes)} computes start')
        for process in reversed(self.processes):
            if not process.is_running():
                process.start()
        self.api.wait_until('answers', self.client.list_services)
        self.wait_until_up()
        self.manage('cell_v2', 'discover_hosts')

    def kill(self):
        """Kill all of them: nothing is kept that they would write."""
        for process in self.processes:
            process.kill()

    def _create_schemas(self):
        cells = [(cell, self.configuration.write_conductor(cell))
                 for cell in hosts.CELLS]
        sync = ('db', 'sync', '--local_cell')
        self._all_of(
            lambda: self._run('placement-manage', '--config-dir',
                              self.directory / 'placement', 'db', 'sync'),
            lambda: self.manage('api_db', 'sync'),
            lambda: self.manage(*sync),
            *(functools.partial(self.manage, *sync, conf=conf)
              for _, conf in cells))
        self._all_of(
            lambda: self.manage('cell_v2', 'map_cell0',
                                '--database_connection',
                                self.mariadb.url('nova_cell0')),
            *(functools.partial(
                self.manage, 'cell_v2', 'create_cell', '--name', cell,
                '--database_connection', self.mariadb.url(f'nova_{cell}'),
                '--transport-url', self.rabbitmq.url(cell))
              for cell, _ in cells))

    def _all_of(self, *functions):
        with concurrent.futures.ThreadPoolExecutor() as executor:
            for done in [executor.submit(each) for each in functions]:
                done.result()

    def manage(self, *arguments, conf=None):
        """Run nova-manage."""
        self._run(*self.manage_command(conf), *arguments)

    def manage_command(self, conf=None):
        """Return the command line of nova-manage, without a command."""
        return (_BIN / 'nova-manage', '--config-file',
                conf or self.controller_conf)

    def _run(self, command, *arguments):
        done = subprocess.run(
            [_BIN / command, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f'{command} {" ".join(map(str, arguments))}: exit code '
                f'{done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}')

    def enable_cell(self, name, enabled):
        """Let Nova schedule to a cell or not, from its next reload on."""
        engine = sa.create_engine(
            self.mariadb.url('nova_api'), poolclass=pool.NullPool)
        with engine.connect() as connection:
            uuid = connection.execute(sa.text(
                'SELECT uuid FROM cell_mappings WHERE name = :name'),
                {'name': name}).scalar_one()
        # Without the URLs it would take those of the configuration.
        self.manage(
            'cell_v2', 'update_cell', '--cell_uuid', uuid, '--name', name,
            '--database_connection', self.mariadb.url(f'nova_{name}'),
            '--transport-url', self.rabbitmq.url(name),
            '--enable' if enabled else '--disable')

    def wait_until_up(self, *expected_down):
        """Wait until Nova says that these computes are down, others up."""
        states = {name: 'down' if name in expected_down else 'up'
                  for name in self.computes}
        processes.wait_for(
            f'services {states}',
            lambda: states == {
                service['host']: service['state']
                for service in self.client.list_services()
                if service['binary'] == 'nova-compute'}
            and self._all_devices_known())

    def _all_devices_known(self):
        expected = sum(
            len(host.hardware()) for host in self._fleet.values())
        return len(self.books.devices()) == expected

    def guests(self):
        """Return the addresses that each guest has, by host and id."""
        return {
            (name, path.name): json.loads(path.read_text())
            for name in self.computes
            for path in (self.configuration.state(name) / 'guests').iterdir()}

    def log_tails(self, lines=30, width=300):
        """Return the ends of all logs, by the names of the processes."""
        return {process.name: '\n'.join(
            line[:width] for line in process.read_log().splitlines()[-lines:])
            for process in self.processes}
