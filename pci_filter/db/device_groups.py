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

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import typing

import sqlalchemy as sa

from pci_filter.db import extra_info
from pci_filter.db import group_statement
from pci_filter.db import node_lists
from pci_filter import model

_NONE: typing.Final[frozenset[str]] = frozenset()

#: With a smaller part of a cell's compute nodes it costs less to find their
#: devices by an index than to read all devices: MariaDB takes 150 ms for half
#: of 128,000 devices by it, and 185 ms for all as they are stored.
_BY_INDEX: typing.Final = 3 / 5

#: Compute nodes from which on it pays to find out what part they are.
_MANY: typing.Final = 64

#: The groups of a compute node by their kind.
Groups = dict[model.DeviceKind, model.DeviceGroup]


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
        returned. More than ``node_lists.PER_STATEMENT`` take more statements.
    :param by_device: a kind of its own for each available device, with its
        own address
    :param providers: whether to read the placement resource providers, which
        costs MariaDB a quarter more
    :param stored_tags: whether to read the tags that our tracker stored
    :param if_idle: count all as available that would be without instances
    :returns: the groups by node UUID and kind; nodes without any are missing
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    :raises ValueError: if the schema is not Nova's
    """
    kinds = _Kinds(by_device, stored_tags)
    loaded: dict[str, Groups] = {}
    asked = frozenset(node_uuids)
    for lists, bound in _parts(connection, node_uuids):
        for row in connection.execute(
                group_statement.statement(
                    by_device, providers, stored_tags, if_idle, len(lists),
                    in_range=bool(bound and not lists)), bound):
            uuid, available, first_address, total, text, *provider = row
            if uuid not in asked:
                continue
            kind = kinds[text]
            group = model.DeviceGroup(
                kind, available, first_address, total - available,
                _providers(*provider) if provider else _NONE)
            groups = loaded.setdefault(uuid, {})
            groups[kind] = _joined(groups[kind], group) if (
                kind in groups) else group
    return loaded


def _parts(
    connection: sa.engine.Connection, node_uuids: Sequence[str],
) -> Iterator[tuple[node_lists.Lists, Mapping[str, object]]]:
    """Yield the lists of each statement, and what is to be bound.

    With most nodes of a cell there are no lists, but ranges of devices if
    there are so many nodes that a server would put the groups of all of them
    on its disk: of 4,000 hosts MariaDB did, and took a fifth longer.
    """
    nodes = len(frozenset(node_uuids))
    if nodes < _MANY or (
            nodes < _BY_INDEX * node_lists.number_of_nodes(connection)):
        for lists in node_lists.split(node_uuids):
            yield lists, node_lists.parameters(lists)
        return
    for bound in node_lists.device_ranges(connection, nodes) or ({},):
        yield (), bound


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
            plain, _, stored_tags = plain.rpartition(
                group_statement.LINE_BREAK)
        vendor_id, product_id, node, dev_type, address, *device, ifname = (
            plain.split(
                group_statement.SEPARATOR, 7 if self._by_device else 5))
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
