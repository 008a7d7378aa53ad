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


"""Fleets for the benchmarks: thousands of hosts with rows as Nova wrote them.

Nova's own code writes the rows of one host. The others are copies of it, each
with providers of its own and as many devices in use as chance has it, counted
the same in its rows and in its summary.

One host of many has an accelerator beside its network cards. A request for one
fits those hosts and no other: the rest have no such device at all, not one
that is in use.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import json
import random
import re
import typing

from nova import context as nova_context
from nova.db.api import api as api_db
from nova.db.api import models as api_models
from nova.db.main import api as main_db
from nova.db.main import models as main_models
from oslo_utils import uuidutils
import sqlalchemy as sa

from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import scheduling

#: A host: 8 network cards, 2 on each of its 4 NUMA nodes, with 16 virtual
#: functions each. Only those are for instances.
CARDS: typing.Final = 8
FUNCTIONS: typing.Final = 16
SOCKETS: typing.Final = (0, 0, 1, 1)
DEVICE_SPEC: typing.Final = json.dumps({
    'vendor_id': '8086', 'product_id': '154c', 'physical_network': 'physnet1'})
DEVICES: typing.Final = CARDS * FUNCTIONS

#: What few hosts have one of, and nobody uses.
ACCELERATOR: typing.Final[Mapping[str, str]] = {
    'vendor_id': '10de', 'product_id': '20b5'}
_ACCELERATOR_SPEC: typing.Final = json.dumps(ACCELERATOR)

#: One of so many has it among the first thousand hosts of a fleet, and one of
#: so many beyond: 20 of 1,000 and 50 of 10,000.
_FIRST: typing.Final = 1000
_ONE_OF: typing.Final = 50
_ONE_OF_LATER: typing.Final = 300

#: Hosts that are written at a time.
_AT_ONCE: typing.Final = 50

_UUID: typing.Final = re.compile(
    r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}')

_Row = dict[str, typing.Any]


class Host(typing.NamedTuple):
    """A host that was added.

    :param name: host and hypervisor name
    :param uuid: of its compute node
    :param providers: the resource provider of each of its cards
    :param accelerated: whether it has an accelerator
    """

    name: str
    uuid: str
    providers: tuple[str, ...]
    accelerated: bool


def devices() -> Iterator[Mapping[str, typing.Any]]:
    """Yield what the virt driver reports about each device of a host."""
    for card in range(CARDS):
        parent = f'0000:{0x80 + card:02x}:00.0'
        yield {
            'address': parent, 'vendor_id': '8086', 'product_id': '1572',
            'numa_node': card // 2, 'dev_type': 'type-PF',
            'dev_id': f'pci_{card}', 'label': 'label_8086_1572',
            'mac_address': f'52:54:00:00:00:{card:02x}',
            'capabilities': {'network': ['rx', 'tx', 'sg', 'tso', 'gso']}}
        for function in range(FUNCTIONS):
            yield {
                'address':
                    f'0000:{0x80 + card:02x}:{1 + function // 8:02x}'
                    f'.{function % 8}',
                'parent_addr': parent, 'vendor_id': '8086',
                'product_id': '154c', 'numa_node': card // 2,
                'dev_type': 'type-VF', 'dev_id': f'pci_{card}_{function}',
                'label': 'label_8086_154c', 'vf_num': function,
                'parent_ifname': f'ens{card}f0',
                'capabilities': {'network': ['rx', 'tx', 'sg', 'tso', 'gso']}}
    yield {
        **ACCELERATOR, 'address': '0000:f0:00.0', 'numa_node': 0,
        'dev_type': 'type-PCI', 'dev_id': 'pci_accelerator',
        'label': 'label_10de_20b5', 'capabilities': {}}


def is_accelerated(number: int) -> bool:
    """Tell whether a host has an accelerator.

    :param number: of the host in its fleet, from 0 on
    """
    if number < _FIRST:
        return number % _ONE_OF == 0
    return (number - _FIRST) % _ONE_OF_LATER == 0


def add_hosts(
    cloud: embedded.EmbeddedCloud, cell: int, number: int, have: int = 0,
) -> list[Host]:
    """Add hosts to a cell.

    :param cloud: an open EmbeddedCloud
    :param cell: index into its cells
    :param number: how many hosts
    :param have: how many were added before, to any cell; decides which
        devices are in use and what the hosts are called
    """
    hosts: list[Host] = []
    chance = random.Random(have)
    prefix = f'compute-{have}'
    first = cloud.add_host(
        cell, f'{prefix}-template', list(devices()),
        [DEVICE_SPEC, _ACCELERATOR_SPEC],
        scheduling.host_numa_topology(SOCKETS), in_placement=True)
    mapping = cloud.cells[cell]
    with cloud.target(mapping) as context:
        manager = main_db.get_context_manager(context)
        with manager.writer.using(context):
            connection = context.session.connection()
            template = _Template(connection, first, have)
            names = [f'{prefix}-{n}' for n in range(number)]
            for chunk in _chunks(names, _AT_ONCE):
                hosts += template.copy(connection, chunk, chance)
            template.remove(connection)
            _advance_ids(connection)
    context = nova_context.get_admin_context()
    with api_db.context_manager.writer.using(context):
        context.session.execute(
            sa.insert(api_models.HostMapping),
            [{'host': name, 'cell_id': mapping.id} for name in names])
    return hosts


def _chunks(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    remaining = iter(names)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


def _advance_ids(connection: sa.Connection) -> None:
    """Let PostgreSQL know which ids were given to it."""
    if connection.dialect.name == 'postgresql':
        for table in 'services', 'compute_nodes':
            connection.execute(sa.text(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f'max(id)) FROM {table}'))


class _Template:
    """The rows of a host, and how to copy them.

    :param connection: to the cell's database
    :param host: the host that Nova's code has added
    :param number: of the first copy in its fleet
    """

    def __init__(
        self, connection: sa.Connection, host: typing.Any, number: int,
    ) -> None:
        self._service_table = main_models.Service.__table__
        self._node_table = main_models.ComputeNode.__table__
        self._device_table = main_models.PciDevice.__table__

        def rows(table: sa.Table, clause: typing.Any) -> list[_Row]:
            return [dict(row._mapping) for row in connection.execute(
                sa.select(table).where(clause).order_by(table.c.id))]

        [self._service] = rows(
            self._service_table, self._service_table.c.host == host.name)
        [self._node] = rows(
            self._node_table, self._node_table.c.id == host.node_id)
        self._devices = rows(
            self._device_table,
            self._device_table.c.compute_node_id == host.node_id)
        for device in self._devices:
            del device['id']
        self._summary = json.loads(self._node['pci_stats'])
        self._next_number = number
        self._next_id = host.node_id + 1
        self._next_service_id = self._service['id'] + 1

    def remove(self, connection: sa.Connection) -> None:
        """Delete the host itself."""
        connection.execute(sa.delete(self._device_table).where(
            self._device_table.c.compute_node_id == self._node['id']))
        for table, row in ((self._node_table, self._node),
                           (self._service_table, self._service)):
            connection.execute(sa.delete(table).where(table.c.id == row['id']))

    def copy(
        self, connection: sa.Connection, names: Sequence[str],
        chance: random.Random,
    ) -> list[Host]:
        """Write the rows of hosts with these names."""
        hosts: list[Host] = []
        services: list[_Row] = []
        nodes: list[_Row] = []
        devices: list[_Row] = []
        for name in names:
            services.append({
                **self._service, 'id': self._next_service_id, 'host': name,
                'uuid': uuidutils.generate_uuid()})
            accelerated = is_accelerated(self._next_number)
            node, of_node, providers = self._copy_node(
                name, chance, accelerated)
            hosts.append(Host(name, node['uuid'], providers, accelerated))
            nodes.append(node)
            devices += of_node
            self._next_number += 1
            self._next_id += 1
            self._next_service_id += 1
        connection.execute(sa.insert(self._service_table), services)
        connection.execute(sa.insert(self._node_table), nodes)
        connection.execute(sa.insert(self._device_table), devices)
        return hosts

    def _copy_node(
        self, name: str, chance: random.Random, accelerated: bool,
    ) -> tuple[_Row, list[_Row], tuple[str, ...]]:
        """Return the rows of a node and of its devices, its providers."""
        providers: dict[str, str] = {}

        def renew(text: str) -> str:
            return _UUID.sub(lambda found: providers.setdefault(
                found[0], uuidutils.generate_uuid()), text)

        in_use = {
            f'0000:{0x80 + card:02x}:00.0': set(chance.sample(
                range(FUNCTIONS), chance.randrange(FUNCTIONS + 1)))
            for card in range(CARDS)}
        devices = []
        for device in self._devices:
            if not (accelerated or device['parent_addr']):
                continue
            info = json.loads(device['extra_info'])
            used = info.get('vf_num') is not None and (
                int(info['vf_num']) in in_use[device['parent_addr']])
            devices.append({
                **device, 'compute_node_id': self._next_id,
                'uuid': uuidutils.generate_uuid(),
                'extra_info': renew(device['extra_info']),
                'status': 'allocated' if used else 'available',
                'instance_uuid':
                    uuidutils.generate_uuid() if used else None})
        summary = json.loads(json.dumps(self._summary))
        pools = []
        for pool in summary['nova_object.data']['objects']:
            data = pool['nova_object.data']
            address = data['tags']['address']
            if address in in_use:
                data['count'] = FUNCTIONS - len(in_use[address])
            if accelerated or address in in_use:
                pools.append(pool)
        summary['nova_object.data']['objects'] = pools
        node = {
            **self._node, 'id': self._next_id, 'host': name,
            'uuid': uuidutils.generate_uuid(), 'hypervisor_hostname': name,
            'service_id': None, 'pci_stats': renew(json.dumps(summary))}
        return node, devices, tuple(providers.values())
