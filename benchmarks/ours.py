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

"""What the benchmark uses of this package beneath its filter."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import nova.conf
import sqlalchemy as sa

from pci_filter import conf
from pci_filter.db import compute_nodes
from pci_filter import model
from pci_filter import objects
from pci_filter.tags import base


def tag_sources() -> list[base.TagSource]:
    """Make the tag sources that are the default."""
    conf.register_opts(nova.conf.CONF)
    return base.load(nova.conf.CONF.pci_filter)


def nodes(
    connection: sa.Connection, uuids: Iterable[str],
) -> list[model.ComputeNode]:
    """Read compute nodes, which in a request Nova has done.

    :param connection: to the cell's database
    :param uuids: which ones, in the order they are returned in
    """
    known = {node.uuid: node for node in compute_nodes.load(connection)}
    return [known[uuid] for uuid in uuids]


def pools(
    connection: sa.Connection, of: Sequence[model.ComputeNode],
    sources: Sequence[base.TagSource],
) -> Mapping[str, objects.PciDevicePoolList]:
    """Load the pools of compute nodes, keyed by their UUIDs."""
    return objects.PciDevicePoolList.get_all(connection, of, sources)
