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

"""Read what the audit compares, some compute nodes at a time."""

from __future__ import annotations

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import typing

import sqlalchemy as sa

from pci_filter.audit import facts
from pci_filter.db import tables

#: Compute nodes that are read at a time. With 128 devices each they take
#: some 30 MB, and other transactions go on in between.
_NODES_AT_ONCE: typing.Final = 100

_ORPHANS_AT_ONCE: typing.Final = 10_000

#: Values in one IN list; with more MariaDB reads the whole table, and SQLite
#: may refuse.
_VALUES_PER_LIST: typing.Final = 900

#: In these statuses a migration is over (nova.db.main.api,
#: migration_get_in_progress_by_host_and_node).
_ENDED: typing.Final = (
    'confirmed', 'reverted', 'error', 'failed', 'completed', 'cancelled',
    'done')

#: Servers in these states have the devices that they asked for, unless they
#: are on their way to another one.
_AT_REST: typing.Final = (
    'active', 'paused', 'stopped', 'suspended', 'rescued')

_DEVICES: typing.Final = tables.pci_devices.c
_NODES: typing.Final = tables.compute_nodes.c
_INSTANCES: typing.Final = tables.instances.c
_EXTRA: typing.Final = tables.instance_extra.c
_MIGRATIONS: typing.Final = tables.migrations.c

_DEVICE_COLUMNS: typing.Final = (
    _DEVICES.id, _DEVICES.compute_node_id, _DEVICES.address,
    _DEVICES.vendor_id, _DEVICES.product_id, _DEVICES.dev_type,
    _DEVICES.status, _DEVICES.instance_uuid, _DEVICES.request_id,
    _DEVICES.numa_node, _DEVICES.parent_addr, _DEVICES.extra_info,
    _DEVICES.updated_at)

_Row = typing.TypeVar('_Row')


def count(connection: sa.engine.Connection) -> int:
    """Return how many compute nodes there are."""
    return int(connection.execute(
        sa.select(sa.func.count()).select_from(tables.compute_nodes).where(
            _NODES.deleted == 0)).scalar_one())


def load_names(
    connection: sa.engine.Connection,
) -> Sequence[tuple[int, str | None]]:
    """Return id and host of each compute node, deleted ones included.

    :param connection: to a cell's database; only read from
    """
    return [(node_id, host) for node_id, host in connection.execute(
        sa.select(_NODES.id, _NODES.host))]


def load(
    connection: sa.engine.Connection,
    node_ids: Iterable[int] | None = None,
) -> Iterator[facts.NodeFacts]:
    """Yield what concerns each compute node.

    What is yielded at a time is read in one transaction, which is over then.

    :param connection: to a cell's database; only read from
    :param node_ids: the compute nodes in question, None for all
    :raises sqlalchemy.exc.SQLAlchemyError: or what stands for it on this
        connection, when the database cannot answer
    """
    chunks = (_all_nodes(connection) if node_ids is None
              else _nodes_by_id(connection, sorted(node_ids)))
    for nodes in chunks:
        read = list(_load(connection, nodes))
        connection.rollback()
        yield from read


def orphans(
    connection: sa.engine.Connection,
    node_ids: Collection[int] | None = None,
) -> Iterator[facts.Orphan]:
    """Yield the devices whose compute node is gone.

    .. code-block:: sql

        SELECT d.*, n.host FROM pci_devices d
        LEFT OUTER JOIN compute_nodes n ON n.id = d.compute_node_id
        WHERE d.deleted = 0 AND (n.id IS NULL OR n.deleted <> 0)

    :param connection: to a cell's database; only read from
    :param node_ids: ids of the compute nodes that are gone, None for all
    """
    statement = sa.select(*_DEVICE_COLUMNS, _NODES.host).select_from(
        tables.pci_devices.outerjoin(
            tables.compute_nodes, _NODES.id == _DEVICES.compute_node_id)
    ).where(
        _DEVICES.deleted == 0,
        sa.or_(_NODES.id.is_(None), _NODES.deleted != 0),
    ).order_by(_DEVICES.id).limit(_ORPHANS_AT_ONCE)
    last = 0
    while found := [
            facts.Orphan(facts.Device(*columns), host)
            for *columns, host in connection.execute(
                statement.where(_DEVICES.id > last))]:
        connection.rollback()
        for row in found:
            if node_ids is None or row.device.compute_node_id in node_ids:
                yield row
        last = found[-1].device.id
    connection.rollback()


def twins(
    connection: sa.engine.Connection,
    node_ids: Collection[int] | None = None,
) -> Iterator[facts.Twin]:
    """Yield the devices of servers that their host has a second time.

    .. code-block:: sql

        SELECT d.*, n.host, twin.* FROM pci_devices d
        JOIN compute_nodes n ON n.id = d.compute_node_id
        JOIN instances i ON i.uuid = d.instance_uuid AND i.host = n.host
        JOIN compute_nodes other ON other.host = n.host AND other.id <> n.id
        JOIN pci_devices twin ON twin.compute_node_id = other.id
                                 AND twin.address = d.address
        WHERE d.deleted = 0 AND i.deleted = 0 AND other.deleted = 0
              AND twin.deleted = 0 AND d.compute_node_id IN (...)

    The list has the compute nodes, deleted or not, of hosts that have had
    more than one. Where such a node was archived nobody knows its host, so
    these rows are only orphans: an instance that was evacuated from a host
    that is gone can be on one with the same addresses.

    :param connection: to a cell's database; only read from
    :param node_ids: ids of the compute nodes with the devices in use, None
        for all
    """
    # Seldom any. The nodes of a host of Ironic are many, without devices.
    hosts = sa.select(_NODES.host).where(_NODES.host.is_not(None)).group_by(
        _NODES.host).having(
            sa.func.count() > 1, sa.func.min(_NODES.deleted) == 0)
    suspects = connection.scalars(
        sa.select(_NODES.id).where(_NODES.host.in_(hosts))).all()
    other = tables.compute_nodes.alias('other')
    twin = tables.pci_devices.alias('twin')
    statement = sa.select(
        *_DEVICE_COLUMNS, _NODES.host,
        *(twin.c[column.name] for column in _DEVICE_COLUMNS),
    ).select_from(tables.pci_devices.join(
        tables.compute_nodes, _NODES.id == _DEVICES.compute_node_id,
    ).join(tables.instances, sa.and_(
        _INSTANCES.uuid == _DEVICES.instance_uuid,
        _INSTANCES.host == _NODES.host,
    )).join(other, sa.and_(
        other.c.host == _NODES.host, other.c.id != _NODES.id,
    )).join(twin, sa.and_(
        twin.c.compute_node_id == other.c.id,
        twin.c.address == _DEVICES.address,
    ))).where(
        _DEVICES.deleted == 0, _INSTANCES.deleted == 0,
        other.c.deleted == 0, twin.c.deleted == 0,
        _DEVICES.status.not_in(facts.GONE),
        twin.c.status.not_in(facts.GONE),
        # Else it has been given to the same server once more.
        sa.or_(twin.c.instance_uuid.is_(None),
               twin.c.instance_uuid != _DEVICES.instance_uuid),
    ).order_by(_DEVICES.id, twin.c.id)
    yield from _read_in(
        connection, _twin, statement, _DEVICES.compute_node_id,
        [one for one in suspects if node_ids is None or one in node_ids])
    connection.rollback()


def _twin(*columns: typing.Any) -> facts.Twin:
    number = len(_DEVICE_COLUMNS)
    return facts.Twin(
        facts.Device(*columns[:number]), columns[number],
        facts.Device(*columns[number + 1:]))


def _all_nodes(
    connection: sa.engine.Connection,
) -> Iterator[list[facts.Node]]:
    last = 0
    while nodes := _read_nodes(connection, _NODES.id > last):
        yield nodes
        last = nodes[-1].id


def _nodes_by_id(
    connection: sa.engine.Connection, node_ids: Sequence[int],
) -> Iterator[list[facts.Node]]:
    for first in range(0, len(node_ids), _NODES_AT_ONCE):
        yield _read_nodes(connection, _NODES.id.in_(
            node_ids[first:first + _NODES_AT_ONCE]))


def _read_nodes(
    connection: sa.engine.Connection,
    which: sa.ColumnElement[bool],
) -> list[facts.Node]:
    statement = sa.select(
        _NODES.id, _NODES.host, _NODES.hypervisor_hostname, _NODES.pci_stats,
        _NODES.updated_at,
    ).where(_NODES.deleted == 0, which).order_by(_NODES.id).limit(
        _NODES_AT_ONCE)
    return [facts.Node(*row) for row in connection.execute(statement)]


def _load(
    connection: sa.engine.Connection, nodes: Sequence[facts.Node],
) -> Iterator[facts.NodeFacts]:
    """Yield what concerns each of some compute nodes."""
    devices = _group(
        _read_in(connection, facts.Device, sa.select(*_DEVICE_COLUMNS).where(
            _DEVICES.deleted == 0).order_by(_DEVICES.id),
            _DEVICES.compute_node_id, [node.id for node in nodes]),
        lambda device: device.compute_node_id)
    wanting = _group(
        _read_wanting(connection, nodes), lambda one: (one.host, one.node))
    owners = {device.instance_uuid for found in devices.values()
              for device in found if device.instance_uuid is not None}
    askers = {one.uuid for found in wanting.values() for one in found}
    instances = {
        instance.uuid: instance
        for instance in _read_instances(connection, owners)}
    holdings = _group(
        _read_holdings(connection, owners | askers),
        lambda held: held.instance_uuid)
    migrations = _group(
        _read_migrations(connection, owners | askers),
        lambda migration: migration.instance_uuid)
    for node in nodes:
        yield facts.NodeFacts(
            node, devices.get(node.id, ()), instances,
            wanting.get((node.host, node.hypervisor_hostname), ()),
            holdings, migrations)


def _read_wanting(
    connection: sa.engine.Connection, nodes: Sequence[facts.Node],
) -> Iterator[facts.Wanting]:
    """Yield the servers on some hosts that asked for devices.

    .. code-block:: sql

        SELECT i.uuid, i.host, i.node, e.pci_requests,
               i.vm_state, i.task_state
        FROM instances i JOIN instance_extra e ON e.instance_uuid = i.uuid
        WHERE i.deleted = 0 AND e.deleted = 0
              AND e.pci_requests LIKE '%"count"%' AND i.host IN (...)
    """
    statement = sa.select(
        _INSTANCES.uuid, _INSTANCES.host, _INSTANCES.node,
        _EXTRA.pci_requests, _INSTANCES.vm_state, _INSTANCES.task_state,
    ).select_from(tables.instances.join(
        tables.instance_extra, _EXTRA.instance_uuid == _INSTANCES.uuid)
    ).where(
        _INSTANCES.deleted == 0, _EXTRA.deleted == 0,
        # Those that asked for none have an empty list.
        _EXTRA.pci_requests.contains('"count"'))
    return _read_in(
        connection, _wanting, statement, _INSTANCES.host,
        {node.host for node in nodes if node.host is not None})


def _wanting(
    uuid: str, host: str | None, node: str | None, pci_requests: str,
    vm_state: str | None, task_state: str | None,
) -> facts.Wanting:
    return facts.Wanting(
        uuid, host, node, pci_requests,
        task_state is None and vm_state in _AT_REST)


def _read_instances(
    connection: sa.engine.Connection, uuids: Iterable[str],
) -> Iterator[facts.Instance]:
    """Yield the instances, deleted or not, and what they asked for."""
    return _read_in(
        connection, facts.Instance, sa.select(
            _INSTANCES.uuid, _INSTANCES.host, _INSTANCES.node,
            _INSTANCES.deleted, _EXTRA.pci_requests,
        ).select_from(_with_live(
            tables.instances, tables.instance_extra,
            _EXTRA.instance_uuid == _INSTANCES.uuid)),
        _INSTANCES.uuid, uuids)


def _read_holdings(
    connection: sa.engine.Connection, uuids: Iterable[str],
) -> Iterator[facts.Holding]:
    """Yield the devices of some instances, on whatever host."""
    return _read_in(
        connection, facts.Holding, sa.select(
            _DEVICES.id, _DEVICES.instance_uuid, _DEVICES.request_id,
            _NODES.host, _NODES.hypervisor_hostname,
        ).select_from(_with_live(
            tables.pci_devices, tables.compute_nodes,
            _NODES.id == _DEVICES.compute_node_id)
        ).where(_DEVICES.deleted == 0), _DEVICES.instance_uuid, uuids)


def _with_live(
    table: sa.Table, other: sa.Table, belongs: sa.ColumnElement[bool],
) -> sa.Join:
    """Join all rows of a table with those of another not deleted."""
    return table.outerjoin(other, sa.and_(belongs, other.c.deleted == 0))


def _read_migrations(
    connection: sa.engine.Connection, instance_uuids: Iterable[str],
) -> Iterator[facts.Migration]:
    """Yield the moves of some instances that have not ended.

    An evacuation that is done waits for the source to come back and free
    what it has (nova.compute.manager, _destroy_evacuated_instances).
    """
    statement = sa.select(
        _MIGRATIONS.instance_uuid, _MIGRATIONS.source_compute,
        _MIGRATIONS.source_node, _MIGRATIONS.dest_compute,
        _MIGRATIONS.dest_node,
    ).where(
        _MIGRATIONS.deleted == 0,
        sa.or_(
            _MIGRATIONS.status.not_in(_ENDED),
            sa.and_(
                _MIGRATIONS.status == 'done',
                # An enumeration in Nova's schema.
                sa.cast(_MIGRATIONS.migration_type, sa.String(255))
                == 'evacuation')))
    return _read_in(
        connection, facts.Migration, statement, _MIGRATIONS.instance_uuid,
        instance_uuids)


def _read_in(
    connection: sa.engine.Connection,
    make: typing.Callable[..., _Row],
    statement: sa.Select[typing.Any],
    column: sa.ColumnElement[typing.Any],
    values: Iterable[typing.Any],
) -> Iterator[_Row]:
    """Yield the rows with any of these values in a column."""
    listed = sorted(values)
    for first in range(0, len(listed), _VALUES_PER_LIST):
        part = listed[first:first + _VALUES_PER_LIST]
        for row in connection.execute(statement.where(column.in_(part))):
            yield make(*row)


def _group(
    rows: Iterable[_Row], key: typing.Callable[[_Row], typing.Any],
) -> dict[typing.Any, list[_Row]]:
    groups: dict[typing.Any, list[_Row]] = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)
