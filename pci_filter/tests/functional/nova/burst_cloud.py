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

"""As many instances at once as there are devices, without nova-compute.

Processes call SchedulerManager.select_destinations(), and other processes
claim what it selects with Nova's tracker after a random delay, which counts
as the only attempt. Placement and MariaDB are real, and started here.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import time
import typing
import urllib.error
import urllib.request

from oslo_utils import uuidutils
import sqlalchemy as sa

from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import hardware
from pci_filter.tests.deployment import configuration
from pci_filter.tests.deployment import processes as servers_processes
from pci_filter.tests.deployment import servers
from pci_filter.tests.functional.nova import burst_claiming_process
from pci_filter.tests.functional.nova import burst_scheduling_process
from pci_filter.tests.functional.nova import burst_worker
from pci_filter.tests.functional.nova import processes

IN_TREE = 'in-tree'

_CONF = '''
[DEFAULT]
state_path = {directory}
transport_url = fake:///
[api_database]
connection = sqlite:///{directory}/api.db
[database]
connection = sqlite:///{directory}/cell0.db
[placement]
auth_type = admin_token
endpoint = {placement}
endpoint_override = {placement}
token = admin
[filter_scheduler]
{lines}
enabled_filters = PciPassthroughFilter
track_instance_changes = false
[pci_filter]
reservations = {reservations}
'''

_TAKEN = sa.text(
    "SELECT COUNT(DISTINCT instance_uuid) FROM pci_devices "
    "WHERE status = 'allocated'")

_PLACEMENT = {'X-Auth-Token': 'admin', 'Content-Type': 'application/json',
              'OpenStack-API-Version': 'placement 1.36'}

#: Processes that claim.
_CLAIMING = 2

#: What ends a cloud that does not work.
ERRORS = (servers_processes.NotInTime, RuntimeError, OSError,
          subprocess.CalledProcessError)


class Plan(typing.NamedTuple):
    """What to do.

    :param hosts: compute hosts with one device each
    :param boots: instances that are asked for at once
    :param workers: processes that schedule
    :param delay: until a claim at most, in seconds
    :param seed: what the delays are made of
    :param way: of [pci_filter]reservations, or IN_TREE for Nova's own filter
    """

    hosts: int
    boots: int
    workers: int
    delay: float
    seed: int
    way: str


class Outcome(typing.NamedTuple):
    """What became of a burst.

    :param landed: instances that have their devices
    :param failed_claims: instances that had not, on the host that was chosen
    :param refused: instances for which there was no valid host
    :param seconds: until the last of them
    :param slowest: the longest select_destinations(), in seconds
    """

    landed: int
    failed_claims: int
    refused: int
    seconds: float
    slowest: float


def _ask_placement(url: str, method: str, body: object = None) -> None:
    urllib.request.urlopen(urllib.request.Request(
        url, method=method, headers=_PLACEMENT,
        data=None if body is None else json.dumps(body).encode()),
        timeout=60).close()


class Cloud:
    """MariaDB, placement, the hosts and the processes.

    :param plan: what to do
    :param directory: an empty one
    :param stack: ends what is started
    """

    def __init__(
        self, plan: Plan, directory: pathlib.Path,
        stack: contextlib.ExitStack,
    ) -> None:
        self._boots = plan.boots
        self._said: queue.Queue[typing.Any] = queue.Queue()
        self._stack = stack
        mariadb = servers.MariaDB(directory / 'mariadb', directory)
        stack.callback(mariadb.process.kill)
        mariadb.create(['placement', 'cell1'])
        self._url = mariadb.url('cell1')
        self._placement = self._start_placement(directory, mariadb)
        hosts = self._add_hosts(plan.hosts, directory)
        lines = configuration.OUR_LINES
        (directory / processes.NOVA_CONF).write_text(_CONF.format(
            directory=directory, placement=self._placement,
            lines='\n'.join(lines[:1] if plan.way == IN_TREE else lines),
            reservations='none' if plan.way == IN_TREE else plan.way))
        processes.store_hosts(directory, hosts)
        log = directory / 'workers.log'
        self._scheduling = [
            self._start(burst_scheduling_process, [directory], log)
            for _ in range(plan.workers)]
        self._claiming = [
            self._start(burst_claiming_process, [
                directory, plan.delay, plan.seed + number], log)
            for number in range(_CLAIMING)]
        self._claims = {host.name: self._claiming[number % _CLAIMING]
                        for number, host in enumerate(hosts)}

    def _start_placement(
        self, directory: pathlib.Path, mariadb: servers.MariaDB,
    ) -> str:
        port, = servers_processes.free_ports(1)
        conf = configuration.Configuration(
            directory, mariadb.url, None, None, None).write_placement()
        subprocess.run(
            [pathlib.Path(sys.executable).parent / 'placement-manage',
             '--config-dir', conf, 'db', 'sync'], check=True,
            capture_output=True)
        process = servers_processes.Process(
            'placement', [
                sys.executable, '-m',
                'pci_filter.tests.deployment.wsgi_server',
                'placement.wsgi.api', port], directory,
            {'OS_PLACEMENT_CONFIG_DIR': str(conf)})
        self._stack.callback(process.kill)
        process.start()
        url = f'http://127.0.0.1:{port}'

        def answers() -> bool:
            _ask_placement(f'{url}/', 'GET')
            return True

        process.wait_until('answers', answers)
        return url

    def _add_hosts(
        self, number: int, directory: pathlib.Path,
    ) -> Sequence[typing.Any]:
        cloud = embedded.EmbeddedCloud(1, directory, [self._url])
        # It is not closed: that would remove the hosts.
        cloud.open()
        for count in range(number):
            host = cloud.add_host(
                0, f'host{count:03}', hardware.network_card(
                    hardware.INTEL_X710, 0x81, 0, ports=1, vfs=1),
                ['{"address": "*:81:*.*", "physical_network": "physnet1"}'])
            self._add_provider(host)
        return list(cloud.hosts.values())

    def _add_provider(self, host: typing.Any) -> None:
        """Tell placement of a host what its nova-compute would."""
        providers = f'{self._placement}/resource_providers'
        _ask_placement(providers, 'POST', {
            'name': host.name, 'uuid': host.node_uuid})
        _ask_placement(f'{providers}/{host.node_uuid}/inventories', 'PUT', {
            'resource_provider_generation': 0, 'inventories': {
                name: {'total': total} for name, total in (
                    ('VCPU', 64), ('MEMORY_MB', 262144), ('DISK_GB', 2048))}})
        _ask_placement(f'{providers}/{host.node_uuid}/traits', 'PUT', {
            'resource_provider_generation': 1, 'traits': ['OWNER_NOVA']})

    def _start(
        self, module: typing.Any, arguments: Sequence[object],
        log: pathlib.Path,
    ) -> burst_worker.Worker:
        worker = burst_worker.Worker(module, arguments, log, self._said)
        self._stack.callback(worker.kill)
        return worker

    def burst(self) -> Outcome:
        """Ask for all servers at once, and leave the cloud empty.

        :raises RuntimeError: if the rows say something else than the claims,
            or something unexpected happens
        """
        uuids = [uuidutils.generate_uuid() for _ in range(self._boots)]
        began = time.monotonic()
        for number, worker in enumerate(self._scheduling):
            worker.tell(uuids[number::len(self._scheduling)])
        selected: list[typing.Any] = []
        claims: list[bool] = []
        for found in self._found():
            if found.get('error', None) and not found['error'].startswith(
                    'NoValidHost'):
                raise RuntimeError(found['error'])
            if 'claimed' in found:
                claims.append(found['claimed'])
            else:
                selected.append(found)
                if found['host']:
                    self._claims[found['host']].tell(found)
            sent = sum(one['host'] is not None for one in selected)
            if len(selected) == len(uuids) and len(claims) == sent:
                break
        outcome = Outcome(
            sum(claims), len(claims) - sum(claims), len(uuids) - sent,
            time.monotonic() - began,
            max(one['seconds'] for one in selected))
        if self._taken() != outcome.landed:
            raise RuntimeError(
                f'{outcome}, but {self._taken()} instances have devices')
        self._clear(uuids)
        return outcome

    def _found(self) -> Iterator[typing.Any]:
        while True:
            try:
                yield self._said.get(timeout=servers_processes.PATIENCE)
            except queue.Empty:
                raise RuntimeError('A process does not answer') from None

    def _taken(self) -> int:
        engine = sa.create_engine(self._url, poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            return typing.cast(int, connection.execute(_TAKEN).scalar_one())

    def _clear(self, uuids: Sequence[str]) -> None:
        for worker in self._claiming:
            worker.tell({'host': None})
        for _ in self._claiming:
            next(self._found())
        for uuid in uuids:
            with contextlib.suppress(urllib.error.HTTPError):
                _ask_placement(
                    f'{self._placement}/allocations/{uuid}', 'DELETE')
