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

"""Memory that a request takes at its peak, beyond one without PCI.

It is measured by tracemalloc, which sees every object of one request and
nothing else. The resident size of the process would not do: its peak never
falls again, and depends on what was freed before. tracemalloc does not see
what the C library of SQLite takes, which is bounded by its page cache.
"""

import tracemalloc
import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results

NAME: typing.Final = 'memory'

_TARGET: typing.Final = results.Target(100, unit=' MB')
_WANTED: typing.Final = 10000

Kind = contenders.Kind


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Ask for all hosts of the largest fleet."""
    size = len(bed.hosts)
    peaks = {}
    for kind in (Kind.BASE, Kind.OURS):
        # What stays, such as compiled statements, is there already.
        bed.scheduler(kind).ask(bed.ask_for(10), contenders.Wish())
        tracemalloc.start()
        try:
            bed.scheduler(kind).ask(bed.ask_for(size), contenders.Wish())
            peaks[kind] = tracemalloc.get_traced_memory()[1] / 1e6
        finally:
            tracemalloc.stop()
    added = peaks[Kind.OURS] - peaks[Kind.BASE]
    book.rows.append(results.Row(
        NAME, bed.database, f'peak memory added at {size:,} hosts',
        f'{peaks[Kind.BASE]:.1f} MB (no PCI)', f'{peaks[Kind.OURS]:.1f} MB',
        added, f'{added:+.1f} MB', _TARGET, plan.judges(size, _WANTED),
        {'hosts': size, 'base_mb': round(peaks[Kind.BASE], 1),
         'ours_mb': round(peaks[Kind.OURS], 1)}))
