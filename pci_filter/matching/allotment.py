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

"""Take devices for requests out of pools, the way a claim does."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import typing

from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module

Record = Callable[[explanation.RequestExplanation], None]
Stages = list[explanation.StageCount]
#: How many devices of which pools.
Shares = Sequence[tuple[pool_module.PciDevicePool, int]]


class Allotment(typing.NamedTuple):
    """What serves some requests, and what it leaves.

    :param shares: for each request what it takes
    :param left: the pools afterwards, emptied ones left out
    """

    shares: Sequence[Shares]
    left: constraints.Pools


def allot(
    pools: constraints.Pools,
    requests: Iterable[request_module.DeviceRequest],
    record: Record | None = None,
    mind_relatives: bool = True,
) -> Allotment | None:
    """Serve the requests one after the other from the same pools.

    :param pools: the pools of one host, in claim order; what their devices
        are tagged with is known
    :param requests: the requests of one instance, in their order
    :param record: called with what became of each request; what it costs is
        only paid when it is given
    :param mind_relatives: whether a physical function and the functions
        carved out of it exclude each other
    :returns: None if some request cannot be served. The pools given stay as
        they are.
    """
    shares: list[Shares] = []
    for request in requests:
        stages: Stages | None = None if record is None else []
        chosen = constrain(pools, request, stages)
        taken = _share(chosen, request)
        fits = bool(chosen) and not (
            mind_relatives and _clash(taken, stages))
        if record is not None and stages is not None:
            record(explanation.RequestExplanation(
                request, constraints.available(pools), tuple(stages), fits))
        if not fits:
            return None
        shares.append(taken)
        pools = _without(pools, taken, mind_relatives)
    return Allotment(shares, pools)


def constrain(
    pools: constraints.Pools,
    request: request_module.DeviceRequest,
    stages: Stages | None = None,
) -> constraints.Pools:
    """Return the pools to take from: none if they do not suffice.

    :param pools: all pools of the host
    :param request: what is asked for
    :param stages: filled with the number of devices that each stage left
    """
    for name, constraint in constraints.CONSTRAINTS:
        pools = constraint(pools, request)
        left = constraints.available(pools)
        if stages is not None:
            stages.append(explanation.StageCount(name, left))
        if not pools or left < request.count:
            return []
    return pools


def _share(
    pools: constraints.Pools, request: request_module.DeviceRequest,
) -> Shares:
    """Share a request out among pools that suffice for it.

    Each provider gives what placement allocated there. Without an allocation
    the pools are used up in turn.
    """
    if request.rp_uuids:
        return [(pool, request.rp_uuids.count(str(pool.rp_uuid)))
                for pool in pools]
    needed = request.count
    taken: list[tuple[pool_module.PciDevicePool, int]] = []
    for pool in pools:
        count = min(needed, pool.count)
        if count > 0:
            taken.append((pool, count))
            needed -= count
    return taken


def _clash(taken: Shares, stages: Stages | None) -> bool:
    """Tell whether a claim of these devices fails because of relatives.

    It does at the first that has a relative in use, be it by somebody else or
    taken for the same request.
    """
    for number, (pool, _) in enumerate(taken):
        if pool.blocked or any(
                other.excludes(pool) for other, _ in taken[:number]):
            if stages is not None:
                stages.append(explanation.StageCount(
                    'relatives', sum(count for _, count in taken[:number])))
            return True
    return False


def _without(
    pools: constraints.Pools, taken: Shares, mind_relatives: bool,
) -> constraints.Pools:
    """Return what is left of the pools once the devices are taken."""
    counts = {id(pool): count for pool, count in taken}
    # Most pools exclude nothing: look only at families that lost a device.
    families = {pool.address for pool, _ in taken} if mind_relatives else ()
    left: constraints.Pools = []
    for pool in pools:
        if pool.address in families and any(
                other.excludes(pool) for other, _ in taken):
            continue
        count = pool.count - counts.get(id(pool), 0)
        if count == pool.count:
            left.append(pool)
        elif count > 0:
            left.append(pool.with_count(count))
    return left
