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

"""The filters' verdict on a host is what the claim there does, on any host.

The hosts run Nova's own tracker, ours, or Nova's after ours; some have
providers that were made anew. The summary is in sync, falsified or gone. The
verdict is that of PciPassthroughFilter and NUMATopologyFilter, in either
order, which are two decisions. The truth is a claim by nova.compute.claims and
by whichever tracker runs there.

PCI_FILTER_SEED is where to start, PCI_FILTER_EXAMPLES how far to go: 1 are
some thousand decisions.
"""

import collections
import dataclasses
import json
import logging
import pprint
import sys
import typing

import fixtures
import hypothesis
from hypothesis import strategies as st
from nova import objects as nova_objects
from nova.pci import manager as nova_manager
from oslo_utils import uuidutils

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import compute_host
from pci_filter.fixture import scheduling
from pci_filter.objects import device_requests
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import claims
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import servers
from pci_filter.tests.functional.nova import wants

HOSTS = 4
WANTS = 40

#: Who runs on a host.
STOCK, OURS, BACK = 'stock', 'ours', 'back to stock'

FILTERS = (['PciPassthroughFilter', 'NUMATopologyFilter'],
           ['NUMATopologyFilter', 'PciPassthroughFilter'])


class Scenario(typing.NamedTuple):
    """A fleet and who asks.

    :param machines: the hosts
    :param runs: who runs on each
    :param renewed: whether the providers of each were made anew
    :param tags: what a machine that goes back has in its device_spec then
    :param full_nodes: of each, the NUMA node with less memory left
    :param past: as in comparison.Scenario
    :param wants: the instances that ask
    """

    machines: tuple[fleets.Machine, ...]
    runs: tuple[str, ...]
    renewed: tuple[bool, ...]
    tags: tuple[fleets.Tags, ...]
    full_nodes: tuple[int, ...]
    past: tuple[tuple[int, wants.Want, bool], ...]
    wants: tuple[wants.Want, ...]


def _of_each(strategy):
    return st.tuples(*[strategy] * HOSTS)


@st.composite
def scenarios(draw):
    """Draw a scenario."""
    runs = draw(_of_each(st.sampled_from((STOCK, OURS, STOCK, OURS, BACK))))
    machines = tuple(
        draw(fleets.machines(number, by_address=who is OURS and draw(
            st.booleans()))) for number, who in enumerate(runs))
    want = st.builds(
        lambda want, cells: dataclasses.replace(
            want, numa_nodes=tuple(range(cells))),
        wants.wants(machines), st.sampled_from((0, 1, 1, 2)))
    return Scenario(
        machines, runs,
        draw(_of_each(st.sampled_from((False, False, True)))),
        draw(_of_each(st.fixed_dictionaries(
            {'physical_network': st.sampled_from(('physnet1', 'physnet9'))}))),
        draw(_of_each(st.integers(0, 3))),
        tuple(draw(st.lists(
            st.tuples(st.integers(0, HOSTS - 1), want,
                      st.sampled_from((False, False, True))),
            min_size=1, max_size=8))),
        tuple(draw(st.lists(want, min_size=WANTS, max_size=WANTS))))


class World:
    """A scenario that has become rows, and the trackers of its hosts.

    :param test: the test, with a cloud
    :param scenario: what to build
    """

    def __init__(self, test, scenario):
        self._cloud = test.cloud
        self.scenario = scenario
        self._cloud.reset()
        test.replace(
            'nova.pci.utils.is_physical_function',
            fleets.is_physical_function(
                device for machine in scenario.machines
                for device in machine.devices))
        for number in range(HOSTS):
            self._add(number)
        for number, want, deleted in scenario.past:
            self._boot(self.host(number), want, deleted)
        #: Providers by address, of hosts whose were made anew.
        self._providers = [self._renew(number) for number in range(HOSTS)]
        self.claims = [self._claims(number) for number in range(HOSTS)]

    def host(self, number):
        return self._cloud.hosts[self.scenario.machines[number].name]

    def _add(self, number):
        machine, who = self.scenario.machines[number], self.scenario.runs[
            number]
        topology = None
        if machine.sockets:
            topology = scheduling.host_numa_topology(machine.sockets)
            full = self.scenario.full_nodes[number]
            if full < len(machine.sockets):
                topology.cells[full].memory_usage = 65536
        host = self._cloud.add_host(
            machine.cell, machine.name, machine.devices,
            machine.nova_device_spec(), topology, machine.in_placement,
            None if who is STOCK else our_tracker.PciDevTracker)
        if who is BACK:
            self._cloud.start_anew(
                host, list(machine.devices),
                tracker=nova_manager.PciDevTracker, device_spec=[
                    json.dumps(
                        {**spec, **self.scenario.tags[number]})
                    for spec in machine.device_spec])

    def _boot(self, host, want, deleted):
        try:
            devices = self._cloud.claim(host, want.requests())
        except compute_host.ClaimFailed:
            return
        if deleted:
            self._cloud.release(host, devices)

    def _renew(self, number):
        """Let a host report to placement, which has no providers of it."""
        if not (self.scenario.renewed[number]
                and self.scenario.machines[number].in_placement):
            return {}
        host = self.host(number)
        tracker = self._cloud.running(host)
        providers = {}
        _report(tracker, providers)
        self._cloud.save(host)
        return providers

    def _claims(self, number):
        host = self.host(number)
        tracker = self._cloud.tracker(host)
        if self._providers[number]:
            _report(tracker, self._providers[number])
        with self._cloud.target(host.cell) as context:
            return claims.Claims(tracker, host.load_node(context))


def _report(tracker, providers):
    """Give devices the providers that placement has, as nova-compute does.

    Nova's own writes them into what it has in memory without saying so
    (nova.compute.pci_placement_translator, PciResourceProvider).
    """
    for device in tracker.pci_devs:
        device.extra_info['rp_uuid'] = providers.setdefault(
            device.parent_addr or device.address, uuidutils.generate_uuid())
    tracker.stats.populate_pools_metadata_from_assigned_devices()


class Truth(typing.NamedTuple):
    """What a claim does, and what it is about.

    :param number: of the host
    :param want: wants.Want
    :param requests: InstancePCIRequest objects as the scheduler has them
    :param mapping: the providers that placement chose on this host
    :param error: why the claim fails, None if it succeeds
    """

    number: int
    want: typing.Any
    requests: typing.Any
    mapping: typing.Any
    error: typing.Any


def find_truth(world):
    """Claim for each want on each host that Nova's filters would look at."""
    limits = claims.limits()
    for number, machine in enumerate(world.scenario.machines):
        of_host = world.claims[number]
        pools = [{key: value for key, value in pool.items()
                  if key != 'devices'} for pool in of_host.tracker.stats.pools]
        for want in world.scenario.wants:
            if want.numa_nodes and not machine.sockets:
                # NUMATopologyFilter rejects such a host, and a claim does not
                # mind.
                continue
            requests = want.requests()
            mapping = wants.allocate(want, requests, pools)
            yield Truth(number, want, requests, mapping, of_host.error(
                wants.with_providers(requests, mapping),
                claims.guest(len(want.numa_nodes)), limits))


class Decisions:
    """Counts what was decided, by what it was about."""

    def __init__(self):
        self.count = self.passed = 0
        self.kinds = collections.Counter()

    def add(self, scenario, truth, variant, passed):
        self.count += 1
        self.passed += passed
        self.kinds.update((
            variant, scenario.runs[truth.number],
            f'{len(truth.want.numa_nodes)} cells',
            *{f'policy {request.numa_policy}' for request in truth.requests}))
        if truth.mapping:
            self.kinds['placement'] += 1
            if scenario.renewed[truth.number]:
                self.kinds['renewed'] += 1

    def __str__(self):
        return (f'{self.count} decisions ({self.passed} passed), 0 wrong: '
                + ', '.join(f'{kind} {count}' for kind, count
                            in sorted(self.kinds.items())))


class TestClaimsProperty(base.NovaTestCase):

    #: What part of all examples are tried.
    part = tests_base.PART
    log_level = logging.CRITICAL
    decisions: typing.Any

    def replace(self, name, value):
        self.useFixture(fixtures.MonkeyPatch(name, value))

    def test_verdict_is_what_the_claim_does(self):
        # Lines that are not kept cost as much as the decisions.
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.decisions = Decisions()
        hypothesis.seed(tests_base.SEED)(
            hypothesis.settings(
                max_examples=max(1, int(12 * self.part)),
                deadline=None, database=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck))(
                hypothesis.given(scenarios())(self.check)))()
        # The original, as stestr captures the other.
        print(f'claims property, seed {tests_base.SEED}, '
              f'{type(self).__name__}: {self.decisions}',
              file=sys.__stdout__, flush=True)
        decided = self.decisions
        self.assertGreater(decided.count, 0)
        if self.part >= 1:
            # No verdict, or next to none, would prove little.
            self.assertGreater(decided.passed, decided.count // 20)
            self.assertLess(decided.passed, decided.count * 19 // 20)
            for kind in (STOCK, OURS, BACK, '1 cells', '2 cells', 'renewed',
                         'placement', 'sync', 'falsified', 'gone'):
                self.assertGreater(
                    decided.kinds[kind], decided.count // 100, kind)

    def check(self, scenario):
        world = World(self, scenario)
        truths = list(find_truth(world))
        self.compare(world, truths, 'sync')
        for number in range(HOSTS):
            self.falsify(world, number)
        self.compare(world, truths, 'falsified')
        for number in range(HOSTS):
            self.cloud.store_summary(world.host(number), None)
        self.compare(world, [
            truth for truth in truths
            # Who went back and lost the summary, or has never saved new
            # providers elsewhere, cannot be known.
            if scenario.runs[truth.number] is OURS
            or scenario.runs[truth.number] is STOCK
            and not scenario.renewed[truth.number]
        ], 'gone', device_spec=[
            value for machine, who in zip(scenario.machines, scenario.runs)
            if who is STOCK for value in machine.our_device_spec()])

    def falsify(self, world, number):
        """Let a summary lie: about counts, or where our rows tell all."""
        host = world.host(number)
        self.cloud.falsify_counts(host, lambda count: 50 if count < 2 else 0)
        if world.scenario.runs[number] is OURS:
            def change(stored):
                pools = stored['nova_object.data']['objects']
                del pools[::3]
                for pool in pools:
                    pool['nova_object.data']['tags'].pop('rp_uuid', None)
                return stored
            self.cloud.falsify_summary(host, change)

    def compare(self, world, truths, variant, **options):
        """Ask the filters, and compare them with the truth.

        :param options: of the [pci_filter] section
        """
        scenario = world.scenario
        managers = [self.our_manager(order, **options) for order in FILTERS]
        requests = [request for want in scenario.wants
                    for request in want.requests()]
        # At least one that placement has a say in.
        requests.append(scheduling.pci_request({}, alias_name='alias'))
        states = {
            (guest, tracked): {
                state.host: state for state in scheduling.host_states(
                    managers[0], scheduling.request_spec(
                        requests, claims.guest(guest), requested_resources=(
                            base.request_groups(requests) if tracked else [])))
            } for guest in (0, 1) for tracked in (False, True)}
        for truth in truths:
            guest = claims.guest(len(truth.want.numa_nodes))
            state = states[bool(guest), device_requests.is_tracked(
                truth.requests, truth.mapping)][
                    scenario.machines[truth.number].name]
            spec = scheduling.request_spec(
                truth.requests, guest, requested_resources=[
                    nova_objects.RequestGroup(requester_id=group)
                    for group in truth.mapping])
            for manager in managers:
                state.allocation_candidates = [
                    {'mappings': truth.mapping, 'allocations': {}}]
                passed = bool(
                    scheduling.passing_hosts(manager, [state], spec))
                self.decisions.add(scenario, truth, variant, passed)
                if passed != (truth.error is None):
                    self.fail(self.describe(
                        scenario, truth, variant, state, passed))

    def describe(self, scenario, truth, variant, state, passed):
        machine = scenario.machines[truth.number]
        return '\n'.join((
            f'{variant}, {scenario.runs[truth.number]}, seed '
            f'{tests_base.SEED}, after {self.decisions.count} decisions',
            pprint.pformat({
                'verdict': passed, "claim's error": truth.error,
                'want': truth.want, 'mapping': truth.mapping,
                'renewed': scenario.renewed[truth.number],
                'full node': scenario.full_nodes[truth.number],
                'tags then': scenario.tags[truth.number],
                'stored tags': state.pci_stats.stored_tags,
                'pools': list(map(dict, state.pci_stats))},
                sort_dicts=False, width=100),
            f'sockets={machine.sockets} in_placement={machine.in_placement}',
            'device_spec:', *machine.nova_device_spec(),
            'devices:', *map(str, machine.devices)))


class TestClaimsPropertyMySQL(servers.MySQLMixin, TestClaimsProperty):
    part = servers.PART_OF_EXAMPLES


class TestClaimsPropertyPostgreSQL(
        servers.PostgreSQLMixin, TestClaimsProperty):
    part = servers.PART_OF_EXAMPLES
