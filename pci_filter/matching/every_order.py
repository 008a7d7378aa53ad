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

"""Decide for several instances whose claims arrive in any order.

Which devices a claim takes depends on those that came before. One that is
content with either of two pools can take the only one that another can use. So
it does not suffice that the requests fit one after the other as they were
made: they must in every order.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import typing

from pci_filter.matching import allotment
from pci_filter.matching import constraints
from pci_filter.matching import request as request_module

#: The requests of one instance.
Requests = Sequence[request_module.DeviceRequest]

#: Claims that are tried at most. Instances that ask for the same are as good
#: as one; two kinds of 30 each take 1,860. With more nothing is known of the
#: rest, and they are taken to fit: to refuse them would refuse devices that
#: are most likely free.
_TRIED: typing.Final = 2000


def fit_one_by_one(
    pools: constraints.Pools, instances: Sequence[Requests],
) -> tuple[constraints.Pools, list[Requests]]:
    """Take the devices of some instances, in this order.

    :param pools: the pools of one host, in claim order
    :param instances: their requests
    :returns: what is left, and the requests of those that fit. The others
        take what they can: that one does not fit may mean that its claim
        fails, but also that some of its devices were claimed since it was
        looked at, and the rest are about to be.
    """
    fitting = []
    for requests in instances:
        allotted = allotment.allot(pools, requests)
        if allotted is not None:
            pools = allotted.left
            fitting.append(requests)
        else:
            pools = _without_what_fits(pools, requests)
    return pools, fitting


def _without_what_fits(
    pools: constraints.Pools, requests: Requests,
) -> constraints.Pools:
    """Return what is left when each request takes as much as there is."""
    for request in requests:
        most = min(request.count, constraints.available(pools))
        for count in range(most, 0, -1):
            allotted = allotment.allot(
                pools, [dataclasses.replace(request, count=count)])
            if allotted is not None:
                pools = allotted.left
                break
    return pools


def fit_in_every_order(
    pools: constraints.Pools, instances: Sequence[Requests],
) -> bool:
    """Tell whether the claims of all instances succeed, whoever is first.

    An instance that never claims anything is as good as the last one, so that
    this holds whichever of them come.

    :param pools: the pools of one host, in claim order
    :param instances: their requests
    """
    kinds: list[Requests] = []
    numbers: list[int] = []
    for requests in map(_without_names, instances):
        if requests in kinds:
            numbers[kinds.index(requests)] += 1
        else:
            kinds.append(requests)
            numbers.append(1)
    # What follows depends on what is left and on who is still to come, so
    # that each such state is looked at once.
    states = [(pools, tuple(numbers))]
    seen = set()
    tried = 0
    while states:
        pools, to_come = states.pop()
        for kind, number in enumerate(to_come):
            if not number:
                continue
            allotted = allotment.allot(pools, kinds[kind])
            if allotted is None:
                return False
            tried += 1
            if tried >= _TRIED:
                return True
            later = (*to_come[:kind], number - 1, *to_come[kind + 1:])
            state = later, tuple(
                (id(pool.kind), pool.count, pool.rp_uuid)
                for pool in allotted.left)
            if state not in seen:
                seen.add(state)
                states.append((allotted.left, later))
    return True


def _without_names(requests: Requests) -> Requests:
    """Return requests as they are compared: each port has a name."""
    return [dataclasses.replace(request, label='', asked=())
            for request in requests]
