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

"""What a whole request costs the scheduler and the database server.

Two kinds of requests are made: one that all hosts fit, and one that few fit,
since few have such a device at all. At the largest number of hosts there is
only the latter.
"""

from __future__ import annotations

import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import pricing
from benchmarks import results

NAME: typing.Final = 'price'

#: What the targets are about; other databases are for the record.
_JUDGED: typing.Final = 'MariaDB'

_FEW: typing.Final = contenders.Wish(accelerator=True)
_ALL: typing.Final = contenders.Wish()

_FEW_FASTER: typing.Final = results.Target(10, at_least=True)
_CPU: typing.Final = {
    _FEW: results.Target(120, unit=' ms'),
    _ALL: results.Target(250, unit=' ms')}
_SHARED: typing.Final = results.Target(0.5)

#: Of the largest fleet.
_LARGEST: typing.Final = 10000
_LARGEST_FASTER: typing.Final = results.Target(15, at_least=True)
_LARGEST_TIME: typing.Final = results.Target(1, unit=' s')
_LARGEST_ROUNDS: typing.Final = 3


class _Line(typing.NamedTuple):
    """A line of the table, named as those of a Row are."""

    what: str
    in_tree: str
    ours: str
    value: float | None
    shown: str
    target: results.Target | None


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask for the main number of hosts, and for the largest one."""
    size = len(bed.hosts)
    if size == plan.main_size:
        _at_main_size(bed, plan, book)
    elif size == plan.largest_size:
        _at_largest_size(bed, plan, book)


def _at_main_size(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    hosts = bed.ask_for(len(bed.hosts))
    for wish in (_FEW, _ALL):
        point = pricing.measured(bed, plan, hosts, wish, plan.rounds)
        point['concurrent'] = pricing.concurrent(bed, plan, hosts, wish)
        _note(bed, book, point)
        judged = plan.judges(len(hosts))
        if wish is _FEW:
            _add(bed, book, _faster(point, _FEW_FASTER), judged)
        if bed.database == _JUDGED:
            _add(bed, book, _server_cpu(point, _CPU[wish]), judged)
            _add(bed, book, _shared(point), judged)


def _at_largest_size(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    hosts = bed.ask_for(len(bed.hosts))
    point = pricing.measured(
        bed, plan, hosts, _FEW, min(plan.rounds, _LARGEST_ROUNDS))
    _note(bed, book, point)
    judged = plan.judges(len(hosts), _LARGEST)
    _add(bed, book, _faster(point, _LARGEST_FASTER), judged)
    theirs, ours = (ms / 1e3 for ms in _of_both(point, 'wall_ms'))
    _add(bed, book, _Line(
        _what('whole request, seconds', point), f'{theirs:.4g} s',
        f'{ours:.4g} s', ours, f'{ours:.3g} s', _LARGEST_TIME), judged)


def _note(
    bed: bed_module.Bed, book: results.Book, point: pricing.Numbers,
) -> None:
    points = book.data.setdefault(NAME, {}).setdefault(bed.database, [])
    points.append({**point, 'not_measured': bed.server.why})


def _what(what: str, point: pricing.Numbers) -> str:
    return f'{what}, {point["fit"]:,} of {point["hosts"]:,} fit'


def _add(
    bed: bed_module.Bed, book: results.Book, line: _Line, judged: bool,
) -> None:
    """Add a line to the table, with no target if it is for the record."""
    if bed.database != _JUDGED:
        line = line._replace(target=None)
    book.rows.append(results.Row(NAME, bed.database, *line, judged))


def _of_both(point: pricing.Numbers, key: str) -> list[typing.Any]:
    return [point[kind.value][key] for kind in pricing.KINDS]


def _faster(point: pricing.Numbers, target: results.Target) -> _Line:
    theirs, ours = _of_both(point, 'wall_ms')
    return _Line(
        _what('whole request', point), f'{theirs:.4g} ms', f'{ours:.4g} ms',
        *results.times_faster(theirs / 1e3, ours / 1e3, target), target)


def _server_cpu(point: pricing.Numbers, target: results.Target) -> _Line:
    theirs, ours = _of_both(point, 'server_cpu_ms')
    mine = results.amount(ours, ' ms')
    return _Line(
        _what('server CPU of a request', point),
        results.amount(theirs, ' ms'), mine, ours, mine, target)


def _shared(point: pricing.Numbers) -> _Line:
    """Compare what each of many requests costs with what one alone does."""
    theirs, ours = (
        [cost['server_cpu_ms'] for cost in point['concurrent'][kind.value]]
        for kind in pricing.KINDS)
    ratio = ours[-1] / ours[0] if ours[0] else None
    return _Line(
        _what(f'server CPU of a request, {pricing.AT_ONCE[-1]} at a time '
              'against 1', point),
        _from_to(theirs), _from_to(ours), ratio, results.amount(ratio, 'x'),
        _SHARED)


def _from_to(costs: list[typing.Any]) -> str:
    """Return what one request alone costs and what each of many does."""
    return ' to '.join(
        results.amount(cost, ' ms') for cost in (costs[0], costs[-1]))
