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

"""Decide where the tags of some devices are unknown.

When functions of one physical function have different tags, nova-compute has
a pool for each, but the scheduler may know only one pool with an unknown tag.
Then nobody can tell which devices the claim of a request will take, so nothing
is taken here. A request is served if what is left suffices even when each
request before it takes from the same pools whatever it might.
"""

from __future__ import annotations

from collections.abc import Sequence

from pci_filter.matching import allotment
from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module


def suffice(
    pools: constraints.Pools,
    requests: Sequence[request_module.DeviceRequest],
    promised: Sequence[request_module.DeviceRequest] = (),
    record: allotment.Record | None = None,
    mind_relatives: bool = True,
) -> bool:
    """Tell whether all requests can be served, whatever the claims take.

    :param pools: the pools of one host
    :param requests: the requests of one instance, in their order
    :param promised: the requests of others that are to be served first
    :param record: called with what became of each request
    :param mind_relatives: whether a physical function and the functions
        carved out of it exclude each other
    """
    for number, request in enumerate(requests):
        stages: allotment.Stages | None = None if record is None else []
        chosen = allotment.constrain(pools, request, stages)
        earlier = [*promised, *requests[:number]]
        if mind_relatives:
            chosen = _undisturbed(chosen, pools, earlier)
        left = _certainly_left(chosen, earlier)
        fits = bool(chosen) and left >= request.count and (
            not request.rp_uuids or all(
                _certainly_left([pool], earlier)
                >= request.rp_uuids.count(str(pool.rp_uuid))
                for pool in chosen))
        if record is not None and stages is not None:
            if not fits and stages[-1].left >= request.count:
                stages.append(explanation.StageCount('promised', max(left, 0)))
            record(explanation.RequestExplanation(
                request, constraints.available(pools), tuple(stages), fits))
        if not fits:
            return False
    return True


def _certainly_left(
    pools: constraints.Pools,
    earlier: Sequence[request_module.DeviceRequest],
) -> int:
    """Return how many devices are left if all is taken that may be."""
    return constraints.available(pools) - sum(
        request.count for request in earlier
        if any(may_take(request, pool) for pool in pools))


def may_take(
    request: request_module.DeviceRequest, pool: pool_module.PciDevicePool,
) -> bool:
    """Tell whether a claim of the request could take devices of the pool.

    An unknown tag may have any value. The NUMA policy is left out of account:
    what it chooses depends on what is left.
    """
    requested = constraints.unrequested_vdpa(
        constraints.unrequested_pf([pool], request), request)
    return bool(requested) and constraints.meets_spec(
        pool, request, unknown_meets=True)


def _undisturbed(
    chosen: constraints.Pools,
    pools: constraints.Pools,
    earlier: Sequence[request_module.DeviceRequest],
) -> constraints.Pools:
    """Return what no relative keeps from being claimed, whatever is taken."""
    taken = [pool for pool in pools
             if any(may_take(request, pool) for request in earlier)]
    if any(pool.blocked or any(other.excludes(pool) for other in chosen)
           for pool in chosen):
        # The claim fails if it comes across these, and may choose them.
        return []
    return [pool for pool in chosen
            if not any(other.excludes(pool) for other in taken)]


def may_suffice(
    pools: constraints.Pools,
    requests: Sequence[request_module.DeviceRequest],
) -> bool:
    """Tell whether Nova's pools may suffice, if relatives do not count.

    If not, they do not, whatever the unknown tags are.

    :param pools: the pools of one host
    :param requests: the requests of one instance that has a place
    """
    return all(
        constraints.available([
            pool for pool in pools
            if may_take(request, pool) and _may_be_near(request, pool)
        ]) >= request.count for request in requests)


def _may_be_near(
    request: request_module.DeviceRequest, pool: pool_module.PciDevicePool,
) -> bool:
    """Tell whether the NUMA policy lets a device be taken in some case."""
    policy = request.numa_policy
    return (
        policy == 'preferred' or not request.numa_cells
        or pool.numa_node in request.numa_cells
        or policy == 'socket' and pool.numa_node in request.socket_cells
        or policy == 'legacy' and pool.numa_node is None)
