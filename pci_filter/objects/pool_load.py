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

from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import operator
import re
import typing

from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter.tags import pci_devices

if typing.TYPE_CHECKING:
    from pci_filter.tags import base

Groups = Mapping[model.DeviceKind, model.DeviceGroup]

#: What tells pools apart but for their tags.
_BASE: typing.Final = operator.attrgetter(
    'kind.vendor_id', 'kind.product_id', 'kind.numa_node', 'kind.dev_type',
    'kind.address')


#: A provider in the text of a summary.
_PROVIDER: typing.Final = re.compile('"rp_uuid": "([^"]*)"')


class Made(typing.NamedTuple):
    """What was made of the devices of one compute node.

    :param pools: its pools
    :param unknown: the groups of available devices whose tags no source knows
    :param stored_tags: what became of the tags in its rows
    """

    pools: list[matching.PciDevicePool]
    unknown: list[model.DeviceGroup]
    stored_tags: model.StoredTags = model.StoredTags.NONE


class PoolMaker:
    """Makes pools of the device groups of many compute nodes.

    What the tag sources tell of a kind of devices is asked once for all nodes
    that they cannot tell apart, so one serves one request only.

    :param tag_sources: who knows the devices' tags, first one first
    :param providers: whether the placement resource providers matter
    """

    def __init__(
        self, tag_sources: Sequence[base.TagSource], providers: bool = True,
    ) -> None:
        self._sources = tag_sources
        self._providers = providers
        self._kinds: dict[
            tuple[base.Lookup, ...],
            dict[model.DeviceKind, matching.PoolKind | None]] = {}
        self._stored_tags: dict[
            tuple[tuple[base.Lookup, ...], frozenset[model.DeviceKind]],
            model.StoredTags] = {}

    def make(self, node: model.ComputeNode, groups: Groups) -> Made:
        """Add the tags to the device groups of one compute node.

        :param node: the compute node
        :param groups: its devices
        """
        lookups = tuple(source.for_node(node) for source in self._sources)
        stored_tags = self._judge(node, groups, lookups)
        if stored_tags is model.StoredTags.STALE:
            lookups = tuple(
                lookup for source, lookup in zip(self._sources, lookups)
                if not source.stored_tags)
        kinds = self._kinds.setdefault(lookups, {})
        told = self._told_providers(node, groups, stored_tags)
        pools: list[matching.PciDevicePool] = []
        unknown: list[model.DeviceGroup] = []
        has_pf = False
        for group in groups.values():
            if group.kind.dev_type == pool_module.PF:
                has_pf = True
            if not group.available:
                continue
            try:
                kind = kinds[group.kind]
            except KeyError:
                kind = kinds[group.kind] = _pool_kind(group.kind, lookups)
            if kind is None:
                unknown.append(group)
            else:
                pools.append(matching.PciDevicePool(
                    kind, group.available,
                    self._rp_uuid(node, group, told),
                    group.first_address or ''))
        if has_pf:
            pools = pool_module.mark_blocked(pools, {
                (group.kind.address, group.kind.dev_type)
                for group in groups.values() if group.in_use})
        return Made(_merged(pools), unknown, stored_tags)

    def _judge(
        self, node: model.ComputeNode, groups: Groups,
        lookups: tuple[base.Lookup, ...],
    ) -> model.StoredTags:
        """Find out which nova-compute keeps the rows of a node.

        Asked once for all nodes that the sources cannot tell apart.
        """
        kinds = frozenset(
            kind for kind in groups if kind.stored_tags is not None)
        if not kinds:
            return model.StoredTags.NONE
        found = self._stored_tags.get((lookups, kinds))
        if found is None:
            stored = [
                (kind, tags) for kind in kinds
                if (tags := pci_devices.stored_tags(kind)) is not None]
            found = model.StoredTags.STALE if any(
                source.denies_stored_tags(node, stored)
                for source in self._sources) else model.StoredTags.CURRENT
            self._stored_tags[lookups, kinds] = found
        return found

    def _told_providers(
        self, node: model.ComputeNode, groups: Groups,
        stored_tags: model.StoredTags,
    ) -> Container[str] | None:
        """Return the providers that rows can tell; None for any.

        Our tracker saves a provider that was made anew, so what its rows tell
        is true. Nova's own changes it in memory and in the summary; the rows
        follow late, one by one, or never. Where the summary has none that the
        rows do not have, and they one for each address, none was made anew,
        for a provider never goes over to another device: then what they tell
        is true as far as the summary has it as well. To find that out costs a
        tenth of what it costs to parse the summary, and of nearly all hosts
        that is enough.

        Refused: to believe any that the summary has as well. It has an old
        one, too, while devices that are all in use have been a pool.
        """
        if stored_tags is model.StoredTags.CURRENT or not self._providers:
            return None
        if not isinstance(node.summary, str):
            return ()
        in_summary = frozenset(_PROVIDER.findall(node.summary))
        in_rows: dict[str, str] = {}
        for group in groups.values():
            for rp_uuid in group.rp_uuids:
                if in_rows.setdefault(group.kind.address, rp_uuid) != rp_uuid:
                    return ()
        return in_summary if in_summary.issubset(in_rows.values()) else ()

    def _rp_uuid(
        self, node: model.ComputeNode, group: model.DeviceGroup,
        told: Container[str] | None,
    ) -> str | None:
        """Return the provider of a group.

        :param told: the providers that rows can tell; None for any
        """
        if not self._providers:
            return None
        rp_uuid = group.rp_uuid
        if group.rp_uuids and (told is None or rp_uuid in told):
            return rp_uuid
        for source in self._sources:
            known = source.rp_uuid(node, group.kind)
            if known is not None:
                return known
        return rp_uuid


def _pool_kind(
    kind: model.DeviceKind, lookups: Iterable[base.Lookup],
) -> matching.PoolKind | None:
    """Return what pool the devices make, None if nobody knows their tags."""
    found = find_tags(kind, lookups)
    if found is None:
        return None
    return matching.PoolKind(
        kind.vendor_id, kind.product_id, kind.numa_node, kind.dev_type,
        kind.address, pool_module.complete_tags(
            found[1], kind.dev_type, kind.parent_ifname))


def find_tags(
    kind: model.DeviceKind, lookups: Iterable[base.Lookup],
) -> tuple[int, model.Tags] | None:
    """Return which look-up decides, and the tags; None if nobody knows them.

    The first source that knows all of the tags decides, else the first that
    knows of the devices at all.
    """
    best: tuple[int, model.Tags] | None = None
    for number, lookup in enumerate(lookups):
        tags = lookup(kind)
        if tags is not None and (best is None or (
                model.UNKNOWN in best[1].values()
                and model.UNKNOWN not in tags.values())):
            best = number, tags
    return best


def _merged(
    pools: Iterable[matching.PciDevicePool],
) -> list[matching.PciDevicePool]:
    """Join what turned out to be alike once the tags were known.

    nova-compute goes through its devices by address, and puts each into the
    first pool that has all the tags of the device and as many of its own; a
    tag that is null counts as one that is missing (nova.pci.stats,
    _find_pool).
    """
    pools = list(pools)
    if len(set(map(_BASE, pools))) == len(pools):
        return pools
    alike: dict[tuple[object, ...], list[list[matching.PciDevicePool]]] = {}
    for pool in sorted(pools, key=lambda pool: pool.first_address):
        found = alike.setdefault((*_BASE(pool), len(pool.tags)), [])
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
    return dataclasses.replace(
        pools[0],
        count=sum(pool.count for pool in pools),
        rp_uuid=model.agreed_provider(pool.rp_uuid for pool in pools))
