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

"""A request without PCI, while our filter is enabled.

It is compared with Nova's own PCI filter in the place of ours. The weighers
are in it: the PCI weigher looks at summaries that nobody has parsed yet.
"""

import functools
import statistics
import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import statements
from benchmarks import timing

NAME: typing.Final = 'nopci'

_TARGET: typing.Final = results.Target(1.01)
_NO_QUERY: typing.Final = results.Target(0, unit=' more')

#: One percent is little, so it takes many rounds, with fewer hosts.
_ROUNDS: typing.Final = 10
_HOSTS: typing.Final = 300

Kind = contenders.Kind


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Count the statements of a request, then time it."""
    hosts = bed.ask_for(min(plan.main_size, _HOSTS))
    wish = contenders.Wish(devices=0)
    kinds = (Kind.IN_TREE, Kind.OURS)

    def measure(kind: Kind) -> float:
        return bed.scheduler(kind).ask(hosts, wish)[0].weighed

    counts = {}
    for kind in kinds:
        # What a new connection needs is not to be counted.
        bed.scheduler(kind).ask(hosts, wish)
        with statements.recorded() as recorded:
            bed.scheduler(kind).ask(hosts, wish)
        counts[kind] = len(recorded)
    more = counts[Kind.OURS] - counts[Kind.IN_TREE]
    book.rows.append(results.Row(
        NAME, bed.database, 'a request without PCI: statements',
        str(counts[Kind.IN_TREE]), str(counts[Kind.OURS]), more,
        f'{more:+d}', _NO_QUERY))
    samples = timing.interleaved(
        {kind: functools.partial(measure, kind) for kind in kinds},
        plan.rounds if plan.quick else plan.rounds * _ROUNDS)
    theirs, ours = (statistics.median(samples[kind]) for kind in kinds)
    ratio = statistics.median(
        mine / other for mine, other in zip(
            samples[Kind.OURS], samples[Kind.IN_TREE]))
    book.rows.append(results.Row(
        NAME, bed.database,
        f'a request without PCI, weighed, {len(hosts):,} hosts',
        f'{timing.ms(theirs):.4g} ms', f'{timing.ms(ours):.4g} ms', ratio,
        f'{ratio:.3f}x', _TARGET, not plan.quick,
        {'hosts': len(hosts), 'rounds': len(samples[Kind.OURS]),
         'in_tree_ms': timing.ms(theirs), 'ours_ms': timing.ms(ours)}))
