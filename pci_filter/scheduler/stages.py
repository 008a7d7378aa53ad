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
from collections.abc import Sized
import contextlib
import contextvars
import time
import typing

from oslo_log import log as logging

from pci_filter import objects
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import tracing

LOG = logging.getLogger(__name__)

HostState = typing.Any


class Stages:
    """Times the stages of one request, until its hosts are filtered.

    What is told of each of them to a trace is told in one line of the log as
    well.

    :param spec_obj: nova.objects.RequestSpec
    """

    def __init__(self, spec_obj: typing.Any) -> None:
        #: When the request began, by time.monotonic().
        self.began = time.monotonic()
        self.spec_obj = spec_obj
        #: Whether the line is logged.
        self.is_told = False
        self._facts: dict[str, typing.Any] = {}
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
        if LOG.isEnabledFor(logging.DEBUG):
            with _harmless():
                self._facts.update(tracing.found_out(info))

    def tell(self) -> None:
        """Log it all at DEBUG, once."""
        if self.is_told or not LOG.isEnabledFor(logging.DEBUG):
            return
        self.is_told = True
        with _harmless():
            LOG.debug('pci_filter request: %s', ' '.join(
                f'{key}={value}' for key, value in {
                    'instance': getattr(self.spec_obj, 'instance_uuid', None),
                    **self._facts,
                    **{f'{stage}_ms': f'{took * 1000:.1f}'
                       for stage, took in self._took}}.items()))


#: Of the latest request of this thread.
_latest: contextvars.ContextVar[Stages | None] = contextvars.ContextVar(
    'pci_filter_stages', default=None)


def begin(spec_obj: typing.Any) -> Stages:
    """Return the stages of a request that begins in this thread."""
    stages = Stages(spec_obj)
    _latest.set(stages)
    return stages


@contextlib.contextmanager
def deciding(spec_obj: typing.Any) -> Iterator[dict[str, typing.Any]]:
    """Time the last stage of a request, and tell of all of them.

    A request for several servers decides for each of them; the line is of the
    first.

    :param spec_obj: nova.objects.RequestSpec
    :returns: as of :func:`tracing.point`
    """
    stages = _latest.get()
    if stages is None or stages.is_told or stages.spec_obj is not spec_obj:
        with tracing.point('deciding') as info:
            yield info
        return
    with stages.stage('deciding') as info:
        yield info
    stages.tell()


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Tell of a request at its end if no host has reached the filter."""
    token = _latest.set(None)
    try:
        yield
    finally:
        stages = _latest.get()
        if stages is not None:
            stages.tell()
        _latest.reset(token)


@contextlib.contextmanager
def _harmless() -> Iterator[None]:
    """Let nothing that is to be logged fail the request."""
    try:
        yield
    except Exception as error:
        LOG.debug('Not all is told of a request: %s', type(error).__name__)


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
