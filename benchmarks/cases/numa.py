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

"""The PCI part of a request with NUMATopologyFilter, by policy.

The guest has two NUMA cells and the hosts have four. The issue does not say
with how many candidates, so both numbers of them are measured and judged.
"""

import dataclasses
import timeit
import typing

from benchmarks import bed as bed_module
from benchmarks import comparison
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'numa'

_TARGET: typing.Final = results.Target(10, at_least=True)
_POLICIES: typing.Final = ('required', 'socket', 'legacy', 'preferred')

_CANDIDATES: typing.Final = (1, 8)

_COPIES: typing.Final = 200


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask for the main number of hosts with each policy."""
    hosts = bed.ask_for(plan.main_size)
    for candidates in _CANDIDATES:
        rounds = 1 if plan.quick else (
            plan.rounds if candidates == 1 else min(plan.rounds, 2))
        for policy in _POLICIES:
            wish = contenders.Wish(candidates, policy)
            [found] = comparison.compare(
                bed, hosts, [wish], rounds,
                in_tree_rounds=2 if candidates == 1 else 1)
            row = comparison.row(
                NAME, bed.database,
                f'PCI part, NUMA guest, {policy}, {candidates} '
                f'candidate{"s" if candidates > 1 else ""}',
                found, _TARGET, plan.judges(len(hosts)))
            copying = timing.ms(_copying(bed, wish) * len(hosts))
            book.rows.append(dataclasses.replace(
                row, shown=f'{row.shown}; {copying:.3g} ms of each are '
                "Nova's own copies of the request",
                numbers={**row.numbers, 'copying_ms': copying}))


def _copying(bed: bed_module.Bed, wish: contenders.Wish) -> float:
    """Return how much longer it takes to copy a request with PCI devices.

    NUMATopologyFilter copies the RequestSpec for each host, whoever decides
    about PCI devices.

    :returns: seconds
    """
    took = [
        min(timeit.repeat(
            bed.scheduler(kind, True).request_spec(wish).obj_clone,
            number=_COPIES, repeat=3)) / _COPIES
        for kind in (contenders.Kind.BASE, contenders.Kind.OURS)]
    return took[1] - took[0]
