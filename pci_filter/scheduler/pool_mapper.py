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

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import re
import typing

from nova import context as context_module
from nova.db.main import api as main_db
from nova.scheduler import utils as scheduler_utils
from oslo_config import cfg
from oslo_log import log as logging

from pci_filter import model
from pci_filter import objects
from pci_filter.objects import pool_load
from pci_filter.scheduler import changes
from pci_filter.scheduler import unknown_tags
from pci_filter.tags import base

LOG = logging.getLogger(__name__)

#: What may be a password: all of a URL up to its last '@', and whatever stands
#: before an '@' in a word. Too much rather than too little.
_CREDENTIALS: typing.Final = re.compile(r'''//.*@|[^\s'"(]+@''')

#: Attribute of a HostState whose pools were asked for, loaded or not.
MAPPED: typing.Final = 'pci_filter_mapped'

#: Attribute of a HostState without pools since they could not be loaded.
UNREADABLE: typing.Final = 'pci_filter_unreadable'

HostState = typing.Any
_HostStates = list[HostState]


class PoolMapper:
    """Puts a PciDevicePoolList on each HostState of a request.

    One instance serves all requests of the process, so it keeps nothing of
    them. Whatever goes wrong here, the request goes on as
    ``[pci_filter]on_load_failure`` says.

    :param options: the ``[pci_filter]`` section
    :raises pci_filter.exception.PciFilterError: if the section is wrong
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        self._tag_sources = base.load(options)
        self._reject_on_failure = options.on_load_failure == 'reject'
        self._for_all_requests = options.load_for == 'all_requests'
        self._changes = changes.Changes()
        self._unknown = unknown_tags.Reporter()

    def map_pools(
        self,
        context: typing.Any,
        manager: typing.Any,
        host_states: Iterable[HostState],
        spec_obj: typing.Any,
    ) -> Iterable[HostState]:
        """Return the HostStates, with pools if the request needs any.

        :param context: the request context
        :param manager: the HostManager that made the HostStates
        :param host_states: nova.scheduler.host_manager.HostState objects
        :param spec_obj: nova.objects.RequestSpec
        """
        if not (self._for_all_requests or asks_for_devices(spec_obj)):
            return host_states
        host_states = list(host_states)
        if all(hasattr(state, MAPPED) for state in host_states):
            # Somebody else's wrapper came between two of ours.
            return iter(host_states)
        by_cell: dict[str, _HostStates] = collections.defaultdict(list)
        for host_state in host_states:
            by_cell[host_state.cell_uuid].append(host_state)
        try:
            answers = self._load(
                context, _cell_mappings(manager, spec_obj), by_cell)
        except Exception as error:
            answers = dict.fromkeys(by_cell, error)
        numa_guest = bool(
            spec_obj and 'numa_topology' in spec_obj
            and spec_obj.numa_topology)
        for cell_uuid, of_cell in by_cell.items():
            self._map_cell(
                cell_uuid, of_cell, answers.get(cell_uuid), numa_guest)
        for host_state in host_states:
            setattr(host_state, MAPPED, True)
        return iter(host_states)

    def _load(
        self,
        context: typing.Any,
        cell_mappings: Mapping[str, typing.Any],
        by_cell: Mapping[str, _HostStates],
    ) -> dict[str, typing.Any]:
        """Ask all cells at once; an answer may be a failure."""
        nodes = {
            # A compute node that has not reported yet has no UUID here.
            cell_uuid: [_compute_node(host_state) for host_state in of_cell
                        if host_state.uuid]
            for cell_uuid, of_cell in by_cell.items()}

        def read(cell_context: typing.Any) -> typing.Any:
            # A failure is returned, not raised: Nova logs what is raised
            # with a traceback, on every request.
            try:
                reader = main_db.get_context_manager(cell_context).reader
                with reader.connection.using(cell_context) as connection:
                    return pool_load.load_groups(
                        connection, nodes[cell_context.cell_uuid],
                        self._tag_sources)
            except Exception as error:
                return error

        answers: dict[str, typing.Any] = context_module.scatter_gather_cells(
            context,
            [cell_mappings[uuid] for uuid in by_cell if uuid in cell_mappings],
            context_module.CELL_TIMEOUT, read)
        return answers

    def _map_cell(
        self, cell_uuid: str, host_states: _HostStates, answer: typing.Any,
        numa_guest: bool,
    ) -> None:
        if answer is None or context_module.is_cell_failure_sentinel(answer):
            self._cell_failed(cell_uuid, host_states, answer)
            return
        if self._changes.changed(('cell', cell_uuid), None):
            LOG.info('The PCI devices of cell %s can be read again.',
                     cell_uuid)
        for host_state in host_states:
            try:
                self._map_host(
                    host_state, answer.get(host_state.uuid, ()), numa_guest)
            except Exception as error:
                self._host_failed(host_state, error)
        self._unknown.report(cell_uuid, host_states)

    def _map_host(
        self, host_state: HostState, groups: Sequence[model.DeviceGroup],
        numa_guest: bool,
    ) -> None:
        host_state.pci_stats = objects.PciDevicePoolList.from_groups(
            _compute_node(host_state), groups, self._tag_sources,
            host_state.numa_topology, numa_guest)
        if self._changes.changed(_subject(host_state), None):
            LOG.info('The PCI pools of host %s can be made again.',
                     host_state.host)

    def _cell_failed(
        self, cell_uuid: str, host_states: _HostStates, answer: typing.Any,
    ) -> None:
        for host_state in host_states:
            self._degrade(host_state)
        # Its type, since its text may differ from time to time.
        if self._changes.changed(('cell', cell_uuid), type(answer).__name__):
            LOG.warning(
                'The PCI devices of cell %(cell)s could not be read: '
                '%(failure)s. Until they can, %(consequence)s. Hosts of it '
                'in this request: %(count)d.',
                {'cell': cell_uuid, 'failure': _failure_text(answer),
                 'consequence': self._consequence(),
                 'count': len(host_states)})

    def _host_failed(self, host_state: HostState, error: Exception) -> None:
        self._degrade(host_state)
        if self._changes.changed(
                _subject(host_state), type(error).__name__):
            LOG.warning(
                'The PCI pools of host %(host)s in cell %(cell)s could not '
                'be made: %(failure)s. Until they can, %(consequence)s.',
                {'host': host_state.host, 'cell': host_state.cell_uuid,
                 'failure': _failure_text(error),
                 'consequence': self._consequence()})

    def _degrade(self, host_state: HostState) -> None:
        if self._reject_on_failure:
            host_state.pci_stats = objects.PciDevicePoolList()
            setattr(host_state, UNREADABLE, True)

    def _consequence(self) -> str:
        if self._reject_on_failure:
            return 'no PCI request is sent there'
        return "Nova's summary (compute_nodes.pci_stats) decides there"


def asks_for_devices(spec_obj: typing.Any) -> bool:
    """Tell whether a request needs pools.

    A rebuild stays on its host with the devices it has: Nova runs no filter
    for it that looks at pools.

    :param spec_obj: nova.objects.RequestSpec or None
    """
    if not spec_obj or 'pci_requests' not in spec_obj:
        return False
    return bool(
        spec_obj.pci_requests and spec_obj.pci_requests.requests
        and not scheduler_utils.request_is_rebuild(spec_obj))


def _cell_mappings(
    manager: typing.Any, spec_obj: typing.Any,
) -> dict[str, typing.Any]:
    """Return the cells that hosts can be in, keyed by UUID.

    A request can bring a cell that the HostManager does not know before it
    is told to refresh, and Nova asks the cell as it is given there.
    """
    cells = dict(manager.cells)
    if spec_obj and 'requested_destination' in spec_obj:
        destination = spec_obj.requested_destination
        if destination and 'cell' in destination and destination.cell:
            cells[destination.cell.uuid] = destination.cell
    return cells


def _compute_node(host_state: HostState) -> model.ComputeNode:
    stats = host_state.pci_stats
    return model.ComputeNode(
        host_state.uuid, host_state.host, host_state.nodename,
        None if stats is None else stats.pools)


def _subject(host_state: HostState) -> tuple[str, str, str]:
    return host_state.cell_uuid, host_state.host, host_state.nodename


def _failure_text(answer: typing.Any) -> str:
    """Return one line that says what happened, without credentials."""
    if answer is None:
        return 'the scheduler does not know this cell'
    if answer is context_module.did_not_respond_sentinel:
        return 'it did not answer in time'
    line = (str(answer).splitlines() or [''])[0]
    return f'{type(answer).__name__}: {_CREDENTIALS.sub("***@", line)}'
