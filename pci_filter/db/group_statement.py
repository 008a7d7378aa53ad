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

"""The statement that counts devices of compute nodes in groups."""

from __future__ import annotations

import functools
import typing

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from pci_filter.db import extra_info
from pci_filter.db import node_lists
from pci_filter.db import tables

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
SEPARATOR: typing.Final = '/'

#: Between those and the tags in the row.
LINE_BREAK: typing.Final = '\n'

if typing.TYPE_CHECKING:
    _StringFunction = functions.FunctionElement[str]
else:  # SQLAlchemy 1.4 has no generic classes
    _StringFunction = functions.FunctionElement


class group_key(_StringFunction):
    """``group_key(text)``: the text, to be grouped by.

    MariaDB and MySQL compare it as bytes. By a collation they take half as
    long again, for what tells letters apart less well.
    """

    name = 'group_key'
    type = sa.String()
    inherit_cache = True


@compiler.compiles(group_key)
def _group_key(
    element: group_key, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    return str(compiled.process(*element.clauses, **kwargs))


@compiler.compiles(group_key, 'mysql')
@compiler.compiles(group_key, 'mariadb')
def _group_key_in_mysql(
    element: group_key, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    return f'CAST({_group_key(element, compiled, **kwargs)} AS BINARY)'


@functools.lru_cache(maxsize=16)
def statement(
    by_device: bool, providers: bool, stored_tags: bool, if_idle: bool,
    lists: int, in_range: bool = False,
) -> sa.Select[typing.Any]:
    """Return the statement, with the lists of node UUIDs yet to be bound.

    .. code-block:: sql

        SELECT n.uuid, counted.available, counted.first, counted.total,
               counted.kind [, counted.provider]
        FROM (<counted>) AS counted
        JOIN compute_nodes n ON n.id = counted.compute_node_id
        WHERE n.deleted = 0

    The UUIDs are looked up for groups, not for devices. Refused: to group by
    checksums, which saves MariaDB nothing, and takes some texts for the same
    that are not; to read the name of the network device of one device of each
    group, which saves a fifth: as Nova's code has it, functions of one
    physical function can differ in it.

    :param lists: how many lists there are; with none, of all compute nodes
    :param in_range: whether only of devices in a range that will be bound
    """
    nodes = tables.compute_nodes.c
    groups = _counted(by_device, providers, stored_tags, if_idle, lists)
    if in_range:
        groups = groups.where(node_lists.in_range())
    for dialect in ('mysql', 'mariadb'):
        # Else MariaDB sorts the groups, and MySQL did before 8.0.
        groups = groups.suffix_with('ORDER BY NULL', dialect=dialect)
    counted = groups.subquery('counted')
    return sa.select(nodes.uuid, *list(counted.c)[1:]).select_from(
        counted.join(
            tables.compute_nodes, nodes.id == counted.c.compute_node_id),
    ).where(nodes.deleted == 0)


def _counted(
    by_device: bool, providers: bool, stored_tags: bool, if_idle: bool,
    lists: int,
) -> sa.Select[typing.Any]:
    """Return the groups.

    .. code-block:: sql

        SELECT d.compute_node_id, COUNT(<free>) AS available,
               MIN(<free>) AS first, COUNT(*) AS total,
               d.vendor_id || '/' || d.product_id || '/' ||
               COALESCE(d.numa_node, '') || '/' || d.dev_type || '/' ||
               COALESCE(NULLIF(d.parent_addr, ''), d.address) || '/' ||
               [<free> || '/' || <has card serial> || '/' ||]
               <parent_ifname> [|| <line break> || <stored tags>] AS kind
               [, <rp_uuid> AS provider]
        FROM pci_devices d
        WHERE d.deleted = 0
              AND d.status IN ('available', 'claimed', 'allocated')
              [AND d.compute_node_id IN (
                  SELECT id FROM compute_nodes WHERE uuid IN (...))]
              [AND d.id BETWEEN ... AND ...]
        GROUP BY d.compute_node_id, kind [, provider]
        [ORDER BY NULL]

    where free is the address of a device that is available. Devices in use
    are read too: they keep their relatives from being claimed. To read what
    there would be if nothing were in use, free is the address of each, and
    devices that others in use exclude are read too.

    The kind is one text because a driver written in Python takes as long for
    each column of each row as for its contents.
    """
    devices = tables.pci_devices.c
    free = devices.address if if_idle else sa.case(
        (devices.status == AVAILABLE, devices.address))
    keys = [group_key(
        _kind_text(free, by_device, stored_tags)).label('kind')]
    if providers:
        keys.append(group_key(extra_info.extra_info_text(
            devices.extra_info, 'rp_uuid', _UUID_LENGTH)).label('provider'))
    counted = sa.select(
        devices.compute_node_id, sa.func.count(free).label('available'),
        sa.func.min(free).label('first'), sa.func.count().label('total'),
        *keys,
    ).where(devices.deleted == 0, devices.status.in_(
        (AVAILABLE, *IN_USE, *(EXCLUDED if if_idle else ()))))
    if lists:
        nodes = tables.compute_nodes.c
        counted = counted.where(devices.compute_node_id.in_(
            sa.select(nodes.id).where(node_lists.condition(lists))))
    # Not every database takes an expression in GROUP BY for the same as one
    # in SELECT.
    return counted.group_by(
        devices.compute_node_id,
        *(sa.literal_column(key.name) for key in keys))


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
        lambda text, part: text + SEPARATOR + part, parts)
    if stored_tags:
        # They contain anything but that: it is escaped in JSON.
        text += LINE_BREAK + extra_info.stored_tags(devices.extra_info)
    return text
