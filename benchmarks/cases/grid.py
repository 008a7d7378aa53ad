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

"""A request for all hosts of a cloud, by its cells and the hosts in each.

Nova and ours ask all enabled cells for whatever is asked for, so each number
of cells needs a cloud of its own. It grows from few hosts in each cell to
many; rows of hosts that are not asked for don't cost anything.

The cells share a MariaDB, if there is one, with a database for each. Those of
a real cloud have servers of their own, which would take less time.
"""

from collections.abc import Iterator
import contextlib
import functools
import statistics
import typing

import sqlalchemy as sa

from benchmarks import bed as bed_module
from benchmarks import comparison
from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'grid'

#: Not slower than Nova's filter.
_TARGET: typing.Final = results.Target(1)

_CELLS: typing.Final = (1, 8, 50)
_CELLS_QUICK: typing.Final = (2,)
_HOSTS: typing.Final = (2, 20, 200)
_HOSTS_QUICK: typing.Final = (2,)

#: Hosts that are asked for in all rounds together: a request for few takes
#: few milliseconds, so there are more of them.
_ASKED: typing.Final = 5000
_MOST_ROUNDS: typing.Final = 40
_FEWEST_ROUNDS: typing.Final = 3

_WISH: typing.Final = contenders.Wish()

Kind = contenders.Kind


def run(plan: plan_module.Plan, book: results.Book) -> None:
    """Let clouds grow, and ask for all of their hosts."""
    for cells in _CELLS_QUICK if plan.quick else _CELLS:
        with contextlib.ExitStack() as stack:
            bed = stack.enter_context(bed_module.Bed(
                'MariaDB', stack.enter_context(_databases(plan.mysql, cells)),
                cells) if plan.mysql else bed_module.Bed(
                    'SQLite', cells=cells))
            have = 0
            for hosts in _HOSTS_QUICK if plan.quick else _HOSTS:
                for cell in range(cells):
                    bed.grow(hosts - have, cell)
                have = hosts
                book.rows.append(_row(bed, plan, cells, hosts))


@contextlib.contextmanager
def _databases(url: str, number: int) -> Iterator[list[str]]:
    """Yield the URLs of new databases on a server.

    :param url: of a database there; the others are named after it
    """
    parsed = sa.engine.make_url(url)
    names = [f'{parsed.database}_cell{count}'
             for count in range(1, number + 1)]
    engine = sa.create_engine(parsed, poolclass=sa.pool.NullPool)

    def drop_all() -> None:
        with engine.begin() as connection:
            for name in names:
                connection.execute(
                    sa.schema.DropSchema(name, if_exists=True))

    # An earlier run may have been ended.
    drop_all()
    try:
        with engine.begin() as connection:
            for name in names:
                connection.execute(sa.schema.CreateSchema(name))
        yield [parsed.set(database=name).render_as_string(
            hide_password=False) for name in names]
    finally:
        drop_all()


def _row(
    bed: bed_module.Bed, plan: plan_module.Plan, cells: int, in_each: int,
) -> results.Row:
    """Measure one point of the grid."""
    hosts = bed.ask_for(len(bed.hosts))
    comparison.require_agreement(bed, hosts, _WISH)

    def measure(kind: Kind) -> float:
        return bed.scheduler(kind).ask(hosts, _WISH)[0].weighed

    kinds = (Kind.IN_TREE, Kind.OURS)
    samples = timing.interleaved(
        {kind: functools.partial(measure, kind) for kind in kinds},
        plan.rounds if plan.quick else min(
            _MOST_ROUNDS, max(_FEWEST_ROUNDS, _ASKED // len(hosts))))
    theirs, ours = (statistics.median(samples[kind]) for kind in kinds)
    ratio = ours / theirs
    return results.Row(
        NAME, bed.database,
        f'whole request, {cells} cell{"s" if cells > 1 else ""} x '
        f'{in_each} hosts',
        f'{timing.ms(theirs):.4g} ms', f'{timing.ms(ours):.4g} ms', ratio,
        f'{ratio:.3f}x', _TARGET, not plan.quick,
        {'cells': cells, 'hosts_per_cell': in_each,
         'rounds': len(samples[Kind.OURS]),
         'in_tree_ms': timing.ms(theirs), 'ours_ms': timing.ms(ours)})
