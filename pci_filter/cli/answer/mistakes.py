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

"""Find the likeliest mistake in a request that no device meets."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import difflib
import typing

from pci_filter.cli.nova import hosts
from pci_filter import matching
from pci_filter.matching import constraints
from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module
from pci_filter import model
from pci_filter.objects import spec_match

#: How alike two texts are of which one is a slip of the other.
_NEAR: typing.Final = 0.8

#: How many values are named in place of one that is not there.
_SHOWN: typing.Final = 5

_Pools = dict[object, matching.PciDevicePool]


class Fleet:
    """What devices there are, on all hosts together.

    Where a device is does not matter, so there are only as many pools as
    there are kinds of devices with different tags.

    :param where: the hosts are, in words
    """

    def __init__(self, where: str = 'anywhere') -> None:
        self._where = where
        self._pools: _Pools = {}
        self._unknown_pools: _Pools = {}
        self._unknown = 0

    def add(self, host: hosts.Host) -> None:
        """Add the devices of a host, in use or not."""
        for pool in host.if_idle:
            _add(self._pools, pool)
        for pool in spec_match.unknown_pools(host.if_idle):
            _add(self._unknown_pools, pool)
        # The tags of a device in use may be known again when it is freed.
        self._unknown += sum(
            group.available for group in host.pools.unknown)

    def mistakes(
        self, requests: Iterable[matching.DeviceRequest],
    ) -> list[str]:
        """Return what seems wrong with requests that nothing can serve.

        :param requests: what is asked for
        :returns: one line per request that no device meets
        """
        pools = list(self._pools.values())
        lines = []
        for request in requests:
            text = self._mistake(pools, request)
            if text:
                lines.append(f'{request.label}: {text}')
        return lines

    def _mistake(
        self, pools: list[matching.PciDevicePool],
        request: matching.DeviceRequest,
    ) -> str | None:
        unknown = list(self._unknown_pools.values())
        matching_pools = constraints.spec(pools, request)
        if matching_pools:
            return _unrequested([*matching_pools, *(
                pool for pool in unknown if any(
                    spec_match.match([pool], spec).with_type
                    for spec in request.asked))], request)
        if not pools and self._unknown:
            return (f'the tags of all {self._unknown} devices are '
                    'unknown, see [pci_filter]tag_sources')
        if not pools and not unknown:
            return (f'there are no PCI devices {self._where}; nova-compute '
                    'reports those that its [pci]device_spec names')
        found = max((spec_match.match([*pools, *unknown], spec)
                     for spec in request.asked), key=_reach)
        known = set(map(id, pools))
        if found.with_type and known.isdisjoint(map(id, found.with_type)):
            # They may be the right ones: nobody knows their tags.
            return None
        text = _what_is_missing([*pools, *unknown], found, self._where)
        if self._unknown:
            text += (f'; the tags of {self._unknown} more devices are unknown,'
                     ' see [pci_filter]tag_sources')
        return text


def _add(pools: _Pools, pool: matching.PciDevicePool) -> None:
    """Add a pool to the one with such devices."""
    key = (pool.vendor_id, pool.product_id, pool.dev_type,
           *map(repr, sorted(pool.tags.items())))
    same = pools.get(key)
    pools[key] = pool if same is None else same.with_count(
        same.count + pool.count)


def _unrequested(
    pools: Sequence[matching.PciDevicePool], request: matching.DeviceRequest,
) -> str | None:
    """Return what has to be asked for by name, if only that is there."""
    types = {pool.dev_type for pool in pools}
    if types == {pool_module.PF} and not request.wants_pf or (
            types == {pool_module.VDPA} and not request.wants_vdpa):
        return (f'all that match are {spec_match.types_text(pools)}, which '
                'are given only to requests with that device_type')
    if not request.wants_remote_managed and all(
            pool_module.is_true(pool.tags.get('remote_managed'))
            for pool in pools):
        return ('all that match are remote-managed, which are given only to '
                'requests with remote_managed=true')
    return None


def _reach(found: spec_match.SpecMatch) -> tuple[bool, bool]:
    """Order alternatives by how much of them is met."""
    return bool(found.with_ids), bool(found.with_type)


def _what_is_missing(
    pools: Sequence[matching.PciDevicePool], found: spec_match.SpecMatch,
    where: str,
) -> str:
    """Return what no device has, and what comes nearest to it."""
    if not found.with_ids:
        return (f'no device {where} {found.is_text}' + _nearest(
            ':'.join(map(str, found.ids.values())), [
                ':'.join(str(pool.get(key)) for key in found.ids)
                for pool in pools]))
    name = f'device{found.devices_text}'
    if not found.with_type:
        return (f'no {name} is {found.dev_type}; they are '
                f'{spec_match.types_text(found.with_ids)}')
    for key, value in found.tags.items():
        values = [pool.get(key) for pool in found.with_type
                  if pool.tags.get(key) is not model.UNKNOWN]
        if request_module.lowered(value) in map(
                request_module.lowered, values):
            continue
        return f'no {name} carries {key}={value}' + _nearest(
            str(value), [str(one) for one in values if one is not None])
    return (f'no {name} carries all of '
            f'{spec_match.properties_text(found.tags)}, though each is there')


def _nearest(wanted: str, there: Iterable[str]) -> str:
    """Return what there is instead, the nearest match if one is near."""
    choices = sorted(set(there))
    likeness = {
        choice: difflib.SequenceMatcher(
            # Nova takes them for the same.
            None, wanted.lower(), choice.lower()).ratio()
        for choice in choices}
    best = max(likeness.values(), default=0)
    near = [choice for choice in choices if likeness[choice] == best]
    if len(near) == 1 and best > _NEAR:
        return f'; did you mean {near[0]}?'
    if choices:
        return f'; there is {", ".join(choices[:_SHOWN])}'
    return ', nor any other value of it'
