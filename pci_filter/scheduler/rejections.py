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
import itertools
import operator
import typing

from oslo_log import log as logging

from pci_filter import matching
from pci_filter import objects
from pci_filter.objects import reasons
from pci_filter.scheduler import candidates as candidates_module
from pci_filter.scheduler import failures
from pci_filter.scheduler import first_place
from pci_filter.scheduler import narrowed as narrowed_module

LOG = logging.getLogger(__name__)

#: How many kinds of reasons the line for all hosts tells.
_SHOWN: typing.Final = 10

#: Hosts whose rows are read once more for that line. To read and compare
#: those of thousands takes as long as the request did, and what hosts lack
#: differs in fewer ways than this.
_READ: typing.Final = 100

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
    :param host_state: the host
    :param explained: why, or in words why there is no explanation
    :param left: how many devices the deciding stage left
    :param devices: what it has, None if its rows were not read once more
    """

    kind: Hashable
    host_state: HostState
    explained: matching.Explanation | str
    left: int = 0
    devices: _Devices | None = None

    @property
    def is_in_full(self) -> bool:
        """Whether nothing is left out for want of the rows."""
        return self.devices is not None or isinstance(self.explained, str) or (
            self.explained.failed is None)

    @property
    def host(self) -> str:
        """The host, in words."""
        host, node = self.host_state.host, self.host_state.nodename
        return host if node == host else f'{host} ({node})'

    @property
    def text(self) -> str:
        """Why, in words; these take longer than the rest."""
        if isinstance(self.explained, str):
            return self.explained
        if self.explained.failed is None:
            return 'it would fit now'
        if self.devices is None:
            return self.explained.reason
        return reasons.reason(self.devices, self.explained)


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
        found = [_reason(host_state, self._explain(host_state, candidates))
                 for host_state, candidates in self._hosts]
        left_out = narrowed_module.left_out(self._spec_obj)
        LOG.info(
            '%(none)s the PCI devices for instance %(instance)s: '
            '%(reasons)s.%(left_out)s%(advice)s',
            {'none': _none_text([one.explained for one in found]),
             'instance': self._spec_obj.instance_uuid,
             'reasons': _text(self._in_full(found, idle_pools)),
             'left_out': '' if left_out.number == 0 else
                         f' Left out before: {left_out.reasons}.',
             'advice': candidates_module.advice(
                 self._hosts[0][0], sum(
                     len(candidates) for _, candidates in self._hosts),
                 left_out.number or 0)})

    def _in_full(
        self, found: Sequence[_Reason], idle_pools: IdlePools,
    ) -> list[_Reason]:
        """Return the reasons, some of them with what is in use."""
        nearest = {id(one): one for one in _nearest(found)}
        try:
            if_idle = idle_pools(
                [one.host_state for one in nearest.values()], self._spec_obj)
        except Exception as error:
            # The words are less plain then, but nothing else is lost.
            LOG.debug('What is in use could not be read: %s',
                      type(error).__name__)
            return list(found)
        return [_with_devices(one, if_idle.get(one.host_state.uuid))
                if id(one) in nearest else one for one in found]

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
                (self._explain_candidate(host_state, candidate['mappings'])
                 for candidate in candidates), key=_progress)
        except Exception as error:
            # Saying why must not be what fails the request.
            return f'not explained, {type(error).__name__}: {error}'

    def _explain_candidate(
        self, host_state: HostState, mapping: typing.Any,
    ) -> matching.Explanation:
        """Return why devices cannot be claimed, or not where a guest goes."""
        pools = host_state.pci_stats
        explained: matching.Explanation = pools.explain_requests(
            self._spec_obj.pci_requests.requests, mapping)
        if explained.fits and first_place.matters(host_state, self._spec_obj):
            return first_place.explain(host_state, self._spec_obj, mapping)
        return explained


def _progress(explained: matching.Explanation) -> tuple[int, int]:
    return (len(explained.requests),
            len(explained.requests[-1].stages) if explained.requests else 0)


def _reason(
    host_state: HostState, explained: matching.Explanation | str,
) -> _Reason:
    """Return why a host was rejected, as far as its pools tell."""
    if isinstance(explained, str):
        return _Reason(explained, host_state, explained)
    failed = explained.failed
    if failed is None:
        return _Reason('', host_state, explained)
    return _Reason(
        (failed.request.label, failed.shortage, explained.note), host_state,
        explained, failed.stages[-1].left)


def _nearest(found: Sequence[_Reason]) -> list[_Reason]:
    """Return those of which the rows are read: the nearest of each kind.

    What is in use decides what they lack, and that is not known yet. Hosts
    that have more or fewer devices free are most likely to differ.
    """
    alike: dict[Hashable, list[_Reason]] = collections.defaultdict(list)
    for one in found:
        if not isinstance(one.explained, str) and one.explained.failed:
            alike[one.kind, one.explained.failed.offered].append(one)
    by_turns = itertools.zip_longest(*(
        sorted(same, key=operator.attrgetter('left'), reverse=True)
        for same in alike.values()))
    return list(itertools.islice(
        filter(None, itertools.chain.from_iterable(by_turns)), _READ))


def _with_devices(
    one: _Reason, if_idle: objects.PciDevicePoolList | None,
) -> _Reason:
    """Return a reason that tells what is in use, too.

    :param if_idle: the host's pools without instances, None if its cell did
        not answer
    """
    if if_idle is None or isinstance(one.explained, str):
        return one
    devices = _Devices(one.host_state.pci_stats, if_idle)
    return one._replace(
        kind=reasons.kind(devices, one.explained), devices=devices)


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

    Their numbers differ: those of the host that came nearest are told. Hosts
    of which nobody knows what is in use come last.
    """
    by_kind: dict[Hashable, list[_Reason]] = collections.defaultdict(list)
    for reason in of_hosts:
        by_kind[reason.kind].append(reason)
    alike = sorted(by_kind.values(), key=lambda same: (
        not same[0].is_in_full, -len(same)))
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
