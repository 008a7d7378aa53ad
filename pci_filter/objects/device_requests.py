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

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from pci_filter import matching

#: RequestGroup requester_id -> resource providers that placement chose.
ProviderMapping = Mapping[str, Sequence[str]]


class PciRequest(typing.Protocol):
    """What is read of nova.objects.InstancePCIRequest."""

    count: int
    spec: Sequence[Mapping[str, object]]
    alias_name: str | None
    request_id: str | None
    requester_id: str | None
    numa_policy: str | None


class GuestCell(typing.Protocol):
    """What is read of nova.objects.InstanceNUMACell."""

    id: int


class HostCell(GuestCell, typing.Protocol):
    """What is read of nova.objects.NUMACell."""

    socket: int | None


class HostTopology(typing.Protocol):
    """What is read of nova.objects.NUMATopology."""

    cells: Sequence[HostCell]


def compile_requests(
    requests: Iterable[PciRequest],
    provider_mapping: ProviderMapping | None,
    numa_cells: Iterable[GuestCell] | None = None,
    host_topology: HostTopology | None = None,
) -> list[matching.DeviceRequest]:
    """Compile the PCI requests of one instance for one host.

    :param requests: Nova's InstancePCIRequest objects
    :param provider_mapping: what placement chose for the instance on this
        host; None or empty when the requests themselves carry it
    :param numa_cells: the guest's NUMA cells placed on the host's, if so far
    :param host_topology: the host's NUMA topology, for the socket policy
    """
    near = frozenset(cell.id for cell in numa_cells or ())
    return [
        matching.DeviceRequest.compile(
            label=_label(request),
            count=request.count,
            specs=request.spec,
            numa_policy=request.numa_policy,
            numa_cells=near,
            socket_cells=_same_sockets(near, host_topology)
            if near and request.numa_policy == 'socket' else frozenset(),
            rp_uuids=_rp_uuids(request, provider_mapping))
        for request in requests]


def _label(request: PciRequest) -> str:
    """Return what people know a request by: the alias or the port's id."""
    if request.alias_name:
        return request.alias_name
    if request.requester_id:
        return f'port {request.requester_id}'
    return f'request {request.request_id}'


def _rp_uuids(
    request: PciRequest, provider_mapping: ProviderMapping | None,
) -> Sequence[str]:
    """Return the provider of each device, none if placement has no say.

    Nova puts each device of an alias into a request group of its own, named
    after the request's id; after scheduling the providers are in the spec
    (nova.pci.stats, _get_rp_uuids_for_request). Ports are not in placement.
    """
    if request.alias_name is None:
        return ()
    if provider_mapping:
        prefix = request.request_id
        return [
            providers[0] for group, providers in provider_mapping.items()
            if prefix and group and group.startswith(prefix) and providers]
    stored = request.spec[0].get('rp_uuids') if request.spec else None
    return str(stored).split(',') if stored else ()


def _same_sockets(
    near: frozenset[int], topology: HostTopology | None,
) -> frozenset[int]:
    """Return the host NUMA nodes that share a socket with some of these.

    Unless the host tells the socket of each of its nodes, none do.
    """
    cells = topology.cells if topology else ()
    socket_of = {cell.id: cell.socket for cell in cells}
    if None in socket_of.values():
        return frozenset()
    sockets = {socket for node, socket in socket_of.items() if node in near}
    return frozenset(
        node for node, socket in socket_of.items() if socket in sockets)
