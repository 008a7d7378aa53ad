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

"""Our own cost per host, by the number of hosts that are asked for.

Own cost: to load the pools of the hosts and decide about each once. It is
measured in the largest fleet, so that all numbers of hosts are measured in
turns; each host has rows of its own, so the others don't help.
"""

from collections.abc import Callable
from collections.abc import Sequence
import statistics
import typing

import sqlalchemy as sa

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import ours
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing
from pci_filter import model

NAME: typing.Final = 'flat'

#: Largest cost per host by smallest.
_TARGET: typing.Final = results.Target(1.15)
_WANTED: typing.Final = {100, 1000, 10000}


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask for each number of hosts, in the largest fleet."""
    scheduler = bed.scheduler(contenders.Kind.OURS)
    hosts = bed.ask_for(plan.largest_size)
    with bed.connection() as connection:
        nodes = ours.nodes(connection, (host.uuid for host in hosts))
        samples = timing.interleaved(
            {size: _own_cost(scheduler, connection, nodes[:size])
             for size in plan.sizes}, plan.rounds)
    own = {size: statistics.median(samples[size]) / size
           for size in plan.sizes}
    totals = _whole_requests(bed, book)
    spread = max(own.values()) / min(own.values())
    shown = ', '.join(
        f'{timing.us(cost):.3g}' for _, cost in sorted(own.items()))
    sizes = ', '.join(f'{size:,}' for size in plan.sizes)
    book.rows.append(results.Row(
        NAME, bed.database, f'own cost per host at {sizes} hosts', '-',
        f'{shown} us', spread, f'{spread:.3f}x', _TARGET,
        not plan.quick and _WANTED <= set(plan.sizes),
        {'own_us_per_host': {n: timing.us(cost) for n, cost in own.items()},
         'request_us_per_host': totals}))
    if totals:
        book.rows.append(results.Row(
            NAME, bed.database, '... and of the whole request', '-',
            ', '.join(f'{cost:.4g}' for cost in totals.values()) + ' us',
            None, f'{max(totals.values()) / min(totals.values()):.3f}x'))


def _own_cost(
    scheduler: contenders.Scheduler, connection: sa.Connection,
    nodes: Sequence[model.ComputeNode],
) -> Callable[[], float]:
    """Return what measures our cost for some nodes, in seconds."""
    sources = ours.tag_sources()

    def load_and_decide() -> None:
        spec = scheduler.request_spec(contenders.Wish())
        for pools in ours.pools(connection, nodes, sources).values():
            pools.support_requests(spec.pci_requests.requests, {})

    return timing.stopwatch(load_and_decide)


def _whole_requests(
    bed: bed_module.Bed, book: results.Book,
) -> dict[int, float]:
    """Return what another case has found out, in microseconds per host."""
    return {
        point['hosts']: point['total_us_per_host']['ours']
        for point in book.data.get('requests', {}).get(bed.database, ())
        if point['candidates'] == 1}
