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

"""Measure whole requests to the three schedulers, and compare the PCI part.

The PCI part is what a request costs beyond the same request without PCI to a
scheduler without a PCI filter.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import functools
import statistics
import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import fleet
from benchmarks import results
from benchmarks import timing
from pci_filter import objects

Kind = contenders.Kind
Wish = contenders.Wish

#: Hosts on which the verdicts are compared before anything is timed.
_COMPARED: typing.Final = 100

_Contest = tuple[Kind, Wish]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What one kind of request costs, in seconds.

    :param hosts: how many were asked for
    :param wish: what was asked for
    :param totals: median of a whole request, by whose filter decided
    :param whole: the same with the weighers
    :param phases: the same, loading and deciding apart
    :param theirs: PCI part with Nova's filter
    :param ours: PCI part with ours
    :param theirs_working: PCI part without the garbage collector
    :param ours_working: the same with our filter
    :param theirs_weighed: PCI part with the weighers
    :param ours_weighed: the same with our filter
    :param full: full garbage collections in a request, median
    :param rounds: how often each was measured
    """

    hosts: int
    wish: Wish
    totals: dict[Kind, float]
    whole: dict[Kind, float]
    phases: dict[Kind, contenders.Times]
    theirs: float
    ours: float
    theirs_working: float
    ours_working: float
    theirs_weighed: float
    ours_weighed: float
    full: dict[Kind, float]
    rounds: dict[Kind, int]

    def as_dict(self) -> dict[str, typing.Any]:
        """Return what goes into the JSON."""
        def each(seconds: float) -> float:
            return timing.us(seconds / self.hosts)

        return {
            'hosts': self.hosts,
            'candidates': self.wish.candidates,
            'numa_policy': self.wish.numa_policy,
            'rounds': {kind.value: n for kind, n in self.rounds.items()},
            'total_ms': {
                kind.value: timing.ms(s) for kind, s in self.totals.items()},
            'whole_ms': {
                kind.value: timing.ms(s) for kind, s in self.whole.items()},
            'load_ms': {kind.value: timing.ms(times.load)
                        for kind, times in self.phases.items()},
            'decide_ms': {kind.value: timing.ms(times.decide)
                          for kind, times in self.phases.items()},
            'pci_part_ms': {'in-tree': timing.ms(self.theirs),
                            'ours': timing.ms(self.ours)},
            'pci_part_without_gc_ms': {
                'in-tree': timing.ms(self.theirs_working),
                'ours': timing.ms(self.ours_working)},
            'pci_part_weighed_ms': {
                'in-tree': timing.ms(self.theirs_weighed),
                'ours': timing.ms(self.ours_weighed)},
            'weigh_ms': {kind.value: timing.ms(times.weigh)
                         for kind, times in self.phases.items()},
            'gc_ms': {kind.value: timing.ms(times.collecting)
                      for kind, times in self.phases.items()},
            'full_collections': {
                kind.value: n for kind, n in self.full.items()},
            'pci_part_us_per_host': {
                'in-tree': each(self.theirs), 'ours': each(self.ours)},
            'total_us_per_host': {
                kind.value: each(s) for kind, s in self.totals.items()}}


def compare(
    bed: bed_module.Bed, hosts: Sequence[fleet.Host],
    wishes: Sequence[Wish], rounds: int, in_tree_rounds: int | None = None,
) -> list[Comparison]:
    """Make requests to the three schedulers, in turns.

    :param bed: where the hosts are
    :param hosts: who is asked for
    :param wishes: what is asked for
    :param rounds: how often
    :param in_tree_rounds: fewer rounds for Nova's filter, which takes long
        and whose PCI part is no small difference of large numbers
    :raises RuntimeError: if ours and Nova's don't let the same hosts pass, or
        ours did not decide
    """
    def measure(kind: Kind, wish: Wish) -> contenders.Times:
        scheduler = bed.scheduler(kind, bool(wish.numa_policy))
        return scheduler.ask(hosts, wish)[0]

    for wish in wishes:
        require_agreement(bed, hosts, wish)
    contests: list[_Contest] = [
        (kind, wish) for wish in wishes for kind in Kind]
    samples = timing.interleaved(
        {contest: functools.partial(measure, *contest)
         for contest in contests},
        # To have compared the verdicts has warmed up everything.
        rounds, warm_up=0,
        fewer={contest: in_tree_rounds for contest in contests
               if in_tree_rounds and contest[0] is Kind.IN_TREE})
    return [
        summed_up(len(hosts), wish, {
            kind: samples[kind, wish] for kind in Kind}) for wish in wishes]


def summed_up(
    hosts: int, wish: Wish, of_kind: dict[Kind, list[contenders.Times]],
) -> Comparison:
    """Return the medians of what was measured round by round.

    :param hosts: how many were asked for
    :param wish: what was asked for
    :param of_kind: how long it took, by whose filter decided
    """
    totals = {kind: [times.total for times in of_kind[kind]]
              for kind in Kind}
    working = {kind: [times.working for times in of_kind[kind]]
               for kind in Kind}
    weighed = {kind: [times.weighed for times in of_kind[kind]]
               for kind in Kind}
    return Comparison(
        hosts, wish,
        {kind: statistics.median(totals[kind]) for kind in Kind},
        {kind: statistics.median(weighed[kind]) for kind in Kind},
        {kind: contenders.Times(
            *(statistics.median(values) for values in zip(*of_kind[kind])))
         for kind in Kind},
        timing.median_difference(totals[Kind.IN_TREE], totals[Kind.BASE]),
        timing.median_difference(totals[Kind.OURS], totals[Kind.BASE]),
        timing.median_difference(working[Kind.IN_TREE], working[Kind.BASE]),
        timing.median_difference(working[Kind.OURS], working[Kind.BASE]),
        timing.median_difference(weighed[Kind.IN_TREE], weighed[Kind.BASE]),
        timing.median_difference(weighed[Kind.OURS], weighed[Kind.BASE]),
        {kind: statistics.median(times.full for times in of_kind[kind])
         for kind in Kind},
        {kind: len(totals[kind]) for kind in Kind})


def require_agreement(
    bed: bed_module.Bed, hosts: Sequence[fleet.Host], wish: Wish,
) -> None:
    """See that it is worth while to compare the times.

    The summaries of these hosts are true, so both filters must let the same
    hosts and candidates pass.

    :raises RuntimeError: if they don't, or ours did not decide
    """
    some = hosts[:_COMPARED]
    found = {}
    for kind in Kind:
        scheduler = bed.scheduler(kind, bool(wish.numa_policy))
        _, passed = scheduler.ask(some, wish)
        found[kind] = contenders.verdicts(passed)
    if not all(isinstance(state.pci_stats, objects.PciDevicePoolList)
               for state in passed):
        raise RuntimeError(
            f"{wish}: hosts were decided from Nova's summary, not by ours")
    if found[Kind.IN_TREE] != found[Kind.OURS]:
        raise RuntimeError(
            f'{wish}: the filters disagree: {len(found[Kind.IN_TREE])} hosts '
            f'and {sum(found[Kind.IN_TREE].values())} candidates pass '
            f"Nova's, {len(found[Kind.OURS])} and "
            f'{sum(found[Kind.OURS].values())} pass ours')


def row(
    case: str, database: str, what: str, comparison: Comparison,
    target: results.Target | None, judged: bool,
) -> results.Row:
    """Return the line of the table that compares the PCI parts."""
    value, shown = results.times_faster(
        comparison.theirs, comparison.ours, target)
    _, working = results.times_faster(
        comparison.theirs_working, comparison.ours_working, None)
    _, weighed = results.times_faster(
        comparison.theirs_weighed, comparison.ours_weighed, None)
    shown += f'; without GC {working}; with weighers {weighed}'
    return results.Row(
        case, database, what, f'{timing.ms(comparison.theirs):.4g} ms',
        f'{timing.ms(comparison.ours):.4g} ms', value, shown, target, judged,
        comparison.as_dict())
