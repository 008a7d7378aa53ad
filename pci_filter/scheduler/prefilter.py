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

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import contextvars
import functools
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
from pci_filter.scheduler import failures
from pci_filter.scheduler import request_specs

LOG = logging.getLogger(__name__)

#: Providers that placement names, for each cell, from which on it pays: fewer
#: hosts have been loaded by Nova in the time that it takes to ask.
WORTH: typing.Final = 32

#: Seconds to wait for the cells; then Nova loads all.
_PATIENCE: typing.Final = 5

#: Seconds for which a cell is not asked that has not answered: each request
#: would wait for it, and a busy database would have more to do.
_REST: typing.Final = 60

#: Seconds that words in a log line are worth to whoever waits for the answer.
_FOR_WORDS: typing.Final = 1


class LeftOut(typing.NamedTuple):
    """What Nova did not get to know of.

    :param number: how many compute nodes; None if that is not known
    :param reasons: why, in words
    """

    number: int | None = 0
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
        """Return what was left out and why; nothing that is raised gets out.

        The rows are counted once more for that: the request is lost anyway.
        """
        self.is_told = True
        try:
            return self._left_out()
        except Exception as error:
            LOG.debug('Nobody knows what was left out: %s',
                      failures.failure_text(error))
            return LeftOut(None, self._needs_text())

    def _left_out(self) -> LeftOut:
        if len(self.survivors) == len(self._asked):
            return LeftOut()
        answers = _read(
            self._context, self._cells,
            functools.partial(fitting_nodes.load_counts, needs=self._needs),
            _FOR_WORDS, wait_for_turn=False)
        if any(not isinstance(found, dict) for found in answers.values()):
            return LeftOut(None, self._needs_text())
        asked = set(self._asked)
        nodes = {
            uuid: counts for of_cell in answers.values()
            for uuid, counts in of_cell.items() if uuid in asked}
        lacking = [
            sum(counts[number] < need.number for counts in nodes.values())
            for number, need in enumerate(self._needs)]
        return LeftOut(
            len(nodes.keys() - set(self.survivors)),
            '; '.join(
                f'{number} of {len(nodes)} hosts have fewer than '
                f'{need.number} available {need.text}'
                for need, number in zip(self._needs, lacking) if number)
            or 'all of them have what is asked for by now')

    def _needs_text(self) -> str:
        return 'each has fewer than ' + ' or fewer than '.join(
            f'{need.number} available {need.text}' for need in self._needs)


#: Of the latest request of this thread.
_latest: contextvars.ContextVar[Narrowed | None] = contextvars.ContextVar(
    'pci_filter_narrowed', default=None)


class Prefilter:
    """Asks the cells of a request which compute nodes can pass at all.

    One serves all requests. What it keeps of them is which cells have not
    answered, and until when they are not asked: at most one time for each.

    :param options: the ``[pci_filter]`` section
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        self._enabled = options.narrow and options.load_for == 'pci_requests'
        self._rests_until: dict[str, float] = {}

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
        if not self._enabled or compute_uuids is None:
            return None
        try:
            narrowed = self._narrow(
                context, manager, list(compute_uuids), spec_obj)
        except Exception as error:
            # Whatever it is, hosts are decided about without this.
            LOG.debug('All hosts are loaded: %s', failures.failure_text(error))
            return None
        _latest.set(narrowed)
        return narrowed

    def _narrow(
        self, context: typing.Any, manager: typing.Any,
        asked: Sequence[str], spec_obj: typing.Any,
    ) -> Narrowed | None:
        cells = request_specs.cells_to_ask(manager, spec_obj)
        if len(asked) < WORTH * len(cells) or not cells or (
                request_specs.names_hosts(spec_obj)):
            return None
        now = time.monotonic()
        if any(self._rests_until.get(cell.uuid, now) > now for cell in cells):
            return None
        demand = device_requests.Demand(spec_obj.pci_requests.requests)
        needs = necessary.needs(demand.question().requests)
        if not needs:
            return None
        found = _read(
            context, cells, functools.partial(
                fitting_nodes.load, needs=needs, node_uuids=asked), _PATIENCE)
        well = [self._is_well(cell.uuid, found[cell.uuid]) for cell in cells]
        if not all(well):
            return None
        return Narrowed(context, spec_obj, cells, asked, needs, found)

    def _is_well(self, cell_uuid: str, answer: typing.Any) -> bool:
        """Tell whether a cell has answered; if not it gets some rest."""
        if isinstance(answer, set):
            self._rests_until.pop(cell_uuid, None)
            return True
        self._rests_until[cell_uuid] = time.monotonic() + _REST
        LOG.debug('No host is left out for %d s: cell %s: %s', _REST,
                  cell_uuid, failures.failure_text(answer))
        return False


def _read(
    context: typing.Any, cells: Sequence[typing.Any],
    read: Callable[[typing.Any], typing.Any], seconds: float,
    wait_for_turn: bool = True,
) -> cell_reader.Answers:
    """Ask cells, and wait that long; what did not answer has a sentinel.

    A statement that takes longer goes on: to give up waiting for it does not
    mean that the database is gone.
    """
    def read_cell(cell_context: typing.Any) -> typing.Any:
        database = main_db.get_context_manager(cell_context).reader
        with database.connection.using(cell_context) as connection:
            return read(connection)

    reader = cell_reader.CellReader(context, cells, read_cell, wait_for_turn)
    answers = reader.answers(
        [cell.uuid for cell in cells], time.monotonic() + seconds)
    return {cell.uuid: answers.get(cell.uuid) for cell in cells}


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
    """Tell what was left out if a request fails, and forget it then."""
    token = _latest.set(None)
    try:
        yield
    except Exception:
        # NoValidHost, in what oslo.messaging wraps it in.
        tell()
        raise
    finally:
        _latest.reset(token)


def tell() -> None:
    """Log at INFO what was left out for the request, unless that was done.

    Nova says how many hosts its filters let pass, and does not know of these:
    one of its filters may be blamed that refused the few others.
    """
    narrowed = _latest.get()
    if narrowed is None or narrowed.is_told or not LOG.isEnabledFor(
            logging.INFO):
        return
    number, reasons = narrowed.left_out()
    if number == 0:
        return
    left = len(narrowed.survivors)
    LOG.info(
        'Of the hosts for instance %(instance)s, %(number)s were left out '
        'before nova-scheduler loaded them, and its filters saw %(others)s: '
        '%(reasons)s.%(advice)s', {
            'instance': narrowed.spec_obj.instance_uuid,
            'number': 'some' if number is None else number,
            'others': left or 'none', 'reasons': reasons,
            'advice': candidates.advice(None, left, number or 0)})
