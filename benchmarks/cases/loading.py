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

"""Our pools from the database, against the driver alone.

The driver is given what we gave it, word for word, and its rows are fetched
and thrown away.
"""

import statistics
import typing

from benchmarks import bed as bed_module
from benchmarks import ours
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import statements
from benchmarks import timing

NAME: typing.Final = 'load'

_TARGET: typing.Final = results.Target(1.3)


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Load the pools of the main number of hosts."""
    hosts = bed.ask_for(plan.main_size)
    sources = ours.tag_sources()
    with bed.connection() as connection:
        nodes = ours.nodes(connection, (host.uuid for host in hosts))
        with statements.recorded() as recorded:
            pools = ours.pools(connection, nodes, sources)
        if not recorded or len(pools) != len(hosts):
            raise RuntimeError('the pools were not read from the database')
        samples = timing.interleaved({
            'bare': timing.stopwatch(
                lambda: statements.run_bare(connection, recorded)),
            'ours': timing.stopwatch(
                lambda: ours.pools(connection, nodes, sources))},
            plan.rounds * 3)
    bare, loaded = (
        statistics.median(samples[name]) for name in ('bare', 'ours'))
    book.rows.append(results.Row(
        NAME, bed.database,
        f'pools of {len(hosts):,} hosts against the bare driver',
        f'{timing.ms(bare):.4g} ms (driver)', f'{timing.ms(loaded):.4g} ms',
        loaded / bare, f'{loaded / bare:.3f}x', _TARGET,
        plan.judges(len(hosts)),
        {'hosts': len(hosts), 'statements': len(recorded),
         'bare_ms': timing.ms(bare), 'ours_ms': timing.ms(loaded)}))
