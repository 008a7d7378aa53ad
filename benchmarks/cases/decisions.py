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

"""One decision about one host and one candidate.

Asked is whatever is on the HostStates of a request, once for each host and
candidate, as in a request. So what ours remembers from host to host counts,
and what it would remember if it was asked the same again does not.
"""

from collections.abc import Callable
from collections.abc import Sequence
import gc
import statistics
import time
import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import fleet
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'decision'

_TARGET: typing.Final = results.Target(100, at_least=True)
_CANDIDATES: typing.Final = (1, fleet.CARDS)

Kind = contenders.Kind


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask the pools of the main number of hosts."""
    hosts = bed.ask_for(plan.main_size)
    for number in _CANDIDATES:
        wish = contenders.Wish(number)
        samples = timing.interleaved(
            {kind: _measurement(bed, kind, hosts, wish)
             for kind in (Kind.IN_TREE, Kind.OURS)},
            min(plan.rounds, 3), warm_up=0)
        theirs, ours = (
            statistics.median(samples[kind])
            for kind in (Kind.IN_TREE, Kind.OURS))
        book.rows.append(results.Row(
            NAME, bed.database,
            f'decision per host and candidate, {fleet.CARDS} pools, '
            f'{number} candidate{"s" if number > 1 else ""}',
            f'{timing.us(theirs):.4g} us', f'{timing.us(ours):.4g} us',
            theirs / ours, f'{theirs / ours:.3g}x', _TARGET,
            plan.judges(len(hosts)),
            {'hosts': len(hosts), 'candidates': number,
             'us': {'in-tree': timing.us(theirs), 'ours': timing.us(ours)}}))


def _measurement(
    bed: bed_module.Bed, kind: Kind, hosts: Sequence[fleet.Host],
    wish: contenders.Wish,
) -> Callable[[], float]:
    """Return what measures the seconds per host and candidate."""
    def measure() -> float:
        scheduler = bed.scheduler(kind)
        spec = scheduler.request_spec(wish)
        states, _, _ = scheduler.load(hosts, spec)
        contenders.give_candidates(states, hosts, spec, wish)
        requests = spec.pci_requests.requests
        gc.collect()
        start = time.perf_counter()
        for state in states:
            ask = state.pci_stats.support_requests
            for candidate in state.allocation_candidates:
                ask(requests, provider_mapping=candidate['mappings'])
        took = time.perf_counter() - start
        contenders.detach()
        return took / (len(states) * wish.candidates)
    return measure
