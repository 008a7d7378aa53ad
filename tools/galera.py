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
"""Test against three nodes of Galera and HAProxy, which it starts.

Run it with the Python of an environment that has Nova, openstack-placement
and this package installed: ``tox -e galera`` prepares one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

from pci_filter.tests.galera import base
from pci_filter.tests.galera import test_galera_reads
from pci_filter.tests import installed

_CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
_SUITE = _CHECKOUT / 'pci_filter' / 'tests' / 'galera'
_TABLE = _CHECKOUT / 'doc' / 'source' / '_generated' / 'galera.inc'

_HEADINGS = (
    '``reservations``', '``causal_reads``', 'Verdicts',
    'A device in use was promised', 'A free device was refused',
    'Median (ms)', '99th percentile (ms)', 'Added (ms)')

_COSTS = '``causal_reads``', 'Median (ms)', '99th percentile (ms)'

#: Seconds that a test may take.
_TIMEOUT = 1200


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--figures', type=int, metavar='N',
        help='run no other test, but ask for N verdicts in each of four ways '
        f'and write the table {_TABLE.relative_to(_CHECKOUT)}')
    parser.add_argument(
        'filters', nargs='*', metavar='regex',
        help='run only the tests whose ids match one of these')
    return parser.parse_args()


def _run(filters: Sequence[str], **environment: str) -> int:
    """Run tests in one process, so that there is one cluster."""
    with tempfile.TemporaryDirectory() as repository:
        try:
            return subprocess.run(
                [sys.executable, '-m', 'stestr', '--test-path', str(_SUITE),
                 '--top-dir', str(_CHECKOUT), '--repo-url', repository,
                 'run', '--serial', *filters], cwd=_CHECKOUT,
                env={**os.environ, 'OS_TEST_TIMEOUT': str(_TIMEOUT),
                     **environment, base.VARIABLE: '1'}).returncode
        except KeyboardInterrupt:
            return 130


def _rows(
    found: Sequence[tuple[bool, str, dict[str, typing.Any]]],
) -> Iterator[Sequence[str]]:
    without = {}
    for causal_reads, reservations, of_it in found:
        median, slow = of_it['median'], of_it['slow']
        added = '-'
        if causal_reads:
            added = (f'{median - without[reservations][0]:+.1f}, '
                     f'{slow - without[reservations][1]:+.1f}')
        else:
            without[reservations] = median, slow
        yield (f'``{reservations}``', f'``{str(causal_reads).lower()}``',
               f"{of_it['number']:,}", f"{of_it['promised']:,}",
               f"{of_it['refused']:,}", f'{median:.1f}', f'{slow:.1f}', added)


def _cost_rows(
    costs: Sequence[Sequence[float]],
) -> Iterator[Sequence[str]]:
    for causal_reads, times in zip(('false', 'true'), costs):
        yield f'``{causal_reads}``', *(f'{one:.2f}' for one in times)


def _table(
    headings: Sequence[str], rows: Iterator[Sequence[str]],
) -> Iterator[str]:
    yield from ('.. list-table::', '   :header-rows: 1', '')
    for cells in (headings, *rows):
        for at, cell in enumerate(cells):
            yield f'   {"  -" if at else "* -"} {cell}'


def _measure(number: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        results = pathlib.Path(directory, 'results.json')
        code = _run(['TestFigures'], **{
            test_galera_reads.VERDICTS: str(number),
            test_galera_reads.RESULTS: str(results),
            'OS_TEST_TIMEOUT': '0'})
        if not results.exists():
            return code or 1
        found = json.loads(results.read_text())
        _TABLE.write_text(
            '\n'.join((*_table(_HEADINGS, _rows(found['verdicts'])), '',
                       'Our smallest read, one after the other while nobody '
                       'writes:', '',
                       *_table(_COSTS, _cost_rows(found['costs'])))) + '\n')
        print(_TABLE.read_text())
        return code


def main() -> int:
    """Run what is asked for, and return the exit code."""
    arguments = _parse_arguments()
    needed = (installed.MARIADB, installed.GALERA, installed.RSYNC,
              installed.HAPROXY)
    try:
        for software in needed:
            software.require()
    except Exception as error:
        sys.exit(f'{error}. On Debian they are in mariadb-server, galera-4, '
                 'rsync and haproxy.')
    if arguments.figures:
        return _measure(arguments.figures)
    return _run(arguments.filters)


if __name__ == '__main__':
    sys.exit(main())
