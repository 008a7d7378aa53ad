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

"""Say why hosts were rejected, per host and in sum."""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from oslo_log import log as logging

from pci_filter import matching
from pci_filter import objects
from pci_filter.objects import reasons
from pci_filter.scheduler import candidates as candidates_module
from pci_filter.scheduler import failures

LOG = logging.getLogger(__name__)

#: How many kinds of reasons the line for all hosts tells.
_SHOWN: typing.Final = 10

HostState = typing.Any

#: Gives the pools without instances of some hosts of a request.
IdlePools = Callable[
    [Iterable[HostState], typing.Any], Mapping[str, objects.PciDevicePoolList]]


class _Devices(typing.NamedTuple):
    """What a host has, in the form that explaining it takes."""

    pools: objects.PciDevicePoolList
    if_idle: objects.PciDevicePoolList


class _Reason(typing.NamedTuple):
    """Why a host was rejected.

    :param kind: what it has in common with hosts that lack the same
    :param text: why, in words
    :param left: how many devices the deciding stage left
    :param host: the host, in words
    """

    kind: Hashable
    text: str
    left: int
    host: str


class Rejections:
    """The hosts that one run of the filter rejected.

    Nothing is explained unless it is going to be logged.

    :param spec_obj: nova.objects.RequestSpec
    """

    def __init__(self, spec_obj: typing.Any) -> None:
        self._spec_obj = spec_obj
        self._hosts: list[tuple[HostState, Sequence[typing.Any]]] = []

    def add(
        self, host_state: HostState, candidates: Sequence[typing.Any],
    ) -> None:
        """Note a rejected host, and log the reason at DEBUG.

        :param host_state: the HostState
        :param candidates: its allocation candidates before the filter ran
        """
        self._hosts.append((host_state, candidates))
        if LOG.isEnabledFor(logging.DEBUG):
            explained = self._explain(host_state, candidates)
            LOG.debug('Host %(host)s, node %(node)s rejected: %(reason)s',
                      {'host': host_state.host, 'node': host_state.nodename,
                       'reason': getattr(explained, 'reason', explained)})

    def log_summary(self, idle_pools: IdlePools) -> None:
        """Log one line at INFO that sums the reasons up across hosts.

        What is in use is not in the pools, so the rows are read once more:
        the request is lost anyway.

        :param idle_pools: reads them
        """
        if not self._hosts or not LOG.isEnabledFor(logging.INFO):
            return
        explained = [(host_state, self._explain(host_state, candidates))
                     for host_state, candidates in self._hosts]
        if_idle: Mapping[str, objects.PciDevicePoolList] = {}
        try:
            if_idle = idle_pools(
                [host_state for host_state, one in explained
                 if isinstance(one, matching.Explanation) and one.failed],
                self._spec_obj)
        except Exception as error:
            # The words are less plain then, but nothing else is lost.
            LOG.debug('What is in use could not be read: %s',
                      type(error).__name__)
        LOG.info(
            '%(none)s the PCI devices for instance %(instance)s: '
            '%(reasons)s.%(advice)s',
            {'none': _none_text([one for _, one in explained]),
             'instance': self._spec_obj.instance_uuid,
             'reasons': _text([
                 _reason(host_state, one, if_idle.get(host_state.uuid))
                 for host_state, one in explained]),
             'advice': candidates_module.advice(self._hosts[0][0], sum(
                 len(candidates) for _, candidates in self._hosts))})

    def _explain(
        self, host_state: HostState, candidates: Sequence[typing.Any],
    ) -> matching.Explanation | str:
        """Return the explanation, or in words why there is none."""
        pools = host_state.pci_stats
        if hasattr(host_state, failures.UNREADABLE):
            return 'its device rows could not be read'
        if not isinstance(pools, objects.PciDevicePoolList):
            return "Nova's summary decided"
        if not candidates:
            return 'no allocation candidate is left'
        try:
            # The candidate that got furthest says most.
            return max(
                (pools.explain_requests(
                    self._spec_obj.pci_requests.requests,
                    candidate['mappings']) for candidate in candidates),
                key=_progress)
        except Exception as error:
            # Saying why must not be what fails the request.
            return f'not explained, {type(error).__name__}: {error}'


def _progress(explained: matching.Explanation) -> tuple[int, int]:
    return (len(explained.requests),
            len(explained.requests[-1].stages) if explained.requests else 0)


def _reason(
    host_state: HostState, explained: matching.Explanation | str,
    if_idle: objects.PciDevicePoolList | None,
) -> _Reason:
    """Return why a host was rejected.

    :param if_idle: its pools without instances, None if nobody knows
    """
    host = host_state.host
    if host_state.nodename != host:
        host += f' ({host_state.nodename})'
    if isinstance(explained, str):
        return _Reason(explained, explained, 0, host)
    failed = explained.failed
    if failed is None:
        return _Reason('', 'it would fit now', 0, host)
    left = failed.stages[-1].left
    if if_idle is None:
        return _Reason(
            (failed.request.label, failed.shortage, explained.note),
            explained.reason, left, host)
    devices = _Devices(host_state.pci_stats, if_idle)
    return _Reason(reasons.kind(devices, explained),
                   reasons.reason(devices, explained), left, host)


def _none_text(
    of_hosts: Sequence[matching.Explanation | str],
) -> str:
    """Return what no host has, or of some nobody knows whether they do."""
    known = all(isinstance(one, matching.Explanation) for one in of_hosts)
    if len(of_hosts) == 1:
        return 'The only host that reached PciPassthroughFilter ' + (
            'does not have' if known else 'is not known to have')
    return (f'None of the {len(of_hosts)} hosts that reached '
            f'PciPassthroughFilter {"has" if known else "is known to have"}')


def _text(of_hosts: Sequence[_Reason]) -> str:
    """Return the reasons, what is the same on many hosts only once.

    Their numbers differ: those of the host that came nearest are told.
    """
    by_kind: dict[Hashable, list[_Reason]] = collections.defaultdict(list)
    for reason in of_hosts:
        by_kind[reason.kind].append(reason)
    alike = sorted(by_kind.values(), key=len, reverse=True)
    texts = []
    for same in alike[:_SHOWN]:
        nearest = max(same, key=lambda one: one.left)
        where = f'on {nearest.host}' if len(same) == 1 else (
            f'on {len(same)}, such as {nearest.host}')
        texts.append(f'{where}, {nearest.text}')
    more = sum(map(len, alike[_SHOWN:]))
    if more:
        texts.append(f'on {more} more, something else')
    return '; '.join(texts)
