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

"""Count the available devices of compute nodes, in one grouped statement."""

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

_AVAILABLE: typing.Final = 'available'


def _family_address() -> sa.ColumnElement[str]:
    """Address that a device shares with its siblings and their parent.

    ``COALESCE(NULLIF(parent_addr, ''), address)``
    """
    devices = tables.pci_devices.c
    # A literal, so that PostgreSQL sees the same expression in SELECT and in
    # GROUP BY.
    nothing: sa.ColumnElement[str] = sa.literal_column("''")
    return sa.func.coalesce(
        sa.func.nullif(devices.parent_addr, nothing), devices.address)


@functools.lru_cache(maxsize=2)
def _statement(by_device: bool) -> sa.Select[typing.Any]:
    """Return the statement, with the list of node UUIDs yet to be bound.

    .. code-block:: sql

        SELECT n.uuid, d.vendor_id, d.product_id, d.numa_node, d.dev_type,
               <family address>, <parent_ifname>, d.address or NULL,
               COUNT(*), MIN(d.address), MIN(<rp_uuid>), MAX(<rp_uuid>)
               [, MAX(<has card serial>)]
        FROM pci_devices d JOIN compute_nodes n ON n.id = d.compute_node_id
        WHERE n.uuid IN (...) AND n.deleted = 0
              AND d.deleted = 0 AND d.status = 'available'
        GROUP BY n.uuid, d.vendor_id, ..., <parent_ifname> [, d.address]

    The provider is not part of the key: rows written before the device was
    reported to placement lack it, but belong with the others.
    """
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    key: list[sa.ColumnElement[typing.Any]] = [
        nodes.uuid, devices.vendor_id, devices.product_id, devices.numa_node,
        devices.dev_type, _family_address(),
        extra_info.extra_info_value(devices.extra_info, 'parent_ifname')]
    if by_device:
        key.append(devices.address)
    rp_uuid = extra_info.extra_info_value(devices.extra_info, 'rp_uuid')
    own_address = devices.address if by_device else sa.null()
    card_serial = sa.func.max(sa.case(
        (extra_info.has_card_serial(devices.extra_info), 1), else_=0))
    return sa.select(
        *key[:7], own_address, sa.func.count(), sa.func.min(devices.address),
        sa.func.min(rp_uuid), sa.func.max(rp_uuid),
        card_serial if by_device else sa.null(),
    ).select_from(
        tables.pci_devices.join(
            tables.compute_nodes, nodes.id == devices.compute_node_id)
    ).where(
        nodes.uuid.in_(sa.bindparam('node_uuids', expanding=True)),
        nodes.deleted == 0,
        devices.deleted == 0,
        devices.status == _AVAILABLE,
    ).group_by(*key)


def load(
    connection: sa.engine.Connection,
    node_uuids: Sequence[str],
    by_device: bool = False,
) -> Iterator[model.DeviceGroup]:
    """Yield the groups of available devices of some compute nodes.

    :param connection: to one cell's database; only read from
    :param node_uuids: the compute nodes asked about; of others nothing is
        read. More than ``NODES_PER_STATEMENT`` take more statements.
    :param by_device: one group for each device, with its own address
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    """
    statement = _statement(by_device)
    uuids = iter(node_uuids)
    while chunk := list(itertools.islice(uuids, NODES_PER_STATEMENT)):
        for row in connection.execute(statement, {'node_uuids': chunk}):
            yield model.DeviceGroup._make(
                (*row[:10], tuple(row[10:12]), row[12]))
