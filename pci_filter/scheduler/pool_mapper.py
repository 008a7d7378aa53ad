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

"""Load the pools of all hosts of a request and map them onto HostStates."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import math
import time
import typing

from oslo_config import cfg

from pci_filter import objects
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import failures
from pci_filter.scheduler import host_pools
from pci_filter.scheduler import host_states as host_states_module
from pci_filter.scheduler import narrowed as narrowed_module
from pci_filter.scheduler import prefilter
from pci_filter.scheduler import request_specs
from pci_filter.scheduler import served
from pci_filter.scheduler import unknown_tags
from pci_filter.scheduler import widening
from pci_filter.tags import base

#: Cells, and UUIDs in all of their statements together, that are asked before
#: it is known which nodes are in which cell. Every cell is asked for all that
#: placement names then. With more it takes longer to send the statements than
#: the databases take to answer.
_CELLS_AHEAD: typing.Final = 8
_UUIDS_AHEAD: typing.Final = 10_000

HostState = typing.Any
_Hosts = list[host_pools.Host]


class PoolMapper:
    """Puts a PciDevicePoolList on each HostState of a request.

    One instance serves all requests of the process, so it keeps nothing of
    them. Whatever goes wrong here, the request goes on as
    ``[pci_filter]on_load_failure`` says.

    :param options: the ``[pci_filter]`` section
    :raises pci_filter.exception.PciFilterError: if the section is wrong
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        self.tag_sources = base.load(options)
        self._timeout: int = options.load_timeout
        self._for_all_requests = options.load_for == 'all_requests'
        #: What becomes of hosts about which nothing can be found out.
        self.failures = failures.Failures(options)
        #: Leaves out hosts before they are loaded.
        self.prefilter = prefilter.Prefilter(options)
        #: Finds hosts that placement has left out.
        self.widener = widening.Widener(options, self.prefilter)
        self._unknown = unknown_tags.Reporter()
        # As they were last given, by UUID.
        self._cells: Mapping[str, typing.Any] = {}

    def is_needed(self, spec_obj: typing.Any) -> bool:
        """Tell whether a request needs pools at all.

        :param spec_obj: nova.objects.RequestSpec or None
        """
        return self._for_all_requests or request_specs.asks_for_devices(
            spec_obj)

    def start_reading(
        self,
        context: typing.Any,
        manager: typing.Any,
        compute_uuids: Sequence[str] | None,
        spec_obj: typing.Any,
        narrowed: narrowed_module.Narrowed | None = None,
    ) -> cell_reader.CellReader | None:
        """Start to read the rows, before Nova reads the compute nodes.

        :param context: the request context
        :param manager: the HostManager that is going to make the HostStates
        :param compute_uuids: the compute nodes it was asked for, and maybe
            other resource providers; None for all nodes
        :param spec_obj: nova.objects.RequestSpec
        :param narrowed: what is left of them, if it is known
        :returns: what reads, or None if it is better to wait until it is
            known which nodes there are in which cell
        """
        if compute_uuids is None:
            return None
        try:
            cells = request_specs.cells_to_ask(manager, spec_obj)
            if narrowed:
                wanted = {
                    cell.uuid: (cell, narrowed.by_cell[cell.uuid])
                    for cell in cells if narrowed.by_cell[cell.uuid]}
            else:
                uuids = list(compute_uuids)
                wanted = {cell.uuid: (cell, uuids) for cell in cells}
            if len(wanted) > _CELLS_AHEAD or _UUIDS_AHEAD < sum(
                    len(uuids) for _, uuids in wanted.values()):
                return None
            return host_pools.reader(
                self.tag_sources, context, wanted, spec_obj, self._timeout)
        except Exception:
            # It is going to be tried again, and reported then.
            return None

    def map_pools(
        self,
        context: typing.Any,
        manager: typing.Any,
        host_states: Iterable[HostState],
        spec_obj: typing.Any,
        reader: cell_reader.CellReader | None = None,
        began: float = math.inf,
    ) -> Iterable[HostState]:
        """Return the HostStates, with their pools.

        :param context: the request context
        :param manager: the HostManager that made the HostStates, or whatever
            has the cells that they are in
        :param host_states: nova.scheduler.host_manager.HostState objects
        :param spec_obj: nova.objects.RequestSpec
        :param reader: what :meth:`start_reading` gave
        :param began: when the request began, by time.monotonic(); unless
            told, later than all others were served
        """
        self.failures.request_began(spec_obj)
        host_states = list(host_states)
        by_cell: dict[str, _Hosts] = collections.defaultdict(list)
        for host_state in host_states:
            try:
                host = host_state, host_pools.compute_node(host_state)
                by_cell[host_state.cell_uuid].append(host)
            except Exception as error:
                self.failures.host_failed(host_state, error)
        try:
            self._map(context, manager, by_cell, spec_obj, reader, began)
        except Exception as error:
            self.failures.all_failed(host_states, error)
        else:
            self.failures.all_succeeded()
        served.mark_new(host_states)
        self.failures.request_mapped(self._cells)
        return iter(host_states)

    def idle_pools(
        self, host_states: Iterable[HostState], spec_obj: typing.Any,
    ) -> dict[str, objects.PciDevicePoolList]:
        """Return the pools that hosts would have without instances.

        For the log only, so no cell is waited for that is busy or slow, and
        each costs as much as to make the pools did: ask for few hosts.

        :param host_states: HostStates that have their pools
        :param spec_obj: nova.objects.RequestSpec
        :returns: by the UUID of the compute node; of cells that did not
            answer there are none
        """
        cells = self._cells
        uuids: dict[str, dict[str, HostState]] = collections.defaultdict(dict)
        for host_state in host_states:
            if host_state.cell_uuid in cells:
                uuids[host_state.cell_uuid][host_state.uuid] = host_state
        reader = host_pools.reader(
            self.tag_sources, request_specs.context(spec_obj),
            {cell_uuid: (cells[cell_uuid], list(of_cell))
             for cell_uuid, of_cell in uuids.items()}, spec_obj,
            self._timeout, if_idle=True)
        make = host_pools.maker(
            self.tag_sources, self.failures, spec_obj)
        return {
            uuid: make(
                (host_state, host_pools.compute_node(host_state)),
                answer.get(uuid, {}))
            for cell_uuid, answer in reader.answers(
                uuids, time.monotonic() + narrowed_module.FOR_WORDS).items()
            if isinstance(answer, dict)
            for uuid, host_state in uuids[cell_uuid].items()}

    def _map(
        self,
        context: typing.Any,
        manager: typing.Any,
        by_cell: Mapping[str, _Hosts],
        spec_obj: typing.Any,
        reader: cell_reader.CellReader | None,
        began: float,
    ) -> None:
        cells = self._cells = request_specs.cells_by_uuid(manager, spec_obj)
        # What Nova took does not count: a worker that serves many requests
        # at once takes long for all that it does.
        answers = reader.answers(
            by_cell, time.monotonic() + self._timeout) if reader else {}
        missing = by_cell.keys() - answers.keys()
        if missing:
            answers |= self._read_now(
                context, cells, {uuid: by_cell[uuid] for uuid in missing},
                spec_obj)
        make = host_pools.maker(
            self.tag_sources, self.failures, spec_obj)
        for cell_uuid, of_cell in by_cell.items():
            self._map_cell(cells.get(cell_uuid), cell_uuid, of_cell,
                           answers.get(cell_uuid), make, began)
        # Of a cell that Nova could not read there are no hosts.
        for cell_uuid, answer in (
                reader.answers_so_far().items() if reader else ()):
            if cell_uuid not in by_cell:
                self._map_cell(cells.get(cell_uuid), cell_uuid, [],
                               answer, make, began)

    def _read_now(
        self,
        context: typing.Any,
        cells: Mapping[str, typing.Any],
        by_cell: Mapping[str, _Hosts],
        spec_obj: typing.Any,
    ) -> cell_reader.Answers:
        """Ask cells for the hosts that are known to be there."""
        try:
            # A compute node that has not reported yet has no UUID here.
            wanted = {
                cell_uuid: (cells[cell_uuid], [
                    node.uuid for _, node in hosts if node.uuid])
                for cell_uuid, hosts in by_cell.items()
                if cell_uuid in cells}
            return host_pools.reader(
                self.tag_sources, context, wanted, spec_obj, self._timeout,
            ).answers(wanted)
        except Exception as error:
            return dict.fromkeys(by_cell, error)

    def _map_cell(
        self, cell: typing.Any, cell_uuid: str, hosts: _Hosts,
        answer: typing.Any, make: host_pools.Make, began: float,
    ) -> None:
        """Put pools on the HostStates of one cell, from what it answered."""
        host_states = [host_state for host_state, _ in hosts]
        if not isinstance(answer, dict):
            self.failures.cell_failed(
                cell_uuid, host_states, answer,
                cell.database_connection if cell else '')
            return
        self.failures.cell_answered(cell_uuid)
        for host in hosts:
            try:
                host_states_module.replace_stats(
                    host[0], make(host, answer.get(host[1].uuid, {})))
            except Exception as error:
                self.failures.host_failed(host[0], error)
            else:
                self.failures.host_succeeded(cell_uuid, host[1])
        try:
            self._unknown.report(cell_uuid, host_states, began)
        except Exception as error:
            self.failures.report_failed(error)
