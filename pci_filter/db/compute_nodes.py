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

import sqlalchemy as sa

from pci_filter.db import tables
from pci_filter import model


def load(connection: sa.engine.Connection) -> list[model.ComputeNode]:
    """Return the compute nodes of a cell that are not deleted.

    :param connection: to the cell's database; only read from
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    nodes = tables.compute_nodes.c
    statement = sa.select(
        nodes.uuid, nodes.host, nodes.hypervisor_hostname, nodes.pci_stats,
    ).where(nodes.deleted == 0).order_by(nodes.id)
    return [
        model.ComputeNode(uuid, host, nodename, summary)
        for uuid, host, nodename, summary in connection.execute(statement)]
