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

"""Requests without NUMA that all hosts fit, by hosts and by candidates.

The PCI part of them, and at the main number of hosts the whole request, with
the weighers.
"""

import typing

from benchmarks import bed as bed_module
from benchmarks import comparison
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'requests'

_TARGETS: typing.Final = {
    1: results.Target(4, at_least=True), 8: results.Target(30, at_least=True)}

#: Of the whole request. What they ask for is asked of MariaDB.
_WHOLE: typing.Final = {
    1: results.Target(1.6, at_least=True), 8: results.Target(4, at_least=True)}
_WHOLE_JUDGED: typing.Final = 'MariaDB'

#: Candidates for each host, at the number of hosts that is judged.
_CANDIDATES: typing.Final = (1, 2, 4, 8)

#: Rounds of what takes Nova's filter several seconds.
_LONG_ROUNDS: typing.Final = 3


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask for all hosts; the case is run each time the fleet has grown."""
    size = len(bed.hosts)
    is_main = size == plan.main_size
    large = size > plan_module.MAIN_SIZE
    found = comparison.compare(
        bed, bed.ask_for(size),
        [contenders.Wish(number)
         for number in (_CANDIDATES if is_main else _TARGETS)],
        1 if large else plan.rounds, in_tree_rounds=_LONG_ROUNDS)
    points = book.data.setdefault(NAME, {}).setdefault(bed.database, [])
    points += [compared.as_dict() for compared in found]
    for compared in found:
        number = compared.wish.candidates
        target = _TARGETS.get(number) if is_main else None
        if is_main and not target:
            continue
        book.rows.append(comparison.row(
            NAME, bed.database,
            f'PCI part of a request, {size:,} hosts, {number} '
            f'candidate{"s" if number > 1 else ""}',
            compared, target, plan.judges(size)))
        if is_main:
            book.rows.append(_whole(bed, compared, plan.judges(size)))


def _whole(
    bed: bed_module.Bed, compared: comparison.Comparison, judged: bool,
) -> results.Row:
    """Return the line of the table that compares the whole requests."""
    number = compared.wish.candidates
    theirs, ours = (compared.whole[kind] for kind in (
        contenders.Kind.IN_TREE, contenders.Kind.OURS))
    value, shown = results.times_faster(theirs, ours, None)
    return results.Row(
        NAME, bed.database,
        f'whole request, all of {compared.hosts:,} fit, {number} '
        f'candidate{"s" if number > 1 else ""}',
        f'{timing.ms(theirs):.4g} ms', f'{timing.ms(ours):.4g} ms', value,
        shown, _WHOLE[number] if bed.database == _WHOLE_JUDGED else None,
        judged)
