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

"""Reserve the devices of a compute node that the scheduler has chosen."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import os
import socket
import threading
import time
import typing

from oslo_config import cfg

from pci_filter.db import device_groups
from pci_filter.db import in_flight
from pci_filter import objects
from pci_filter import reservations
from pci_filter.reservations import deciding
from pci_filter.reservations import making
from pci_filter.scheduler import api_reader
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import failures as failures_module
from pci_filter.scheduler import first_place
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_pools
from pci_filter.scheduler import request_specs
from pci_filter.tags import base

#: Seconds to wait for others of this process that are at the same node.
_FOR_OTHERS: typing.Final = 5

#: Seconds for which a store that has used up its time is not asked again.
_PAUSE: typing.Final = 1

#: How many nodes can be reserved on at a time by one process.
_LOCKS: typing.Final = 64

HostState = typing.Any


class CellUnreadable(Exception):
    """A cell did not answer.

    :param cell_uuid: the cell
    :param answer: as in cell_reader.Answers
    """

    def __init__(self, cell_uuid: str, answer: typing.Any) -> None:
        self.answer = answer
        super().__init__(
            f'cell {cell_uuid}: {failures_module.failure_text(answer)}')


class Reserver:
    """Makes and gives back reservations; one serves all requests.

    Of the threads of a process only one is at a node at a time: of several the
    store would let one succeed in each round, and all would read the database
    in each. A thread that has waited too long goes on nevertheless, since it
    is the store that decides. The lock is held while the cell and the store
    are asked, for a limited time each. The locks of cell_databases, of
    shared_reads and of the connections' pool are taken meanwhile, and nobody
    who has one of those waits for this one.

    :param conf: nova.conf
    :param tag_sources: what the pools are made with
    :raises pci_filter.exception.PciFilterError: if the options are wrong
    """

    def __init__(
        self, conf: cfg.ConfigOpts, tag_sources: Sequence[base.TagSource],
    ) -> None:
        options = conf.pci_filter
        self.store = reservations.load(conf)
        self.timeout: int = options.reservation_timeout
        self._load_timeout: int = options.load_timeout
        self._patience: float = options.reservation_store_timeout / 1000
        self._tag_sources = tag_sources
        self._api_reader = api_reader.ApiReader()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._paused_until = 0.0

    def reserve(self, node: Node, instance_uuid: str) -> (
            reservations.Made | reservations.Refused):
        """Reserve what an instance is going to claim on a node.

        :raises pci_filter.reservations.StoreError: if the store does not work
        :raises CellUnreadable: if the cell does not answer
        """
        asker = making.Asker(
            instance_uuid, sum(request.count for request in node.requests),
            f'{socket.gethostname()}:{os.getpid()}')
        with self._at(node.uuid):
            patience = self._start()
            try:
                return reservations.reserve(
                    self.store, node, asker, self.timeout, patience)
            finally:
                self._stop(patience)

    def release(
        self, node_uuid: str, made: reservations.Reservation,
    ) -> None:
        """Give back what an instance is not going to claim.

        :raises pci_filter.reservations.StoreError: if the store does not work
        """
        patience = self._start()
        try:
            reservations.release(
                self.store, node_uuid, made, self.timeout, patience)
        finally:
            self._stop(patience)

    def node(
        self, context: typing.Any, cell: typing.Any, host_state: HostState,
        spec_obj: typing.Any, mapping: typing.Any,
    ) -> Node:
        """Return the node of a HostState, to reserve its devices.

        :param context: the request context
        :param cell: the CellMapping of the host
        :param host_state: nova.scheduler.host_manager.HostState
        :param spec_obj: nova.objects.RequestSpec
        :param mapping: the providers that placement allocates
        """
        return Node(
            self._tag_sources, self._load_timeout, self._api_reader, context,
            cell, host_state, spec_obj, mapping)

    @contextlib.contextmanager
    def _at(self, node_uuid: str) -> Iterator[None]:
        lock = self._locks[hash(node_uuid) % _LOCKS]
        alone = lock.acquire(timeout=_FOR_OTHERS)
        try:
            yield
        finally:
            if alone:
                lock.release()

    def _start(self) -> making.Patience:
        if time.monotonic() < self._paused_until:
            raise reservations.StoreError(making.LATE)
        return making.Patience(self._patience, counts=self.store.remote)

    def _stop(self, patience: making.Patience) -> None:
        """Let a store rest that hangs: each request would wait for it."""
        if patience.failed:
            self._paused_until = time.monotonic() + _PAUSE


class Node:
    """A compute node, as :class:`pci_filter.reservations.deciding.Node`.

    The other parameters are those of :meth:`Reserver.node`.

    :param tag_sources: what the pools are made with
    :param timeout: ``[pci_filter]load_timeout``
    :param api: asks Nova's API database
    """

    def __init__(
        self, tag_sources: Sequence[base.TagSource], timeout: int,
        api: api_reader.ApiReader, context: typing.Any, cell: typing.Any,
        host_state: HostState, spec_obj: typing.Any, mapping: typing.Any,
    ) -> None:
        self._timeout = timeout
        self.uuid: str = host_state.uuid
        self.requests = spec_obj.pci_requests.requests
        self._tag_sources = tag_sources
        self._api = api
        self._context = context
        self._cell = cell
        self._host_state = host_state
        self._spec_obj = spec_obj
        self._mapping = mapping
        self._make = host_pools.maker(tag_sources, None, spec_obj)
        # As they were when it was last looked at.
        self._pools = objects.PciDevicePoolList()
        self._deadline: float | None = None

    def is_arbitrated(self) -> bool:
        """Tell whether placement arbitrates all that is asked for here."""
        pools = self._host_state.pci_stats
        return all(request.rp_uuids for request in pools.compiled_requests(
            self.requests, self._mapping))

    def look(self, instance_uuids: Sequence[str]) -> reservations.Sight:
        """Read the database; see pci_filter.reservations.sight for the order.

        :raises CellUnreadable: if it does not answer
        """
        needs = base.needs(self._tag_sources)
        providers = request_specs.is_tracked(self._spec_obj)
        uuids = list(instance_uuids)

        def read(connection: typing.Any, _: object) -> typing.Any:
            owned = functools.partial(
                in_flight.load_owned, connection, self.uuid, uuids)
            named = functools.partial(
                in_flight.load_instances, connection, uuids)
            instances, before = named(), owned()
            groups = device_groups.load(
                connection, [self.uuid], needs.by_device, providers,
                needs.stored_tags)
            # Nobody else's claim matters if nobody else is waiting. One that
            # came and went shows in the instance only.
            moved = len(uuids) > 1 and (
                owned() != before
                or named().by_uuid != instances.by_uuid)
            return instances, before, moved, groups.get(self.uuid, {})

        if self._deadline is None:
            # However often it is looked at. Nova asks none at this time, so
            # nobody may be kept waiting for one that is down.
            self._deadline = time.monotonic() + self._timeout
        # Not shared: each look has its own order of statements.
        answer = cell_reader.CellReader(
            self._context, [(self._cell, [self.uuid])], read, self._timeout,
        ).answers([self._cell.uuid], self._deadline)[self._cell.uuid]
        if not isinstance(answer, tuple):
            raise CellUnreadable(self._cell.uuid, answer)
        instances, owned, moved, groups = answer
        host = host_pools.compute_node(self._host_state)
        self._pools = self._make((self._host_state, host), groups)
        return reservations.Sight(
            instances.now, host.nodename, instances.by_uuid, owned, moved)

    def asked(
        self, instance_uuids: Sequence[str],
    ) -> Mapping[str, reservations.Asked]:
        """Read the API database, nothing if it cannot be read."""
        return self._api.asked(self._context, instance_uuids)

    def decide(
        self, waiting: Sequence[deciding.Requests],
    ) -> deciding.Requests | None:
        """Ask the pools less what others are going to claim."""
        left = self._pools.after(waiting)
        cells = None
        if first_place.looks_for_place(self._host_state, self._spec_obj):
            cells = self._first_cells(left)
            if cells is None and self._place(self._pools) is not None:
                # The devices are what keeps the guest from its place.
                return None
        if not left.supports_requests(self.requests, self._mapping, cells):
            return None
        wanted = left.compiled_requests(self.requests, self._mapping, cells)
        if waiting and not (
                self._pools.fit_in_every_order(waiting, wanted)
                and self._may_be_first(waiting, cells)):
            return None
        return tuple(
            request for request in wanted if not request.rp_uuids)

    def _may_be_first(
        self, waiting: Sequence[deciding.Requests],
        cells: Sequence[typing.Any] | None,
    ) -> bool:
        """Tell whether the others find theirs if this claim is the first.

        When their devices are not taken yet, a guest with NUMA cells may be
        placed elsewhere, and take those.

        :param cells: where the guest is placed after the others
        """
        if cells is None:
            return True
        first = self._first_cells(self._pools)
        if first is None:
            return False
        return [cell.id for cell in first] == [cell.id for cell in cells] or (
            self._pools.still_fit_after(self._pools.compiled_requests(
                self.requests, self._mapping, first), waiting))

    def _first_cells(
        self, pools: objects.PciDevicePoolList,
    ) -> Sequence[typing.Any] | None:
        """Return where nova-compute places the guest, None if nowhere."""
        return self._place(
            pools.without_relatives() if pools.place_matters(self.requests)
            else pools)

    def _place(
        self, pools: objects.PciDevicePoolList,
    ) -> Sequence[typing.Any] | None:
        return first_place.place(
            self._host_state, self._spec_obj, self._mapping, pools)


def has_pools(host_state: HostState) -> bool:
    """Tell whether our pools decide about a host."""
    pools = host_state.pci_stats
    return isinstance(pools, objects.PciDevicePoolList) and not isinstance(
        pools, guarded_pools.NoPools)
