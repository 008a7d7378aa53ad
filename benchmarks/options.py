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

"""The options of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
import pathlib
import typing

from benchmarks import plan as plan_module

_MYSQL: typing.Final = 'PCI_FILTER_TEST_MYSQL_URL'
_POSTGRESQL: typing.Final = 'PCI_FILTER_TEST_POSTGRESQL_URL'


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; ``plan`` is among them, a Plan.

    :param arguments: those of the process by default
    """
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks',
        description="Measure Nova's PCI filter and ours side by side. "
        'The exit code is 1 if a target is missed or a case fails.')
    parser.add_argument(
        '--quick', action='store_true',
        help='few hosts and rounds: see that all of it works, and judge '
        'nothing by time')
    parser.add_argument(
        '--hosts', type=_sizes, metavar='N,...',
        help='numbers of hosts (default: 100,1000,10000; quick: 5,20)')
    parser.add_argument(
        '--mysql', metavar='URL', default=os.environ.get(_MYSQL),
        help='an empty database on MariaDB or MySQL; whatever is in its '
        'Nova tables afterwards is deleted. The cells of the case "grid" get '
        f'databases that are named after it (default: ${_MYSQL})')
    parser.add_argument(
        '--postgresql', metavar='URL', default=os.environ.get(_POSTGRESQL),
        help='the same on PostgreSQL, where only the case "price" is run '
        f'(default: ${_POSTGRESQL})')
    parser.add_argument(
        '--rounds', type=_positive, metavar='N',
        help='how often each thing is measured (default: 5; quick: 2)')
    parser.add_argument(
        '--cells', type=_positive, metavar='N',
        help='cells of the simulation (default: 50; quick: 3)')
    parser.add_argument(
        '--hosts-per-cell', type=_positive, metavar='N',
        help='hosts that are built in each; the cost of 1,000 is computed '
        '(default: 100; quick: 5)')
    parser.add_argument(
        '--only', action='append', choices=plan_module.CASES,
        help='a case to run; may be repeated (default: all)')
    parser.add_argument(
        '--json', type=pathlib.Path, metavar='FILE',
        help='write all numbers there')
    parser.add_argument(
        '--svg', type=pathlib.Path, metavar='FILE',
        help='draw the picture there; another suffix, such as .png, gives '
        'another format')
    options = parser.parse_args(arguments)
    options.plan = _plan(options)
    return options


def _plan(options: argparse.Namespace) -> plan_module.Plan:
    quick = options.quick
    return plan_module.Plan(
        options.hosts or ((5, 20) if quick else (100, 1000, 10000)),
        options.rounds or (2 if quick else 5),
        options.cells or (3 if quick else 50),
        options.hosts_per_cell or (5 if quick else 100),
        options.only or plan_module.CASES, quick, options.mysql)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number} is not above 0')
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({_positive(part) for part in text.split(',')}))
