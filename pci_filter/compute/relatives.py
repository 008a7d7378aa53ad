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

"""Which free devices are available, given who uses their relatives.

A physical function and its functions exclude each other. Nova keeps that in
their statuses as claims come and go, but not when a device comes while a
relative is in use, or when the one that is in use goes, changes its kind or
loses its row.
"""

from __future__ import annotations

from collections.abc import Iterable
import typing

from nova.objects import fields

_STATUS: typing.Final = fields.PciDeviceStatus

#: What a device is if nobody has it.
_FREE: typing.Final = (
    _STATUS.AVAILABLE, _STATUS.UNCLAIMABLE, _STATUS.UNAVAILABLE)

_PARENTS: typing.Final = (fields.PciDeviceType.SRIOV_PF,)
_CHILDREN: typing.Final = (
    fields.PciDeviceType.SRIOV_VF, fields.PciDeviceType.VDPA)


def of(device: typing.Any) -> list[typing.Any]:
    """Return the tracked devices that cannot be used beside this one.

    :param device: nova.objects.PciDevice in the tree of a tracker
    """
    if device.dev_type in _PARENTS:
        return list(device.child_devices)
    if device.dev_type in _CHILDREN and device.parent_device:
        return [device.parent_device]
    return []


def settle(devices: Iterable[typing.Any]) -> None:
    """Make free devices available, or not, as their relatives demand.

    What is right stays as it is, so that it need not be saved.

    :param devices: nova.objects.PciDevice objects in the tree of a tracker
    """
    for device in devices:
        if device.status not in _FREE or _owner(device) is not None:
            continue
        in_use = {relative.status for relative in of(device)}
        if _STATUS.ALLOCATED in in_use:
            right = _STATUS.UNAVAILABLE
        elif _STATUS.CLAIMED in in_use:
            right = _STATUS.UNCLAIMABLE
        else:
            right = _STATUS.AVAILABLE
        if (device.status == _STATUS.AVAILABLE) != (
                right == _STATUS.AVAILABLE):
            device.status = right


def _owner(device: typing.Any) -> str | None:
    # Nova leaves it unset until somebody has had the device.
    return device.instance_uuid if 'instance_uuid' in device else None
