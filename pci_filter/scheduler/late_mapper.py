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

"""Load the pools in the filter where nobody did so before.

Whatever makes the HostStates of this scheduler does not call the method that
the hook wraps: another package replaces it, or the class that has it, or it
keeps HostStates that were made for an earlier request.
"""

from __future__ import annotations

from collections.abc import Iterable
import time
import typing

from nova import objects as nova_objects
from oslo_log import log as logging

from pci_filter import objects
from pci_filter.scheduler import changes
from pci_filter.scheduler import failures
from pci_filter.scheduler import host_states as host_states_module
from pci_filter.scheduler import pool_mapper
from pci_filter.scheduler import request_specs
from pci_filter.scheduler import served

LOG = logging.getLogger(__name__)


class _Cells(typing.NamedTuple):
    """What there is in place of a HostManager.

    :param cells: the CellMappings by UUID
    """

    cells: dict[str, typing.Any]


class LateMapper:
    """Puts pools on those HostStates that have none of this request yet.

    The filter knows no HostManager, so the cells are read from the API
    database, at each request: it is one short statement, and no cell that was
    added, moved or corrected is missed.

    :param mapper: puts pools on HostStates whose cells are known
    """

    def __init__(self, mapper: pool_mapper.PoolMapper) -> None:
        self._mapper = mapper
        self._changes = changes.Changes()
        self._cells: dict[str, typing.Any] = {}

    def with_pools(
        self, host_states: Iterable[typing.Any], spec_obj: typing.Any,
    ) -> list[typing.Any]:
        """Return the HostStates, all with the pools that they need.

        :param host_states: what Nova gives a filter
        :param spec_obj: nova.objects.RequestSpec
        """
        host_states = list(host_states)
        if not self._mapper.is_needed(spec_obj):
            return host_states
        without = [host_state for host_state in host_states
                   if not served.has_pools_for(host_state, spec_obj)]
        if without:
            self._report()
            for host_state in filter(served.had_pools, without):
                self._forget(host_state)
            began = time.monotonic()
            try:
                context = request_specs.context(spec_obj)
                self._mapper.map_pools(
                    context, _Cells(self._read_cells(context)), without,
                    spec_obj, began=began)
            except Exception as error:
                self._mapper.failures.all_failed(without, error)
            served.mark_kept(without, spec_obj)
        return host_states

    def _forget(self, host_state: typing.Any) -> None:
        """Take away what an earlier request has left on a HostState.

        Else it would decide if the rows cannot be read now.
        """
        try:
            if isinstance(host_state.pci_stats, objects.PciDevicePoolList):
                host_state.pci_stats = host_states_module.nova_stats(
                    host_state)
            if hasattr(host_state, failures.UNREADABLE):
                delattr(host_state, failures.UNREADABLE)
        except Exception as error:
            self._mapper.failures.host_failed(host_state, error)

    def _read_cells(self, context: typing.Any) -> dict[str, typing.Any]:
        try:
            self._cells = {
                cell.uuid: cell
                for cell in nova_objects.CellMappingList.get_all(context)}
        except Exception as error:
            # Those that were read before are most likely still right.
            failure = type(error).__name__
            if self._changes.changed('cells', failure):
                LOG.warning(
                    'The cell mappings could not be read from the API '
                    'database: %(failure)s. Until they can, %(number)d that '
                    'are known already are used.',
                    {'failure': failure, 'number': len(self._cells)})
        else:
            if self._changes.changed('cells', None):
                LOG.info('The cell mappings can be read again.')
        return self._cells

    def _report(self) -> None:
        """Say once that the hook is passed by."""
        if self._changes.changed('hook', 'passed by'):
            LOG.warning(
                'PciPassthroughFilter loads the PCI pools itself: the '
                'HostStates of this scheduler do not come from '
                'HostManager.get_host_states_by_uuids(). Another package '
                'replaces that method. What runs before the filter, such as '
                "NUMATopologyFilter, sees Nova's summary "
                '(compute_nodes.pci_stats): put PciPassthroughFilter before '
                'NUMATopologyFilter in [filter_scheduler]enabled_filters.')
