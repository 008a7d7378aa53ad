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

"""The shape of a scenario, and short names for what scenarios are made of."""

from __future__ import annotations

import dataclasses
import typing

from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter import objects

PoolDict = dict[str, typing.Any]

#: Physical functions.
A, B, C = '0000:81:00.0', '0000:82:00.0', '0000:83:00.0'

#: Ids of requests, of a port, and of resource providers.
ID1, ID2, ID3 = (f'{n}' * 8 + '-0000-4000-8000-000000000000' for n in '123')
PORT = '99999999-0000-4000-8000-000000000000'
RP1, RP2, RP3 = (f'{n}' * 8 + '-0000-4000-8000-000000000000' for n in 'abc')


@dataclasses.dataclass
class Request:
    """What is read of nova.objects.InstancePCIRequest."""

    count: int
    spec: list[dict[str, typing.Any]]
    alias_name: str | None
    request_id: str | None
    numa_policy: str | None
    requester_id: str | None = None


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is read of Nova's InstanceNUMACell, and of its NUMACell."""

    id: int
    socket: int | None = None


@dataclasses.dataclass(frozen=True)
class Topology:
    """What is read of nova.objects.NUMATopology."""

    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A host, an instance's requests, and what has to come of them.

    :param name: unique, usable in a test's name
    :param pools: the host's pools as in-tree dicts, in the order in which
        nova-compute came across them
    :param requests: the requests of the instance
    :param left: how many devices are left of each of the pools when they are
        served; None when they cannot be
    :param fails: the stage that fails, ``free`` when there are too few to
        begin with, None when they can be served
    :param fails_at: index of the request that fails
    :param mapping: placement's choice, by request group
    :param guest: host NUMA nodes of the guest
    :param sockets: socket of each host NUMA node; None for no topology
    :param before: instances served earlier, whose devices are gone
    :param in_tree: Nova's verdict where it differs on purpose
    :param in_tree_left: as ``left``, for Nova where it differs on purpose
    :param why: why it differs
    :param untracked: why no PciDevTracker ever has such pools
    """

    name: str
    pools: tuple[PoolDict, ...]
    requests: tuple[Request, ...]
    left: tuple[int, ...] | None = None
    fails: str | None = None
    fails_at: int = 0
    mapping: dict[str, list[str]] | None = None
    guest: tuple[int, ...] = ()
    sockets: tuple[int | None, ...] | None = (0, 0, 1, 1)
    before: tuple[tuple[Request, ...], ...] = ()
    in_tree: bool | None = None
    in_tree_left: tuple[int, ...] | None = None
    why: str = ''
    untracked: str = ''

    @property
    def fits(self) -> bool:
        return self.fails is None

    @property
    def guest_cells(self) -> list[Cell]:
        return [Cell(node) for node in self.guest]

    def pool_list(self) -> objects.PciDevicePoolList:
        topology: typing.Any = None
        if self.sockets is not None:
            topology = Topology(tuple(
                Cell(node, socket)
                for node, socket in enumerate(self.sockets)))
        return objects.PciDevicePoolList(
            to_pools(self.pools), host_topology=topology)

    def pools_left(self, counts: tuple[int, ...]) -> list[PoolDict]:
        """Return the pools with these counts, without the empty ones."""
        assert len(self.pools) == len(counts), counts
        return canonical(
            {**pool, 'count': count}
            for pool, count in zip(self.pools, counts))


def to_pools(dicts):
    """Make our pools; they keep the order of the dicts among equals."""
    fields = ('vendor_id', 'product_id', 'numa_node', 'dev_type', 'address')
    return [
        pool_module.PciDevicePool(
            pool_module.PoolKind(
                **{key: pool[key] for key in fields if key in pool},
                tags={key: value for key, value in pool.items()
                      if key not in (*fields, 'count', 'rp_uuid')}),
            pool['count'], pool.get('rp_uuid'), first_address=f'{index:04}')
        for index, pool in enumerate(dicts)]


def device_group(available=1, first_address=None, rp_uuids=(), **kind):
    """Make what the rows tell of some functions of A, unless kind differs."""
    return model.DeviceGroup(
        model.DeviceKind(**{
            'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
            'dev_type': 'type-VF', 'address': A, **kind}),
        available, first_address, rp_uuids=frozenset(rp_uuids))


def canonical(pools) -> list[PoolDict]:
    """Return pools as dicts in a fixed order, without the empty ones."""
    return sorted(
        (dict(pool) for pool in pools if pool['count']),
        key=lambda pool: repr(sorted(pool.items(), key=repr)))


def scenario(name, pools, requests, *, left=None, **more) -> Scenario:
    """Make a scenario; a single pool or request needs no list."""
    def many(value):
        return tuple(value) if isinstance(value, (list, tuple)) else (value,)

    return Scenario(
        name, many(pools), many(requests),
        None if left is None else many(left), **more)


def _pool(dev_type, count, address, numa, rp, ids, tags) -> PoolDict:
    vendor_id, product_id = ids
    pool = {
        'vendor_id': vendor_id, 'product_id': product_id, 'numa_node': numa,
        'dev_type': dev_type, 'address': address, 'count': count, **tags}
    return pool if rp is None else {**pool, 'rp_uuid': rp}


def pf(address=A, count=1, numa=0, rp=None, ids=('8086', '1572'), **tags):
    return _pool('type-PF', count, address, numa, rp, ids,
                 {'remote_managed': 'false', **tags})


def vf(count=4, address=A, numa=0, rp=None, ids=('8086', '154c'), **tags):
    return _pool('type-VF', count, address, numa, rp, ids,
                 {'remote_managed': 'false', **tags})


def vdpa(count=4, address=A, numa=0, rp=None, ids=('15b3', '101e'), **tags):
    return _pool('vdpa', count, address, numa, rp, ids,
                 {'remote_managed': 'false', **tags})


def gpu(count=1, address='0000:41:00.0', numa=0, rp=None,
        ids=('10de', '20b0'), **tags):
    return _pool('type-PCI', count, address, numa, rp, ids, tags)


def without(pool, *keys):
    return {key: value for key, value in pool.items() if key not in keys}


def alias(*specs, count=1, policy=None, request_id=ID1) -> Request:
    """A request that comes from a flavor."""
    return Request(count, list(specs), 'alias', request_id, policy)


def port(count=1, policy=None, request_id=ID1, **spec) -> Request:
    """A request that comes from a Neutron port."""
    return Request(
        count, [{'remote_managed': 'False', **spec}], None, request_id, policy,
        PORT)


A_VF = {'vendor_id': '8086', 'product_id': '154c', 'dev_type': 'type-VF'}
A_PF = {'vendor_id': '8086', 'product_id': '1572', 'dev_type': 'type-PF'}
A_VDPA = {'vendor_id': '15b3', 'product_id': '101e', 'dev_type': 'vdpa'}
A_GPU = {'vendor_id': '10de', 'product_id': '20b0'}
ANY_INTEL = {'vendor_id': '8086'}
