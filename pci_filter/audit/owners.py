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

"""Who has a device, by its row and by the instances."""

from __future__ import annotations

from collections.abc import Iterator
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import requests
from pci_filter.audit import rows

#: A device that nobody has.
_UNOWNED: typing.Final[finding.Values] = {
    'instance_uuid': None, 'request_id': None}


def check(facts: facts_module.NodeFacts) -> Iterator[finding.Finding]:
    """Compare the owners of a compute node's devices with the instances."""
    for device in facts.devices:
        if device.status in facts_module.IN_USE:
            yield from _check_owner(facts, device)
        elif (device.instance_uuid is not None
              and device.status in facts_module.STATUSES
              and device.status not in facts_module.GONE):
            yield _available_owned(facts, device)


def _check_owner(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> Iterator[finding.Finding]:
    uuid = device.instance_uuid
    instance = facts.instances.get(uuid) if uuid is not None else None
    if instance is None or instance.deleted:
        yield rows.for_device(
            'owner-missing', facts, device,
            f'pci_devices says {device.status} by '
            f'{_missing(uuid, instance)}', instance,
            _freed(facts, device))
    elif not facts_module.is_at(
            facts.node, instance.host, instance.node) and (
            not facts_module.is_moving(facts, instance.uuid)):
        yield rows.for_device(
            'owner-elsewhere', facts, device,
            f'pci_devices says {device.status} by {instance.uuid}; instances '
            f'has that {_place(instance)}',
            (instance, tuple(facts.holdings.get(instance.uuid, ()))),
            None if (lacks := _would_lack(facts, instance)) else
            _freed(facts, device), lacks)


def _freed(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> finding.Values:
    """Return what Nova makes of a device that it takes from an instance."""
    return {'status': facts_module.free_status(facts, device), **_UNOWNED}


def _would_lack(
    facts: facts_module.NodeFacts, instance: facts_module.Instance,
) -> str:
    """Tell why an instance cannot do without a device of another host.

    :returns: nothing if it can
    """
    missing = requests.missing_there(facts, instance)
    return '' if instance.host is None or not missing else (
        f'its instance lacks {missing} of the devices that it asked for where '
        'it is, so this row may be right and that of the instance wrong: only '
        'the hypervisors know')


def _missing(
    uuid: str | None, instance: facts_module.Instance | None,
) -> str:
    if uuid is None:
        return 'nobody: instance_uuid is NULL'
    shown = finding.one_line(uuid, 36)
    if instance is None:
        return f'{shown}, of which instances has no row'
    return f'{shown}, which is deleted in instances'


def _place(instance: facts_module.Instance) -> str:
    if instance.host is None:
        return 'on no host'
    return f'on {finding.one_line(instance.host)}'


def _available_owned(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> finding.Finding:
    """Report an owner of what is not in use; mend it where one is right."""
    uuid = device.instance_uuid
    assert uuid is not None
    instance = facts.instances.get(uuid)
    change: finding.Values | None = None
    reason = ''
    if instance is None or instance.deleted:
        change = _UNOWNED
    elif not facts_module.is_at(facts.node, instance.host, instance.node):
        reason = 'its instance is on another host: see first what that has'
    elif facts_module.free_status(
            facts, device) != facts_module.AVAILABLE:
        reason = ('a relative of it is in use: only the hypervisor knows who '
                  'uses what')
    elif _wants(facts, device):
        change = {'status': 'allocated'}
    else:
        reason = ('its instance is here, but did not ask for it: only the '
                  'hypervisor knows whether it uses the device')
    return rows.for_device(
        'available-owned', facts, device,
        f'pci_devices says {device.status}, but names instance '
        f'{finding.one_line(uuid, 36)}', instance, change, reason)


def _wants(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> bool:
    """Tell whether the device's instance has asked for it."""
    return device.request_id is not None and any(
        request_id == device.request_id
        for wanting in facts.wanting if wanting.uuid == device.instance_uuid
        for request_id, _ in requests.counts(wanting.pci_requests))
