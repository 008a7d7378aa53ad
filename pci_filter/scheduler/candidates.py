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

"""Count the allocation candidates of a request, before any filter ran."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import typing

import nova.conf
from oslo_log import log as logging

LOG = logging.getLogger(__name__)

#: Attribute of a HostState: the _Count of its request.
_COUNT: typing.Final = 'pci_filter_candidates'


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
    allocation requests as it may, or it had exactly as many. Those for hosts
    of which there is no HostState are not known here.

    :param host_state: any HostState of the request, None if it has none
    :param left: how many candidates there are at least
    :param left_out: how many hosts there are beside those of the HostStates
    """
    count = getattr(host_state, _COUNT, None)
    known = left_out + max(left, count.total if count else 0)
    limit = nova.conf.CONF.scheduler.max_placement_results
    if known < limit:
        return ''
    return (f' Placement gave at least {known} allocation requests, and '
            f'[scheduler]max_placement_results is {limit}: it may have left '
            'out hosts that have the devices. Raise that option.')
