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

Nothing is decided here that the filter would decide otherwise: what is left
out lacks what :mod:`pci_filter.matching.necessary` says that it needs. While a
cell cannot be read nothing is left out, for it is not known which nodes are
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import contextvars
import math
import time
import typing

from nova.db.main import api as main_db
from oslo_config import cfg
from oslo_log import log as logging

from pci_filter.db import fitting_nodes
from pci_filter.matching import necessary
from pci_filter.objects import device_requests
from pci_filter.scheduler import candidates
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import failures as failures_module
from pci_filter.scheduler import request_specs

LOG = logging.getLogger(__name__)

#: Compute nodes for each cell from which on it pays: with fewer Nova has
#: loaded them in the time that it takes to ask.
WORTH: typing.Final = 32

#: Seconds that the cells have to answer; then Nova loads all.
_PATIENCE: typing.Final = 5

#: Seconds for which nothing is left out once a cell did not answer in time:
#: each request would wait for it, and a busy database would have more to do.
_PAUSE: typing.Final = 30

#: Seconds that words in a log line are worth to whoever waits for the answer.
_FOR_WORDS: typing.Final = 1


class LeftOut(typing.NamedTuple):
    """What Nova did not get to know of.

    :param number: how many compute nodes
    :param reasons: why, in words
    """

    number: int = 0
    reasons: str = ''


class Narrowed:
    """What is left of the compute nodes of a request.

    :param context: the request context
    :param spec_obj: nova.objects.RequestSpec
    :param cells: the CellMappings that were asked
    :param asked: the compute nodes that there were, and maybe other providers
    :param needs: what a node needs to have
    :param found: nodes that have it, by the UUID of the cell
    """

    def __init__(
        self, context: typing.Any, spec_obj: typing.Any,
        cells: Sequence[typing.Any], asked: Sequence[str],
        needs: Sequence[necessary.Need], found: Mapping[str, set[str]],
    ) -> None:
        self._context = context
        self._cells = cells
        self._asked = asked
        self._needs = needs
        #: What Nova is to load from each cell, by the cell's UUID.
        self.by_cell = {
            cell_uuid: [uuid for uuid in asked if uuid in of_cell]
            for cell_uuid, of_cell in found.items()}
        everywhere = set().union(*found.values())
        #: All of that, in the order in which it was asked for.
        self.survivors = [uuid for uuid in asked if uuid in everywhere]
        #: Whether somebody was told what was left out.
        self.is_told = False
        self.spec_obj = spec_obj

    def left_out(self) -> LeftOut:
        """Return what was left out and why.

        The rows are read once more for that: the request is lost anyway.
        """
        self.is_told = True
        nodes: set[str] = set()
        fitting: list[set[str]] = [set() for _ in self._needs]
        answers = _read(
            self._context, self._cells, self._count, _FOR_WORDS)
        for of_cell, *by_need in answers.values():
            nodes |= of_cell
            for found, more in zip(fitting, by_need):
                found |= more
        return LeftOut(
            len(nodes.difference(self.survivors)),
            '; '.join(
                f'{number} of {len(nodes)} hosts have fewer than '
                f'{need.number} available {need.text}'
                for need, found in zip(self._needs, fitting)
                if (number := len(nodes - found))))

    def _count(self, connection: typing.Any) -> tuple[set[str], ...]:
        """Return the nodes of a cell, and those that meet each need."""
        return (
            fitting_nodes.load_known(connection, self._asked),
            *(fitting_nodes.load(connection, [need], self._asked)
              for need in self._needs))


#: Of the latest request of this thread.
_latest: contextvars.ContextVar[Narrowed | None] = contextvars.ContextVar(
    'pci_filter_narrowed', default=None)


class Prefilter:
    """Asks the cells of a request which compute nodes can pass at all.

    :param options: the ``[pci_filter]`` section
    :param failures: knows which cells cannot be read
    """

    def __init__(
        self, options: cfg.ConfigOpts.GroupAttr,
        failures: failures_module.Failures,
    ) -> None:
        self._enabled = options.narrow and options.load_for == 'pci_requests'
        self._failures = failures
        self._paused_until = -math.inf

    def narrow(
        self, context: typing.Any, manager: typing.Any,
        compute_uuids: Sequence[str] | None, spec_obj: typing.Any,
    ) -> Narrowed | None:
        """Return what is left of the compute nodes.

        :param context: the request context
        :param manager: the HostManager
        :param compute_uuids: what placement names; None for all nodes
        :param spec_obj: nova.objects.RequestSpec, which asks for devices
        :returns: None if all of them are to be loaded
        """
        _latest.set(None)
        if not self._enabled or compute_uuids is None or (
                time.monotonic() < self._paused_until):
            return None
        try:
            narrowed = self._narrow(
                context, manager, list(compute_uuids), spec_obj)
        except Exception as error:
            # Whatever it is, hosts are decided about without this.
            LOG.debug('All hosts are loaded: %s',
                      failures_module.failure_text(error))
            return None
        _latest.set(narrowed)
        return narrowed

    def _narrow(
        self, context: typing.Any, manager: typing.Any,
        asked: Sequence[str], spec_obj: typing.Any,
    ) -> Narrowed | None:
        cells = request_specs.cells_to_ask(manager, spec_obj)
        if len(asked) < WORTH * len(cells) or request_specs.is_forced(
                spec_obj) or any(map(self._failures.is_failing, (
                    cell.uuid for cell in cells))):
            return None
        demand = device_requests.Demand(spec_obj.pci_requests.requests)
        needs = necessary.needs(demand.question().requests)
        if not needs:
            return None
        found = _read(
            context, cells,
            lambda connection: fitting_nodes.load(connection, needs, asked),
            _PATIENCE)
        if len(found) < len(cells):
            self._paused_until = time.monotonic() + _PAUSE
            return None
        return Narrowed(context, spec_obj, cells, asked, needs, found)


def _read(
    context: typing.Any, cells: Sequence[typing.Any],
    read: typing.Callable[[typing.Any], typing.Any], seconds: float,
) -> dict[str, typing.Any]:
    """Ask cells; those that did not answer are missing."""
    def read_cell(cell_context: typing.Any) -> tuple[typing.Any]:
        database = main_db.get_context_manager(cell_context).reader
        with database.connection.using(cell_context) as connection:
            return (read(connection),)

    answers = cell_reader.CellReader(
        context, cells, read_cell, deadline=time.monotonic() + seconds,
    ).answers([cell.uuid for cell in cells])
    return {cell_uuid: answer[0] for cell_uuid, answer in answers.items()
            if isinstance(answer, tuple)}


def left_out(spec_obj: typing.Any) -> LeftOut:
    """Return what was left out for a request, for whoever says more of it.

    :param spec_obj: nova.objects.RequestSpec
    """
    narrowed = _latest.get()
    if narrowed is None or narrowed.spec_obj is not spec_obj:
        return LeftOut()
    return narrowed.left_out()


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Tell what was left out if a request fails."""
    _latest.set(None)
    try:
        yield
    except Exception:
        # NoValidHost, in what oslo.messaging wraps it in.
        tell()
        raise


def tell() -> None:
    """Log at INFO what was left out for the request, unless that was done.

    Nova says how many hosts its filters let pass, and does not know of these:
    one of its filters may be blamed that refused the few others.
    """
    narrowed = _latest.get()
    if narrowed is None or narrowed.is_told or not LOG.isEnabledFor(
            logging.INFO):
        return
    try:
        number, reasons = narrowed.left_out()
        if number:
            LOG.info(
                'Of the hosts for instance %(instance)s, %(number)d were left '
                'out before nova-scheduler loaded them, and its filters saw '
                '%(others)s: %(reasons)s.%(advice)s', {
                    'instance': narrowed.spec_obj.instance_uuid,
                    'number': number,
                    'others': len(narrowed.survivors) or 'none',
                    'reasons': reasons,
                    'advice': candidates.advice(
                        None, number + len(narrowed.survivors))})
    except Exception as error:
        LOG.debug('What was left out is not told: %s',
                  failures_module.failure_text(error))
