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

"""Read what became of instances whose claims were to come."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import typing

import sqlalchemy as sa

from pci_filter.db import clock
from pci_filter.db import tables
from pci_filter.reservations import sight


class Instances(typing.NamedTuple):
    """Some instances.

    :param now: the time by the database's clock, in seconds since 1970
    :param by_uuid: those that have a row, deleted ones included
    """

    now: float
    by_uuid: Mapping[str, sight.Instance]


def load_instances(
    connection: sa.engine.Connection, uuids: Sequence[str],
) -> Instances:
    """Read instances, and the clock in the same statement.

    .. code-block:: sql

        SELECT clock.now, i.uuid, i.node, ...
        FROM (SELECT <now> AS now) AS clock
        LEFT JOIN instances i ON i.uuid IN (...)

    :param connection: to one cell's database; only read from
    :param uuids: the instances asked for
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    found = connection.execute(
        _instances(), {'uuids': list(uuids)}).all()
    return Instances(float(found[0][0]), {
        uuid: sight.Instance(
            node, vm_state, task_state, bool(deleted), bool(hidden))
        for _, uuid, node, vm_state, task_state, deleted, hidden in found
        if uuid is not None})


def load_owned(
    connection: sa.engine.Connection, node_uuid: str, uuids: Sequence[str],
) -> dict[str, frozenset[int]]:
    """Read which devices of a compute node some instances have.

    :param connection: to one cell's database; only read from
    :param node_uuid: the compute node
    :param uuids: the instances asked for
    :returns: ids of rows of ``pci_devices`` by the instance's UUID; of
        instances without any there are none
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    owned: dict[str, set[int]] = collections.defaultdict(set)
    for uuid, device_id in connection.execute(
            _owned(), {'node_uuid': node_uuid, 'uuids': list(uuids)}):
        owned[uuid].add(device_id)
    return {uuid: frozenset(ids) for uuid, ids in owned.items()}


# They are made once: SQLAlchemy takes longer to put one together than MariaDB
# to answer it.


@functools.lru_cache(maxsize=1)
def _instances() -> sa.Select[typing.Any]:
    clock_now = sa.select(clock.now().label('now')).subquery('clock')
    instances = tables.instances.c
    return sa.select(
        clock_now.c.now, instances.uuid, instances.node, instances.vm_state,
        instances.task_state, instances.deleted, instances.hidden,
    ).select_from(clock_now.outerjoin(
        tables.instances,
        instances.uuid.in_(sa.bindparam('uuids', expanding=True))))


@functools.lru_cache(maxsize=1)
def _owned() -> sa.Select[typing.Any]:
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    return sa.select(devices.instance_uuid, devices.id).select_from(
        tables.pci_devices.join(
            tables.compute_nodes, nodes.id == devices.compute_node_id)
    ).where(
        nodes.uuid == sa.bindparam('node_uuid'), nodes.deleted == 0,
        devices.deleted == 0,
        devices.instance_uuid.in_(sa.bindparam('uuids', expanding=True)))
