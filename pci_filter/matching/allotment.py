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

from collections.abc import Callable
from collections.abc import Iterable

from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module

Record = Callable[[explanation.RequestExplanation], None]
_Taken = list[tuple[pool_module.PciDevicePool, int]]


def allot(
    pools: constraints.Pools,
    requests: Iterable[request_module.DeviceRequest],
    record: Record | None = None,
) -> constraints.Pools | None:
    """Serve the requests one after the other from the same pools.

    :param pools: the pools of one host, in claim order
    :param requests: the requests of one instance, in their order
    :param record: called with what became of each request; what it costs is
        only paid when it is given
    :returns: the pools as they are afterwards, emptied ones left out; None if
        some request cannot be served. The pools given stay as they are.
    """
    for request in requests:
        stages: list[explanation.StageCount] | None = (
            None if record is None else [])
        taken = _take(_constrain(pools, request, stages), request, stages)
        if record is not None and stages is not None:
            record(explanation.RequestExplanation(
                request.label, request.count, constraints.available(pools),
                tuple(stages), taken is not None))
        if taken is None:
            return None
        pools = _without(pools, taken, request)
    return pools


def _constrain(
    pools: constraints.Pools,
    request: request_module.DeviceRequest,
    stages: list[explanation.StageCount] | None,
) -> constraints.Pools:
    """Return the pools to take from: none if they do not suffice."""
    for name, constraint in constraints.CONSTRAINTS:
        pools = constraint(pools, request)
        left = constraints.available(pools)
        if stages is not None:
            stages.append(explanation.StageCount(name, left))
        if not pools or left < request.count:
            return []
    return pools


def _take(
    pools: constraints.Pools,
    request: request_module.DeviceRequest,
    stages: list[explanation.StageCount] | None,
) -> _Taken | None:
    """Choose how many devices to take from which pool, None if none will do.

    A request that would have to take a physical function together with
    functions carved out of it fails, as the claim does.
    """
    if not pools:
        return None
    taken = _share(pools, request)
    for number, (pool, _) in enumerate(taken):
        if any(other.excludes(pool) for other, _ in taken[:number]):
            if stages is not None:
                stages.append(explanation.StageCount(
                    'exclusion', sum(count for _, count in taken[:number])))
            return None
    return taken


def _share(
    pools: constraints.Pools, request: request_module.DeviceRequest,
) -> _Taken:
    """Share a request out among pools that suffice for it."""
    if request.rp_uuids:
        # Each provider gives what placement allocated there.
        return [(pool, request.rp_uuids.count(str(pool.rp_uuid)))
                for pool in pools]
    if any(pool.unknown_tags for pool in pools):
        # nova-compute has several pools in place of such a one, and nobody
        # knows which of all it comes across first: take from each.
        return [(pool, min(request.count, pool.count)) for pool in pools]
    needed = request.count
    taken: _Taken = []
    for pool in pools:
        count = min(needed, pool.count)
        if count > 0:
            taken.append((pool, count))
            needed -= count
    return taken


def _without(
    pools: constraints.Pools,
    taken: _Taken,
    request: request_module.DeviceRequest,
) -> constraints.Pools:
    """Return what can still be counted on once the devices are taken."""
    counts = {id(pool): count for pool, count in taken}
    # Most pools exclude nothing: look only at families that lost a device.
    families = {pool.address for pool, _ in taken}
    # The claim may have found a device where it is unknown whether there is
    # one that will do.
    doubtful = {pool.address for pool in pools
                if pool.unknown_tags & request.looks_at}
    left: constraints.Pools = []
    for pool in pools:
        if pool.address in doubtful or pool.address in families and any(
                other.excludes(pool) for other, _ in taken):
            continue
        count = pool.count - counts.get(id(pool), 0)
        if count == pool.count:
            left.append(pool)
        elif count > 0:
            left.append(pool.with_count(count))
    return left
