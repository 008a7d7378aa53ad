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

"""Find the compute nodes that have enough available devices."""

from __future__ import annotations

from collections.abc import Sequence
import typing

import sqlalchemy as sa

from pci_filter.db import group_statement
from pci_filter.db import node_lists
from pci_filter.db import tables
from pci_filter.matching import necessary

#: With a smaller part of a cell's compute nodes it costs less to find their
#: devices by an index than to read all devices: 98 ms of MariaDB's time for
#: 128,000 devices, and 32 ms to read them all.
_BY_INDEX: typing.Final = 1 / 4


def load(
    connection: sa.engine.Connection, needs: Sequence[necessary.Need],
    node_uuids: Sequence[str] | None,
) -> set[str]:
    """Return the UUIDs of compute nodes of a cell that have what is needed.

    There may be others among them than those asked about.

    .. code-block:: sql

        SELECT n.uuid
        FROM compute_nodes n JOIN (
            SELECT compute_node_id FROM pci_devices
            WHERE deleted = 0 AND status = 'available' AND (<any need>)
                  [AND compute_node_id IN (
                      SELECT id FROM compute_nodes WHERE uuid IN (...))]
            GROUP BY compute_node_id
            HAVING SUM(CASE WHEN <need> THEN 1 ELSE 0 END) >= <count> AND ...
        ) AS fitting ON n.id = fitting.compute_node_id
        WHERE n.deleted = 0

    The join is outside, so that MariaDB reads the devices as they are stored
    instead of by the index that has them grouped already, at three times the
    price.

    :param connection: to the cell's database; only read from
    :param needs: what they need to have; not empty
    :param node_uuids: the compute nodes, and maybe other providers; None for
        all of the cell
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    """
    if node_uuids is None or len(
            node_uuids) >= _BY_INDEX * node_lists.number_of_nodes(connection):
        return set(connection.scalars(_statement(needs)))
    found: set[str] = set()
    for lists in node_lists.split(node_uuids):
        found.update(connection.scalars(
            _statement(needs, len(lists)), node_lists.parameters(lists)))
    return found


def load_counts(
    connection: sa.engine.Connection, needs: Sequence[necessary.Need],
) -> dict[str, list[int]]:
    """Return how many devices each compute node of a cell has for each need.

    :param connection: to the cell's database; only read from
    :param needs: what they need to have; not empty
    :returns: by the UUID of the node, for all that are not deleted
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    nodes = tables.compute_nodes.c
    counts = _counts(needs)
    names = [column.name for column in counts]
    found = _available(needs).add_columns(*counts).group_by(
        tables.pci_devices.c.compute_node_id).subquery('found')
    return {
        uuid: [int(count or 0) for count in of_node]
        for uuid, *of_node in connection.execute(sa.select(
            nodes.uuid, *(found.c[name] for name in names),
        ).select_from(tables.compute_nodes.outerjoin(
            found, found.c.compute_node_id == nodes.id,
        )).where(nodes.deleted == 0))}


def _statement(
    needs: Sequence[necessary.Need], lists: int = 0,
) -> sa.Select[typing.Any]:
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    found = _available(needs)
    if lists:
        found = found.where(devices.compute_node_id.in_(
            sa.select(nodes.id).where(node_lists.condition(lists))))
    fitting = found.group_by(devices.compute_node_id).having(sa.and_(*(
        count.element >= need.number
        for need, count in zip(needs, _counts(needs))))).subquery('fitting')
    return sa.select(nodes.uuid).select_from(tables.compute_nodes.join(
        fitting, fitting.c.compute_node_id == nodes.id,
    )).where(nodes.deleted == 0)


def _available(needs: Sequence[necessary.Need]) -> sa.Select[typing.Any]:
    """Return the nodes of available devices that meet any need."""
    devices = tables.pci_devices.c
    return sa.select(devices.compute_node_id).where(
        devices.deleted == 0,
        devices.status == group_statement.AVAILABLE,
        sa.or_(*map(_condition, needs)))


def _counts(needs: Sequence[necessary.Need]) -> list[sa.Label[int]]:
    """Return how many of those meet each need.

    All of them meet it if there is but one, and to look again would cost a
    third of the statement.
    """
    if len(needs) == 1:
        return [sa.func.count().label('need_0')]
    return [
        sa.func.sum(sa.case((_condition(need), 1), else_=0)).label(
            f'need_{number}')
        for number, need in enumerate(needs)]


def _condition(need: necessary.Need) -> sa.ColumnElement[bool]:
    devices = tables.pci_devices.c
    return sa.or_(*(
        sa.and_(
            sa.true(),
            *(sa.func.lower(devices[column]) == value
              for column, value in kinds.values),
            *(devices.dev_type != dev_type
              for dev_type in kinds.excluded_types))
        for kinds in need.kinds))
