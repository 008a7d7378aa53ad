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

"""Match the pools of a host with a spec of a PCI request, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import typing

from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module

if typing.TYPE_CHECKING:
    from pci_filter.objects import pci_device_pool_list

_IDS: typing.Final = ('vendor_id', 'product_id')
_TYPE: typing.Final = 'dev_type'

Pools = list[matching.PciDevicePool]
Spec = Mapping[str, object]


class SpecMatch(typing.NamedTuple):
    """The pools that match more and more of a spec.

    :param ids: what is asked for as vendor and product
    :param dev_type: what is asked for as type, None if any will do
    :param tags: what else is asked for
    :param with_ids: pools that have the ids
    :param with_type: those of them that have the type, too
    :param with_tags: those of them that have the tags, too
    """

    ids: Spec
    dev_type: object
    tags: Spec
    with_ids: Pools
    with_type: Pools
    with_tags: Pools

    @property
    def is_text(self) -> str:
        """What devices are that have the ids."""
        if len(self.ids) == len(_IDS):
            return f'is {self._ids_text}'
        return f'has {self._ids_text}'

    @property
    def devices_text(self) -> str:
        """The ids behind what the devices are called, with a space."""
        if len(self.ids) == len(_IDS):
            return f' {self._ids_text}'
        return f' with {self._ids_text}' if self.ids else ''

    @property
    def _ids_text(self) -> str:
        """The ids as lspci writes them, or the only one."""
        if len(self.ids) == len(_IDS):
            return ':'.join(str(self.ids[key]) for key in _IDS)
        return properties_text(self.ids)


def match(pools: Iterable[matching.PciDevicePool], spec: Spec) -> SpecMatch:
    """Tell which pools match how much of a spec.

    :param pools: those that there would be without instances
    :param spec: an alternative of a PCI request
    """
    ids = {key: spec[key] for key in _IDS if key in spec}
    dev_type = spec.get(_TYPE)
    tags = {key: value for key, value in spec.items()
            if key not in (*_IDS, _TYPE, *pool_module.PLACEMENT_KEYS)}
    with_ids = [pool for pool in pools if _has(pool, ids)]
    with_type = with_ids if dev_type is None else [
        pool for pool in with_ids if _has(pool, {_TYPE: dev_type})]
    return SpecMatch(
        ids, dev_type, tags, with_ids, with_type,
        [pool for pool in with_type if _has(pool, tags)])


def all_pools(pools: pci_device_pool_list.PciDevicePoolList) -> Pools:
    """Return the pools, those of unknown tags too."""
    return [*pools, *unknown_pools(pools)]


def unknown_pools(pools: pci_device_pool_list.PciDevicePoolList) -> Pools:
    """Return the pools of unknown tags as if they had none."""
    return [
        matching.PciDevicePool(matching.PoolKind(
            group.kind.vendor_id, group.kind.product_id, group.kind.numa_node,
            group.kind.dev_type, group.kind.address), group.available)
        for group in pools.unknown if group.available]


def types_text(pools: Iterable[matching.PciDevicePool]) -> str:
    """Return the types of devices that there are in pools."""
    return ' or '.join(sorted({pool.dev_type for pool in pools}))


def properties_text(properties: Spec) -> str:
    """Return properties that are asked for."""
    return ', '.join(f'{key}={value}' for key, value in properties.items())


def _has(pool: matching.PciDevicePool, wanted: Spec) -> bool:
    return all(
        request_module.lowered(pool.get(key)) == request_module.lowered(value)
        for key, value in wanted.items())
