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

from collections.abc import Sequence
import functools
import typing

import sqlalchemy as sa

from pci_filter.db import extra_info
from pci_filter.db import node_lists
from pci_filter.db import tables
from pci_filter import model

AVAILABLE: typing.Final = 'available'

#: What the status of a device is while an instance has it.
IN_USE: typing.Final = ('claimed', 'allocated')

#: What it is while an instance has the physical function of the device, or a
#: device carved out of it (nova.objects.PciDevice).
EXCLUDED: typing.Final = ('unclaimable', 'unavailable')

#: Bytes to read behind a key of extra_info: the longest name that Linux gives
#: a network device, with the quote behind it, and a UUID.
_IFNAME_LENGTH: typing.Final = 16
_UUID_LENGTH: typing.Final = 36

#: Between the parts of a kind; no identifier or address contains it.
_SEPARATOR: typing.Final = '/'

#: Between those and the tags in the row.
_LINE_BREAK: typing.Final = '\n'

_NONE: typing.Final[frozenset[str]] = frozenset()

#: The groups of a compute node by their kind.
Groups = dict[model.DeviceKind, model.DeviceGroup]


def _devices(
    by_device: bool, providers: bool, stored_tags: bool, if_idle: bool,
    lists: int,
) -> sa.Select[typing.Any]:
    """Return the devices that matter, one row each.

    .. code-block:: sql

        SELECT n.id, n.uuid,
               CASE d.status WHEN 'available' THEN d.address END AS free,
               d.vendor_id || '/' || d.product_id || '/' ||
               COALESCE(d.numa_node, '') || '/' || d.dev_type || '/' ||
               COALESCE(NULLIF(d.parent_addr, ''), d.address) || '/' ||
               [free || '/' || <has card serial> || '/' ||]
               <parent_ifname> [|| <line break> || <stored tags>] AS kind
               [, <rp_uuid>]
        FROM pci_devices d JOIN compute_nodes n ON n.id = d.compute_node_id
        WHERE (n.uuid IN (...) [OR n.uuid IN (...)])
              AND n.deleted = 0 AND d.deleted = 0
              AND d.status IN ('available', 'claimed', 'allocated')

    To read what there would be if nothing were in use, free is the address of
    each, and devices that others in use exclude are read too.

    The kind is one text because a driver written in Python takes as long for
    each column of each row as for its contents.
    """
    devices = tables.pci_devices.c
    nodes = tables.compute_nodes.c
    free = devices.address if if_idle else sa.case(
        (devices.status == AVAILABLE, devices.address))
    columns = [
        nodes.id, nodes.uuid, free.label('free'),
        _kind_text(free, by_device, stored_tags).label('kind')]
    if providers:
        columns.append(extra_info.extra_info_text(
            devices.extra_info, 'rp_uuid', _UUID_LENGTH).label('rp_uuid'))
    return sa.select(*columns).select_from(
        tables.pci_devices.join(
            tables.compute_nodes, nodes.id == devices.compute_node_id)
    ).where(
        node_lists.condition(lists),
        nodes.deleted == 0,
        devices.deleted == 0,
        devices.status.in_(
            (AVAILABLE, *IN_USE, *(EXCLUDED if if_idle else ()))),
    )


def _kind_text(
    free: sa.ColumnElement[typing.Any], by_device: bool, stored_tags: bool,
) -> sa.ColumnElement[typing.Any]:
    """Return what a row says of its kind, as one text; see above."""
    devices = tables.pci_devices.c
    parts = [
        devices.vendor_id, devices.product_id,
        sa.func.coalesce(sa.cast(devices.numa_node, sa.String), ''),
        devices.dev_type,
        sa.func.coalesce(
            sa.func.nullif(devices.parent_addr, ''), devices.address)]
    if by_device:
        parts += [
            sa.func.coalesce(free, ''),
            sa.case((extra_info.has_card_serial(devices.extra_info), '1'),
                    else_='')]
    # Last, since it may contain anything.
    parts.append(sa.func.coalesce(extra_info.extra_info_text(
        devices.extra_info, 'parent_ifname', _IFNAME_LENGTH), ''))
    text = functools.reduce(
        lambda text, part: text + _SEPARATOR + part, parts)
    if stored_tags:
        # They contain anything but that: it is escaped in JSON.
        text += _LINE_BREAK + extra_info.stored_tags(devices.extra_info)
    return text


@functools.lru_cache(maxsize=8)
def _statement(
    by_device: bool, providers: bool, stored_tags: bool, if_idle: bool,
    lists: int,
) -> sa.Select[typing.Any]:
    """Return the statement, with the lists of node UUIDs yet to be bound.

    .. code-block:: sql

        SELECT MIN(uuid), COUNT(free), MIN(free), COUNT(*), kind [, rp_uuid]
        FROM (<devices>) AS device
        GROUP BY id, kind [, rp_uuid]

    Devices in use are read too, though never counted as available: they keep
    their relatives from being claimed. The expressions are in a subquery
    because not every database takes one in GROUP BY for the same as one in
    SELECT.
    """
    device = _devices(
        by_device, providers, stored_tags, if_idle, lists).subquery('device').c
    key = [device.kind, *([device.rp_uuid] if providers else ())]
    return sa.select(
        # Sorting by a number is quicker than by a UUID.
        sa.func.min(device.uuid),
        sa.func.count(device.free), sa.func.min(device.free),
        sa.func.count(), *key,
    ).group_by(device.id, *key)


def load(
    connection: sa.engine.Connection,
    node_uuids: Sequence[str],
    by_device: bool = False,
    providers: bool = True,
    stored_tags: bool = False,
    if_idle: bool = False,
) -> dict[str, Groups]:
    """Read the groups of devices of some compute nodes.

    Groups without available devices are among them: they tell what is in use.

    :param connection: to one cell's database; only read from
    :param node_uuids: the compute nodes asked about; of others nothing is
        read. More than ``node_lists.PER_STATEMENT`` take more statements.
    :param by_device: a kind of its own for each available device, with its
        own address
    :param providers: whether to read the placement resource providers, which
        costs a third more
    :param stored_tags: whether to read the tags that our tracker stored
    :param if_idle: count all as available that would be without instances
    :returns: the groups by node UUID and kind; nodes without any are missing
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    :raises ValueError: if the schema is not Nova's
    """
    kinds = _Kinds(by_device, stored_tags)
    loaded: dict[str, Groups] = {}
    for lists in node_lists.split(node_uuids):
        for row in connection.execute(
                _statement(by_device, providers, stored_tags, if_idle,
                           len(lists)), node_lists.parameters(lists)):
            uuid, available, first_address, total, text, *provider = row
            kind = kinds[text]
            group = model.DeviceGroup(
                kind, available, first_address, total - available,
                _providers(*provider) if provider else _NONE)
            groups = loaded.get(uuid)
            if groups is None:
                loaded[uuid] = {kind: group}
            elif kind in groups:
                groups[kind] = _joined(groups[kind], group)
            else:
                groups[kind] = group
    return loaded


class _Kinds(dict['str | bytes', model.DeviceKind]):
    """The kinds by the text that a row has; made when first asked for.

    Texts can differ in what follows the name of the network device, and still
    tell of one kind.

    :param by_device: whether the text tells of one device
    :param stored_tags: whether it ends with the tags in the row
    """

    def __init__(self, by_device: bool, stored_tags: bool) -> None:
        self._by_device = by_device
        self._stored_tags = stored_tags
        self._exact: dict[tuple[object, ...], model.DeviceKind] = {}

    def __missing__(self, text: str | bytes | None) -> model.DeviceKind:
        if text is None:
            raise ValueError(
                'a row of pci_devices has no vendor_id, product_id, dev_type '
                "or address, which Nova's schema does not allow")
        # MariaDB gives bytes.
        plain = text if isinstance(text, str) else text.decode(
            'utf-8', 'replace')
        stored_tags = None
        if self._stored_tags:
            plain, _, stored_tags = plain.rpartition(_LINE_BREAK)
        vendor_id, product_id, node, dev_type, address, *device, ifname = (
            plain.split(_SEPARATOR, 7 if self._by_device else 5))
        free, card_serial = device if device else (None, None)
        exact = (
            vendor_id, product_id, int(node) if node.isdigit() else None,
            dev_type, address, extra_info.cut(ifname), free or None,
            None if card_serial is None else card_serial == '1',
            stored_tags or None)
        kind = self[text] = self._exact.setdefault(
            exact, model.DeviceKind(*exact))
        return kind


def _providers(text: str | bytes | None) -> frozenset[str]:
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
