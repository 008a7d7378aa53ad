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

"""The pools of one compute node."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import copy
import itertools
import types
import typing

from pci_filter.db import compute_nodes
from pci_filter.db import device_groups
from pci_filter import exception
from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter.objects import device_requests
from pci_filter.objects import other_places
from pci_filter.objects import pool_load
from pci_filter.objects import spec_match
from pci_filter.tags import base

if typing.TYPE_CHECKING:
    import sqlalchemy as sa

_NO_TOPOLOGIES: typing.Final[
    Mapping[str, device_requests.HostTopology]] = types.MappingProxyType({})

_ByProvider = dict['str | None', matching.PciDevicePool]


class PciDevicePoolList:
    """What one compute node has to offer, and whether it suffices.

    It takes the place of Nova's PciDeviceStats on a HostState, so it answers
    to what in-tree filters, weighers and HostState call on that. Asking never
    changes it; only :meth:`apply_requests` does.

    :param pools: the node's pools, in any order
    :param host_topology: the node's NUMA topology; needed by the NUMA policy
        ``socket`` only
    :param unknown: groups of devices that are left out because no source
        knows their tags
    :param numa_guest: whether the instance in question has NUMA cells of its
        own. While nobody has placed them, relatives do not exclude each
        other: a claim finds a place first, and so may take other devices
        than one that need not look for a place (nova.compute.claims,
        Claim._test_pci).
    :param demands: what is known already of the requests that will come
    :param stored_tags: what became of the tags in the node's rows
    """

    def __init__(
        self,
        pools: Iterable[matching.PciDevicePool] = (),
        host_topology: device_requests.HostTopology | None = None,
        unknown: Sequence[model.DeviceGroup] = (),
        numa_guest: bool = False,
        demands: device_requests.Demands | None = None,
        stored_tags: model.StoredTags = model.StoredTags.NONE,
    ) -> None:
        self._set_pools(pool_module.claim_order(pools))
        self._host_topology = host_topology
        self._promised: list[matching.DeviceRequest] = []
        self._demands = demands or device_requests.Demands()
        self.unknown = tuple(unknown)
        #: Tags that differ within a pool, so that nobody knows them.
        self.unknown_tags: frozenset[str] = frozenset().union(*(
            pool.kind.unknown_tags for pool in self._pools
            if pool.kind.unknown_tags))
        self.numa_guest = numa_guest
        self.stored_tags = stored_tags
        self._mind_relatives = True

    def _set_pools(self, pools: list[matching.PciDevicePool]) -> None:
        self._pools = pools
        # What is made of them when first needed.
        self._dicts: list[dict[str, object]] | None = None
        self._by_provider: _ByProvider | None = None
        self._has_split = False

    @classmethod
    def get_all(
        cls,
        connection: sa.engine.Connection,
        nodes: Sequence[model.ComputeNode] | None = None,
        tag_sources: Sequence[base.TagSource] = (),
        topologies: Mapping[
            str, device_requests.HostTopology] = _NO_TOPOLOGIES,
        numa_guest: bool = False,
        if_idle: bool = False,
    ) -> dict[str, PciDevicePoolList]:
        """Load the pools of many compute nodes in one grouped statement.

        :param connection: to the cell's database; only read from
        :param nodes: the compute nodes asked about; None for all of the
            cell, which are then read first
        :param tag_sources: who knows the devices' tags, first one first
        :param topologies: NUMA topologies of the nodes by their UUID, where
            they matter
        :param numa_guest: as of the class
        :param if_idle: the pools that there would be without instances
        :returns: a list for each node, keyed by its UUID; the list of a node
            without available devices is empty
        :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it,
            when the database cannot answer
        """
        if nodes is None:
            nodes = compute_nodes.load(connection)
        needs = base.needs(tag_sources)
        groups = device_groups.load(
            connection, [node.uuid for node in nodes], needs.by_device,
            stored_tags=needs.stored_tags, if_idle=if_idle)
        maker = pool_load.PoolMaker(tag_sources)
        demands = device_requests.Demands()
        lists = {}
        for node in nodes:
            made = maker.make(node, groups.pop(node.uuid, {}))
            lists[node.uuid] = cls(
                made.pools, topologies.get(node.uuid), made.unknown,
                numa_guest, demands, made.stored_tags)
        return lists

    @classmethod
    def get_by_compute_node(
        cls,
        connection: sa.engine.Connection,
        node: model.ComputeNode,
        tag_sources: Sequence[base.TagSource] = (),
        topology: device_requests.HostTopology | None = None,
        numa_guest: bool = False,
        if_idle: bool = False,
    ) -> PciDevicePoolList:
        """Load the pools of one compute node; see :meth:`get_all`."""
        return cls.get_all(
            connection, [node], tag_sources,
            {node.uuid: topology} if topology else _NO_TOPOLOGIES,
            numa_guest, if_idle)[node.uuid]

    def __iter__(self) -> Iterator[matching.PciDevicePool]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)

    def __bool__(self) -> bool:
        # nova.virt.hardware skips the PCI check of a host whose list is
        # false: an empty list must still be asked.
        return True

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self._pools!r})'

    @property
    def pools(self) -> list[dict[str, object]]:
        """The pools as the dicts that in-tree code reads."""
        if self._dicts is None:
            self._dicts = [pool.to_dict() for pool in self._pools]
        return self._dicts

    @property
    def sockets(self) -> tuple[tuple[int, int | None], ...] | None:
        """The socket of each NUMA node, None if that was not loaded."""
        if self._host_topology is None:
            return None
        return tuple(
            (cell.id, device_requests.socket_of_cell(cell))
            for cell in self._host_topology.cells)

    def place_matters(
        self, requests: Iterable[device_requests.PciRequest],
    ) -> bool:
        """Tell whether it matters here which place a claim tries first.

        Nova's own nova-compute asks its pools for a place on the NUMA nodes
        as if a physical function and its functions did not exclude each
        other, takes the first that it finds, and fails there if they do
        (nova.compute.claims, Claim._test_numa_topology). Ours minds them from
        the start; that it runs on a host is known by the tags in the rows.

        :param requests: all PCI requests of one instance with NUMA cells
        """
        if self.stored_tags is model.StoredTags.CURRENT:
            return False
        question, _ = self._ask(requests, None, None)
        return question.meets_relatives(self._pools)

    def without_relatives(self) -> PciDevicePoolList:
        """Return what Nova's own nova-compute asks for a guest's place.

        No pool excludes another. As dicts there are those, too, whose tags
        nobody knows here: they are counted to find the node to begin with.
        Where tags are unknown it suffices that a place may do: nova-compute
        takes it then, and does not go on to one that is certain.
        """
        view = copy.copy(self)
        view._mind_relatives = False
        if self.unknown:
            view._dicts = [*self.pools, *(
                pool.to_dict() for pool in spec_match.unknown_pools(self))]
        return view

    def after(
        self, instances: Sequence[Sequence[matching.DeviceRequest]],
    ) -> PciDevicePoolList:
        """Return what is left when instances have claimed their devices.

        :param instances: the requests of each, in the order in which they are
            most likely to claim. Those that do not fit take what they can.
        """
        if self.unknown_tags:
            view = copy.copy(self)
            view._promised = [
                *self._promised, *itertools.chain.from_iterable(instances)]
            return view
        view = copy.copy(self)
        view._set_pools(matching.fit_one_by_one(self._pools, instances)[0])
        return view

    def compiled_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> Sequence[matching.DeviceRequest]:
        """Return the requests as the decision sees them.

        The parameters are those of :meth:`supports_requests`.
        """
        question, providers = self._ask(
            requests, provider_mapping, numa_cells)
        return question.compiled(providers)

    def fit_in_every_order(
        self, instances: Sequence[Sequence[matching.DeviceRequest]],
        requests: Sequence[matching.DeviceRequest],
    ) -> bool:
        """Tell whether one more instance disturbs others, or they it.

        Asked about requests that fit after the others. Where tags are unknown
        each must get its devices whatever all the others take. Where the
        others can disturb each other already nobody is refused for it.

        :param instances: the requests of each of the others
        :param requests: those of one more
        """
        if self.unknown_tags:
            return (self._suffice_for_each([*instances, requests])
                    or not self._suffice_for_each(instances))
        _, others = matching.fit_one_by_one(self._pools, instances)
        return (
            matching.fit_in_every_order(self._pools, [*others, requests])
            or not matching.fit_in_every_order(self._pools, others))

    def _suffice_for_each(
        self, instances: Sequence[Sequence[matching.DeviceRequest]],
    ) -> bool:
        return all(
            matching.suffice(self._pools, requests, [
                *self._promised, *itertools.chain.from_iterable(
                    [*instances[:number], *instances[number + 1:]])])
            for number, requests in enumerate(instances))

    def still_fit_after(
        self, requests: Sequence[matching.DeviceRequest],
        instances: Sequence[Sequence[matching.DeviceRequest]],
    ) -> bool:
        """Tell whether others get their devices after one more instance.

        Those that do not fit before it either are none of its business. Where
        tags are unknown nobody is refused for it.

        :param requests: those of one more instance
        :param instances: the requests of each of the others, which can be
            placed elsewhere then
        """
        return bool(self.unknown_tags) or other_places.still_fit(
            self._pools, requests, instances, self._host_topology)

    def supports_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> bool:
        """Tell whether a claim of these requests would succeed.

        :param requests: all PCI requests of one instance
        :param provider_mapping: RequestGroup requester_id to the providers
            that placement chose; None when the requests carry it themselves
        :param numa_cells: the guest's NUMA cells, if placed on the host's
        """
        question, providers = self._ask(
            requests, provider_mapping, numa_cells)
        if self.unknown_tags:
            if not self._mind_relatives:
                return matching.may_suffice(self._pools, question.requests)
            return self._decide(question, providers) is not None
        if not providers:
            return question.fits(self._pools)
        return question.fits_allocation(
            self._pools, self._find_by_provider(), providers)

    #: What in-tree code calls it.
    support_requests = supports_requests

    def apply_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> None:
        """Take the devices for these requests out of the pools.

        The parameters are those of :meth:`supports_requests`.

        :raises pci_filter.exception.PciRequestsNotSupported: if they do not
            fit; nothing is taken then
        """
        requests = list(requests)
        question, providers = self._ask(
            requests, provider_mapping, numa_cells)
        allotment = self._decide(question, providers)
        if allotment is None:
            raise exception.PciRequestsNotSupported(self.explain_requests(
                requests, provider_mapping, numa_cells).reason)
        if self.unknown_tags:
            self._promised += question.compiled(providers)
        self._set_pools(allotment.left)

    def allot_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> matching.Allotment | None:
        """Return what each request would take, None if they do not fit.

        The parameters are those of :meth:`supports_requests`. Where tags are
        unknown nobody can tell what a request takes: it is nothing then.
        """
        return self._decide(*self._ask(requests, provider_mapping, numa_cells))

    def explain_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> matching.Explanation:
        """Tell, per request, how many devices each constraint left.

        The parameters are those of :meth:`supports_requests`, and so is the
        verdict, as ``fits``.
        """
        explained: list[matching.RequestExplanation] = []
        question, providers = self._ask(
            requests, provider_mapping, numa_cells)
        self._decide(question, providers, explained.append)
        notes = []
        if self.unknown:
            notes.append('devices whose tags are unknown are left out')
        if self.unknown_tags:
            notes.append('functions of one PF differ in '
                         + ', '.join(sorted(self.unknown_tags)))
        if len(explained) > 1 and not explained[-1].fits:
            failed = question.compiled(providers)[len(explained) - 1]
            alone = matching.Question([failed], question.mind_relatives)
            if self._decide(alone, ()) is not None:
                notes.append('requests before it took or excluded its devices')
        return matching.Explanation(tuple(explained), ', '.join(notes))

    def _ask(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None,
        numa_cells: Sequence[device_requests.GuestCell] | None,
    ) -> tuple[matching.Question, matching.Providers]:
        """Return the question, and what placement allocated here."""
        if not isinstance(requests, list):
            requests = list(requests)
        demand = self._demands.of(requests)
        question = demand.question(
            numa_cells, self._host_topology,
            self._mind_relatives and (
                bool(numa_cells) or not self.numa_guest))
        return question, demand.providers(requests, provider_mapping)

    def _decide(
        self,
        question: matching.Question,
        providers: matching.Providers,
        record: matching.Record | None = None,
    ) -> matching.Allotment | None:
        """Serve the requests; None if one cannot be served.

        Where tags are unknown nothing is taken: what is promised is kept.
        """
        if not self.unknown_tags:
            return question.decide(self._pools, providers, record)
        fits = matching.suffice(
            self._pools, question.compiled(providers), self._promised, record,
            question.mind_relatives)
        return matching.Allotment((), self._pools) if fits else None

    def _find_by_provider(self) -> _ByProvider | None:
        """Return the pool of each provider, None if some has several."""
        if self._by_provider is None:
            self._by_provider = {
                pool.rp_uuid: pool for pool in self._pools
                if pool.rp_uuid is not None}
            self._has_split = len(self._by_provider) < sum(
                pool.rp_uuid is not None for pool in self._pools)
        return None if self._has_split else self._by_provider
