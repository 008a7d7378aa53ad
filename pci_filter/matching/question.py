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

"""Put the requests of one instance to many hosts.

Most hosts look alike to a request, however differently they are used: of what
no request of the instance wants nothing matters, and of what one does no more
than all of them together ask for. Such a shape is decided once.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import itertools
import typing

from pci_filter.matching import allotment
from pci_filter.matching import constraints
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module

#: For each request the provider of each device that placement allocated, none
#: where placement does not track the request.
Providers = Sequence[Sequence[str]]

#: What drops a pool for what it is, whatever else the host has.
_OF_KIND: typing.Final = (
    constraints.unrequested_pf, constraints.unrequested_vdpa,
    constraints.unrequested_remote_managed, constraints.live_migratable)

_Shape = tuple[object, ...]

#: What a pool is to each request: of no use, to be counted as near the
#: guest or not, or to be taken from.
_NOTHING: typing.Final = 0
_COUNTED: typing.Final = 1
_TAKEN: typing.Final = 2


class _Roles(dict[pool_module.PoolKind, int]):
    """What kinds of pools are to some requests, as numbers.

    Two kinds have the same number if no verdict can depend on which of them
    it is. A number is found out when first asked for.

    :param requests: the requests
    :param placed: whether the guest has a place, so that NUMA nodes matter
    :param families_matter: whether relatives can exclude each other
    """

    def __init__(
        self, requests: Sequence[request_module.DeviceRequest], placed: bool,
        families_matter: bool,
    ) -> None:
        self._requests = requests
        self._placed = placed
        self._families_matter = families_matter
        self._numbers: dict[tuple[object, ...], int] = {}
        self._next_number = itertools.count(1)

    def __missing__(self, kind: pool_module.PoolKind) -> int:
        uses = tuple(self._use(kind, request) for request in self._requests)
        role = _NOTHING
        if any(uses):
            role = self._numbers.setdefault(
                (*uses, kind.numa_node if self._placed else None,
                 kind.dev_type if self._families_matter else None),
                next(self._next_number))
        self[kind] = role
        return role

    def _use(
        self, kind: pool_module.PoolKind,
        request: request_module.DeviceRequest,
    ) -> int:
        pools = [pool_module.PciDevicePool(kind, 1)]
        if not constraints.spec(pools, request):
            return _NOTHING
        if all(constraint(pools, request) for constraint in _OF_KIND):
            return _TAKEN
        return _COUNTED if self._placed else _NOTHING


class Question:
    """Whether a host can serve the requests of one instance.

    It may be asked about the pools of any number of hosts, by any number of
    threads.

    :param requests: the requests, for a guest on certain host NUMA nodes or
        not placed yet, without providers
    :param mind_relatives: whether a physical function and the functions
        carved out of it exclude each other
    """

    def __init__(
        self,
        requests: Sequence[request_module.DeviceRequest],
        mind_relatives: bool = True,
    ) -> None:
        self.requests = tuple(requests)
        self.mind_relatives = mind_relatives
        self._placed = any(request.numa_cells for request in requests)
        # One device alone, or several that are all functions, never exclude
        # each other.
        self._can_exclude = (
            len(requests) > 1 or any(request.wants_pf for request in requests))
        self._families_matter = mind_relatives and self._can_exclude
        # Nothing is decided by more than that. One more, so that a pool is
        # not emptied that would not be.
        self._enough = sum(request.count for request in requests) + 1
        self._roles = _Roles(
            self.requests, self._placed, self._families_matter)
        self._verdicts: dict[_Shape, bool] = {}
        self._met: dict[pool_module.PoolKind, bool] = {}

    def compiled(
        self, providers: Providers = (),
    ) -> Sequence[request_module.DeviceRequest]:
        """Return the requests, with the providers that placement chose."""
        if not any(providers):
            return self.requests
        return [
            dataclasses.replace(request, rp_uuids=tuple(rp_uuids))
            for request, rp_uuids in zip(self.requests, providers)]

    def decide(
        self,
        pools: constraints.Pools,
        providers: Providers = (),
        record: allotment.Record | None = None,
    ) -> allotment.Allotment | None:
        """Serve the requests, each from the pools that a claim would choose.

        :param pools: the pools of one host; what their devices are tagged
            with is known
        :param providers: what placement allocated there
        :param record: called with what became of each request
        :returns: None if a request cannot be served
        """
        requests = self.compiled(providers)
        allot = functools.partial(allotment.allot, pools, requests)
        if self.mind_relatives and any(providers):
            # nova-compute looks at its pools before it claims, as if there
            # were no relatives. Only a provider in several pools, of which
            # the claim would find but one, can make it fail there.
            if allot(None, False) is None:
                return allot(record, False)
        return allot(record, self.mind_relatives)

    def meets_relatives(self, pools: constraints.Pools) -> bool:
        """Tell whether relatives matter to them on a host, wherever it be.

        They do if what a request looks for is excluded already, or if there
        is a physical function as well as something carved out of it. It need
        not be taken: near a guest a port counts, too, until it is known that
        nobody has asked for ports.
        """
        found = [pool for pool in pools if self._is_met(pool.kind)]
        ports = {pool.kind.address for pool in found
                 if self._can_exclude
                 and pool.kind.dev_type == pool_module.PF}
        return any(
            pool.blocked or pool.kind.address in ports
            and pool.kind.dev_type in pool_module.FUNCTION_TYPES
            for pool in found)

    def _is_met(self, kind: pool_module.PoolKind) -> bool:
        """Tell whether some request looks for such devices."""
        met = self._met.get(kind)
        if met is None:
            pool = pool_module.PciDevicePool(kind, 1)
            met = self._met[kind] = any(
                constraints.meets_spec(pool, request, unknown_meets=True)
                for request in self.requests)
        return met

    def fits(self, pools: constraints.Pools) -> bool:
        """Tell whether a host can serve them, of any provider.

        The verdict is that of :meth:`decide`.
        """
        return self._verdict(self._shape(pools), pools, ())

    def fits_allocation(
        self,
        pools: constraints.Pools,
        by_provider: Mapping[str | None, pool_module.PciDevicePool] | None,
        providers: Providers,
    ) -> bool:
        """Tell whether a host can serve them as placement allocated.

        :param pools: the pools of one host
        :param by_provider: its pool of each provider, None if some provider
            has several
        :param providers: what placement allocated there
        """
        if by_provider is None or not all(providers) or (
                self._placed and len(providers) > 1):
            # Rare, and too much would matter for hosts to be alike.
            return self.decide(pools, providers) is not None
        return self._verdict(
            self._shape_of_allocation(pools, by_provider, providers),
            pools, providers)

    def _verdict(
        self, shape: _Shape, pools: constraints.Pools, providers: Providers,
    ) -> bool:
        verdict = self._verdicts.get(shape)
        if verdict is None:
            verdict = self.decide(pools, providers) is not None
            self._verdicts[shape] = verdict
        return verdict

    def _shape(self, pools: constraints.Pools) -> _Shape:
        """Return what matters of the pools, in the order of a claim.

        Pools that follow each other in the same role are as good as one. It
        consists of tuples, of which a shape of an allocation has none.
        """
        shape: list[object] = []
        families: dict[str, int] = {}
        last = last_family = family = count = 0
        for pool in pools:
            role = self._roles[pool.kind]
            if role == _NOTHING:
                continue
            if pool.blocked:
                role = -role
            if self._families_matter:
                family = families.setdefault(pool.kind.address, len(families))
            if role == last and family == last_family:
                count += pool.count
            else:
                shape.append((last, last_family, min(count, self._enough)))
                last, last_family, count = role, family, pool.count
        shape.append((last, last_family, min(count, self._enough)))
        return tuple(shape)

    def _shape_of_allocation(
        self,
        pools: constraints.Pools,
        by_provider: Mapping[str | None, pool_module.PciDevicePool],
        providers: Providers,
    ) -> _Shape:
        """Return what matters when every device has its provider.

        Those are the pools of these providers. The others only count, where
        the guest is placed, as near to it or not.
        """
        enough = self._enough + sum(map(len, providers))
        shape: list[object] = []
        families: dict[str, int] = {}
        chosen = dict.fromkeys(itertools.chain.from_iterable(providers))
        for rp_uuid in chosen:
            pool = by_provider.get(rp_uuid)
            # Asked for every candidate of every host, so built of no more
            # objects than it takes.
            shape += [rp_uuids.count(rp_uuid) for rp_uuids in providers]
            if pool is None:
                shape.append(None)
            else:
                kind = pool.kind
                shape += (
                    self._roles[kind], pool.blocked,
                    families.setdefault(kind.address, len(families)),
                    pool.count if pool.count < enough else enough)
        if self._placed:
            counted: dict[int, int] = {}
            for pool in pools:
                role = self._roles[pool.kind]
                if role != _NOTHING and pool.rp_uuid not in chosen:
                    counted[role] = min(
                        counted.get(role, 0) + pool.count, enough)
            shape.append(frozenset(counted.items()))
        return tuple(shape)
