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

"""A request to many cells, measured, and to more hosts, on paper.

What is computed from: as many hosts as a cell has, in one cell and spread over
all cells, and all hosts of all cells. Their differences within a round give
what one more cell costs and what one more host does; what is left is there
once. Noise grows with the distance, so the paper has the lowest and the
highest round beside the median. How far the paper is to be believed is shown
by a request that is both computed and measured: as many hosts as placement
returns, spread over all cells.

The garbage collector is left out on paper, since it comes in steps; what is
measured has it, and without it beside.

Nova asks the cells at the same time, in threads of one process. SQLite only:
the cells of a real cloud have database servers of their own.
"""

from collections.abc import Sequence
import functools
import statistics
import typing

from benchmarks import bed as bed_module
from benchmarks import comparison
from benchmarks import contenders
from benchmarks import fleet
from benchmarks import ours
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'cells'

#: Hosts in each cell of the cloud on paper.
_ON_PAPER: typing.Final = 1000

#: Fewer would not tell how far the rounds are apart.
_ROUNDS: typing.Final = 3

_WISH: typing.Final = contenders.Wish()

Kind = contenders.Kind
_Point = typing.Literal['one cell', 'spread', 'placement', 'all']
_Samples = dict[tuple[Kind, _Point], list[contenders.Times]]


class _Cost(typing.NamedTuple):
    """What a request costs, in seconds.

    :param once: however much is asked for
    :param cell: for each cell
    :param host: for each host
    """

    once: float
    cell: float
    host: float

    def of(self, cells: int, hosts: int) -> float:
        """Return what a request to so many costs."""
        return self.once + cells * self.cell + hosts * self.host


def run(plan: plan_module.Plan, book: results.Book) -> None:
    """Build a cloud of many cells in SQLite files, and ask it."""
    with bed_module.Bed('SQLite', cells=plan.cells) as bed:
        for cell in range(plan.cells):
            bed.grow(plan.hosts_per_cell, cell)
        asked: dict[_Point, list[fleet.Host]] = {
            'one cell': bed.hosts[:plan.hosts_per_cell],
            'spread': bed.hosts[::plan.cells][:plan.hosts_per_cell],
            'placement': bed.ask_for(plan_module.MAIN_SIZE),
            'all': bed.ask_for(len(bed.hosts))}
        samples = _ask(bed, plan, asked)
        own = _own_costs(bed, plan)
    sizes = {point: len(hosts) for point, hosts in asked.items()}
    measured = {
        point: comparison.summed_up(
            size, _WISH, {kind: samples[kind, point] for kind in Kind})
        for point, size in sizes.items()}
    costs = {kind: _costs(plan, sizes, samples, kind) for kind in Kind}
    computed = [
        _computed(plan.cells, hosts, costs)
        for hosts in (sizes['placement'], plan.cells * _ON_PAPER)]
    for point, one in measured.items():
        book.rows.append(comparison.row(
            NAME, 'SQLite', f'{one.hosts:,} hosts, '
            f'{1 if point == "one cell" else plan.cells} x '
            f'{plan.hosts_per_cell:,}: PCI part', one, None, False))
    for what, numbers in zip(('check: computed', 'computed'), computed):
        book.rows.append(_paper_row(f'{what}: {numbers["hosts"]:,} hosts, '
                                    f'{plan.cells} cells', numbers))
    book.note(NAME, 'SQLite', {
        'cells': plan.cells, 'hosts_per_cell': plan.hosts_per_cell,
        'measured': {p: one.as_dict() for p, one in measured.items()},
        'us': {kind.value: _median_us(costs[kind]) for kind in Kind},
        'own_us': own, 'check': computed[0], 'computed': computed[1],
        'own_statements_ms': round((
            plan.cells * own['statement']
            + plan.cells * _ON_PAPER * own['host']) / 1e3, 1)})


def _ask(
    bed: bed_module.Bed, plan: plan_module.Plan,
    asked: dict[_Point, list[fleet.Host]],
) -> _Samples:
    """Make every request in every round."""
    def measure(kind: Kind, point: _Point) -> contenders.Times:
        return bed.scheduler(kind).ask(asked[point], _WISH)[0]

    for hosts in asked.values():
        comparison.require_agreement(bed, hosts, _WISH)
    contests: list[tuple[Kind, _Point]] = [
        (kind, point) for point in asked for kind in Kind]
    return timing.interleaved(
        {contest: functools.partial(measure, *contest)
         for contest in contests},
        plan.rounds if plan.quick else max(plan.rounds, _ROUNDS),
        warm_up=0)


def _costs(
    plan: plan_module.Plan, sizes: dict[_Point, int], samples: _Samples,
    kind: Kind,
) -> list[_Cost]:
    """Return what a request to a kind of scheduler costs, by round."""
    more_cells = max(plan.cells - 1, 1)
    more_hosts = max(sizes['all'] - sizes['spread'], 1)
    found = []
    for one, spread, everything in zip(
            samples[kind, 'one cell'], samples[kind, 'spread'],
            samples[kind, 'all']):
        cell = (spread.working - one.working) / more_cells
        host = (everything.working - spread.working) / more_hosts
        once = one.working - cell - sizes['one cell'] * host
        found.append(_Cost(once, cell, host))
    return found


def _median_us(costs: Sequence[_Cost]) -> dict[str, float]:
    return {field: timing.us(statistics.median(
        getattr(cost, field) for cost in costs)) for field in _Cost._fields}


def _own_costs(
    bed: bed_module.Bed, plan: plan_module.Plan,
) -> dict[str, float]:
    """Return what one of our statements costs, and a host in it.

    :returns: microseconds
    """
    sources = ours.tag_sources()
    hosts = bed.hosts[:plan.hosts_per_cell]
    with bed.connection() as connection:
        nodes = ours.nodes(connection, (host.uuid for host in hosts))
        samples = timing.interleaved({
            size: timing.stopwatch(functools.partial(
                ours.pools, connection, nodes[:size], sources))
            for size in (1, len(nodes))}, plan.rounds * 2)
    single, many = (statistics.median(samples[size])
                    for size in (1, len(nodes)))
    host = (many - single) / max(len(nodes) - 1, 1)
    return {'statement': timing.us(single - host), 'host': timing.us(host)}


def _computed(
    cells: int, hosts: int, costs: dict[Kind, list[_Cost]],
) -> dict[str, typing.Any]:
    """Return the cost of a request that need not have been made, in ms.

    Lowest, median and highest round of each.
    """
    totals = {kind: [cost.of(cells, hosts) for cost in costs[kind]]
              for kind in Kind}
    parts = {
        kind.value: [total - base for total, base in zip(
            totals[kind], totals[Kind.BASE])]
        for kind in (Kind.IN_TREE, Kind.OURS)}

    def spread(values: Sequence[float]) -> list[float]:
        return [round(of(values) * 1e3, 1)
                for of in (min, statistics.median, max)]

    return {
        'cells': cells, 'hosts': hosts,
        'total_without_gc_ms': {
            kind.value: spread(totals[kind]) for kind in Kind},
        'pci_part_without_gc_ms': {
            kind: spread(part) for kind, part in parts.items()}}


def _paper_row(what: str, numbers: dict[str, typing.Any]) -> results.Row:
    """Return a line with what was computed, and how far rounds differ."""
    (low, theirs, high), (lowest, mine, highest) = (
        numbers['pci_part_without_gc_ms'][kind.value]
        for kind in (Kind.IN_TREE, Kind.OURS))
    value, shown = results.times_faster(theirs / 1e3, mine / 1e3, None)
    return results.Row(
        NAME, 'on paper', f'{what}: PCI part, no GC',
        f'{theirs:.4g} ms ({low:.4g} to {high:.4g})',
        f'{mine:.4g} ms ({lowest:.4g} to {highest:.4g})', value, shown,
        None, False, numbers)
