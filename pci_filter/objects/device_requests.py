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

"""Turn Nova's PCI requests into what the decision works on.

Nova's objects are only looked at, so this works on anything alike and needs
no Nova.
"""

from __future__ import annotations

from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing

from pci_filter import matching

#: RequestGroup requester_id -> resource providers that placement chose.
ProviderMapping = Mapping[str, Sequence[str]]

_NOWHERE: typing.Final[frozenset[int]] = frozenset()


class PciRequest(typing.Protocol):
    """What is read of nova.objects.InstancePCIRequest."""

    @property
    def count(self) -> int:
        """How many devices."""

    @property
    def spec(self) -> Sequence[Mapping[str, object]]:
        """Alternatives, as properties and what they must equal."""

    @property
    def alias_name(self) -> str | None:
        """The flavor's alias, None if a port asks."""

    @property
    def request_id(self) -> str | None:
        """Its own id."""

    @property
    def requester_id(self) -> str | None:
        """The id of the port."""

    @property
    def numa_policy(self) -> str | None:
        """How near to the guest, None for the default."""


class GuestCell(typing.Protocol):
    """What is read of nova.objects.InstanceNUMACell."""

    @property
    def id(self) -> int:
        """Number of the host's NUMA node."""


class HostCell(GuestCell, typing.Protocol):
    """What is read of nova.objects.NUMACell."""

    @property
    def socket(self) -> int | None:
        """Number of its socket, if the host tells."""


class HostTopology(typing.Protocol):
    """What is read of nova.objects.NUMATopology."""

    @property
    def cells(self) -> Sequence[HostCell]:
        """The NUMA nodes."""


class Demands:
    """What the instances of one scheduling request ask for, compiled once.

    The hosts of a request share one, so that each asks what others have found
    out already.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Demand] = {}
        self._latest: tuple[object, Demand] | None = None

    def of(self, requests: Sequence[PciRequest]) -> Demand:
        """Return what these requests ask for.

        Nova asks with the same list from host to host, or with copies of it,
        and changes nothing in it meanwhile but the providers.
        """
        if self._latest is not None and self._latest[0] is requests:
            return self._latest[1]
        key = tuple(map(_content, requests))
        demand = self._known.get(key)
        if demand is None:
            demand = self._known[key] = Demand(requests)
        self._latest = requests, demand
        return demand


class Demand:
    """The PCI requests of one instance, to be put to many hosts.

    :param requests: Nova's InstancePCIRequest objects
    """

    def __init__(self, requests: Sequence[PciRequest]) -> None:
        self._requests = requests
        self._by_socket = any(
            request.numa_policy == 'socket' for request in requests)
        # Only flavor requests are in placement. Ports are not.
        self._of_flavor = [
            request.alias_name is not None for request in requests]
        self._group_prefixes = [
            request.request_id if of_flavor else None
            for request, of_flavor in zip(requests, self._of_flavor)]
        self._questions: dict[Hashable, matching.Question] = {}

    def question(
        self,
        numa_cells: Iterable[GuestCell] | None = None,
        host_topology: HostTopology | None = None,
        mind_relatives: bool = True,
    ) -> matching.Question:
        """Return what to ask hosts where the guest has this place.

        :param numa_cells: the guest's NUMA cells placed on the host's, if so
            far
        :param host_topology: the host's NUMA topology, for the socket policy
        :param mind_relatives: whether a physical function and the functions
            carved out of it exclude each other
        """
        near = sockets = _NOWHERE
        if numa_cells:
            near = frozenset(cell.id for cell in numa_cells)
            if self._by_socket:
                sockets = _same_sockets(near, host_topology)
        key = near, sockets, mind_relatives
        question = self._questions.get(key)
        if question is None:
            question = self._questions[key] = matching.Question(
                [_compiled(request, near, sockets)
                 for request in self._requests], mind_relatives)
        return question

    def providers(
        self, requests: Iterable[PciRequest],
        provider_mapping: ProviderMapping | None,
    ) -> matching.Providers:
        """Return the provider of each device, none if placement has no say.

        Nova puts each device of an alias into a request group of its own,
        named after the request's id; after scheduling the providers are in
        the spec (nova.pci.stats, _get_rp_uuids_for_request).

        :param requests: these requests, as they are now
        :param provider_mapping: what placement chose for the instance on the
            host; None or empty when the requests themselves carry it
        :returns: the providers of each request; nothing if there are none
        """
        if True not in self._of_flavor:
            return ()
        if not provider_mapping:
            stored = [
                request.spec[0].get('rp_uuids')
                if of_flavor and request.spec else None
                for request, of_flavor in zip(requests, self._of_flavor)]
            if not any(stored):
                return ()
            return [str(text).split(',') if text else () for text in stored]
        providers = [
            [of_group[0] for group, of_group in provider_mapping.items()
             if prefix and group and of_group and group.startswith(prefix)]
            for prefix in self._group_prefixes]
        return providers if any(providers) else ()


def is_tracked(
    requests: Iterable[PciRequest], group_ids: Iterable[str | None],
) -> bool:
    """Tell whether placement has a say in some of the requests.

    :param requests: Nova's InstancePCIRequest objects
    :param group_ids: requester_id of each RequestGroup of the instance
    """
    groups = [group for group in group_ids if group]
    return any(
        request.alias_name is not None and (
            any(group.startswith(request.request_id) for group in groups
                if request.request_id)
            or any(spec.get('rp_uuids') for spec in request.spec))
        for request in requests)


def _content(request: PciRequest) -> Hashable:
    """Return all that is read of a request."""
    return (
        request.request_id, request.requester_id, request.alias_name,
        request.count, request.numa_policy,
        tuple(tuple(spec.items()) for spec in request.spec))


def _compiled(
    request: PciRequest, near: frozenset[int], sockets: frozenset[int],
) -> matching.DeviceRequest:
    return matching.DeviceRequest.compile(
        label=_label(request), count=request.count, specs=request.spec,
        numa_policy=request.numa_policy, numa_cells=near,
        socket_cells=sockets if request.numa_policy == 'socket'
        else _NOWHERE)


def moved(
    request: matching.DeviceRequest, near: frozenset[int],
    topology: HostTopology,
) -> matching.DeviceRequest:
    """Return a request of a guest that is placed elsewhere.

    :param request: of a guest that has a place
    :param near: the NUMA nodes of its new one
    :param topology: the NUMA topology of the host
    """
    return dataclasses.replace(
        request, numa_cells=near,
        socket_cells=_same_sockets(near, topology)
        if request.numa_policy == 'socket' else _NOWHERE)


def _label(request: PciRequest) -> str:
    """Return what people know a request by: the alias or the port's id."""
    if request.alias_name:
        return request.alias_name
    if request.requester_id:
        return f'port {request.requester_id}'
    return f'request {request.request_id}'


def socket_of_cell(cell: HostCell) -> int | None:
    """Return the socket of a host's NUMA node, None if the host tells none.

    Of a topology that an older nova-compute has stored, no cell has the
    field, and Nova's objects raise when it is read. That is not waited for:
    it would take longer than the rest of a decision.
    """
    is_set = getattr(cell, 'obj_attr_is_set', None)
    return cell.socket if is_set is None or is_set('socket') else None


def _same_sockets(
    near: frozenset[int], topology: HostTopology | None,
) -> frozenset[int]:
    """Return the host NUMA nodes that share a socket with some of these.

    Unless the host tells the socket of each of its nodes, none do.
    """
    cells = topology.cells if topology else ()
    socket_of = {cell.id: socket_of_cell(cell) for cell in cells}
    if None in socket_of.values():
        return frozenset()
    sockets = {socket for node, socket in socket_of.items() if node in near}
    return frozenset(
        node for node, socket in socket_of.items() if socket in sockets)
