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

"""Which devices have tags, from where, and who needs the summary for it."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import typing

from pci_filter.db import compute_nodes
from pci_filter.db import device_groups
from pci_filter import model
from pci_filter.objects import pool_load
from pci_filter.tags import base
from pci_filter.tags import pci_devices
from pci_filter.tags import pci_stats

if typing.TYPE_CHECKING:
    import sqlalchemy as sa

#: Compute nodes that are read at a time: the summaries of ten thousand can be
#: a hundred megabytes.
_NODES: typing.Final = 500


class TagCoverage:
    """What the tag sources know of the devices in some cells.

    :param sources: the tag sources by name, first one first
    :param providers: whether the placement resource providers matter
    :ivar known: how many groups of available devices have their tags from
        which source
    :ivar divided: how many of them have a tag that differs within the group,
        nobody knows how, by host
    :ivar unknown: how many groups of available devices no source knows, by
        host
    :ivar stale: how many kinds of devices have tags in their rows that the
        summary denies, by host
    :ivar hosts: those that have devices
    :ivar hosts_without_summary: those of them that have no summary
    :ivar hosts_in_need: those of them that would lack tags or providers of
        some device, in use or not, if they had no summary
    """

    def __init__(
        self, sources: Mapping[str, base.TagSource], providers: bool,
    ) -> None:
        self._names = list(sources)
        self._sources = list(sources.values())
        self._needs = base.needs(self._sources)
        self._providers = providers
        self.known: collections.Counter[str] = collections.Counter()
        self.divided: collections.Counter[str] = collections.Counter()
        self.unknown: collections.Counter[str] = collections.Counter()
        self.stale: collections.Counter[str] = collections.Counter()
        self.hosts: set[str] = set()
        self.hosts_without_summary: set[str] = set()
        self.hosts_in_need: set[str] = set()

    def add_cell(self, connection: sa.engine.Connection) -> None:
        """Add what there is in a cell.

        :param connection: to the cell's database; only read from. Its
            transaction is ended whenever some nodes have been read
        :raises sqlalchemy.exc.SQLAlchemyError: when it cannot answer
        """
        uuids = [node.uuid for node in compute_nodes.load_names(connection)]
        for first in range(0, len(uuids), _NODES):
            some = uuids[first:first + _NODES]
            free, idle = (
                device_groups.load(
                    connection, some, self._needs.by_device, self._providers,
                    self._needs.stored_tags, if_idle)
                for if_idle in (False, True))
            nodes = compute_nodes.load(connection, some)
            # No transaction is open for longer than some statements take.
            connection.rollback()
            for node in nodes:
                self._add_available(node, free.get(node.uuid, {}))
                self._add_idle(node, idle.get(node.uuid, {}))
                self._add_stale(node, idle.get(node.uuid, {}).values())

    def _add_available(
        self, node: model.ComputeNode, groups: device_groups.Groups,
    ) -> None:
        """Count what the scheduler finds out now."""
        lookups = self._lookups(node)
        for group in groups.values():
            if group.available:
                found = pool_load.find_tags(group.kind, lookups)
                if found is None:
                    self.unknown[node.host] += 1
                    continue
                number, tags = found
                self.known[self._names[number]] += 1
                if model.UNKNOWN in tags.values():
                    self.divided[node.host] += 1

    def _add_idle(
        self, node: model.ComputeNode, groups: device_groups.Groups,
    ) -> None:
        """Find out what would be missing without the summary.

        Devices in use count too: when they are free again, their tags are to
        be known.
        """
        if not groups:
            return
        self.hosts.add(node.host)
        if node.summary is None:
            self.hosts_without_summary.add(node.host)
        bare = node._replace(summary=None)
        lookups = self._lookups(bare)
        for group in groups.values():
            found = pool_load.find_tags(group.kind, lookups)
            if found is None or model.UNKNOWN in found[1].values() or (
                    self._needs_provider(node, bare, group)):
                self.hosts_in_need.add(node.host)
                return

    def _add_stale(
        self, node: model.ComputeNode, groups: Iterable[model.DeviceGroup],
    ) -> None:
        """Count what our tracker left behind when it left the host.

        The audit finds the same as ``tags-stale``.
        """
        number = pci_stats.denied(node, [
            (group.kind, tags) for group in groups
            if (tags := pci_devices.stored_tags(group.kind)) is not None])
        if number:
            self.stale[node.host] += number

    def _lookups(self, node: model.ComputeNode) -> list[base.Lookup]:
        return [source.for_node(node) for source in self._sources]

    def _needs_provider(
        self, node: model.ComputeNode, bare: model.ComputeNode,
        group: model.DeviceGroup,
    ) -> bool:
        """Tell whether only the summary knows the provider of a group."""
        if not self._providers or group.rp_uuids:
            return False
        with_summary, without = (
            any(source.rp_uuid(one, group.kind) for source in self._sources)
            for one in (node, bare))
        return with_summary and not without
