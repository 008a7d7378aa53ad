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

"""Tell in one line what a request took, and who decides."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Sized
import time
import typing

from oslo_log import log as logging

from pci_filter import objects
from pci_filter.scheduler import guarded_pools

LOG = logging.getLogger(__name__)

HostState = typing.Any


class Stages:
    """Times the stages of one request, until its hosts are filtered."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._took: list[tuple[str, float]] = []

    @property
    def began(self) -> float:
        """When the request began, by time.monotonic()."""
        return self._began

    def over(self, stage: str) -> None:
        """Note that a stage is over, and the next one begins."""
        now = time.monotonic()
        self._took.append((stage, now - self._last))
        self._last = now

    def log(
        self, spec_obj: typing.Any, asked: Sized | None,
        host_states: Sequence[HostState],
    ) -> None:
        """Log it all at DEBUG; that must not fail the request.

        :param spec_obj: nova.objects.RequestSpec
        :param asked: providers that placement named, None for all nodes
        :param host_states: the hosts that were loaded, with what decides
        """
        if not LOG.isEnabledFor(logging.DEBUG):
            return
        try:
            LOG.debug('pci_filter request: %s', ' '.join(
                f'{key}={value}' for key, value in {
                    'instance': getattr(spec_obj, 'instance_uuid', None),
                    'asked': 'all' if asked is None else len(asked),
                    'loaded': len(host_states),
                    'fallback': sum(map(_fell_back, host_states)),
                    **{f'{stage}_ms': f'{took * 1000:.1f}'
                       for stage, took in self._took}}.items()))
        except Exception as error:
            LOG.debug('No times are told: %s', type(error).__name__)


def _fell_back(host_state: HostState) -> bool:
    pools = host_state.pci_stats
    return isinstance(pools, guarded_pools.NoPools) or not isinstance(
        pools, objects.PciDevicePoolList)
