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

"""What ``[pci]device_spec`` says of the devices of a compute host."""

from __future__ import annotations

from collections.abc import Iterable
import typing

from nova.objects import fields
from oslo_log import log as logging

from pci_filter.tags import pci_devices

LOG = logging.getLogger(__name__)

#: Of these the rows are about to go.
_GONE: typing.Final = (
    fields.PciDeviceStatus.REMOVED, fields.PciDeviceStatus.DELETED)


class DeviceTags:
    """The tags of each device, and their copies in the rows.

    Which value of device_spec a device matches is found out when the device
    is reported or freed, as in Nova: that may read sysfs.

    :param dev_filter: nova.pci.whitelist.Whitelist, what device_spec says
    :param write: whether to store the tags in the rows; otherwise they are
        taken out there
    """

    def __init__(self, dev_filter: typing.Any, write: bool) -> None:
        self._dev_filter = dev_filter
        self._write = write
        self._texts: dict[str, str] = {}
        self._reported: set[str] = set()

    def refresh(self, devices: Iterable[typing.Any]) -> None:
        """Find out the tags of some devices, and store them.

        :param devices: nova.objects.PciDevice objects; what is stored is
            saved when they are
        """
        for device in devices:
            if device.status in _GONE:
                self._texts.pop(device.address, None)
                continue
            spec = self._dev_filter.get_devspec(device)
            if spec is None:
                self._texts.pop(device.address, None)
            else:
                self._texts[device.address] = pci_devices.to_text(
                    spec.get_tags() or {})
            self._store(device)

    def of(self, device: typing.Any) -> str | None:
        """Return the tags as a text, None if no value matches the device."""
        return self._texts.get(device.address)

    def _store(self, device: typing.Any) -> None:
        text = self.of(device) if self._write else None
        if text is not None and not pci_devices.is_readable(text):
            self._report_unreadable(text)
            text = None
        if pci_devices.is_stored(device.extra_info, text):
            return
        # Only an assignment makes Nova save it.
        device.extra_info = pci_devices.stored(device.extra_info, text)

    def _report_unreadable(self, text: str) -> None:
        """Say once that some tags are too long."""
        if text in self._reported:
            return
        self._reported.add(text)
        LOG.warning(
            'These tags of [pci]device_spec are too long to be stored with '
            'the devices: %(tags)s. nova-scheduler needs another of its '
            '[pci_filter]tag_sources to know them.', {'tags': text})
