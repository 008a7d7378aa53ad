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

"""Compare what the scheduler says of hosts with what claims do there."""

from __future__ import annotations

import collections
import dataclasses
import pprint
import typing

from hypothesis import strategies as st
from nova import objects as nova_objects
from nova.pci import utils as pci_utils

from pci_filter.fixture import compute_host
from pci_filter.fixture import scheduling
from pci_filter.objects import device_requests
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import wants

HOSTS = 3
WANTS = 10


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A fleet, what happened there before, and who asks now.

    :param machines: the hosts
    :param past: instances of before, each on the machine of that number, and
        whether it was deleted again
    :param wants: the instances that ask
    """

    machines: tuple[fleets.Machine, ...]
    past: tuple[tuple[int, wants.Want, bool], ...]
    wants: tuple[wants.Want, ...]


@st.composite
def scenarios(draw: st.DrawFn, by_address: bool = False) -> Scenario:
    """Draw a scenario; for ``by_address`` see ``fleets.machines``."""
    machines = tuple(
        draw(fleets.machines(number, by_address)) for number in range(HOSTS))
    want = wants.wants(machines)
    return Scenario(
        machines,
        tuple(draw(st.lists(
            st.tuples(st.integers(0, HOSTS - 1), want,
                      st.sampled_from((False, False, True))),
            min_size=1, max_size=8))),
        tuple(draw(st.lists(want, min_size=WANTS, max_size=WANTS))))


class Truth(typing.NamedTuple):
    """What a claim on a host does for an instance.

    :param requests: InstancePCIRequest objects as the scheduler has them
    :param mapping: the providers that placement chose on this host
    :param numa: InstanceNUMATopology, None if the instance has none
    :param error: why the claim fails, None if it succeeds
    """

    requests: typing.Sequence[typing.Any]
    mapping: wants.Mapping
    numa: typing.Any
    error: str | None


def build(
    cloud: base.Cloud, scenario: Scenario,
    patch: typing.Callable[[str, typing.Any], object],
) -> None:
    """Fill the cloud with the fleet and its past.

    :param cloud: an open cloud; what it had is removed
    :param scenario: the scenario
    :param patch: replaces a function of Nova's by another
    """
    cloud.reset()
    patch(f'{pci_utils.__name__}.is_physical_function',
          fleets.is_physical_function(
              device for machine in scenario.machines
              for device in machine.devices))
    for machine in scenario.machines:
        cloud.add_host(
            machine.cell, machine.name, machine.devices,
            machine.nova_device_spec(),
            scheduling.host_numa_topology(machine.sockets)
            if machine.sockets else None,
            machine.in_placement)
    for number, want, deleted in scenario.past:
        host = cloud.hosts[scenario.machines[number].name]
        try:
            devices = cloud.claim(host, want.requests())
        except compute_host.ClaimFailed:
            continue
        if deleted:
            cloud.release(host, devices)


def fresh_pools(
    cloud: base.Cloud, host: compute_host.Host,
) -> list[dict[str, typing.Any]]:
    """Return the pools of a freshly built tracker, without the devices."""
    return [
        {key: value for key, value in pool.items() if key != 'devices'}
        for pool in cloud.tracker(host).stats.pools]


def find_truth(
    cloud: base.Cloud, scenario: Scenario,
) -> dict[tuple[int, str], Truth]:
    """Claim each want on each host; keyed by number of want and host name.

    An instance with NUMA cells is not tried where there are no such nodes.
    """
    truth = {}
    for machine in scenario.machines:
        host = cloud.hosts[machine.name]
        pools = fresh_pools(cloud, host)
        for number, want in enumerate(scenario.wants):
            if len(machine.sockets or ()) <= max(want.numa_nodes, default=-1):
                continue
            requests = want.requests()
            mapping = wants.allocate(want, requests, pools)
            numa = scheduling.instance_numa_topology(
                want.numa_nodes) if want.numa_nodes else None
            truth[number, machine.name] = Truth(
                requests, mapping, numa,
                cloud.claim_error(
                    host, wants.with_providers(requests, mapping), numa))
    return truth


def ask(pools: typing.Any, known: Truth) -> bool:
    """Ask as the filters do for an instance.

    PciPassthroughFilter asks without NUMA cells; if the instance has some,
    NUMATopologyFilter asks with them too.
    """
    pools.numa_guest = known.numa is not None
    passed = bool(pools.support_requests(
        known.requests, provider_mapping=known.mapping))
    if known.numa:
        passed = passed and bool(pools.support_requests(
            known.requests, provider_mapping=known.mapping,
            numa_cells=known.numa.cells))
    return passed


class States(typing.NamedTuple):
    """HostStates of all hosts, for two kinds of requests.

    :param tracked: for those of which placement allocates devices
    :param untracked: for all others; no provider is read then
    """

    tracked: list[typing.Any]
    untracked: list[typing.Any]

    def of(self, known: Truth) -> list[typing.Any]:
        """Return those that a request gets."""
        return self.tracked if device_requests.is_tracked(
            known.requests, known.mapping) else self.untracked


def load_states(
    cloud: base.Cloud, manager: typing.Any, scenario: Scenario,
) -> States:
    """Load the HostStates, some of them by UUID as for a real request."""
    requests = [request for want in scenario.wants
                for request in want.requests()]
    # At least one that placement has a say in.
    requests.append(scheduling.pci_request({}, alias_name='alias'))
    return States(
        scheduling.host_states(
            manager, scheduling.request_spec(
                requests,
                requested_resources=base.request_groups(requests)),
            [host.node_uuid for host in cloud.hosts.values()]),
        scheduling.host_states(manager, scheduling.request_spec(requests)))


class Comparison:
    """Counts decisions and remembers where scheduler and claim disagree.

    :param name: what is compared
    :param one_sided: only count a pass where the claim fails as wrong
    """

    def __init__(self, name: str, one_sided: bool = False) -> None:
        self._name = name
        self._one_sided = one_sided
        self.passed = self.decisions = 0
        self.disagreements: list[str] = []
        #: Decisions with NUMA cells, with providers and through the filter.
        self.kinds: collections.Counter[str] = collections.Counter()

    def __str__(self) -> str:
        return (f'{self._name}: {self.decisions} host decisions '
                f'({self.passed} passed), '
                f'{len(self.disagreements)} disagreements')

    def compare_pools(
        self, cloud: base.Cloud, scenario: Scenario,
        states: typing.Sequence[typing.Any],
    ) -> None:
        """Compare the pools on HostStates with a fresh tracker's, in order.

        :param cloud: the cloud, built
        :param scenario: what it was built from
        :param states: HostStates of all hosts
        """
        for state in states:
            expected = fresh_pools(cloud, cloud.hosts[state.host])
            actual = [
                {key: value for key, value in pool.items()
                 if key != 'devices'}
                for pool in state.pci_stats.pools]
            if expected != actual:
                self._disagree(scenario, state.host, {
                    "fresh tracker's pools": expected,
                    "scheduler's pools": actual})

    def compare_verdicts(
        self, cloud: base.Cloud, scenario: Scenario,
        truth: dict[tuple[int, str], Truth], manager: typing.Any,
        states: States,
    ) -> None:
        """Compare the verdicts of the pools, and of the filter."""
        for (number, name), known in truth.items():
            state = next(state for state in states.of(known)
                         if state.host == name)
            state.allocation_candidates = [
                {'mappings': known.mapping, 'allocations': {}}]
            passed = ask(state.pci_stats, known)
            self.decisions += 1
            self.passed += passed
            self.kinds['numa'] += bool(known.numa)
            self.kinds['providers'] += bool(known.mapping)
            self._check(scenario, number, state, known, passed)
            if not known.numa:
                self.kinds['filter'] += 1
                spec = scheduling.request_spec(
                    known.requests, requested_resources=[
                        nova_objects.RequestGroup(requester_id=group)
                        for group in known.mapping])
                self._check(scenario, number, state, known, bool(
                    scheduling.passing_hosts(manager, [state], spec)))

    def _check(
        self, scenario: Scenario, number: int, state: typing.Any,
        known: Truth, passed: bool,
    ) -> None:
        fits = known.error is None
        if passed == fits or (self._one_sided and fits):
            return
        explain = getattr(state.pci_stats, 'explain_requests', None)
        self._disagree(scenario, state.host, {
            'want': scenario.wants[number],
            'requests': [(r.alias_name, r.count, r.spec, r.numa_policy)
                         for r in known.requests],
            'providers': known.mapping,
            'verdict': passed,
            'explanation': str(explain(
                known.requests, known.mapping,
                known.numa and known.numa.cells)) if explain else '-',
            'pools': list(map(dict, state.pci_stats)),
            "claim's error": known.error})

    def _disagree(
        self, scenario: Scenario, name: str, facts: dict[str, object],
    ) -> None:
        machine = next(m for m in scenario.machines if m.name == name)
        self.disagreements.append('\n'.join((
            f'{self._name}: disagreement on {name}',
            pprint.pformat(facts, sort_dicts=False, width=100),
            f'sockets={machine.sockets} in_placement={machine.in_placement}',
            'device_spec:', *machine.nova_device_spec(),
            'devices:', *map(str, machine.devices))))
