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

from __future__ import annotations

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

RATES_HEAD: typing.Final = (
    'Hosts', 'Fit', 'A second', 'Filter', 'Cores, one at a time',
    'Cores, several at a time', 'Rows a second', 'Bytes a second')

_KINDS: typing.Final = ('in-tree', 'ours')

#: Requests a second that a server may have to stand.
_RATES: typing.Final = (1, 10, 50)


def has_server(points: _Points) -> bool:
    """Tell whether the database has a server, whose cost is known.

    :param points: what the case "price" has noted of a database
    """
    return any(point['ours']['server_cpu_ms'] is not None for point in points)


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


def rates(points: _Points) -> Iterator[Sequence[str]]:
    """Yield the rows of a table of what so many requests cost a server.

    Computed from what one costs, alone and among as many at a time as were
    measured.

    :param points: what the case "price" has noted of a database
    """
    for point in points:
        for a_second in _RATES:
            for kind in _KINDS:
                cost = point[kind]
                together = point.get('concurrent', {}).get(kind, ())
                yield (*_asked(point), str(a_second), kind, *(
                    _number(None if one is None else one * a_second)
                    for one in (
                        _cores(cost), _cores(together[-1]) if together
                        else None, cost['rows'], cost['bytes'])))


def _cores(cost: _Point) -> float | None:
    """Return the seconds of the server's processors that one takes."""
    ms = cost['server_cpu_ms']
    return None if ms is None else ms / 1e3


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


def _number(value: float | None) -> str:
    if value is not None and value >= 1000:
        return f'{value:,.0f}'
    return results.amount(value, '')
