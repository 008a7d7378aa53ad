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

"""Count the devices of compute nodes, in one grouped statement."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import functools
import itertools
import typing

import sqlalchemy as sa

from pci_filter.db import extra_info
from pci_filter.db import tables
from pci_filter import model

#: Compute nodes in one statement. SQLite takes 32,766 parameters at most, and
#: MySQL gives up on range access when the list needs more memory than
#: range_optimizer_max_mem_size; no cell that Nova recommends comes near.
NODES_PER_STATEMENT: typing.Final = 10_000

AVAILABLE: typing.Final = 'available'

#: What the status of a device is while an instance has it.
IN_USE: typing.Final = ('claimed', 'allocated')


def _devices(by_device: bool) -> sa.Select[typing.Any]:
    """Return the devices that matter, one row each.

    .. code-block:: sql

        SELECT n.id, n.uuid, d.vendor_id, d.product_id, d.numa_node,
               d.dev_type,
               COALESCE(NULLIF(d.parent_addr, ''), d.address) AS family,
               <parent_ifname>, <rp_uuid>, <has card serial> or NULL,
               CASE d.status WHEN 'available' THEN d.address END AS free
        FROM pci_devices d JOIN compute_nodes n ON n.id = d.compute_node_id
        WHERE n.uuid IN (...) AND n.deleted = 0 AND d.deleted = 0
              AND d.status IN ('available', 'claimed', 'allocated')
    """
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    return sa.select(
        nodes.id, nodes.uuid, devices.vendor_id, devices.product_id,
        devices.numa_node, devices.dev_type,
        sa.func.coalesce(
            sa.func.nullif(devices.parent_addr, ''), devices.address,
        ).label('family'),
        extra_info.extra_info_value(
            devices.extra_info, 'parent_ifname').label('parent_ifname'),
        extra_info.extra_info_value(
            devices.extra_info, 'rp_uuid').label('rp_uuid'),
        (sa.case(
            (extra_info.has_card_serial(devices.extra_info), 1), else_=0)
         if by_device else sa.null()).label('has_card_serial'),
        sa.case(
            (devices.status == AVAILABLE, devices.address)).label('free'),
    ).select_from(
        tables.pci_devices.join(
            tables.compute_nodes, nodes.id == devices.compute_node_id)
    ).where(
        nodes.uuid.in_(sa.bindparam('node_uuids', expanding=True)),
        nodes.deleted == 0,
        devices.deleted == 0,
        devices.status.in_((AVAILABLE, *IN_USE)),
    )


@functools.lru_cache(maxsize=2)
def _statement(by_device: bool) -> sa.Select[typing.Any]:
    """Return the statement, with the list of node UUIDs yet to be bound.

    .. code-block:: sql

        SELECT MIN(uuid), vendor_id, product_id, numa_node, dev_type, family,
               parent_ifname, <free or NULL>, COUNT(free), MIN(free),
               MIN(rp_uuid), MAX(rp_uuid), MAX(has_card_serial), COUNT(*)
        FROM (<devices>) AS device
        GROUP BY id, vendor_id, ..., parent_ifname [, free]

    Devices in use are read too, though never counted as available: they keep
    their relatives from being claimed. The provider is not part of the key:
    rows written before the device was reported to placement lack it, but
    belong with the others. The expressions are in a subquery because not
    every database takes one in GROUP BY for the same as one in SELECT.
    """
    device = _devices(by_device).subquery('device').c
    key: list[sa.ColumnElement[typing.Any]] = [
        device.vendor_id, device.product_id, device.numa_node,
        device.dev_type, device.family, device.parent_ifname]
    return sa.select(
        # Sorting by a number is quicker than by a UUID.
        sa.func.min(device.uuid),
        *key,
        device.free if by_device else sa.null(),
        sa.func.count(device.free), sa.func.min(device.free),
        sa.func.min(device.rp_uuid), sa.func.max(device.rp_uuid),
        sa.func.max(device.has_card_serial),
        sa.func.count(),
    ).group_by(device.id, *key, *([device.free] if by_device else ()))


def load(
    connection: sa.engine.Connection,
    node_uuids: Sequence[str],
    by_device: bool = False,
) -> Iterator[model.DeviceGroup]:
    """Yield the groups of devices of some compute nodes.

    Groups without available devices are among them: they tell what is in use.

    :param connection: to one cell's database; only read from
    :param node_uuids: the compute nodes asked about; of others nothing is
        read. More than ``NODES_PER_STATEMENT`` take more statements.
    :param by_device: one group for each available device, with its own
        address
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    """
    statement = _statement(by_device)
    uuids = iter(node_uuids)
    while chunk := list(itertools.islice(uuids, NODES_PER_STATEMENT)):
        for row in connection.execute(statement, {'node_uuids': chunk}):
            *group, low_rp, high_rp, card_serial, total = row
            if group[6] and '\\' in group[6]:
                # Escaped, and no name of a network device that Nova knows.
                group[6] = None
            yield model.DeviceGroup._make((
                *group, (low_rp, high_rp), card_serial, total - row[8]))
