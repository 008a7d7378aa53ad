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

"""Physical functions and their functions, which exclude each other."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import rows

_Devices = Sequence[facts_module.Device]

#: What a device is while a relative is in use; Nova tells more finely.
_UNAVAILABLE: typing.Final = 'unavailable'


def check(
    facts: facts_module.NodeFacts, doubtful: Collection[int],
) -> Iterator[finding.Finding]:
    """Look for statuses that contradict each other.

    Which of the two statuses of a blocked device it is does not matter: Nova
    itself does not keep them apart (nova.objects.pci_device, claim).

    :param doubtful: ids of rows with findings of their own: they may be in
        use or not, so nothing is concluded from them
    """
    parents: dict[str, facts_module.Device] = {}
    children: dict[str, list[facts_module.Device]] = {}
    for device in facts.devices:
        if device.status in facts_module.GONE:
            continue
        if device.dev_type == facts_module.PF:
            parents[device.address] = device
        elif device.dev_type in facts_module.FUNCTIONS and device.parent_addr:
            children.setdefault(device.parent_addr, []).append(device)
    for device in facts.devices:
        if device.id in doubtful:
            continue
        relatives: _Devices = ()
        if device.dev_type == facts_module.PF:
            relatives = children.get(device.address, ())
        elif device.dev_type in facts_module.FUNCTIONS:
            parent = parents.get(device.parent_addr or '')
            relatives = () if parent is None else (parent,)
        yield from _check(facts, device, relatives, doubtful)


def _check(
    facts: facts_module.NodeFacts, device: facts_module.Device,
    relatives: _Devices, doubtful: Collection[int],
) -> Iterator[finding.Finding]:
    """Compare a device with its relatives."""
    used = [relative for relative in relatives
            if relative.status in facts_module.IN_USE]
    certain = [relative for relative in used if relative.id not in doubtful]
    maybe_used = bool(used) or any(
        relative.id in doubtful for relative in relatives)
    if device.status == facts_module.AVAILABLE and certain:
        yield _contradiction(
            facts, device, certain, {'status': _UNAVAILABLE})
    elif device.status in facts_module.BLOCKED and not maybe_used:
        yield rows.for_device(
            'parent-child', facts, device,
            f'pci_devices says {device.status}, but no relative of it is '
            'in use', tuple(relatives), {'status': facts_module.AVAILABLE})
    elif (device.status in facts_module.IN_USE and certain
          and device.dev_type != facts_module.PF):
        # Told once, of the function.
        yield _contradiction(facts, device, certain, None)


def _contradiction(
    facts: facts_module.NodeFacts, device: facts_module.Device,
    used: _Devices, change: finding.Values | None,
) -> finding.Finding:
    first = min(used, key=lambda relative: relative.address)
    others = f' and {len(used) - 1} more' if len(used) > 1 else ''
    return rows.for_device(
        'parent-child', facts, device,
        f'pci_devices says {device.status}, but its relative '
        f'{first.address}{others} is {first.status}', tuple(used), change,
        '' if change else 'both have an owner: only the hypervisor knows '
                          'who uses what')
