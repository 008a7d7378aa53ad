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

"""The constraints that a request puts on pools.

Each has the same shape: it takes the pools that are left and the request, and
returns the pools that meet it, in the order in which devices are to be taken.
``CONSTRAINTS`` lists them in Nova's order (nova.pci.stats, _filter_pools),
which matters: NUMA affinity settles for less only when the devices that are
still there at that point do not suffice.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
import typing

from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module
from pci_filter import model

Pools = list[pool_module.PciDevicePool]
Constraint = Callable[[Pools, request_module.DeviceRequest], Pools]


def available(pools: Pools) -> int:
    """Return how many devices the pools hold together."""
    return sum(pool.count for pool in pools)


def meets_spec(
    pool: pool_module.PciDevicePool,
    request: request_module.DeviceRequest,
    unknown_meets: bool = False,
) -> bool:
    """Tell whether a pool's properties meet one of the alternatives.

    :param unknown_meets: whether an unknown tag meets whatever is asked for;
        otherwise it meets nothing
    """
    return any(
        all(request_module.lowered(pool.get(key)) == wanted
            or unknown_meets and pool.tags.get(key) is model.UNKNOWN
            for key, wanted in alternative.items())
        for alternative in request.specs)


def one_pool_per_provider(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Keep all pools or none: Nova follows placement only if it can.

    As soon as the devices of any resource provider of the host are split over
    several pools, a claim that placement has allocated fails (nova.pci.stats,
    _assert_one_pool_per_rp_uuid).
    """
    if not request.rp_uuids:
        return pools
    rp_uuids = [pool.rp_uuid for pool in pools if pool.rp_uuid is not None]
    split = len(rp_uuids) != len(set(rp_uuids)) or any(
        pool.rp_uuid is not None and pool.unknown_tags for pool in pools)
    return [] if split else pools


def spec(pools: Pools, request: request_module.DeviceRequest) -> Pools:
    """Keep pools whose properties meet one of the alternatives."""
    return [pool for pool in pools if meets_spec(pool, request)]


def numa(pools: Pools, request: request_module.DeviceRequest) -> Pools:
    """Keep pools near the guest's memory, as strictly as the policy says.

    A stricter choice than the policy demands is made while it offers enough
    devices.
    """
    near: frozenset[int | None] = frozenset(request.numa_cells)
    if not near:
        return pools
    policy = request.numa_policy
    local = [pool for pool in pools if pool.numa_node in near]
    if policy == 'required' or available(local) >= request.count:
        return local
    if policy == 'socket':
        return [pool for pool in pools
                if pool.numa_node in request.socket_cells]
    near |= {None}
    local = [pool for pool in pools if pool.numa_node in near]
    if policy == 'legacy' or available(local) >= request.count:
        return local
    return sorted(pools, key=lambda pool: pool.numa_node not in near)


def unrequested_pf(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Drop physical functions unless they are asked for."""
    if request.wants_pf:
        return pools
    return [pool for pool in pools if pool.dev_type != pool_module.PF]


def unrequested_vdpa(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Drop vDPA devices unless they are asked for."""
    if request.wants_vdpa:
        return pools
    return [pool for pool in pools if pool.dev_type != pool_module.VDPA]


def unrequested_remote_managed(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Drop remotely managed devices unless they are asked for.

    Where it is unknown they are dropped too: they may be managed remotely.
    """
    if request.wants_remote_managed:
        return pools
    return [
        pool for pool in pools
        if (managed := pool.tags.get('remote_managed')) is not model.UNKNOWN
        and not pool_module.is_true(managed)]


def placement(pools: Pools, request: request_module.DeviceRequest) -> Pools:
    """Keep pools that can give what placement allocated from them."""
    if not request.rp_uuids:
        return pools
    allocated: collections.Counter[str | None] = collections.Counter(
        request.rp_uuids)
    return [
        pool for pool in pools
        if pool.rp_uuid in allocated and pool.count >= allocated[pool.rp_uuid]]


def live_migratable(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Keep pools that say what the request demands, if it demands."""
    if request.live_migratable is None:
        return pools
    return [pool for pool in pools
            if pool.tags.get('live_migratable') == request.live_migratable]


def whole_allocation(
    pools: Pools, request: request_module.DeviceRequest,
) -> Pools:
    """Keep all pools or none: placement's allocation is a whole.

    A claim takes from each provider what placement allocated there. If
    providers are missing it would hand out fewer devices than were asked for.
    """
    if not request.rp_uuids:
        return pools
    whole = {pool.rp_uuid for pool in pools} == set(request.rp_uuids)
    return pools if whole and len(request.rp_uuids) >= request.count else []


CONSTRAINTS: typing.Final[tuple[tuple[str, Constraint], ...]] = (
    ('one_pool_per_provider', one_pool_per_provider),
    ('spec', spec),
    ('numa', numa),
    ('unrequested_pf', unrequested_pf),
    ('unrequested_vdpa', unrequested_vdpa),
    ('unrequested_remote_managed', unrequested_remote_managed),
    ('placement', placement),
    ('live_migratable', live_migratable),
    ('whole_allocation', whole_allocation),
)
