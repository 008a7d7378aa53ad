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

"""Leave out hosts that cannot pass before Nova loads them.

To load a compute node takes Nova about a millisecond, and to count the
devices of a thousand nodes takes a database some tens of them. So the rows
are asked first which nodes have enough available devices at all, and Nova
gets to know of those only.

Nothing is decided here that the rows would decide otherwise: what is left out
lacks what :mod:`pci_filter.matching.necessary` says that it needs. While a
cell cannot be read nothing is left out, for it is not known which nodes are
its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import time
import typing

from oslo_config import cfg
from oslo_log import log as logging

from pci_filter.db import fitting_nodes
from pci_filter.matching import necessary
from pci_filter.objects import device_requests
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import failures
from pci_filter.scheduler import narrowed as narrowed_module
from pci_filter.scheduler import request_specs

LOG = logging.getLogger(__name__)

#: Providers that placement names, for each cell, from which on it pays: fewer
#: hosts have been loaded by Nova in the time that it takes to ask.
WORTH: typing.Final = 32

#: Seconds to wait for the cells, unless load_timeout is less; then Nova loads
#: all.
_PATIENCE: typing.Final = 5

#: Seconds for which a cell is not asked that has not answered: each request
#: would wait for it, and a busy database would have more to do.
_REST: typing.Final = 60


class Fitting(typing.NamedTuple):
    """The compute nodes that can pass, of all enabled cells.

    :param needs: what they have
    :param by_cell: their UUIDs, by that of the cell; cells that did not
        answer are missing
    :param is_complete: whether none is missing
    """

    needs: Sequence[necessary.Need]
    by_cell: Mapping[str, set[str]]
    is_complete: bool

    @property
    def everywhere(self) -> set[str]:
        """Those of all cells."""
        return set().union(*self.by_cell.values())

    def of(
        self, cells: Sequence[typing.Any], needs: Sequence[necessary.Need],
    ) -> dict[str, set[str]] | None:
        """Return those of some cells, None if that is not known."""
        if needs != self.needs or any(
                cell.uuid not in self.by_cell for cell in cells):
            return None
        return {cell.uuid: self.by_cell[cell.uuid] for cell in cells}


class Prefilter:
    """Asks the cells of a request which compute nodes can pass at all.

    One serves all requests. What it keeps of them is which cells have not
    answered, and until when they are not asked: at most one time for each.

    :param options: the ``[pci_filter]`` section
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        self._enabled = options.narrow and options.load_for == 'pci_requests'
        self._timeout: int = options.load_timeout
        self._rests_until: dict[str, float] = {}

    def narrow(
        self, context: typing.Any, manager: typing.Any,
        compute_uuids: Sequence[str] | None, spec_obj: typing.Any,
        known: Fitting | None = None,
    ) -> narrowed_module.Narrowed | None:
        """Return what is left of the compute nodes.

        :param context: the request context
        :param manager: the HostManager
        :param compute_uuids: what placement names; None for all nodes
        :param spec_obj: nova.objects.RequestSpec, which asks for devices
        :param known: what :meth:`fitting_everywhere` has told this request
        :returns: None if all of them are to be loaded
        """
        narrowed_module.note(None)
        if not self._enabled or compute_uuids is None:
            return None
        try:
            narrowed = self._narrow(
                context, manager, list(compute_uuids), spec_obj, known)
        except Exception as error:
            # Whatever it is, hosts are decided about without this.
            LOG.debug('All hosts are loaded: %s', failures.failure_text(error))
            return None
        narrowed_module.note(narrowed)
        return narrowed

    def _narrow(
        self, context: typing.Any, manager: typing.Any,
        asked: Sequence[str], spec_obj: typing.Any, known: Fitting | None,
    ) -> narrowed_module.Narrowed | None:
        cells = request_specs.cells_to_ask(manager, spec_obj)
        if not cells or request_specs.names_hosts(spec_obj):
            return None
        needs = _needs(spec_obj)
        if not needs:
            return None
        # It was read after the request came, which is all that is promised of
        # what is read now. A device that was freed since is missed, as it
        # would be if it were freed a moment later: another host is chosen, or
        # the request fails that came before the device was free. One that was
        # taken since is seen when the rows of the hosts are read. To count
        # again costs each cell a scan of its devices, for every request whose
        # list was cut.
        found = known.of(cells, needs) if known else None
        if found is None:
            if len(asked) < WORTH * len(cells) or any(
                    map(self._rests, cells)):
                return None
            found = self._fitting(context, cells, needs, asked)
            if len(found) < len(cells):
                return None
        return narrowed_module.Narrowed(
            context, spec_obj, cells, asked, needs, found, self._timeout)

    def fitting_everywhere(
        self, context: typing.Any, manager: typing.Any, spec_obj: typing.Any,
    ) -> Fitting | None:
        """Return the compute nodes that can pass, of all enabled cells.

        :param context: the request context
        :param manager: the HostManager
        :param spec_obj: nova.objects.RequestSpec, which asks for devices
        :returns: None if the rows do not tell them from others
        """
        needs = _needs(spec_obj)
        if not needs:
            return None
        cells = request_specs.cells_to_ask(manager, spec_obj)
        found = self._fitting(context, [
            cell for cell in cells if not self._rests(cell)], needs, None)
        return Fitting(needs, found, len(found) == len(cells))

    def count_others(
        self, context: typing.Any, manager: typing.Any,
        compute_uuids: Sequence[str], spec_obj: typing.Any,
    ) -> int | None:
        """Return how many compute nodes can pass that were not asked about.

        For the log only, so no cell is waited for that is slow, none that
        rests is asked, and none gets a rest for it.

        :param context: the request context
        :param manager: the HostManager
        :param compute_uuids: what placement names
        :param spec_obj: nova.objects.RequestSpec, which asks for devices
        :returns: None if that is not known; or if there are none, but
            placement may have left out candidates of a host that it names,
            which matters if it has allocated devices
        """
        needs = _needs(spec_obj)
        cells = request_specs.cells_to_ask(manager, spec_obj)
        if not needs or request_specs.names_hosts(spec_obj) or any(
                map(self._rests, cells)):
            return None
        answers = self._ask(
            context, cells, needs, None, narrowed_module.FOR_WORDS)
        if not all(isinstance(answer, set) for answer in answers.values()):
            return None
        others = set().union(*answers.values()).difference(compute_uuids)
        return len(others) or (
            None if request_specs.is_tracked(spec_obj) else 0)

    def _fitting(
        self, context: typing.Any, cells: Sequence[typing.Any],
        needs: Sequence[necessary.Need], asked: Sequence[str] | None,
    ) -> dict[str, set[str]]:
        """Ask cells; those that did not answer are missing."""
        found = self._ask(context, cells, needs, asked, _PATIENCE)
        return {cell.uuid: found[cell.uuid] for cell in cells
                if self._is_well(cell.uuid, found[cell.uuid])}

    def _ask(
        self, context: typing.Any, cells: Sequence[typing.Any],
        needs: Sequence[necessary.Need], asked: Sequence[str] | None,
        seconds: float,
    ) -> cell_reader.Answers:
        def read(connection: typing.Any, nodes: Sequence[str]) -> typing.Any:
            return fitting_nodes.load(
                connection, needs, None if asked is None else nodes)

        # Who asks for all nodes must not join those who ask for some.
        return cell_reader.read_databases(
            context, cells, asked or (), read, self._timeout, seconds,
            ('fitting', asked is None, tuple(needs)))

    def _rests(self, cell: typing.Any) -> bool:
        until = self._rests_until.get(cell.uuid)
        return until is not None and time.monotonic() < until

    def _is_well(self, cell_uuid: str, answer: typing.Any) -> bool:
        """Tell whether a cell has answered; if not it gets some rest."""
        if isinstance(answer, set):
            self._rests_until.pop(cell_uuid, None)
            return True
        self._rests_until[cell_uuid] = time.monotonic() + _REST
        LOG.debug('No host is left out for %d s: cell %s: %s', _REST,
                  cell_uuid, failures.failure_text(answer))
        return False


def _needs(spec_obj: typing.Any) -> Sequence[necessary.Need]:
    demand = device_requests.Demand(spec_obj.pci_requests.requests)
    return necessary.needs(demand.question().requests)
