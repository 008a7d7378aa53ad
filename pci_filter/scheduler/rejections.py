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
from collections.abc import Sequence
import typing

from oslo_log import log as logging

from pci_filter import matching
from pci_filter import objects
from pci_filter.scheduler import failures

LOG = logging.getLogger(__name__)

HostState = typing.Any


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

    def log_summary(self) -> None:
        """Log one line at INFO that sums the reasons up across hosts."""
        if not self._hosts or not LOG.isEnabledFor(logging.INFO):
            return
        reasons = collections.Counter(
            _kind(self._explain(*host)) for host in self._hosts)
        LOG.info(
            'No host has the PCI devices for instance %(instance)s: '
            '%(reasons)s.',
            {'instance': self._spec_obj.instance_uuid,
             'reasons': '; '.join(
                 f'on {count} of {len(self._hosts)} hosts {reason}'
                 for reason, count in reasons.most_common())})

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


def _kind(explained: matching.Explanation | str) -> str:
    """Return the reason without what is different on each host."""
    if isinstance(explained, str):
        return explained
    failed = explained.failed
    if failed is None:
        return 'it would fit now'
    text = f'{failed.asks} but too few {failed.shortage}'
    return f'{text} ({explained.note})' if explained.note else text
