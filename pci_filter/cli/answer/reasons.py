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

"""Say in words why a host suits the requests of an instance, or not."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import typing

from pci_filter.cli.nova import hosts
from pci_filter import matching
from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module
from pci_filter import objects

_IDS: typing.Final = ('vendor_id', 'product_id')
_TYPE: typing.Final = 'dev_type'

#: What devices of a type are called: one, several.
_NOUNS: typing.Final = {
    'type-PF': ('PF', 'PFs'), 'type-VF': ('VF', 'VFs'),
    'vdpa': ('vDPA device', 'vDPA devices')}

_Asks = Callable[[matching.DeviceRequest], bool]

#: Which requests a stage asks something of, if not all. None has anything
#: that placement allocated here.
_ASKS: typing.Final[Mapping[str, _Asks]] = {
    **dict.fromkeys(
        ('one_pool_per_provider', 'placement', 'whole_allocation'),
        lambda request: False),
    'numa': lambda request: bool(request.numa_cells),
    'unrequested_pf': lambda request: not request.wants_pf,
    'unrequested_vdpa': lambda request: not request.wants_vdpa,
    'unrequested_remote_managed':
        lambda request: not request.wants_remote_managed,
    'live_migratable': lambda request: request.live_migratable is not None,
}

_Pools = list[matching.PciDevicePool]
_Spec = Mapping[str, object]


class Narrowing(typing.NamedTuple):
    """The devices that meet more and more of one alternative.

    :param ids: what is asked for as vendor and product
    :param dev_type: what is asked for as type, None if any will do
    :param tags: what else is asked for
    :param with_ids: pools that have the ids
    :param with_type: those of them that have the type, too
    :param with_tags: those of them that have the tags, too
    """

    ids: _Spec
    dev_type: object
    tags: _Spec
    with_ids: _Pools
    with_type: _Pools
    with_tags: _Pools

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


def narrow(pools: Iterable[matching.PciDevicePool], spec: _Spec) -> Narrowing:
    """Tell which pools meet how much of one alternative.

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
    return Narrowing(
        ids, dev_type, tags, with_ids, with_type,
        [pool for pool in with_type if _has(pool, tags)])


def reason(
    host: hosts.Host, explained: matching.Explanation, instances: int = 0,
) -> str:
    """Return why a host passes, or the first request for which it does not.

    :param host: the host
    :param explained: what its pools say, as they are now
    :param instances: for how many devices were taken from these pools that
        are free in fact
    """
    shown = [explained.failed] if explained.failed else explained.requests
    text = '; '.join(
        _request_text(request, host, None if number else (
            'are left' if instances else 'are free'))
        for number, request in enumerate(explained.requests)
        if request in shown)
    if instances:
        text = f'after {instances} more, {text}'
    return f'{text} ({explained.note})' if explained.note else text


def all_pools(host: hosts.Host) -> _Pools:
    """Return the pools without instances, those of unknown tags too."""
    return [*host.if_idle, *unknown_pools(host.if_idle)]


def unknown_pools(pools: objects.PciDevicePoolList) -> _Pools:
    """Return the pools of unknown tags as if they had none."""
    return [
        matching.PciDevicePool(matching.PoolKind(
            group.kind.vendor_id, group.kind.product_id, group.kind.numa_node,
            group.kind.dev_type, group.kind.address), group.available)
        for group in pools.unknown if group.available]


def stages(
    explained: matching.RequestExplanation,
) -> list[explanation.StageCount]:
    """Return the stages that ask something of this request.

    No other can have left out a device.
    """
    return [stage for stage in explained.stages
            if stage.stage not in _ASKS
            or _ASKS[stage.stage](explained.request)]


def stage_text(
    stage: explanation.StageCount, request: matching.DeviceRequest,
) -> str:
    """Return what a stage asks of the devices that it leaves."""
    text = explanation.STAGE_TEXTS[stage.stage]
    if stage.stage == 'spec':
        return f'{text} {request.wanted}'
    if stage.stage == 'numa':
        nodes = ', '.join(map(str, sorted(request.numa_cells)))
        return f'{text} (policy {request.numa_policy}, guest on {nodes})'
    return text


def types_text(pools: Iterable[matching.PciDevicePool]) -> str:
    """Return the types of devices that there are in pools."""
    return ' or '.join(sorted({pool.dev_type for pool in pools}))


def properties_text(properties: _Spec) -> str:
    """Return properties that are asked for."""
    return ', '.join(f'{key}={value}' for key, value in properties.items())


def _has(pool: matching.PciDevicePool, wanted: _Spec) -> bool:
    return all(
        request_module.lowered(pool.get(key)) == request_module.lowered(value)
        for key, value in wanted.items())


def _request_text(
    explained: matching.RequestExplanation, host: hosts.Host,
    free: str | None,
) -> str:
    """Return who asks for how many, and what there is.

    :param free: what the devices are that can be had, None if it was not the
        first request and others have taken some
    """
    request = explained.request
    parts = [_what_there_is(request, host)]
    unknown = 0 if explained.fits else _of_unknown_tags(request, host.pools)
    counts = stages(explained)
    if constraints.spec(all_pools(host), request):
        if free:
            left = constraints.available(
                constraints.spec(list(host.pools), request))
            if left or not unknown:
                parts.append(_are(left, free))
        elif counts:
            parts.append(_are(counts[0].left, 'are left'))
        else:
            parts.append(f'{explained.offered} devices are left in all')
    for earlier, stage in zip(counts, counts[1:]):
        if stage.left != earlier.left:
            parts.append(_are(stage.left, stage_text(stage, request)))
    if unknown:
        parts.append(f'the tags of {unknown} free '
                     f'{"one" if unknown == 1 else "ones"} are unknown, see '
                     '[pci_filter]tag_sources')
    return f'{explained.asks}: {", ".join(parts)}'


def _of_unknown_tags(
    request: matching.DeviceRequest, pools: objects.PciDevicePoolList,
) -> int:
    """Return how many would be looked at if only somebody knew their tags."""
    return constraints.available([
        pool for pool in unknown_pools(pools) if any(
            narrow([pool], spec).with_type for spec in request.asked)])


def _what_there_is(request: matching.DeviceRequest, host: hosts.Host) -> str:
    """Return how much of what is asked for there is, in use or not."""
    if_idle = all_pools(host)
    total = constraints.available(if_idle)
    if not total:
        return 'the host has no PCI devices'
    if len(request.asked) != 1:
        count = constraints.available(constraints.spec(if_idle, request))
        return f'{count} of {_devices([], total)} match {request.wanted}'
    found = narrow(if_idle, request.asked[0])
    if not found.with_ids and total == 1:
        return 'its only device is {vendor_id}:{product_id}'.format(
            **if_idle[0])
    if not found.with_ids:
        return f'none of {_devices([], total)} {found.is_text}'
    of_ids = constraints.available(found.with_ids)
    if not found.with_type:
        return (f'{_devices(found.with_ids, of_ids)}{found.devices_text}, '
                f'none of them {found.dev_type}')
    of_type = constraints.available(found.with_type)
    devices = _devices(found.with_type, of_type) + found.devices_text
    if not found.tags:
        return devices
    unknown = _of_unknown_tags(request, host.if_idle)
    if unknown < of_type:
        count = constraints.available(
            narrow(host.if_idle, request.asked[0]).with_tags)
        carry = 'carries' if count == 1 else 'carry'
        devices = f'{count} of {devices} {carry} {properties_text(found.tags)}'
    in_use = unknown - _of_unknown_tags(request, host.pools)
    if in_use > 0:
        devices += f', the tags of {in_use} in use are unknown'
    return devices


def _devices(pools: Iterable[matching.PciDevicePool], count: int) -> str:
    """Return a count and what to call so many devices of these pools."""
    types = {pool.dev_type for pool in pools}
    one, many = _NOUNS.get(
        types.pop() if len(types) == 1 else '', ('device', 'devices'))
    return f'{count} {one if count == 1 else many}'


def _are(count: int, words: str) -> str:
    """Return a count and what so many are."""
    if count == 1 and words.startswith('are'):
        words = f'is{words[3:]}'
    return f'{count} {words}'
