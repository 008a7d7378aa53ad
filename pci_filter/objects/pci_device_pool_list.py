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
from collections.abc import Sequence
import typing

from pci_filter.db import compute_nodes
from pci_filter import exception
from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter.objects import device_requests
from pci_filter.objects import pool_load

if typing.TYPE_CHECKING:
    import sqlalchemy as sa

    from pci_filter.tags import base


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
    """

    def __init__(
        self,
        pools: Iterable[matching.PciDevicePool] = (),
        host_topology: device_requests.HostTopology | None = None,
        unknown: Sequence[model.DeviceGroup] = (),
        numa_guest: bool = False,
    ) -> None:
        self._pools = pool_module.claim_order(pools)
        self._host_topology = host_topology
        self._dicts: list[dict[str, object]] | None = None
        self._promised: list[matching.DeviceRequest] = []
        self.unknown = tuple(unknown)
        #: Tags that differ within a pool, so that nobody knows them.
        self.unknown_tags: frozenset[str] = frozenset().union(
            *(pool.unknown_tags for pool in self._pools))
        self.numa_guest = numa_guest

    @classmethod
    def get_all(
        cls,
        connection: sa.engine.Connection,
        nodes: Sequence[model.ComputeNode] | None = None,
        tag_sources: Sequence[base.TagSource] = (),
    ) -> dict[str, PciDevicePoolList]:
        """Load the pools of many compute nodes in one grouped statement.

        :param connection: to the cell's database; only read from
        :param nodes: the compute nodes asked about; None for all of the
            cell, which are then read first
        :param tag_sources: who knows the devices' tags, first one first
        :returns: a list for each node, keyed by its UUID; the list of a node
            without available devices is empty
        :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it,
            when the database cannot answer
        """
        if nodes is None:
            nodes = compute_nodes.load(connection)
        groups = pool_load.load_groups(connection, nodes, tag_sources)
        return {
            node.uuid: cls.from_groups(node, groups[node.uuid], tag_sources)
            for node in nodes}

    @classmethod
    def get_by_compute_node(
        cls,
        connection: sa.engine.Connection,
        node: model.ComputeNode,
        tag_sources: Sequence[base.TagSource] = (),
    ) -> PciDevicePoolList:
        """Load the pools of one compute node; see :meth:`get_all`."""
        return cls.get_all(connection, [node], tag_sources)[node.uuid]

    @classmethod
    def from_groups(
        cls,
        node: model.ComputeNode,
        groups: Sequence[model.DeviceGroup],
        tag_sources: Sequence[base.TagSource],
        host_topology: device_requests.HostTopology | None = None,
        numa_guest: bool = False,
    ) -> PciDevicePoolList:
        """Make the list from the device groups of one compute node."""
        pools, unknown = pool_load.make_pools(node, groups, tag_sources)
        return cls(pools, host_topology, unknown, numa_guest)

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
            self._dicts = [dict(pool) for pool in self._pools]
        return self._dicts

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
        compiled = self._compile(requests, provider_mapping, numa_cells)
        return self._decide(compiled, numa_cells) is not None

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
        compiled = self._compile(requests, provider_mapping, numa_cells)
        left = self._decide(compiled, numa_cells)
        if left is None:
            raise exception.PciRequestsNotSupported(self.explain_requests(
                requests, provider_mapping, numa_cells).reason)
        if self.unknown_tags:
            self._promised += compiled
        self._pools = left
        self._dicts = None

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
        compiled = self._compile(requests, provider_mapping, numa_cells)
        self._decide(compiled, numa_cells, explained.append)
        notes = []
        if self.unknown:
            notes.append('devices whose tags are unknown are left out')
        if self.unknown_tags:
            notes.append('functions of one PF differ in '
                         + ', '.join(sorted(self.unknown_tags)))
        if len(explained) > 1 and not explained[-1].fits:
            failed = compiled[len(explained) - 1]
            if self._decide([failed], numa_cells) is not None:
                notes.append('requests before it took or excluded its devices')
        return matching.Explanation(tuple(explained), ', '.join(notes))

    def _compile(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None,
        numa_cells: Iterable[device_requests.GuestCell] | None,
    ) -> list[matching.DeviceRequest]:
        return device_requests.compile_requests(
            requests, provider_mapping, numa_cells, self._host_topology)

    def _decide(
        self,
        requests: Sequence[matching.DeviceRequest],
        numa_cells: Sequence[device_requests.GuestCell] | None,
        record: matching.Record | None = None,
    ) -> list[matching.PciDevicePool] | None:
        """Return the pools that are left, None if a request cannot be served.

        Where tags are unknown nothing is taken: what is promised is kept.
        """
        mind_relatives = bool(numa_cells) or not self.numa_guest
        if self.unknown_tags:
            fits = matching.reserve(
                self._pools, requests, self._promised, record, mind_relatives)
            return self._pools if fits else None
        if mind_relatives and any(request.rp_uuids for request in requests):
            # nova-compute looks at its pools before it claims, as if there
            # were no relatives. Only a provider in several pools, of which
            # the claim would find but one, can make it fail there.
            if matching.allot(self._pools, requests, None, False) is None:
                return matching.allot(self._pools, requests, record, False)
        return matching.allot(self._pools, requests, record, mind_relatives)
