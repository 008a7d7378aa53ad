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

"""A pool: available devices of one host that are alike to every request."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import operator
import typing

from pci_filter import model

PF: typing.Final = 'type-PF'
VF: typing.Final = 'type-VF'
VDPA: typing.Final = 'vdpa'

#: Device types that are carved out of a physical function.
FUNCTION_TYPES: typing.Final = frozenset((VF, VDPA))

_FIELDS: typing.Final = (
    'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address')

#: Keys of tags and specs that only placement matches: they neither tell pools
#: apart nor are compared.
PLACEMENT_KEYS: typing.Final = frozenset(
    ('resource_class', 'traits', 'rp_uuid', 'rp_uuids'))

_TRUE_STRINGS: typing.Final = frozenset(('1', 't', 'true', 'on', 'y', 'yes'))


def is_true(value: object) -> bool:
    """Tell whether a tag means true, as oslo.utils' bool_from_string does."""
    return str(value).strip().lower() in _TRUE_STRINGS


@dataclasses.dataclass(frozen=True, eq=False, **model.SLOTS)
class PoolKind:
    """What a pool is, whoever has it and however much is left of it.

    Hosts that are alike share their kinds, so what a request makes of one is
    found out once.

    :param vendor_id: four hex digits
    :param product_id: four hex digits
    :param numa_node: host NUMA node, None when the host does not tell
    :param dev_type: ``type-PCI``, ``type-PF``, ``type-VF`` or ``vdpa``
    :param address: PCI address of the physical function that the devices
        belong to, or the device's own where it belongs to none
    :param tags: the operator's tags, ``parent_ifname`` and ``remote_managed``
        among them
    :ivar unknown_tags: those in which the devices differ, nobody knows how
    :ivar properties: all of it as Nova's own pool dicts have it
    """

    vendor_id: str
    product_id: str
    numa_node: int | None
    dev_type: str
    address: str
    tags: model.Tags = dataclasses.field(default_factory=dict)
    unknown_tags: frozenset[str] = dataclasses.field(init=False)
    properties: Mapping[str, object] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'unknown_tags', frozenset(
            key for key, value in self.tags.items()
            if value is model.UNKNOWN))
        object.__setattr__(self, 'properties', {
            **self.tags, **{key: getattr(self, key) for key in _FIELDS}})


@dataclasses.dataclass(frozen=True, eq=False, **model.SLOTS)
class PciDevicePool(Mapping[str, object]):
    """Devices with the same properties, and how many are available.

    A pool is read-only and also a mapping of the keys that Nova's own pool
    dicts have, so a spec can be matched with ``pool.get(key)`` and in-tree
    code can read it.

    :param kind: the properties
    :param count: how many devices are available
    :param rp_uuid: placement resource provider of the devices, if any
    :param first_address: lowest address among the available devices; the
        order in which nova-compute came across the pools
    :param blocked: whether a relative is in use, so that a claim that chooses
        a device from here fails (nova.objects.PciDevice.claim). Normally
        such devices are not available; they are when a physical function
        was added to device_spec after its functions, or the reverse.
    """

    kind: PoolKind
    count: int
    rp_uuid: str | None = None
    first_address: str = ''
    blocked: bool = False

    def __getitem__(self, key: str) -> object:
        if key == 'count':
            return self.count
        if key == 'rp_uuid' and self.rp_uuid is not None:
            return self.rp_uuid
        return self.kind.properties[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    vendor_id = property(operator.attrgetter('kind.vendor_id'))
    product_id = property(operator.attrgetter('kind.product_id'))
    numa_node = property(operator.attrgetter('kind.numa_node'))
    dev_type = property(operator.attrgetter('kind.dev_type'))
    address = property(operator.attrgetter('kind.address'))
    tags = property(operator.attrgetter('kind.tags'))
    unknown_tags = property(operator.attrgetter('kind.unknown_tags'))

    def to_dict(self) -> dict[str, object]:
        """Return the dict that in-tree code reads.

        The PCI weigher asks for those of every host that passed.
        """
        pool = {**self.kind.properties, 'count': self.count}
        if self.rp_uuid is not None:
            pool['rp_uuid'] = self.rp_uuid
        return pool

    def with_count(self, count: int) -> 'PciDevicePool':
        """Return the same pool with another number of devices."""
        return dataclasses.replace(self, count=count)

    def excludes(self, other: 'PciDevicePool') -> bool:
        """Tell whether a device taken here makes the other pool unusable.

        A physical function and the functions carved out of it cannot be in
        use at the same time (nova.pci.stats, _handle_device_dependents).
        """
        if self.address != other.address:
            return False
        if self.dev_type == PF:
            return other.dev_type in FUNCTION_TYPES
        return self.dev_type in FUNCTION_TYPES and other.dev_type == PF


def mark_blocked(
    pools: Iterable[PciDevicePool], in_use: Iterable[tuple[str, str]],
) -> list[PciDevicePool]:
    """Return the pools, those blocked of which a relative is in use.

    :param pools: the pools of one host
    :param in_use: address, as in PoolKind, and type of the devices in use
    """
    families = {(address, dev_type == PF) for address, dev_type in in_use}
    return [
        dataclasses.replace(pool, blocked=True)
        if (pool.address, pool.dev_type != PF) in families else pool
        for pool in pools]


def complete_tags(
    tags: model.Tags, dev_type: str, parent_ifname: str | None,
) -> dict[str, object]:
    """Return the tags of a pool, given those that the operator set.

    Nova adds to them the netdev of the physical function, and for anything
    that can be a network device whether it is managed remotely
    (nova.pci.stats, _create_pool_keys_from_dev).
    """
    complete = {
        key: value for key, value in tags.items()
        if key not in PLACEMENT_KEYS}
    if parent_ifname:
        complete['parent_ifname'] = parent_ifname
    if dev_type == PF or dev_type in FUNCTION_TYPES:
        if complete.get('remote_managed') is None:
            complete['remote_managed'] = 'false'
    return complete


def claim_order(pools: Iterable[PciDevicePool]) -> list[PciDevicePool]:
    """Sort pools the way a claim on the compute host goes through them.

    Pools with fewer properties come first, then the one whose device has the
    lowest address (nova.pci.stats, add_device). When an instance has several
    requests the first takes from the first pool that suits it, so only in
    this order does the verdict equal what the claim will do.
    """
    return sorted(
        pools, key=lambda pool: (len(pool.kind.tags), pool.first_address))
