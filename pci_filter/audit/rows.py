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

"""Rows of devices that make no sense by themselves."""

from __future__ import annotations

from collections.abc import Iterator
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding


def check(facts: facts_module.NodeFacts) -> Iterator[finding.Finding]:
    """Look at the status of each row of a compute node by itself."""
    for device in facts.devices:
        if device.status not in facts_module.STATUSES:
            yield _status_unknown(facts, device)
        elif device.status in facts_module.GONE:
            yield _removed_lingering(facts, device)


def check_extra_info(
    facts: facts_module.NodeFacts,
) -> Iterator[finding.Finding]:
    """Look for what Nova cannot read."""
    for device in facts.devices:
        if facts_module.parse_extra_info(device.extra_info) is None:
            stored = ('NULL' if device.extra_info is None
                      else f"'{finding.one_line(device.extra_info)}'")
            yield for_device(
                'extra-info-malformed', facts, device,
                f'pci_devices.extra_info is {stored}',
                repair={'extra_info': '{}'})


def orphan(row: facts_module.Orphan) -> finding.Finding:
    """Report a device whose compute node is gone."""
    device = row.device
    where = ('a deleted row' if row.host is not None else 'no row')
    owned = device.instance_uuid is not None
    return finding.Finding(
        'orphan-row', row.host or '', device.compute_node_id, device.address,
        f'pci_devices id {device.id} is {finding.one_line(device.status)} '
        f'below compute node {device.compute_node_id}, which has {where} '
        'in compute_nodes', finding.evidence(device),
        () if owned else (row_repair(device, finding.DELETED),),
        f'it names instance {finding.one_line(device.instance_uuid)}: see '
        'first where that is' if owned else '')


def twice(twin: facts_module.Twin) -> finding.Finding:
    """Report a device in use that its host has a second time."""
    device, other = twin.device, twin.other
    owner = ('' if other.instance_uuid is None else
             f' of instance {finding.one_line(other.instance_uuid)}')
    return finding.Finding(
        'device-twice', twin.host, device.compute_node_id, device.address,
        f'pci_devices id {device.id} of instance '
        f'{finding.one_line(device.instance_uuid)} is '
        f'{finding.one_line(device.status)} below compute node '
        f'{device.compute_node_id}, and id {other.id}{owner} is '
        f'{finding.one_line(other.status)} below compute node '
        f'{other.compute_node_id} of the same host',
        finding.evidence(device, other),
        no_repair='only the hypervisor knows which guest has the device')


def for_device(
    kind: str, facts: facts_module.NodeFacts, device: facts_module.Device,
    stored: str, beside: typing.Hashable = (),
    repair: finding.Values | None = None, no_repair: str = '',
) -> finding.Finding:
    """Make a finding about one device.

    :param beside: what it rests on beside the row
    :param repair: what the row is to have, None if nobody can tell
    """
    return finding.Finding(
        kind, facts.node.host or '', facts.node.id, device.address, stored,
        finding.evidence(device, beside),
        () if repair is None else (row_repair(device, repair),), no_repair)


def row_repair(
    device: facts_module.Device, change: finding.Values,
) -> finding.Repair:
    """Return a change of a row that nobody has changed in between."""
    found = {'deleted': 0, 'status': device.status,
             'instance_uuid': device.instance_uuid}
    if 'extra_info' in change:
        found['extra_info'] = device.extra_info
    return finding.Repair('pci_devices', device.id, found, change)


def _status_unknown(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> finding.Finding:
    status: str | None = facts_module.free_status(facts, device)
    if device.instance_uuid is not None:
        status = ('allocated' if status == facts_module.AVAILABLE else None)
    return for_device(
        'status-unknown', facts, device,
        f"pci_devices.status is '{finding.one_line(device.status, 36)}'",
        repair=None if status is None else {'status': status},
        no_repair='an instance has it, and another one a relative of it: '
                  'only the hypervisor knows who uses what'
                  if status is None else '')


def _removed_lingering(
    facts: facts_module.NodeFacts, device: facts_module.Device,
) -> finding.Finding:
    owned = device.instance_uuid is not None
    return for_device(
        'removed-lingering', facts, device,
        f"pci_devices.status is '{device.status}', but deleted is 0",
        repair=None if owned else finding.DELETED,
        no_repair='it names instance '
                  f'{finding.one_line(device.instance_uuid)}: see first '
                  'whether that uses the device' if owned else '')
