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

from collections.abc import Mapping
from collections.abc import Sequence
import enum
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

#: What ``[pci]device_spec`` says of a device beyond identifying it.
Tags = Mapping[str, object]


class ComputeNode(typing.NamedTuple):
    """The compute node whose devices are asked for.

    :param uuid: ``compute_nodes.uuid``
    :param host: name of the nova-compute service
    :param nodename: ``compute_nodes.hypervisor_hostname``
    :param summary: the pools of ``compute_nodes.pci_stats`` as dicts; None
        when there is no readable summary. Only tags are ever taken from it.
    """

    uuid: str
    host: str
    nodename: str
    summary: Sequence[Mapping[str, object]] | None = None


class DeviceGroup(typing.NamedTuple):
    """Devices of one compute node which their rows cannot tell apart.

    :param node_uuid: compute node that the devices belong to
    :param vendor_id: as in the rows, four hex digits
    :param product_id: as in the rows, four hex digits
    :param numa_node: host NUMA node, None when the host does not tell
    :param dev_type: ``type-PCI``, ``type-PF``, ``type-VF`` or ``vdpa``
    :param address: parent address of the devices, or the device's own where
        it has no parent: devices that share it are one physical function
    :param parent_ifname: netdev of the physical function, None if unknown
    :param device_address: own address of the only device in the group; None
        unless the rows were read device by device
    :param count: how many devices are available
    :param first_address: lowest own address of an available one, if any
    :param rp_uuids: lowest and highest placement resource provider among the
        devices: equal, or None where no device has one
    :param has_card_serial: whether the only device in the group tells the
        serial number of its card; None unless read device by device
    :param in_use: how many more are claimed or allocated
    """

    node_uuid: str
    vendor_id: str
    product_id: str
    numa_node: int | None
    dev_type: str
    address: str
    parent_ifname: str | None
    device_address: str | None
    count: int  # type: ignore[assignment]  # tuples have a count() too
    first_address: str | None
    rp_uuids: tuple[str | None, str | None]
    has_card_serial: bool | None = None
    in_use: int = 0

    @property
    def rp_uuid(self) -> str | None:
        """The provider of the group; None if unknown or contradictory."""
        low, high = self.rp_uuids
        return low if low == high else None
