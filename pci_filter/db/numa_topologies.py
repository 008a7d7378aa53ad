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

"""Read the NUMA topologies of compute nodes, as far as devices go."""

from __future__ import annotations

from collections.abc import Sequence
import json
import typing

import sqlalchemy as sa

from pci_filter.db import tables


class HostCell(typing.NamedTuple):
    """A NUMA node of a host.

    :param id: its number
    :param socket: number of its socket, None if the host does not tell
    """

    id: int
    socket: int | None


class HostTopology(typing.NamedTuple):
    """What nova.objects.NUMATopology is asked for here.

    :param cells: the NUMA nodes
    """

    cells: Sequence[HostCell]


def load(
    connection: sa.engine.Connection, node_uuids: Sequence[str],
) -> dict[str, HostTopology]:
    """Return the topologies of compute nodes by their UUID.

    Nodes without one, or with one that cannot be read, are missing.

    :param connection: to the cell's database; only read from
    :param node_uuids: the compute nodes asked for
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    nodes = tables.compute_nodes.c
    statement = sa.select(nodes.uuid, nodes.numa_topology).where(
        nodes.deleted == 0, nodes.uuid.in_(node_uuids))
    return {
        uuid: topology for uuid, text in connection.execute(statement)
        if text and (topology := _parse(text))}


def _parse(text: str) -> HostTopology | None:
    """Read a serialized nova.objects.NUMATopology."""
    try:
        cells = json.loads(text)['nova_object.data']['cells']
        return HostTopology([
            HostCell(data['id'], data.get('socket'))
            for data in (cell['nova_object.data'] for cell in cells)])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
