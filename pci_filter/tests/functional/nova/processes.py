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

"""What the processes of test_concurrency tell each other.

Each is started with a directory. In it are Nova's configuration, the hosts,
and in the end what the process has seen. Times are those of time.monotonic(),
which all processes of a machine share.
"""

import contextlib
import json
import pathlib
import sys
import typing

from nova import config
from nova import context as nova_context
from nova import objects
import oslo_messaging

from pci_filter.fixture import compute_host

#: Nova's configuration.
CONF = '''
[DEFAULT]
debug = false
log_dir =
[api_database]
connection = sqlite:///{directory}/api.db
[database]
connection = sqlite:///{directory}/cell0.db
[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = pci_filter.scheduler.filters.all_filters
enabled_filters = PciPassthroughFilter
track_instance_changes = false
'''

NOVA_CONF = 'nova.conf'
HOSTS = 'hosts.json'
CHANGES = 'changes.json'
CALLS = 'calls.json'


def configure(directory: pathlib.Path) -> list[typing.Any]:
    """Do what Nova's commands do first, and return the cells."""
    config.parse_args(
        ['nova', '--config-file', str(directory / NOVA_CONF)],
        default_config_files=[], init_rpc=False)
    # Registers [DEFAULT]transport_url, which CellMapping looks at.
    oslo_messaging.TransportURL.parse(config.CONF, 'none:///')
    objects.register_all()
    return [
        cell for cell in objects.CellMappingList.get_all(
            nova_context.get_admin_context()) if not cell.is_cell0()]


@contextlib.contextmanager
def target(cell: typing.Any) -> typing.Iterator[typing.Any]:
    with nova_context.target_cell(
            nova_context.get_admin_context(), cell) as context:
        yield context


def store_hosts(
    directory: pathlib.Path, hosts: typing.Iterable[compute_host.Host],
) -> None:
    store(directory / HOSTS, [
        [host.name, host.cell.uuid, host.node_id, host.node_uuid,
         host.device_spec] for host in hosts])


def load_hosts(
    directory: pathlib.Path, cells: typing.Iterable[typing.Any],
) -> list[compute_host.Host]:
    by_uuid = {cell.uuid: cell for cell in cells}
    return [
        compute_host.Host(name, by_uuid[cell], node_id, node_uuid, tuple(spec))
        for name, cell, node_id, node_uuid, spec in load(directory / HOSTS)]


def store(path: pathlib.Path, data: object) -> None:
    path.write_text(json.dumps(data))


def load(path: pathlib.Path) -> typing.Any:
    return json.loads(path.read_text())


def say(word: str) -> None:
    """Tell the test how far this process is."""
    print(word, file=sys.__stdout__, flush=True)


def wait_to_go_on() -> None:
    """Wait until the test wants more."""
    sys.stdin.readline()
