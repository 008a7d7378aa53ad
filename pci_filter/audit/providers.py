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

"""Which placement resource providers the devices have."""

from __future__ import annotations

import collections
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import summaries

#: Devices with this tag are not in placement (nova.compute,
#: pci_placement_translator).
_NOT_IN_PLACEMENT: typing.Final = 'physical_network'

_PLACEMENT_KNOWS: typing.Final = (
    'only placement knows which provider is right')

_Devices = Sequence[facts_module.Device]
_Pools = Sequence[Mapping[str, object]]


def check(
    facts: facts_module.NodeFacts, doubtful: Collection[int],
) -> Iterator[finding.Finding]:
    """Look for providers that are missing, or that nobody can follow.

    Nothing is wrong where nobody names any: the host does not report its
    devices to placement.

    :param doubtful: ids of rows that cannot be read, or count no more
    """
    in_rows: dict[facts_module.PoolKey, list[facts_module.Device]] = {}
    for device in facts.devices:
        if device.id not in doubtful:
            in_rows.setdefault(device.pool, []).append(device)
    in_summary = collections.defaultdict(list)
    try:
        pools = summaries.parse(facts.node.pci_stats) or []
    except ValueError:
        pools = []
    for pool in pools:
        in_summary[summaries.pool_key(pool)].append(pool)
    split: set[str] = set()
    for key, devices in in_rows.items():
        named = {rp_uuid for device in devices
                 if (rp_uuid := facts_module.provider(device))}
        offered = _rp_uuids(in_summary[key])
        if named or offered:
            yield from _missing(
                facts, key, devices, in_summary[key], named | offered)
            if len(named | offered) > 1:
                split |= named | offered
                yield _several(facts, key, devices, named, offered)
    yield from _shared(facts, in_rows, pools, split)


def _rp_uuids(pools: _Pools) -> set[str]:
    return {rp_uuid for pool in pools
            if isinstance(rp_uuid := pool.get('rp_uuid'), str)}


def _missing(
    facts: facts_module.NodeFacts, key: facts_module.PoolKey,
    devices: _Devices, pools: _Pools, known: set[str],
) -> Iterator[finding.Finding]:
    """Report devices without the provider that others of their pool have.

    Not those of which nobody knows whether they are in placement.
    """
    lacking = [
        device for device in devices if facts_module.provider(device) is None
        and _is_in_placement(device, pools)]
    if not lacking:
        return
    first = min(device.address for device in lacking)
    repairs: tuple[finding.Repair, ...] = ()
    if len(known) == 1:
        repairs = tuple(_repair(device, *known) for device in lacking)
    yield finding.Finding(
        'rp-missing', facts.node.host or '', facts.node.id,
        summaries.pool_text(key),
        f'{len(lacking)} of {len(devices)} rows of pci_devices have no '
        f'rp_uuid in extra_info, {first} is the first',
        finding.evidence(*lacking), repairs,
        '' if repairs else _PLACEMENT_KNOWS)


def _is_in_placement(device: facts_module.Device, pools: _Pools) -> bool:
    """Tell whether nova-compute reports a device, if any; no if unknown."""
    tags = facts_module.stored_tags(device)
    known = pools if tags is None else (tags,)
    return bool(known) and not any(
        one.get(_NOT_IN_PLACEMENT) for one in known)


def _repair(device: facts_module.Device, rp_uuid: str) -> finding.Repair:
    extra_info = facts_module.parse_extra_info(device.extra_info) or {}
    return finding.Repair(
        'pci_devices', device.id,
        {'deleted': 0, 'extra_info': device.extra_info},
        {'extra_info': json.dumps({**extra_info, 'rp_uuid': rp_uuid})})


def _several(
    facts: facts_module.NodeFacts, key: facts_module.PoolKey,
    devices: _Devices, named: set[str], offered: set[str],
) -> finding.Finding:
    def text(rp_uuids: set[str]) -> str:
        return ', '.join(
            finding.one_line(one, 36) for one in sorted(rp_uuids)) or 'none'

    return finding.Finding(
        'rp-split', facts.node.host or '', facts.node.id,
        summaries.pool_text(key),
        f'the devices of one pool have several providers: pci_devices names '
        f'{text(named)}; compute_nodes.pci_stats {text(offered)}',
        finding.evidence(tuple(devices), *sorted(offered)),
        no_repair=_PLACEMENT_KNOWS)


def _shared(
    facts: facts_module.NodeFacts,
    in_rows: Mapping[facts_module.PoolKey, _Devices], pools: _Pools,
    split: Collection[str],
) -> Iterator[finding.Finding]:
    """Report providers of several pools.

    Nova refuses them (nova.pci.stats, _assert_one_pool_per_rp_uuid).

    :param split: providers that were reported already
    """
    users: dict[str, set[facts_module.PoolKey]] = {}
    for key, devices in in_rows.items():
        for device in devices:
            named = facts_module.provider(device)
            if named:
                users.setdefault(named, set()).add(key)
    by_summary = collections.Counter(
        rp_uuid for pool in pools
        if isinstance(rp_uuid := pool.get('rp_uuid'), str))
    for rp_uuid in sorted({*users, *by_summary} - {*split}):
        number = max(len(users.get(rp_uuid, ())), by_summary[rp_uuid])
        if number > 1:
            yield finding.Finding(
                'rp-split', facts.node.host or '', facts.node.id,
                finding.one_line(rp_uuid, 36),
                f'one provider has the devices of {number} pools '
                f'({len(users.get(rp_uuid, ()))} by pci_devices, '
                f'{by_summary[rp_uuid]} by compute_nodes.pci_stats)',
                finding.evidence(
                    frozenset(users.get(rp_uuid, ())), by_summary[rp_uuid]),
                no_repair=_PLACEMENT_KNOWS)
