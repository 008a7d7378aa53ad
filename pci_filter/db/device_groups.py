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
import typing

import sqlalchemy as sa

from pci_filter.db import extra_info
from pci_filter.db import tables
from pci_filter import model

#: Compute nodes in one statement. MariaDB reads the whole table in place of
#: an IN list of 1,000 or more (in_predicate_conversion_threshold), and no
#: server runs out of memory for the groups of so few.
NODES_PER_STATEMENT: typing.Final = 999

AVAILABLE: typing.Final = 'available'

#: What the status of a device is while an instance has it.
IN_USE: typing.Final = ('claimed', 'allocated')

#: Bytes to read behind a key of extra_info: the longest name that Linux gives
#: a network device, with the quote behind it, and a UUID.
_IFNAME_LENGTH: typing.Final = 16
_UUID_LENGTH: typing.Final = 36

_NONE: typing.Final[frozenset[str]] = frozenset()

#: The groups of a compute node by their kind.
Groups = dict[model.DeviceKind, model.DeviceGroup]


def _devices(by_device: bool, providers: bool) -> sa.Select[typing.Any]:
    """Return the devices that matter, one row each.

    .. code-block:: sql

        SELECT n.id, n.uuid, d.vendor_id, d.product_id, d.numa_node,
               d.dev_type,
               COALESCE(NULLIF(d.parent_addr, ''), d.address) AS family,
               <parent_ifname>, <has card serial> or NULL, <rp_uuid> or NULL,
               CASE d.status WHEN 'available' THEN d.address END AS free
        FROM pci_devices d JOIN compute_nodes n ON n.id = d.compute_node_id
        WHERE n.uuid IN (...) AND n.deleted = 0 AND d.deleted = 0
              AND d.status IN ('available', 'claimed', 'allocated')
    """
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    columns: list[sa.ColumnElement[typing.Any]] = [
        nodes.id, nodes.uuid, devices.vendor_id, devices.product_id,
        devices.numa_node, devices.dev_type,
        sa.func.coalesce(
            sa.func.nullif(devices.parent_addr, ''), devices.address,
        ).label('family'),
        extra_info.extra_info_text(
            devices.extra_info, 'parent_ifname', _IFNAME_LENGTH,
        ).label('parent_ifname'),
        sa.case(
            (devices.status == AVAILABLE, devices.address)).label('free'),
    ]
    if by_device:
        columns.append(sa.case(
            (extra_info.has_card_serial(devices.extra_info), 1), else_=0,
        ).label('has_card_serial'))
    if providers:
        columns.append(extra_info.extra_info_text(
            devices.extra_info, 'rp_uuid', _UUID_LENGTH).label('rp_uuid'))
    return sa.select(*columns).select_from(
        tables.pci_devices.join(
            tables.compute_nodes, nodes.id == devices.compute_node_id)
    ).where(
        nodes.uuid.in_(sa.bindparam('node_uuids', expanding=True)),
        nodes.deleted == 0,
        devices.deleted == 0,
        devices.status.in_((AVAILABLE, *IN_USE)),
    )


@functools.lru_cache(maxsize=4)
def _statement(by_device: bool, providers: bool) -> sa.Select[typing.Any]:
    """Return the statement, with the list of node UUIDs yet to be bound.

    .. code-block:: sql

        SELECT MIN(uuid), COUNT(free), MIN(free), COUNT(*),
               <rp_uuid or NULL>, vendor_id, product_id, numa_node, dev_type,
               family, parent_ifname [, free, has_card_serial]
        FROM (<devices>) AS device
        GROUP BY id, <all of the above but the aggregates>

    Devices in use are read too, though never counted as available: they keep
    their relatives from being claimed. The expressions are in a subquery
    because not every database takes one in GROUP BY for the same as one in
    SELECT.
    """
    device = _devices(by_device, providers).subquery('device').c
    kind: list[sa.ColumnElement[typing.Any]] = [
        device.vendor_id, device.product_id, device.numa_node,
        device.dev_type, device.family, device.parent_ifname]
    if by_device:
        kind += [device.free, device.has_card_serial]
    provider: list[sa.ColumnElement[typing.Any]] = (
        [device.rp_uuid] if providers else [])
    return sa.select(
        # Sorting by a number is quicker than by a UUID.
        sa.func.min(device.uuid),
        sa.func.count(device.free), sa.func.min(device.free),
        sa.func.count(),
        device.rp_uuid if providers else sa.null(), *kind,
    ).group_by(device.id, *kind, *provider)


def load(
    connection: sa.engine.Connection,
    node_uuids: Sequence[str],
    by_device: bool = False,
    providers: bool = True,
) -> dict[str, Groups]:
    """Read the groups of devices of some compute nodes.

    Groups without available devices are among them: they tell what is in use.

    :param connection: to one cell's database; only read from
    :param node_uuids: the compute nodes asked about; of others nothing is
        read. More than ``NODES_PER_STATEMENT`` take more statements.
    :param by_device: a kind of its own for each available device, with its
        own address
    :param providers: whether to read the placement resource providers, which
        costs a third more
    :returns: the groups by node UUID and kind; nodes without any are missing
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    """
    statement = _statement(by_device, providers)
    kinds = _Kinds()
    loaded: dict[str, Groups] = {}
    for uuids in _chunks(node_uuids):
        for row in connection.execute(statement, {'node_uuids': uuids}):
            uuid, available, first_address, total, rp_uuid = row[:5]
            kind = kinds[row[5:]]  # type: ignore[index]  # it is a tuple
            group = model.DeviceGroup(
                kind, available, first_address, total - available,
                _providers(rp_uuid) if rp_uuid else _NONE)
            groups = loaded.get(uuid)
            if groups is None:
                loaded[uuid] = {kind: group}
            elif kind in groups:
                groups[kind] = _joined(groups[kind], group)
            else:
                groups[kind] = group
    return loaded


def statements(nodes: int) -> int:
    """Return how many statements it takes to ask for so many nodes."""
    return -(-nodes // NODES_PER_STATEMENT)


def _chunks(node_uuids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the compute nodes of each statement, about as many in each."""
    number = statements(len(node_uuids))
    for first in range(number):
        yield node_uuids[first::number]


_Key = tuple[typing.Any, ...]


class _Kinds(dict[_Key, model.DeviceKind]):
    """The kinds by what a row says of them; made when first asked for.

    Rows can differ in what follows the name of the network device in the
    text that was read, and still tell of one kind.
    """

    def __init__(self) -> None:
        self._exact: dict[_Key, model.DeviceKind] = {}

    def __missing__(self, key: _Key) -> model.DeviceKind:
        *properties, ifname, device_address, card_serial = (
            *key, None, None)[:8]
        exact = (*properties, extra_info.cut(ifname), device_address,
                 None if card_serial is None else bool(card_serial))
        kind = self[key] = self._exact.setdefault(
            exact, model.DeviceKind(*exact))
        return kind


def _providers(text: str | bytes) -> frozenset[str]:
    rp_uuid = extra_info.cut(text)
    return frozenset((rp_uuid,)) if rp_uuid else _NONE


def _joined(
    one: model.DeviceGroup, other: model.DeviceGroup,
) -> model.DeviceGroup:
    addresses = [group.first_address for group in (one, other)
                 if group.first_address is not None]
    return model.DeviceGroup(
        one.kind, one.available + other.available,
        min(addresses, default=None), one.in_use + other.in_use,
        one.rp_uuids | other.rp_uuids)
