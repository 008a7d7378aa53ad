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

"""Put the UUIDs of many compute nodes into statements."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import typing

import sqlalchemy as sa

from pci_filter.db import tables

#: Compute nodes in one IN list. MariaDB reads the whole table in place of a
#: list of 1,000 or more (in_predicate_conversion_threshold).
_PER_LIST: typing.Final = 999

#: Compute nodes in one statement: as many as placement returns by default, so
#: that a database has all of its work at once. With more it takes SQLite
#: longer to sort their groups, and a server more memory.
PER_STATEMENT: typing.Final = 1000

#: The names of what is bound for a range of devices.
_FIRST: typing.Final = 'first_device'
_LAST: typing.Final = 'last_device'

Lists = Sequence[Sequence[str]]


def split(node_uuids: Sequence[str]) -> Iterator[Lists]:
    """Yield the lists for each statement."""
    for part in _chunks(node_uuids, PER_STATEMENT):
        yield list(_chunks(part, _PER_LIST))


def number_of_nodes(connection: sa.engine.Connection) -> int:
    """Return how many compute nodes a cell has, deleted ones included.

    :param connection: to the cell's database; only read from
    """
    return connection.scalar(sa.select(
        sa.func.count()).select_from(tables.compute_nodes)) or 0


def device_ranges(
    connection: sa.engine.Connection, nodes: int,
) -> list[dict[str, int]]:
    """Return the ids of all devices in ranges, one for each statement.

    There are as many as :func:`split` would make statements, for the same
    reason. What the ids of a compute node are is for chance to say, so groups
    of one can come from two ranges.

    :param connection: to the cell's database; only read from
    :param nodes: how many compute nodes are asked about
    :returns: what to bind for :func:`in_range`; nothing if one range is enough
    """
    number = -(-nodes // PER_STATEMENT)
    if number <= 1:
        return []
    ids = tables.pci_devices.c.id
    # Of both in one SELECT SQLite reads the whole table.
    first, last = connection.execute(sa.select(*(
        sa.select(function(ids)).scalar_subquery()
        for function in (sa.func.min, sa.func.max)))).one()
    if first is None:
        return []
    size = -(-(last - first + 1) // number)
    return [{_FIRST: start, _LAST: start + size - 1}
            for start in range(first, last + 1, size)]


def in_range() -> sa.ColumnElement[bool]:
    """Return the condition that a device is in a range that will be bound."""
    return tables.pci_devices.c.id.between(
        sa.bindparam(_FIRST), sa.bindparam(_LAST))


def condition(lists: int) -> sa.ColumnElement[bool]:
    """Return the condition that a compute node is in one of so many lists.

    :param lists: how many lists are going to be bound
    """
    return sa.or_(*(
        tables.compute_nodes.c.uuid.in_(
            sa.bindparam(_name(number), expanding=True))
        for number in range(lists)))


def parameters(lists: Lists) -> dict[str, Sequence[str]]:
    """Return what to bind, of one statement."""
    return {_name(number): part for number, part in enumerate(lists)}


def _name(number: int) -> str:
    return f'node_uuids_{number}'


def _chunks(
    node_uuids: Sequence[str], size: int,
) -> Iterator[Sequence[str]]:
    """Yield at most so many at a time, about as many each time."""
    number = -(-len(node_uuids) // size)
    for first in range(number):
        yield node_uuids[first::number]
