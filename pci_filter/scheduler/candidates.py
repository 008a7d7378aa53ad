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

"""What placement named for a request, before any filter ran."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import contextvars
import typing

import nova.conf
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: Attribute of a HostState: the _Count of its request.
_COUNT: typing.Final = 'pci_filter_candidates'


class PlacementList(typing.NamedTuple):
    """What placement named when it was asked once.

    :param given: how many allocation requests
    :param is_cut: whether it may have left out some that matter, even with
        what it named when it was asked for more hosts
    :param asked: how many more hosts that can have the devices it was asked
        for
    :param beyond: how many more there are; None if that is not known
    :param was_slow: whether it was asked for no further hosts since that took
        too long
    """

    given: int
    is_cut: bool
    asked: int = 0
    beyond: int | None = None
    was_slow: bool = False


#: Counts the hosts beyond placement's list that can have the devices; None if
#: that is not known, or not all that it may have left out.
CountOthers = Callable[[], 'int | None']

#: Those of the request that is served in this thread.
_lists: contextvars.ContextVar[list[PlacementList]] = contextvars.ContextVar(
    'pci_filter_placement_lists')

#: Of the latest request of this thread.
_count_others: contextvars.ContextVar[CountOthers | None] = (
    contextvars.ContextVar('pci_filter_count_others', default=None))


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Remember meanwhile what the other functions are told."""
    token, others = _lists.set([]), _count_others.set(None)
    try:
        yield
    finally:
        _lists.reset(token)
        _count_others.reset(others)


def note(found: PlacementList) -> None:
    """Remember what placement has named for the request of this thread."""
    _lists.get([]).append(found)


def note_others(count: CountOthers | None) -> None:
    """Remember how to count what placement has left out, if need be.

    :param count: None if that says nothing about the request
    """
    _count_others.set(count)


class _Count:
    """How many candidates the hosts of a request have together."""

    def __init__(self) -> None:
        self.total = 0


def counted(host_states: Iterable[typing.Any]) -> Iterator[typing.Any]:
    """Yield HostStates, and count their candidates.

    Nova puts those of a host on its HostState when that is yielded, and asks
    for the next one before any filter runs (nova.scheduler.manager,
    hosts_with_alloc_reqs).
    """
    count = _Count()
    for host_state in host_states:
        setattr(host_state, _COUNT, count)
        yield host_state
        try:
            count.total += len(host_state.allocation_candidates)
        except Exception:
            # What is at stake is the end of a line of the log.
            LOG.debug('Candidates were not counted', exc_info=True)


def advice(host_state: typing.Any, left: int, left_out: int = 0) -> str:
    """Return what to do if placement may have cut its list, else nothing.

    Placement does not say whether it did. It has if it gave as many
    allocation requests as it may, or it had exactly as many. If nobody has
    noted that, those that are left tell it; those for hosts of which there is
    no HostState are not known here then.

    :param host_state: any HostState of the request, None if it has none
    :param left: how many candidates there are at least
    :param left_out: how many hosts there are beside those of the HostStates
    """
    limit = nova.conf.CONF.scheduler.max_placement_results
    lists = _lists.get([])
    if not lists:
        count = getattr(host_state, _COUNT, None)
        known = left_out + max(left, count.total if count else 0)
        return _raise_limit(known, limit) if known >= limit else ''
    cut = [one for one in lists if one.is_cut]
    if not cut:
        return ''
    most = max(cut, key=lambda one: one.beyond or 0)
    if most.beyond is None or most.asked >= most.beyond:
        return _raise_limit(most.given, limit, most.asked)
    return (f' Placement gave {most.given} allocation requests, and '
            f'[scheduler]max_placement_results is {limit}: it was asked for '
            f'{most.asked} of {most.beyond} other hosts that can have the '
            'devices' + (
                ', and took too long for more.' if most.was_slow else
                '. Raise [pci_filter]widen_to.'))


def _raise_limit(given: int, limit: int, asked: int = 0) -> str:
    # Those that placement was asked for would be counted as well.
    others = None if asked else _number_of_others()
    if others == 0:
        return ''
    return (f' Placement gave at least {given} allocation requests, and '
            f'[scheduler]max_placement_results is {limit}: ' + (
                f'{others} other hosts can have the devices' if others else
                'it may have left out hosts that have the devices')
            + '. Raise that option.')


def _number_of_others() -> int | None:
    """Return how many hosts were not named; nothing that is raised gets out.

    The rows are counted once more for that: the request is lost anyway.
    """
    count = _count_others.get()
    try:
        return count() if count else None
    except Exception as error:
        LOG.debug('Nobody knows what placement has left out: %s', error)
        return None
