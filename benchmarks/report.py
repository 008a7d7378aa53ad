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

"""Show what was found out, as tables and as JSON."""

from collections.abc import Mapping
from collections.abc import Sequence
from importlib import metadata
import json
import os
import platform
import sys
import typing

from rich import box
from rich import console as rich_console
from rich import markup
from rich import table as rich_table

from benchmarks import plan as plan_module
from benchmarks import prices
from benchmarks import results

#: Columns for a reader who is no terminal, such as a log of CI.
_WIDTH: typing.Final = 180

_STYLES: typing.Final = {
    'met': 'green', 'missed': 'bold red', 'not judged': 'dim'}

_PACKAGES: typing.Final = (
    'nova', 'SQLAlchemy', 'PyMySQL', 'psycopg2', 'pci_filter')


def as_json(
    book: results.Book, plan: plan_module.Plan, skipped: Sequence[str],
) -> str:
    """Return everything that was found out.

    :param book: what was found out
    :param plan: how
    :param skipped: databases that were not measured
    """
    return json.dumps({
        'machine': {
            'python': platform.python_version(),
            'system': f'{platform.system()} {platform.machine()}',
            'processors': os.cpu_count(),
            **{name: _version(name) for name in _PACKAGES}},
        'quick': plan.quick, 'hosts': list(plan.sizes),
        'rounds': plan.rounds, 'not_measured': list(skipped),
        'rows': [row.as_dict() for row in book.rows],
        'failed': book.failed,
        **book.data}, indent=2) + '\n'


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return 'not installed'


def show(book: results.Book, skipped: Sequence[str]) -> None:
    """Print the table, then where our time goes.

    :param book: what was found out
    :param skipped: databases that were not measured
    """
    console = rich_console.Console(
        width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    console.print(_table(book.rows))
    for database in skipped:
        console.print(f'{database}: not measured, no URL was given.')
    for case, error in book.failed.items():
        console.print(f'{case}: FAILED, {error}', markup=False)
    for database, data in book.data.get('profile', {}).items():
        console.print()
        _show_profile(console, database, data)
    for database, points in book.data.get('price', {}).items():
        _show_prices(console, database, points)
    judged = [row for row in book.rows
              if row.verdict in ('met', 'missed')]
    console.print()
    console.print(
        f'{len(judged) - len(book.missed)} of {len(judged)} targets met'
        if judged else 'Nothing was judged.')


def _table(rows: Sequence[results.Row]) -> rich_table.Table:
    table = rich_table.Table(box=box.SIMPLE)
    for title, justify in (
            ('what', 'left'), ('database', 'left'), ('target', 'right'),
            ('in-tree', 'right'), ('ours', 'right'), ('ratio', 'right'),
            ('verdict', 'left')):
        table.add_column(
            title, justify=typing.cast(typing.Any, justify),
            overflow='fold')
    for row in rows:
        style = _STYLES.get(row.verdict)
        table.add_row(
            markup.escape(row.what), row.database, str(row.target or '-'),
            row.in_tree, row.ours, row.shown,
            f'[{style}]{row.verdict}[/]' if style else row.verdict)
    return table


def _show_prices(
    console: rich_console.Console, database: str,
    points: typing.Any,
) -> None:
    """Print what a request costs both sides, alone and among others."""
    for what, head, rows in (
            ('one after the other', prices.ALONE_HEAD, prices.alone(points)),
            ('at a time', prices.AMONG_HEAD, prices.among(points))):
        table = rich_table.Table(
            box=box.SIMPLE, title=f'{database}: a request, {what}',
            title_justify='left')
        for title in head:
            table.add_column(
                title, justify='left' if title == 'Filter' else 'right')
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for reason in prices.reasons(points):
        console.print(f'{database}: {reason}', markup=False, soft_wrap=True)


def _show_profile(
    console: rich_console.Console, database: str,
    data: Mapping[str, typing.Any],
) -> None:
    """Print where the time of one of our requests goes."""
    costs = data['us_per_host']
    server = ', '.join(
        f'{name} {value}' for name, value in data['server'].items())
    lines = [
        f'{database}, {data["hosts"]:,} hosts, 1 candidate ({server})',
        f'  statements: {data["statements"]}, from {data["device_rows"]:,} '
        f'device rows to {data["groups"]:,} groups, {data["bytes"]:,} bytes',
        f'  driver: {data["driver_execute_ms"]} ms to execute, '
        f'{data["driver_fetch_ms"]} ms to fetch',
        '  us per host: '
        f'{costs["driver"]} in the driver, {costs["load"]} to load, '
        f'{costs["map"]} to map, less what Nova is spared, '
        f'{costs["decide"]} to decide;',
        f'    {costs["hook_beyond_nova"]} in sum before the filters run, '
        f'beyond {costs["nova_without_pci"]} of Nova without PCI',
        *(f'  explain: {line}' for line in data['explain']),
        *(f'  {line}' for line in data['functions'])]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
