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

"""The configuration files of placement and of Nova's services."""

import pathlib
import sys

from pci_filter.tests.deployment import hosts

# The lines that the README tells an operator to add.
OUR_LINES = (
    'available_filters = nova.scheduler.filters.all_filters',
    'available_filters = pci_filter.scheduler.filters.all_filters',
)

SCHEDULER_WORKERS = 4

# Those that the API's user would get from Keystone.
IDENTITY = {'X-Auth-Token': 'none', 'X-User-Id': 'operator',
            'X-Project-Id': 'deployment', 'X-Roles': 'admin'}

_COMMON = '''\
[DEFAULT]
host = {host}
my_ip = 127.0.0.1
state_path = {state}
transport_url = {transport}
report_interval = 3
service_down_time = 30

[database]
connection = {database}
{api_database}
[oslo_concurrency]
lock_path = {state}/locks

[placement]
auth_type = admin_token
endpoint = {placement}
endpoint_override = {placement}
token = admin

[neutron]
auth_type = admin_token
endpoint = {empty}
endpoint_override = {empty}
token = admin

[glance]
endpoint_override = {empty}

[quota]
instances = -1
cores = -1
ram = -1

[conductor]
workers = 1

[pci]
{aliases}
'''

_COMPUTE = '''
device_spec = {device_specs}

[DEFAULT]
compute_driver = deployment.DeploymentDriver
# Nova's fake guests are as they are; devices are looked after often.
sync_power_state_interval = -1
heal_instance_info_cache_interval = -1
update_resources_interval = 15
'''

_SCHEDULER = '''
[scheduler]
workers = {workers}

[filter_scheduler]
{lines}
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,\
ImagePropertiesFilter,NUMATopologyFilter,PciPassthroughFilter
'''

_PLACEMENT = '''\
[api]
auth_strategy = noauth2

[placement_database]
connection = {database}
'''


class Configuration:
    """Writes the files.

    :param directory: a pathlib.Path to put them in
    :param database: a callable that returns the URL of a database
    :param transport: a callable that returns the URL of a virtual host
    :param placement: the URL of placement
    :param empty: the URL of what stands in for Neutron and Glance
    """

    def __init__(self, directory, database, transport, placement, empty):
        self._directory = directory
        self._database = database
        self._transport = transport
        self._endpoints = {'placement': placement, 'empty': empty}

    def write_placement(self):
        """Return the directory with placement.conf."""
        directory = self._directory / 'placement'
        directory.mkdir()
        (directory / 'placement.conf').write_text(_PLACEMENT.format(
            database=self._database('placement')))
        return directory

    def write_api(self):
        """Return the directory with nova.conf and api-paste.ini.

        Nova's pipeline without Keystone: who sends a request says who it is.
        """
        directory = self._directory / 'api'
        directory.mkdir()
        paste = pathlib.Path(sys.prefix, 'etc', 'nova', 'api-paste.ini')
        (directory / 'api-paste.ini').write_text(
            paste.read_text().replace(' authtoken ', ' '))
        self._write(directory / 'nova.conf', 'controller')
        return directory

    def write_controller(self):
        """Return the file of what runs for all cells."""
        return self._write(self._directory / 'controller.conf', 'controller')

    def write_scheduler(
            self, lines=OUR_LINES, more='', host='controller',
            workers=SCHEDULER_WORKERS):
        """Return the file of nova-scheduler.

        :param lines: of [filter_scheduler]
        :param more: sections to append
        :param host: where it runs; each has a state directory of its own
        :param workers: how many processes
        """
        return self._write(
            self._directory / (
                'nova.conf' if host == 'controller' else f'{host}.conf'),
            host, _SCHEDULER.format(
                lines='\n'.join(lines), workers=workers) + more)

    def write_conductor(self, cell):
        """Return the file of a cell's conductor."""
        return self._write(
            self._directory / f'{cell}.conf', f'{cell}-conductor', cell=cell)

    def write_compute(self, host):
        """Return the file of a nova-compute."""
        return self._write(
            self._directory / f'{host.name}.conf', host.name,
            _COMPUTE.format(
                device_specs='\ndevice_spec = '.join(hosts.DEVICE_SPECS)),
            cell=host.cell)

    def state(self, host):
        """Return the directory of what a service keeps."""
        return self._directory / 'state' / host

    def _write(self, path, host, more='', cell=None):
        state = self.state(host)
        state.mkdir(parents=True, exist_ok=True)
        api_database = '' if cell else (
            f'\n[api_database]\nconnection = {self._database("nova_api")}\n')
        path.write_text(_COMMON.format(
            host=host, state=state, api_database=api_database,
            transport=self._transport(cell or 'api'),
            database=self._database(f'nova_{cell or "cell0"}'),
            aliases='\n'.join(f'alias = {alias}' for alias in hosts.ALIASES),
            **self._endpoints) + more)
        return path
