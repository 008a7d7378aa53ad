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

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from collections.abc import Sized
import contextlib
import time
import typing

from oslo_log import log as logging

from pci_filter import objects
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import tracing

LOG = logging.getLogger(__name__)

HostState = typing.Any


class Stages:
    """Times the stages of one request, until its hosts are filtered."""

    def __init__(self) -> None:
        #: When the request began, by time.monotonic().
        self.began = time.monotonic()
        self._took: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, typing.Any]]:
        """Time a stage, and trace it.

        :param name: its name in the log
        :returns: as of :func:`tracing.point`
        """
        began = time.monotonic()
        with tracing.point(name) as info:
            yield info
        self._took.append((name, time.monotonic() - began))

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
                    'asked': number(asked), 'loaded': len(host_states),
                    'fallback': fallback(host_states),
                    **{f'{stage}_ms': f'{took * 1000:.1f}'
                       for stage, took in self._took}}.items()))
        except Exception as error:
            LOG.debug('No times are told: %s', type(error).__name__)


def number(nodes: Sized | None) -> int | str:
    """Return how many compute nodes there are, in the words of the log.

    :param nodes: None for all nodes
    """
    return 'all' if nodes is None else len(nodes)


def fallback(host_states: Iterable[HostState]) -> int:
    """Return how many hosts are not decided by their rows.

    :param host_states: the hosts, with what decides
    """
    return sum(map(_fell_back, host_states))


def _fell_back(host_state: HostState) -> bool:
    pools = host_state.pci_stats
    return isinstance(pools, guarded_pools.NoPools) or not isinstance(
        pools, objects.PciDevicePoolList)
