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

"""Read compute nodes and their summaries where Nova has not done so."""

from __future__ import annotations

from collections.abc import Sequence
import typing

import sqlalchemy as sa

from pci_filter.db import tables
from pci_filter import model


def load(
    connection: sa.engine.Connection, node_uuids: Sequence[str] | None = None,
) -> list[model.ComputeNode]:
    """Return compute nodes of a cell that are not deleted.

    :param connection: to the cell's database; only read from
    :param node_uuids: those asked for; None for all
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    statement = _select(tables.compute_nodes.c.pci_stats)
    if node_uuids is not None:
        statement = statement.where(
            tables.compute_nodes.c.uuid.in_(node_uuids))
    return [
        model.ComputeNode(uuid, host, nodename, summary)
        for uuid, host, nodename, summary in connection.execute(statement)]


def load_names(connection: sa.engine.Connection) -> list[model.ComputeNode]:
    """Return all compute nodes of a cell, without the summaries.

    For ten thousand hosts these can be a hundred megabytes.

    :param connection: to the cell's database; only read from
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    return [model.ComputeNode(*row) for row in connection.execute(_select())]


def _select(
    *more: sa.ColumnElement[typing.Any],
) -> sa.Select[typing.Any]:
    nodes = tables.compute_nodes.c
    return sa.select(
        nodes.uuid, nodes.host, nodes.hypervisor_hostname, *more,
    ).where(
        nodes.deleted == 0,
        # Nova schedules to none without them, but its schema allows that.
        nodes.uuid.is_not(None), nodes.host.is_not(None),
    ).order_by(nodes.id)
