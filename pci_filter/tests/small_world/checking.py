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

"""What filters and reservations say of small hosts, and what claims do there.

Where the summary alone tells the tags it may leave them unknown: then nothing
is wrong that a claim would have served, but was refused.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import typing

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import claims
from pci_filter.tests.functional.nova import test_claims_property as oracle
from pci_filter.tests.small_world import hosts
from pci_filter.tests.small_world import questions

#: Hosts that are there at once.
_BATCH = 40


@dataclasses.dataclass
class Tally:
    """What was decided.

    :ivar worlds: hosts, each with Nova's tracker and with ours
    :ivar questions: what they were asked
    :ivar passed: what was promised, by tracker
    :ivar refused: what was refused although the claim would have served it,
        where tags are unknown, or a guest would have been placed elsewhere
    :ivar disagreements: where the claim did otherwise, as texts
    """

    worlds: int = 0
    questions: int = 0
    passed: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter)
    refused: int = 0
    disagreements: list[str] = dataclasses.field(default_factory=list)

    def add(self, other):
        """Add what was decided elsewhere."""
        self.worlds += other.worlds
        self.questions += other.questions
        self.passed += other.passed
        self.refused += other.refused
        self.disagreements += other.disagreements

    def __str__(self):
        return (f'{self.worlds} worlds, {self.questions} questions, promised '
                + ' and '.join(f'{self.passed[who]} {who}'
                               for who in (hosts.STOCK, hosts.OURS))
                + f', refused in vain {self.refused}, '
                f'{len(self.disagreements)} disagreements')


class _Asker(typing.NamedTuple):
    """An instance that wants to be on a host.

    :param requests: its InstancePCIRequest objects
    :param guest: its InstanceNUMATopology, None if it has none
    :param node: the host, pci_filter.scheduler.reserver.Node
    :param promised: what is reserved if nobody else is there, None if it does
        not fit
    """

    requests: list[typing.Any]
    guest: typing.Any
    node: typing.Any
    promised: typing.Any


class Checker:
    """Asks about hosts, and claims there.

    :param test: a test with an open cloud
    :param manager: the scheduler's HostManager
    """

    def __init__(self, test, manager=None):
        # Each host is asked about what it might not serve.
        self._manager = manager or test.our_manager(
            oracle.FILTERS[0], narrow=False)
        self._stage = hosts.Stage(test)
        self._limits = claims.limits()
        self.tally = Tally()

    def check(self, worlds, ask=questions.questions):
        """Compare the verdict on each host with the claim.

        :param worlds: the hosts
        :param ask: tells which instances a host is asked about
        """
        for batch, asked in self._batches(worlds, ask):
            asking = collections.defaultdict(list)
            for number, instances in enumerate(asked):
                for instance in instances:
                    asking[instance].append(number)
            of_hosts = self._stage.play(batch)
            states = [self._load(batch, cells) for cells in (0, 1)]
            for instance, numbers in asking.items():
                self._check_verdicts(
                    instance, [(who, f'{who}{number}', batch[number])
                               for who in of_hosts for number in numbers],
                    of_hosts, states[bool(instance.cells)])

    def check_reserved(self, worlds, ask=questions.pairs):
        """Compare what is promised beside a promise with both claims.

        Each of the two may be the first to claim.

        :param worlds: the hosts
        :param ask: tells which pairs of instances a host is asked about
        """
        for batch, asked in self._batches(worlds, ask):
            of_hosts = self._stage.play(batch)
            states = [self._load(batch, cells) for cells in (0, 1)]
            for number, pairs in enumerate(asked):
                for who in of_hosts:
                    name = f'{who}{number}'
                    self._check_pairs(
                        who, batch[number], pairs, of_hosts[who][name],
                        [of_guest[name] for of_guest in states])

    def _batches(self, worlds, ask):
        """Yield some of the hosts, and what each of them is asked."""
        each = ((world, list(ask(world))) for world in worlds)
        some = (one for one in each if one[1])
        while batch := list(itertools.islice(some, _BATCH)):
            self.tally.worlds += len(batch)
            self.tally.questions += sum(len(asked) for _, asked in batch)
            yield tuple(zip(*batch))

    def _load(self, batch, cells):
        """Return the HostStates by host.

        :param cells: of the guest that asks; what matters is if it has any
        """
        spec = scheduling.request_spec(
            [scheduling.pci_request({})], claims.guest(cells))
        return {state.host: state for state in scheduling.host_states(
            self._manager, spec, self._stage.uuids(batch))}

    def _check_verdicts(self, instance, asked, of_hosts, states):
        requests = instance.requests()
        guest = claims.guest(instance.cells)
        chosen = [states[name] for _, name, _ in asked]
        for state in chosen:
            # A filter leaves those that pass.
            state.allocation_candidates = [
                {'mappings': {}, 'allocations': {}}]
        passed = scheduling.passing_hosts(
            self._manager, chosen, scheduling.request_spec(requests, guest))
        for who, name, world in asked:
            error = of_hosts[who][name].error(requests, guest, self._limits)
            self._note(who, world, instance, name in passed, error)

    def _check_pairs(self, who, world, pairs, of_host, states):
        askers = {instance: self._asker(instance, states)
                  for instance in set(itertools.chain.from_iterable(pairs))}
        for pair in pairs:
            first, second = map(askers.get, pair)
            if first.promised is None or second.promised is None:
                continue
            promised = second.node.decide([first.promised]) is not None
            asked = [(asker.requests, asker.guest)
                     for asker in (first, second)]
            error = (of_host.first_error(asked, self._limits)
                     or of_host.first_error(asked[::-1], self._limits))
            self._note(who, world, ' beside '.join(map(str, pair[::-1])),
                       promised, error, any(asker.guest for asker in (
                           first, second)))

    def _asker(self, instance, states):
        """Let a host that is empty be reserved for an instance."""
        requests = instance.requests()
        guest = claims.guest(instance.cells)
        spec = scheduling.request_spec(requests, guest)
        state = states[guest is not None]
        state.allocation_candidates = [{'mappings': {}, 'allocations': {}}]
        node = self._manager.enabled_filters[0].reserver.node(
            None, None, state, spec, {})
        # As it would find them in the rows.
        node._pools = state.pci_stats
        return _Asker(requests, guest, node, node.decide([]) if (
            scheduling.passing_hosts(self._manager, [state], spec)) else None)

    def _note(
        self, who, world, question, promised, error, may_refuse=False,
    ):
        self.tally.passed[who] += promised
        if promised == (error is None):
            return
        if not promised and (
                may_refuse or who == hosts.STOCK and world.is_blind):
            self.tally.refused += 1
            return
        self.tally.disagreements.append(
            f'{who}: {world}; {question}: verdict {promised}, '
            f'claim {error or "succeeds"}')
