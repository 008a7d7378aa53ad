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

"""What the databases say about the devices of compute nodes.

Plain data, as the rows have it; who reads it is ``pci_filter.db.audit_facts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import functools
import json
import typing

from pci_filter import model

PF: typing.Final = 'type-PF'

#: Device types that are carved out of a physical function.
FUNCTIONS: typing.Final = frozenset(('type-VF', 'vdpa'))

AVAILABLE: typing.Final = 'available'

#: An instance has the device.
IN_USE: typing.Final = frozenset(('claimed', 'allocated'))

#: Nobody has the device, but a relative of it is in use.
BLOCKED: typing.Final = frozenset(('unclaimable', 'unavailable'))

#: Nova takes such a device for one that is no longer there.
GONE: typing.Final = frozenset(('removed', 'deleted'))

#: What nova.objects.fields.PciDeviceStatus knows.
STATUSES: typing.Final = frozenset((AVAILABLE, *IN_USE, *BLOCKED, *GONE))

#: What the rows and the summary both know of a pool.
PoolKey = tuple[object, ...]


class Device(typing.NamedTuple):
    """A row of ``pci_devices`` that is not deleted; the columns of Nova.

    :param updated: when the row was written last, in UTC, None if never since
    """

    id: int
    compute_node_id: int
    address: str
    vendor_id: str
    product_id: str
    dev_type: str
    status: str
    instance_uuid: str | None
    request_id: str | None
    numa_node: int | None
    parent_addr: str | None
    extra_info: str | None
    updated: datetime.datetime | None

    @property
    def family(self) -> str:
        """The address that it has in common with its relatives."""
        return self.parent_addr or self.address

    @property
    def pool(self) -> PoolKey:
        """What pool of the summary the device belongs to, but for tags."""
        return (self.vendor_id, self.product_id, self.numa_node,
                self.dev_type, self.family)


class Node(typing.NamedTuple):
    """A row of ``compute_nodes`` that is not deleted; the columns of Nova.

    :param updated: when the row was written last, None if never since
    """

    id: int
    host: str | None
    hypervisor_hostname: str | None
    pci_stats: str | None
    updated: datetime.datetime | None = None


class Instance(typing.NamedTuple):
    """A row of ``instances``, deleted or not; the columns of Nova.

    :param pci_requests: JSON, as ``instance_extra`` has it, if it has any
    """

    uuid: str
    host: str | None
    node: str | None
    deleted: int
    pci_requests: str | None = None


class Wanting(typing.NamedTuple):
    """A server that asked for PCI devices.

    :param uuid: of the instance
    :param host: where it is
    :param node: where it is
    :param pci_requests: JSON, as ``instance_extra`` has it
    :param at_rest: whether nothing is going on with it, so that it has to
        have them
    """

    uuid: str
    host: str | None
    node: str | None
    pci_requests: str
    at_rest: bool = True


class Migration(typing.NamedTuple):
    """A move of an instance that has not ended; the columns of Nova."""

    instance_uuid: str
    source_compute: str | None
    source_node: str | None
    dest_compute: str | None
    dest_node: str | None


class Holding(typing.NamedTuple):
    """A device that some instance has.

    :param host: where that is, None if nobody knows
    :param node: where that is
    """

    id: int
    instance_uuid: str
    request_id: str | None
    host: str | None = None
    node: str | None = None


class Orphan(typing.NamedTuple):
    """A device whose compute node is gone.

    :param device: the row
    :param host: what the compute node was called, None if nobody knows
    """

    device: Device
    host: str | None


class Twin(typing.NamedTuple):
    """A device of a server, which its host has a second time.

    :param device: the row that names the server
    :param host: where both are
    :param other: the row of the same device below another compute node
    """

    device: Device
    host: str
    other: Device


@dataclasses.dataclass(frozen=True, **model.SLOTS)
class NodeFacts:
    """All that concerns one compute node, read in one transaction.

    :param node: the compute node
    :param devices: its devices
    :param instances: the instances that any of them names, by UUID
    :param wanting: the servers here that asked for devices
    :param holdings: what all of these have, by the instance's UUID
    :param migrations: the moves of any of the instances, by its UUID
    """

    node: Node
    devices: Sequence[Device]
    instances: Mapping[str, Instance]
    wanting: Sequence[Wanting]
    holdings: Mapping[str, Sequence[Holding]]
    migrations: Mapping[str, Sequence[Migration]]

    @property
    def present(self) -> Sequence[Device]:
        """The devices that Nova does not take for gone."""
        return [device for device in self.devices
                if device.status not in GONE]


def is_at(node: Node, host: str | None, nodename: str | None) -> bool:
    """Tell whether a host and node name mean this compute node.

    Nova leaves the node name out for the host a migration will find.
    """
    return host is not None and host == node.host and (
        nodename is None or nodename == node.hypervisor_hostname)


def is_moving(facts: NodeFacts, instance_uuid: str) -> bool:
    """Tell whether an instance is on its way to or from the node.

    While the conductor looks for a destination, devices are claimed on hosts
    that the migration does not name yet (nova.conductor.tasks.live_migrate).
    """
    return any(
        migration.dest_compute is None
        or is_at(facts.node, migration.source_compute, migration.source_node)
        or is_at(facts.node, migration.dest_compute, migration.dest_node)
        for migration in facts.migrations.get(instance_uuid, ()))


def excludes(one: Device, other: Device) -> bool:
    """Tell whether two devices of a node cannot be in use together."""
    types = one.dev_type, other.dev_type
    return one.family == other.family and (
        types[0] == PF and types[1] in FUNCTIONS
        or types[1] == PF and types[0] in FUNCTIONS)


def free_status(facts: NodeFacts, device: Device) -> str:
    """Return what the status of a device is to be if nobody has it.

    Nova tells more finely what is not available.
    """
    return 'unavailable' if any(
        other.status in IN_USE and excludes(device, other)
        for other in facts.devices) else AVAILABLE


@functools.lru_cache(maxsize=4096)
def parse_extra_info(text: str | None) -> Mapping[str, object] | None:
    """Return what ``extra_info`` holds, None if Nova cannot read it.

    Nova wants an object of texts, or of what it can make texts of
    (nova.objects.pci_device, extra_info), and in it as ``capabilities``
    another object.
    """
    extra_info = _parse_object(text)
    if extra_info is None or not all(
            isinstance(value, (str, int, float))
            for value in extra_info.values()):
        return None
    capabilities = extra_info.get('capabilities')
    if capabilities is not None and _parse_object(capabilities) is None:
        return None
    return extra_info


def _parse_object(text: object) -> dict[str, object] | None:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def provider(device: Device) -> str | None:
    """Return the placement resource provider that the row names, if any."""
    extra_info = parse_extra_info(device.extra_info) or {}
    rp_uuid = extra_info.get('rp_uuid')
    return rp_uuid if isinstance(rp_uuid, str) and rp_uuid else None


def stored_tags(device: Device) -> Mapping[str, object] | None:
    """Return the tags that our tracker stored in the row, if it did."""
    extra_info = parse_extra_info(device.extra_info) or {}
    return _parse_object(extra_info.get(model.STORED_TAGS_KEY))
