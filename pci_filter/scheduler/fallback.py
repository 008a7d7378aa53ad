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

"""Count what is decided by fallback, and tell of it once a minute.

A host is decided by fallback in a request if its rows do not decide there:
its cell could not be read, its pools could not be made, or they could not
decide. ``[pci_filter]on_load_failure`` decides then. That something fails is
told by :mod:`pci_filter.scheduler.failures`, once; how much it is that fails
and whether it still does is told here.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextvars
import threading
import time
import typing

from oslo_log import log as logging

from pci_filter import printable

LOG = logging.getLogger(__name__)

#: Seconds between two lines.
INTERVAL: typing.Final = 60

#: Cells that a line names.
_NAMED: typing.Final = 5

#: Attribute of a HostState: the request in which it was counted last.
_COUNTED: typing.Final = 'pci_filter_counted'

HostState = typing.Any


class _Request:
    """A request that may be decided by fallback.

    :param instance: UUID of the server that is asked for
    """

    def __init__(self, instance: str = 'unknown') -> None:
        self.instance = instance
        #: In which spell it was counted, and in which window of that.
        self.counted: tuple[int, int] | None = None
        #: Whether any host of it was decided by fallback.
        self.fell_back = False


#: What this thread is at: it maps the HostStates of a request, filters and
#: weighs them, and goes on to the next request.
_current: contextvars.ContextVar[_Request | None] = contextvars.ContextVar(
    'pci_filter_fallback_request', default=None)


class _Count:
    """How much was decided by fallback since a time.

    :param began: by the clock of the tally
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.requests = 0
        self.hosts = 0
        # For their order.
        self.cells: dict[str, None] = {}

    def values(
        self, now: float, cells: Mapping[str, typing.Any],
    ) -> dict[str, typing.Any]:
        names = [cell_name(uuid, cells.get(uuid)) for uuid in self.cells]
        more = len(names) - _NAMED
        return {
            'requests': self.requests, 'hosts': self.hosts,
            'cells': ','.join(
                names[:_NAMED] + ([f'+{more}'] if more > 0 else [])),
            'seconds': round(now - self.began)}


class FallbackTally:
    """Counts requests and hosts of one process; safe to use from threads.

    A *spell* begins when a host is decided by fallback while none was before.
    It is over when a request is served without fallback, each cell that could
    not be read has answered since, and nothing else was counted for
    ``INTERVAL``. A request for other cells tells nothing of a cell, so that
    has to answer. Whether a kind of request that cannot be decided comes
    again nobody knows, so time has to tell. What fails and recovers by turns
    is one spell: none is over within ``INTERVAL`` of the one before. A spell
    consists of *windows*, at whose ends a line tells of it.

    - A host counts once in each request that is decided by fallback there,
      and a request once in each window in which hosts of it were counted,
      once in the spell. What is counted in a window is in one line: that of
      the window, or the one at the end of the spell, which has the sums.
    - No window that a warning tells of is shorter than ``INTERVAL``, so there
      is no more than one warning in it, nor more than one line that something
      is over. There is no timer: a request that comes later logs the line.
    - The lock guards the counts and is never held while something is logged,
      or while code of others runs.
    - What is kept is bounded by the number of cells. Requests and hosts are
      numbers; the request that a thread is at is replaced by its next one.

    A cell that is disabled, without a restart, while it is decided by
    fallback keeps its spell from being over; no more warnings come of it.

    :param on_load_failure: what decides
    :param clock: returns seconds, as time.monotonic() does
    """

    def __init__(
        self, on_load_failure: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decides = on_load_failure
        self.clock = clock
        self._lock = threading.Lock()
        self._spells = 0
        self._windows = 0
        self._spell: _Count | None = None
        self._window = _Count(0)
        self._instance = ''
        #: Cells that have not answered since they were counted.
        self._awaited: set[str] = set()
        #: When something was counted of which no answer of a cell will tell.
        self._others_at: float | None = None
        #: When a spell was over last.
        self._over_at: float | None = None

    def begin(self, spec_obj: typing.Any) -> None:
        """Note that a request begins in this thread.

        :param spec_obj: nova.objects.RequestSpec or None
        """
        request = _Request()
        _current.set(request)
        try:
            if spec_obj is not None and 'instance_uuid' in spec_obj:
                request.instance = spec_obj.instance_uuid or 'unknown'
        except Exception:
            # Whoever needs more of it than this is going to report it.
            LOG.debug('The request has no instance', exc_info=True)

    def count(
        self, host_states: Iterable[HostState], cell_uuid: str,
        cell_answers: bool = False,
    ) -> None:
        """Count hosts that are decided by fallback in this request.

        :param host_states: HostStates of one cell; those that were counted
            in this request before are left out
        :param cell_uuid: the cell
        :param cell_answers: whether :meth:`cell_answered` is going to be
            called when it is over
        """
        request = _current.get()
        if request is None:
            # It failed before anybody could begin to map its HostStates.
            request = _Request()
            _current.set(request)
        new = [host_state for host_state in host_states
               if getattr(host_state, _COUNTED, None) is not request]
        for host_state in new:
            setattr(host_state, _COUNTED, request)
        if not new:
            return
        request.fell_back = True
        now = self.clock()
        with self._lock:
            self._count(request, len(new), cell_uuid, now)
            if cell_answers:
                self._awaited.add(cell_uuid)
            else:
                self._others_at = now

    def _count(
        self, request: _Request, hosts: int, cell_uuid: str, now: float,
    ) -> None:
        if self._spell is None:
            self._spell, self._window = _Count(now), _Count(now)
            self._spells += 1
        self._instance = request.instance
        in_spell = (request.counted or (0, 0))[0] == self._spells
        in_window = request.counted == (self._spells, self._windows)
        request.counted = self._spells, self._windows
        self._spell.requests += not in_spell
        self._window.requests += not in_window
        for count in (self._spell, self._window):
            count.hosts += hosts
            count.cells[cell_uuid] = None

    def cell_answered(self, cell_uuid: str) -> None:
        """Note that the rows of a cell could be read."""
        if cell_uuid in self._awaited:
            # Else the lock is not needed, as nearly always.
            with self._lock:
                self._awaited.discard(cell_uuid)

    def tell(self, cells: Mapping[str, typing.Any]) -> None:
        """Log what is due, now that the pools of a request are mapped.

        :param cells: the CellMappings that are known, by UUID
        """
        if self._spell is None:
            # As nearly always.
            return
        request = _current.get()
        fell_back = request is not None and request.fell_back
        now = self.clock()
        with self._lock:
            over, told = self._take(fell_back, now)
            values = {'instance': self._instance, 'decides': self._decides}
        if told:
            LOG.warning(
                'pci_filter fallback: requests=%(requests)d hosts=%(hosts)d '
                'cells=%(cells)s instance=%(instance)s '
                'on_load_failure=%(decides)s seconds=%(seconds)d',
                {**values, **told.values(now, cells)})
        if over:
            LOG.info(
                'pci_filter fallback over: requests=%(requests)d '
                'hosts=%(hosts)d cells=%(cells)s instance=%(instance)s '
                'on_load_failure=%(decides)s seconds=%(seconds)d',
                {**values, **over.values(now, cells)})

    def _take(
        self, fell_back: bool, now: float,
    ) -> tuple[_Count | None, _Count | None]:
        """Return the spell if it is over, or the window if that is due."""
        spell, window = self._spell, self._window
        if spell is None:
            # Another thread has told of it meanwhile.
            return None, None
        if not (fell_back or self._awaited) and all(
                at is None or now - at >= INTERVAL
                for at in (self._others_at, self._over_at)):
            self._spell = self._others_at = None
            self._over_at = now
            return spell, None
        if window.requests and now - window.began >= INTERVAL:
            self._window = _Count(now)
            self._windows += 1
            return None, window
        return None, None


def cell_name(uuid: str, cell: typing.Any) -> str:
    """Return a cell's name, as commands take it, and its UUID.

    :param uuid: of the cell
    :param cell: the CellMapping, None if nobody knows the cell
    """
    name = getattr(cell, 'name', None)
    return f'{printable.printable(name)}({uuid})' if name else uuid
