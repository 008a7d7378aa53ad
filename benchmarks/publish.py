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


"""Write what one or several runs found out into the documentation.

    python -m benchmarks.publish results.json doc/source/_generated
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import json
import pathlib
import sys
import textwrap
import typing

from benchmarks import prices

_Row = typing.Mapping[str, typing.Any]

#: What MariaDB takes of its memory for its tables, in a profile.
_POOL: typing.Final = 'innodb_buffer_pool_mb'

#: What becomes of each microsecond of a host, in the order of a request.
_COSTS: typing.Final = (
    ('nova_without_pci', 'Nova without PCI devices, for comparison'),
    ('driver', 'the statement, executed and fetched by the bare driver'),
    ('load', 'from its rows to pools'),
    ('decide', 'one decision'),
    ('hook_beyond_nova', 'all of it but the decision, as the request feels '
                         'it: beyond what Nova takes alone'))


def main(*files: str) -> None:
    """Write the files that the pages include.

    :param files: the JSON of each run, and the folder to write to. Runs of
        different cases make one, the machine is that of the first.
    """
    *runs, folder = files
    found: dict[str, typing.Any] = {'rows': []}
    for run in runs:
        part = json.loads(pathlib.Path(run).read_text(encoding='utf-8'))
        found = {**part, **found, 'rows': found['rows'] + part['rows']}
    target = pathlib.Path(folder)
    target.mkdir(exist_ok=True)
    for name, lines in (('at-scale', _at_scale(found)),
                        ('for-your-dba', _for_your_dba(found)),
                        ('profile', _profile(found))):
        (target / f'{name}.inc').write_text(
            '\n'.join(lines) + '\n', encoding='utf-8')


def _at_scale(found: typing.Any) -> Iterator[str]:
    """Yield the targets, and what requests cost at each number of hosts."""
    yield from _paragraph(_machine(found))
    yield ''
    yield from _table(
        ('What', 'Database', 'Target', 'In-tree', 'Ours', 'Ratio', 'Verdict'),
        (tuple(str(row[key]) for key in (
            'what', 'database', 'target', 'in_tree', 'ours', 'shown',
            'verdict')) for row in found['rows'] if row['target']))
    for database, costs in found.get('requests', {}).items():
        yield ''
        yield from _paragraph(
            f'One request on {database}, in ms, Nova without PCI devices '
            'included:')
        yield ''
        yield from _table(
            ('Hosts', 'Candidates a host', 'Without PCI', 'In-tree', 'Ours'),
            ((f"{cost['hosts']:,}", str(cost['candidates']),
              *(f"{cost['total_ms'][kind]:,.0f}"
                for kind in ('base', 'in-tree', 'ours'))) for cost in costs))
    for database, points in found.get('price', {}).items():
        yield from _prices(database, points)
    cells = [row for row in found['rows'] if row['case'] == 'cells']
    if cells:
        yield ''
        yield from _paragraph(
            'Many cells, measured on SQLite or computed from that:')
        yield ''
        yield from _table(
            ('What', 'In-tree', 'Ours', 'Ratio'),
            ((row['what'], row['in_tree'], row['ours'], row['shown'])
             for row in cells))


def _for_your_dba(found: typing.Any) -> Iterator[str]:
    """Yield what requests cost the servers, by how many there are."""
    yield from _paragraph(_machine(found))
    for database, points in found.get('price', {}).items():
        if not prices.has_server(points):
            continue
        yield ''
        yield from _paragraph(
            f'What a request costs {database}, one after the other:')
        yield ''
        yield from _table(prices.ALONE_HEAD, prices.alone(points))
        yield ''
        yield from _paragraph(
            'Computed from that, and from what one costs when several are '
            'made at a time: what so many requests a second cost it. Cores '
            'are processors of the server that have nothing else to do.')
        yield ''
        yield from _table(prices.RATES_HEAD, prices.rates(points))
        for reason in prices.reasons(points):
            yield ''
            yield from _paragraph(reason)


def _prices(database: str, points: typing.Any) -> Iterator[str]:
    """Yield what a request costs the scheduler and the server."""
    for what, head, rows in (
            ('one after the other', prices.ALONE_HEAD, prices.alone(points)),
            ('several at a time', prices.AMONG_HEAD, prices.among(points))):
        yield ''
        yield from _paragraph(
            f'What a request costs the scheduler and {database}, {what}:')
        yield ''
        yield from _table(head, rows)
    for reason in prices.reasons(points):
        yield ''
        yield from _paragraph(reason)


def _profile(found: typing.Any) -> Iterator[str]:
    """Yield where the time of a request goes."""
    yield 'Where the time goes'
    yield '==================='
    for database, data in found.get('profile', {}).items():
        yield ''
        yield from _paragraph(
            f"{database} {data['server']['version']}, {data['hosts']:,} "
            f"hosts: {data['device_rows']:,} rows counted by "
            f"{data['statements']} statements, {data['groups']:,} groups of "
            f"{data['bytes']:,} bytes fetched. Per host:")
        yield ''
        yield from _table(
            ('µs', 'What'),
            ((str(data['us_per_host'][key]), what) for key, what in _COSTS))
        yield ''
        yield 'How the database goes about the first statement:'
        yield ''
        yield '.. code-block:: text'
        yield ''
        for line in data['explain'][:12]:
            yield from textwrap.wrap(
                str(line), 75, initial_indent='   ',
                subsequent_indent='       ')


def _machine(found: typing.Any) -> str:
    machine = found['machine']
    return ' '.join((
        f"Measured with Nova {machine['nova']}, Python {machine['python']} "
        f"and {machine['processors']} processors.",
        *(f'``innodb_buffer_pool_size`` of {database} was '
          f"{data['server'][_POOL]:,} MB."
          for database, data in found.get('profile', {}).items()
          if _POOL in data['server'])))


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, 79)


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]],
) -> Iterator[str]:
    yield '.. list-table::'
    yield '   :header-rows: 1'
    yield ''
    for row in (head, *rows):
        for number, cell in enumerate(row):
            lead = '   * - ' if number == 0 else '     - '
            yield from textwrap.wrap(
                cell, 79, initial_indent=lead, subsequent_indent=' ' * 7)


if __name__ == '__main__':
    main(*sys.argv[1:])
