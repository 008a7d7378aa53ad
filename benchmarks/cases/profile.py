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

"""Where the time of one of our requests goes."""

import cProfile
import pathlib
import pstats
import re
import statistics
import typing

import sqlalchemy as sa

from benchmarks import bed as bed_module
from benchmarks import comparison
from benchmarks import contenders
from benchmarks import ours
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import statements
from benchmarks import timing
from pci_filter.db import tables

NAME: typing.Final = 'profile'

#: A list of placeholders of any driver.
_PLACEHOLDERS: typing.Final = re.compile(
    r'(?:\?|%s|%\(\w+\)s)(?:, ?(?:\?|%s|%\(\w+\)s)){7,}')

#: Functions that the profile names.
_TOP: typing.Final = 12

_ROUNDS: typing.Final = 5

Kind = contenders.Kind
_Data = dict[str, typing.Any]


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Take a request for the main number of hosts to pieces."""
    hosts = bed.ask_for(plan.main_size)
    rounds = min(plan.rounds, _ROUNDS)
    with bed.connection() as connection:
        data = {
            'server': _server(connection), 'hosts': len(hosts),
            **_statement(
                connection, [host.uuid for host in hosts], rounds)}
    [compared] = comparison.compare(
        bed, hosts, [contenders.Wish()], rounds)
    base, mine = (compared.phases[kind] for kind in (Kind.BASE, Kind.OURS))
    costs = data['us_per_host']
    for name, seconds in (
            ('nova_without_pci', base.total),
            ('hook_beyond_nova', mine.load - base.load),
            ('decide', mine.decide - base.decide)):
        costs[name] = timing.us(seconds / len(hosts))
    # Below zero if more of Nova's work is spared than the mapping takes.
    costs['map'] = round(
        costs['hook_beyond_nova'] - costs['driver'] - costs['load'], 3)
    data['functions'] = _functions(bed, len(hosts))
    book.note(NAME, bed.database, data)


def _statement(
    connection: sa.Connection, uuids: list[str], rounds: int,
) -> _Data:
    """Return what there is to know about our statement."""
    sources = ours.tag_sources()
    nodes = ours.nodes(connection, uuids)
    with statements.recorded() as recorded:
        ours.pools(connection, nodes, sources)
    bare = timing.interleaved(
        {'': lambda: statements.run_bare(connection, recorded)}, rounds)['']
    rows = bare[0].rows
    executing = statistics.median(once.executing for once in bare)
    fetching = statistics.median(once.fetching for once in bare)
    loading = timing.interleaved({
        'ours': timing.stopwatch(
            lambda: ours.pools(connection, nodes, sources))}, rounds)
    driver = executing + fetching
    python = statistics.median(loading['ours']) - driver
    return {
        'statements': len(recorded),
        'device_rows': _device_rows(connection, uuids),
        'groups': len(rows),
        'bytes': sum(len(str(value)) for row in rows for value in row),
        'driver_execute_ms': timing.ms(executing),
        'driver_fetch_ms': timing.ms(fetching),
        'us_per_host': {'driver': timing.us(driver / len(uuids)),
                        'load': timing.us(python / len(uuids))},
        'explain': [line for statement in recorded for line
                    in statements.explained(connection, statement)],
        'sql': [_PLACEHOLDERS.sub('...', statement.text)
                for statement in recorded]}


def _server(connection: sa.Connection) -> _Data:
    dialect = connection.dialect
    version = '.'.join(map(str, dialect.server_version_info or ()))
    server: _Data = {
        'name': dialect.name, 'driver': dialect.driver, 'version': version}
    if dialect.name == 'mysql':
        server['innodb_buffer_pool_mb'] = connection.execute(sa.text(
            'SELECT @@innodb_buffer_pool_size')).scalar_one() // 2 ** 20
    return server


def _device_rows(connection: sa.Connection, uuids: list[str]) -> int:
    """Return how many rows the devices of these compute nodes have."""
    nodes = tables.compute_nodes.c
    return int(connection.execute(
        sa.select(sa.func.count()).select_from(tables.pci_devices).join(
            tables.compute_nodes,
            nodes.id == tables.pci_devices.c.compute_node_id,
        ).where(nodes.uuid.in_(uuids))).scalar_one())


def _functions(bed: bed_module.Bed, size: int) -> list[str]:
    """Return the functions of a request that take longest themselves.

    The profiler slows all down, calls more than what they do, so these are
    hints where to look. It does not look into the threads in which Nova asks
    the cells; waiting for them is in it, as acquire.
    """
    profiler = cProfile.Profile()
    profiler.enable()
    bed.scheduler(Kind.OURS).ask(bed.ask_for(size), contenders.Wish())
    profiler.disable()
    stats = pstats.Stats(profiler)
    longest = sorted(
        ((key, value) for key, value in stats.stats.items()  # type: ignore
         if 'gc.collect' not in key[2]),
        key=lambda item: -item[1][2])[:_TOP]
    return [
        f'{own * 1e3:.1f} ms in {calls} calls of {name} '
        f'({"/".join(pathlib.PurePath(path).parts[-2:])})'
        for (path, _, name), (_, calls, own, _, _) in longest]
