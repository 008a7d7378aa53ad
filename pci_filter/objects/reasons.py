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

"""Say in words why a host suits the requests of an instance, or not.

The commands and the log of nova-scheduler have the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Mapping
import typing

from pci_filter import matching
from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.objects import spec_match

if typing.TYPE_CHECKING:
    from pci_filter.objects import pci_device_pool_list

#: The stage that takes all devices or none, before any is looked at.
_PROVIDERS: typing.Final = 'one_pool_per_provider'

#: What devices of a type are called: one, several.
_NOUNS: typing.Final = {
    'type-PF': ('PF', 'PFs'), 'type-VF': ('VF', 'VFs'),
    'vdpa': ('vDPA device', 'vDPA devices')}

_Asks = Callable[[matching.DeviceRequest], bool]

#: Which requests a stage asks something of, if not all.
_ASKS: typing.Final[Mapping[str, _Asks]] = {
    **dict.fromkeys(
        (_PROVIDERS, 'placement', 'whole_allocation'),
        lambda request: bool(request.rp_uuids)),
    'numa': lambda request: bool(request.numa_cells),
    'unrequested_pf': lambda request: not request.wants_pf,
    'unrequested_vdpa': lambda request: not request.wants_vdpa,
    'unrequested_remote_managed':
        lambda request: not request.wants_remote_managed,
    'live_migratable': lambda request: request.live_migratable is not None,
}


class Host(typing.Protocol):
    """The devices of a compute node."""

    @property
    def pools(self) -> pci_device_pool_list.PciDevicePoolList:
        """What it has to offer, as the scheduler sees it."""

    @property
    def if_idle(self) -> pci_device_pool_list.PciDevicePoolList:
        """What it would have to offer without instances."""


def reason(
    host: Host, explained: matching.Explanation, instances: int = 0,
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


def kind(host: Host, explained: matching.Explanation) -> Hashable:
    """Return what tells the reasons of hosts that do not pass apart.

    Two hosts of one kind lack the same, in different numbers.
    """
    failed = explained.failed
    if failed is None:
        return None
    request = failed.request
    if_idle = spec_match.all_pools(host.if_idle)
    found = [spec_match.match(if_idle, spec) for spec in request.asked]
    counts = stages(failed)
    return (
        request.label, explained.note,
        constraints.available(constraints.spec(if_idle, request))
        >= request.count,
        *(any(pools) for pools in (
            [if_idle], [one.with_ids for one in found],
            [one.with_type for one in found],
            [one.with_tags for one in found])),
        counts[-1].stage if counts else 'spec')


def stages(
    explained: matching.RequestExplanation,
) -> list[explanation.StageCount]:
    """Return the stages that ask something of this request.

    No other can have left out a device.
    """
    return [stage for stage in explained.stages
            if (stage.stage not in _ASKS
                or _ASKS[stage.stage](explained.request))
            and (stage.stage != _PROVIDERS or stage.left != explained.offered)]


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


def _request_text(
    explained: matching.RequestExplanation, host: Host, free: str | None,
) -> str:
    """Return who asks for how many, and what there is.

    :param free: what the devices are that can be had, None if it was not the
        first request and others have taken some
    """
    request = explained.request
    parts = [_what_there_is(request, host)]
    unknown = 0 if explained.fits else _of_unknown_tags(request, host.pools)
    counts = stages(explained)
    if constraints.spec(spec_match.all_pools(host.if_idle), request):
        if free:
            left = constraints.available(
                constraints.spec(list(host.pools), request))
            if left or not unknown:
                parts.append(_are(left, free))
        elif counts and counts[0].stage != _PROVIDERS:
            parts.append(_are(counts[0].left, 'are left'))
        else:
            parts.append(f'{explained.offered} devices are left in all')
    for earlier, stage in zip([None, *counts], counts):
        if earlier and stage.left != earlier.left or (
                stage.stage == _PROVIDERS):
            parts.append(_are(stage.left, stage_text(stage, request)))
    if unknown:
        parts.append(f'the tags of {unknown} free '
                     f'{"one" if unknown == 1 else "ones"} are unknown, see '
                     '[pci_filter]tag_sources')
    return f'{explained.asks}: {", ".join(parts)}'


def _of_unknown_tags(
    request: matching.DeviceRequest,
    pools: pci_device_pool_list.PciDevicePoolList,
) -> int:
    """Return how many would be looked at if only somebody knew their tags."""
    return constraints.available([
        pool for pool in spec_match.unknown_pools(pools) if any(
            spec_match.match([pool], spec).with_type
            for spec in request.asked)])


def _what_there_is(request: matching.DeviceRequest, host: Host) -> str:
    """Return how much of what is asked for there is, in use or not."""
    if_idle = spec_match.all_pools(host.if_idle)
    total = constraints.available(if_idle)
    if not total:
        return 'the host has no PCI devices'
    if len(request.asked) != 1:
        count = constraints.available(constraints.spec(if_idle, request))
        return f'{count} of {_devices([], total)} match {request.wanted}'
    found = spec_match.match(if_idle, request.asked[0])
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
    count = 0
    if unknown < of_type:
        count = constraints.available(
            spec_match.match(host.if_idle, request.asked[0]).with_tags)
        carry = 'carries' if count == 1 else 'carry'
        tags = spec_match.properties_text(found.tags)
        devices = f'{count} of {devices} {carry} {tags}'
    if unknown and not constraints.available(spec_match.match(
            spec_match.all_pools(host.pools), request.asked[0]).with_type):
        # Whatever their tags are; how many are free is told of known ones.
        return devices if count else f'{devices}, none is free'
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
