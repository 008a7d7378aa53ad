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

"""The plain data that the layers hand to each other."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import enum
import sys
import typing


class Unknown(enum.Enum):
    """The one value of a tag that is known to differ within a device group.

    It equals nothing that a request can ask for, ``None`` included, so a
    device whose tag is unknown is never handed out for that tag.
    """

    UNKNOWN = 'unknown'

    def __repr__(self) -> str:
        return '<unknown>'


UNKNOWN: typing.Final = Unknown.UNKNOWN

#: The key in ``pci_devices.extra_info`` under which our tracker stores the
#: tags of a device; the first one there.
STORED_TAGS_KEY: typing.Final = 'pci_filter_tags'

#: How many bytes of them are read, the escapes of JSON within JSON included.
STORED_TAGS_LENGTH: typing.Final = 400

#: What makes a dataclass small and quick; its objects still have a
#: ``__dict__`` on Python 3.9, where a dataclass cannot make its slots.
SLOTS: typing.Final[dict[str, bool]] = (
    {'slots': True} if sys.version_info >= (3, 10) else {})

#: What ``[pci]device_spec`` says of a device beyond identifying it.
Tags = Mapping[str, object]


class StoredTags(enum.Enum):
    """What became of the tags that our tracker stores in the rows of a host.

    They tell which nova-compute runs there: that of this package, which keeps
    them up to date, or Nova's own, which leaves the rows as they are.
    """

    NONE = 'none'
    CURRENT = 'current'
    #: Left in the rows, and the summary says otherwise.
    STALE = 'stale'


class ComputeNode(typing.NamedTuple):
    """The compute node whose devices are asked for.

    :param uuid: ``compute_nodes.uuid``
    :param host: name of the nova-compute service
    :param nodename: ``compute_nodes.hypervisor_hostname``
    :param summary: ``compute_nodes.pci_stats``, the text or its pools as
        dicts; None when there is none. Only tags are ever taken from it, and
        providers that the rows lack or were not told of.
    """

    uuid: str
    host: str
    nodename: str
    summary: str | Sequence[Mapping[str, object]] | None = None


@dataclasses.dataclass(frozen=True, eq=False, **SLOTS)
class DeviceKind:
    """What the rows of devices say that does not change with their use.

    Kinds are made once per load: two that say the same are one object.

    :param vendor_id: as in the rows, four hex digits
    :param product_id: as in the rows, four hex digits
    :param numa_node: host NUMA node, None when the host does not tell
    :param dev_type: ``type-PCI``, ``type-PF``, ``type-VF`` or ``vdpa``
    :param address: parent address of the devices, or the device's own where
        it has no parent: devices that share it are one physical function
    :param parent_ifname: netdev of the physical function, None if unknown
    :param device_address: own address of the only device of the kind; None
        unless the rows were read device by device
    :param has_card_serial: whether the only device of the kind tells the
        serial number of its card; None unless read device by device
    :param stored_tags: the tags that our tracker stored with the devices, as
        JSON within JSON; None if there are none or nobody asked
    """

    vendor_id: str
    product_id: str
    numa_node: int | None
    dev_type: str
    address: str
    parent_ifname: str | None = None
    device_address: str | None = None
    has_card_serial: bool | None = None
    stored_tags: str | None = None


class DeviceGroup(typing.NamedTuple):
    """Devices of one kind on one compute node.

    :param kind: what they are
    :param available: how many are available
    :param first_address: lowest own address of an available one, if any
    :param in_use: how many more are claimed or allocated
    :param rp_uuids: the placement resource providers that their rows name;
        empty if none does or nobody asked
    """

    kind: DeviceKind
    available: int
    first_address: str | None
    in_use: int = 0
    rp_uuids: frozenset[str] = frozenset()

    @property
    def rp_uuid(self) -> str | None:
        """The provider of the group; None if unknown or contradictory."""
        # agreed_provider() would tell the same in twice the time, and this is
        # asked for each group of each host of a request.
        return next(iter(self.rp_uuids)) if len(self.rp_uuids) == 1 else None


def agreed_provider(rp_uuids: Iterable[str | None]) -> str | None:
    """Return the provider that all name who name one at all.

    :param rp_uuids: the placement resource providers, None where unknown
    :returns: None if nobody names one, or if they name different ones
    """
    named = set(rp_uuids) - {None}
    return named.pop() if len(named) == 1 else None
