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

"""The schedulers that are compared, and one request to them.

There are three in one process: without a PCI filter, with Nova's, with ours.
Ours changes a class of Nova's for the whole process, so that is undone
whenever another one is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import enum
import gc
import time
import typing

from nova import context as nova_context
from nova import objects

from benchmarks import fleet
from benchmarks import timing
from pci_filter.fixture import scheduling
from pci_filter.scheduler import host_manager

_ALIAS: typing.Final = {
    'vendor_id': '8086', 'product_id': '154c', 'physical_network': 'physnet1'}
_RESOURCE_CLASS: typing.Final = 'CUSTOM_PCI_8086_154C'

detach = host_manager.detach

HostState = typing.Any


class Kind(enum.Enum):
    """Whose PCI filter a scheduler has."""

    BASE = 'base'
    IN_TREE = 'in-tree'
    OURS = 'ours'


class Wish(typing.NamedTuple):
    """What is asked for.

    :param candidates: allocation candidates for each host. With more than
        one the devices are in placement, and each candidate is on a card of
        its own; with one placement has no say.
    :param numa_policy: ``hw:pci_numa_affinity_policy`` of a guest with two
        NUMA cells; None for a guest without
    :param devices: how many; with 0 nothing about PCI is in the request
    :param accelerator: whether accelerators are meant, which few hosts have,
        and not functions of network cards; with one candidate only
    """

    candidates: int = 1
    numa_policy: str | None = None
    devices: int = 1
    accelerator: bool = False


class Times(typing.NamedTuple):
    """Seconds that a request took.

    :param load: in ``get_host_states_by_uuids``
    :param decide: in ``get_filtered_hosts``
    :param collecting: of both, in the garbage collector
    :param full: how often that went through all objects
    :param weigh: in ``get_weighed_hosts``, of the hosts that passed; what was
        put off until the PCI weigher looks at it is done there
    """

    load: float
    decide: float
    collecting: float
    full: int
    weigh: float

    @property
    def total(self) -> float:
        """Loading and deciding, which the targets are about."""
        return self.load + self.decide

    @property
    def weighed(self) -> float:
        """All three together."""
        return self.total + self.weigh

    @property
    def working(self) -> float:
        """Both together, without the garbage collector."""
        return self.total - self.collecting


class Scheduler:
    """A HostManager and what belongs to it.

    All hosts have reported that they have no instances, as they do to a
    scheduler that tracks instances. Else it would ask for each host's
    instances on each request, in a query each, and everything but PCI would
    weigh more.

    :param kind: whose PCI filter it has
    :param numa: whether NUMATopologyFilter is enabled too
    :param hosts: who reported
    """

    def __init__(
        self, kind: Kind, numa: bool, hosts: Iterable[fleet.Host],
    ) -> None:
        self.kind = kind
        filters = [
            'ComputeCapabilitiesFilter',
            *(() if kind is Kind.BASE else scheduling.PCI_FILTER),
            *(('NUMATopologyFilter',) if numa else ())]
        self.manager = scheduling.host_manager(
            filters,
            scheduling.OUR_FILTERS if kind is Kind.OURS
            else scheduling.IN_TREE_FILTERS)
        self.manager._instance_info.update({
            host.name: {'instances': {}, 'updated': True} for host in hosts})
        detach()

    def request_spec(self, wish: Wish) -> typing.Any:
        """Build a request of its own, as the API does for each.

        Where there is no PCI filter there is no PCI request either.
        """
        requests = [] if self.kind is Kind.BASE or not wish.devices else [
            scheduling.pci_request(
                fleet.ACCELERATOR if wish.accelerator else _ALIAS,
                wish.devices, alias_name='pci', numa_policy=wish.numa_policy)]
        spec = scheduling.request_spec(
            requests,
            scheduling.instance_numa_topology([0, 1])
            if wish.numa_policy else None)
        if self.kind is Kind.BASE:
            spec.pci_requests = None
        if requests and wish.candidates > 1:
            spec.requested_resources = [
                objects.RequestGroup(
                    requester_id=f'{requests[0].request_id}-{device}',
                    resources={_RESOURCE_CLASS: 1})
                for device in range(wish.devices)]
        return spec

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Let requests in any thread be this scheduler's for a while."""
        if self.kind is Kind.OURS:
            host_manager.attach()
        else:
            host_manager.detach()
        try:
            yield
        finally:
            detach()

    def serve(
        self, hosts: Sequence[fleet.Host], wish: Wish,
    ) -> list[HostState]:
        """Make one request and measure nothing; may be done in threads.

        :param hosts: who placement returned
        :param wish: what is asked for
        :returns: the HostStates that passed, best first
        """
        spec = self.request_spec(wish)
        states = list(self.manager.get_host_states_by_uuids(
            nova_context.get_admin_context(),
            [host.uuid for host in hosts], spec))
        give_candidates(states, hosts, spec, wish)
        passed = list(self.manager.get_filtered_hosts(states, spec))
        return [weighed.obj for weighed in self.manager.get_weighed_hosts(
            passed, spec)] if passed else []

    def load(
        self, hosts: Sequence[fleet.Host], spec: typing.Any,
    ) -> tuple[list[HostState], float, timing.Garbage]:
        """Return the HostStates of some hosts, and how long it took.

        :param hosts: who placement returned
        :param spec: RequestSpec
        """
        uuids = [host.uuid for host in hosts]
        context = nova_context.get_admin_context()
        if self.kind is Kind.OURS:
            host_manager.attach()
        else:
            host_manager.detach()
        gc.collect()
        with timing.Garbage() as garbage:
            start = time.perf_counter()
            states = list(self.manager.get_host_states_by_uuids(
                context, uuids, spec))
            took = time.perf_counter() - start
        return states, took, garbage

    def ask(
        self, hosts: Sequence[fleet.Host], wish: Wish,
    ) -> tuple[Times, list[HostState]]:
        """Make one request, with the garbage of others out of the way.

        :param hosts: who placement returned
        :param wish: what is asked for
        :returns: how long it took, and the HostStates that passed
        """
        spec = self.request_spec(wish)
        states, loading, before = self.load(hosts, spec)
        give_candidates(states, hosts, spec, wish)
        with timing.Garbage() as garbage:
            start = time.perf_counter()
            passed = list(self.manager.get_filtered_hosts(states, spec))
            deciding = time.perf_counter() - start
        start = time.perf_counter()
        if passed:
            self.manager.get_weighed_hosts(passed, spec)
        weighing = time.perf_counter() - start
        detach()
        return Times(
            loading, deciding, before.seconds + garbage.seconds,
            before.full + garbage.full, weighing), passed


def give_candidates(
    states: Iterable[HostState], hosts: Iterable[fleet.Host],
    spec: typing.Any, wish: Wish,
) -> None:
    """Set what placement answered, as the scheduler's manager does.

    :param states: HostStates of these hosts, in any order
    :param hosts: their hosts
    :param spec: RequestSpec made for the wish
    :param wish: what is asked for
    """
    providers = {host.uuid: host.providers for host in hosts}
    groups = [group.requester_id for group in spec.requested_resources]
    for state in states:
        of_host = providers[state.uuid]
        state.allocation_candidates = [
            {'mappings': {group: [of_host[number % len(of_host)]]
                          for group in groups},
             'allocations': {}}
            for number in range(wish.candidates)]


def verdicts(passed: Iterable[HostState]) -> dict[str, int]:
    """Return how many candidates are left on each host that passed."""
    return {state.host: len(state.allocation_candidates) for state in passed}
