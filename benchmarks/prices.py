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

"""The tables of what whole requests cost both sides, for any reader."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from benchmarks import results

_Point = Mapping[str, typing.Any]
_Points = Sequence[_Point]

_SIDES: typing.Final = (
    ('scheduler_cpu_ms', 'Scheduler CPU, ms'),
    ('server_cpu_ms', 'Server CPU, ms'))
_ALONE: typing.Final = (
    ('wall_ms', 'Took, ms'), *_SIDES, ('rows', 'Rows read'),
    ('statements', 'Statements'), ('bytes', 'Bytes'))
_AMONG: typing.Final = (('per_second', 'A second'), *_SIDES)

ALONE_HEAD: typing.Final = (
    'Hosts', 'Fit', 'Filter', *(title for _, title in _ALONE))
AMONG_HEAD: typing.Final = (
    'Hosts', 'Fit', 'At once', 'Filter', *(title for _, title in _AMONG))

_KINDS: typing.Final = ('in-tree', 'ours')


def alone(points: _Points) -> Iterator[Sequence[str]]:
    """Yield the rows of a table of requests that are made one by one.

    :param points: what the case "price" has noted of a database
    """
    for point in points:
        for kind in _KINDS:
            yield (*_asked(point), kind, *(
                _number(point[kind][key]) for key, _ in _ALONE))


def among(points: _Points) -> Iterator[Sequence[str]]:
    """Yield the rows of a table of requests that are made at a time.

    :param points: what the case "price" has noted of a database
    """
    for point in points:
        concurrent = point.get('concurrent', {kind: () for kind in _KINDS})
        for costs in zip(*(concurrent[kind] for kind in _KINDS)):
            for kind, cost in zip(_KINDS, costs):
                yield (*_asked(point), str(cost['at_once']), kind, *(
                    _number(cost[key]) for key, _ in _AMONG))


def reasons(points: _Points) -> Iterator[str]:
    """Yield a sentence for each thing that was not measured.

    :param points: what the case "price" has noted of a database
    """
    found = {what: why for point in points
             for what, why in point['not_measured'].items()}
    by_reason: dict[str, list[str]] = {}
    for what, why in found.items():
        by_reason.setdefault(why, []).append(what)
    for why, whats in by_reason.items():
        yield f'Not measured: {", ".join(whats)} of the server, since {why}.'


def _asked(point: _Point) -> Sequence[str]:
    return f'{point["hosts"]:,}', f'{point["fit"]:,}'


def _number(value: float) -> str:
    if value is not None and value >= 1000:
        return f'{value:,.0f}'
    return results.amount(value, '')
