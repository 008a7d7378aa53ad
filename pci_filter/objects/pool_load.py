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

"""From device groups in the database to pools."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import typing

from pci_filter.db import device_groups
from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import model

if typing.TYPE_CHECKING:
    import sqlalchemy as sa

    from pci_filter.tags import base

Groups = dict[str, list[model.DeviceGroup]]


def load_groups(
    connection: sa.engine.Connection,
    nodes: Sequence[model.ComputeNode],
    tag_sources: Sequence[base.TagSource],
) -> Groups:
    """Read the devices of some compute nodes of one cell.

    :param connection: to the cell's database
    :param nodes: the compute nodes asked about
    :param tag_sources: decide whether devices have to be told apart
    :returns: the device groups of each node, keyed by its UUID
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    groups: Groups = {node.uuid: [] for node in nodes}
    by_device = any(source.by_device for source in tag_sources)
    for group in device_groups.load(connection, list(groups), by_device):
        groups[group.node_uuid].append(group)
    return groups


def make_pools(
    node: model.ComputeNode,
    groups: Sequence[model.DeviceGroup],
    tag_sources: Sequence[base.TagSource],
) -> tuple[list[matching.PciDevicePool], list[model.DeviceGroup]]:
    """Add the tags to the device groups of one compute node.

    :param node: the compute node
    :param groups: its devices
    :param tag_sources: who knows the devices' tags, first one first
    :returns: the pools, and the groups of available devices that no source
        knows
    """
    lookups = [source.for_node(node) for source in tag_sources]
    in_use = {(group.address, group.dev_type == pool_module.PF)
              for group in groups if group.in_use}
    pools: list[matching.PciDevicePool] = []
    unknown: list[model.DeviceGroup] = []
    for group in groups:
        if not group.count:
            continue
        tags, rp_uuid = _know(group, lookups)
        if tags is None:
            unknown.append(group)
            continue
        is_pf = group.dev_type == pool_module.PF
        pools.append(matching.PciDevicePool(
            vendor_id=group.vendor_id,
            product_id=group.product_id,
            numa_node=group.numa_node,
            dev_type=group.dev_type,
            address=group.address,
            count=group.count,
            tags=pool_module.complete_tags(
                tags, group.dev_type, group.parent_ifname),
            rp_uuid=rp_uuid,
            first_address=group.first_address or '',
            blocked=(group.address, not is_pf) in in_use))
    return _merged(pools), unknown


def _know(
    group: model.DeviceGroup, lookups: Iterable[base.Lookup],
) -> tuple[model.Tags | None, str | None]:
    """Return the tags and the resource provider of a device group.

    The first source that knows all of the tags decides, else the first that
    knows of the group at all. The rows decide about the provider; those
    written before the device was reported to placement lack it, but a source
    may have it.
    """
    best: model.Tags | None = None
    rp_uuid = group.rp_uuid
    for lookup in lookups:
        tags = lookup(group)
        if tags is None:
            continue
        if group.rp_uuids == (None, None) and rp_uuid is None:
            found = tags.get('rp_uuid')
            rp_uuid = found if isinstance(found, str) else None
        if best is None or (
                model.UNKNOWN in best.values()
                and model.UNKNOWN not in tags.values()):
            best = tags
    return best, rp_uuid


def _merged(
    pools: Iterable[matching.PciDevicePool],
) -> list[matching.PciDevicePool]:
    """Join what turned out to be alike once the tags were known.

    nova-compute goes through its devices by address, and puts each into the
    first pool that has all the tags of the device and as many of its own; a
    tag that is null counts as one that is missing (nova.pci.stats,
    _find_pool).
    """
    alike: dict[tuple[object, ...], list[list[matching.PciDevicePool]]] = {}
    for pool in sorted(pools, key=lambda pool: pool.first_address):
        found = alike.setdefault((
            pool.vendor_id, pool.product_id, pool.numa_node, pool.dev_type,
            pool.address, len(pool.tags)), [])
        for same in found:
            tags = same[0].tags
            if all(tags.get(key) == tag for key, tag in pool.tags.items()):
                same.append(pool)
                break
        else:
            found.append([pool])
    return [
        same[0] if len(same) == 1 else _joined(same)
        for found in alike.values() for same in found]


def _joined(pools: Sequence[matching.PciDevicePool]) -> matching.PciDevicePool:
    """Return one pool with the devices of all, the first one's otherwise.

    If their providers differ it has none: placement's allocation could not
    be followed there.
    """
    rp_uuids = {pool.rp_uuid for pool in pools} - {None}
    return dataclasses.replace(
        pools[0],
        count=sum(pool.count for pool in pools),
        rp_uuid=rp_uuids.pop() if len(rp_uuids) == 1 else None)
