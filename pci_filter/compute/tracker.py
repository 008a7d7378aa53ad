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

"""A tracker of PCI devices that decides from the devices themselves."""

from __future__ import annotations

import collections
import typing

import nova.conf
from nova import exception
from nova.objects import fields
from nova.pci import manager
from oslo_log import log as logging

from pci_filter.compute import device_tags
from pci_filter.compute import pool_view
from pci_filter.compute import relatives
from pci_filter import conf
from pci_filter import known_nova

CONF = nova.conf.CONF
conf.register_opts(CONF)
LOG = logging.getLogger(__name__)

#: Instance UUID -> the devices that it has.
_Owned = collections.defaultdict[str, list[typing.Any]]

#: Devices, each with the id of the request that it is for.
_Chosen = list[tuple[typing.Any, 'str | None']]


class PciDevTracker(manager.PciDevTracker):
    """Nova's tracker, without the pools that Nova keeps beside the devices.

    A claim asks the same question of the devices as the scheduler asks of
    their rows, and takes those that serve it. What it takes is told by the
    status of the devices alone, so nothing gets out of step, and a claim that
    fails leaves nothing behind.

    :param context: nova.context.RequestContext
    :param compute_node: nova.objects.ComputeNode of the host
    """

    def __init__(self, context: typing.Any, compute_node: typing.Any) -> None:
        super().__init__(context, compute_node)
        # Addresses of what is in the rows but was not reported.
        self._gone: set[str] = set()
        topology = self.stats.numa_topology
        self._tags = device_tags.DeviceTags(
            self.dev_filter, write=CONF.pci_filter.write_tags)
        self._tags.refresh(self.pci_devs)
        # As they are in the rows.
        self._rp_uuids = self._current_rp_uuids()
        # In place of the one that Nova has just made to count in.
        self.stats: typing.Any = pool_view.PoolView(
            self.pci_devs, self._tags.of, topology,
            write_summary=CONF.pci_filter.write_pci_stats)

    def _initial_instance_usage(self) -> None:
        """Find out which devices instances have; the others need no count."""
        self.claims: _Owned = collections.defaultdict(list)
        self.allocations: _Owned = collections.defaultdict(list)
        owned = {fields.PciDeviceStatus.CLAIMED: self.claims,
                 fields.PciDeviceStatus.ALLOCATED: self.allocations}
        for device in self.pci_devs:
            if device.status in owned:
                owned[device.status][device.instance_uuid].append(device)

    def _set_hvdevs(self, devices: typing.Any) -> None:
        """Take over what the hypervisor reports, and the tags of it."""
        with self.stats.syncing():
            super()._set_hvdevs(devices)
        self._gone = {device.address for device in self.pci_devs}.difference(
            device['address'] for device in devices)
        relatives.settle(self.pci_devs)
        self._tags.refresh(self.pci_devs)

    def _free_device(
        self, dev: typing.Any, instance: typing.Any = None,
    ) -> None:
        """Free a device; what had to wait for that may change its tags.

        A device that is no longer there goes then. Nova with the remedy for
        bug 2115905 does that too, but also if the device was away and is
        there again.
        """
        beside = relatives.of(dev)
        changes = dev.address in self.stale
        known_nova.removed_when_freed(self).pop(dev.address, None)
        super()._free_device(dev, instance)
        if dev.address in self._gone:
            dev.remove()
            changes = True
        if changes:
            self._build_device_tree(self.pci_devs)
        relatives.settle([dev, *beside])
        self._tags.refresh([dev])

    def _claim_instance(
        self, context: typing.Any, pci_requests: typing.Any,
        instance_numa_topology: typing.Any,
    ) -> list[typing.Any]:
        """Claim devices for all requests of an instance, or none.

        :raises nova.exception.PciDeviceRequestFailed: if they cannot be met
        """
        requests = pci_requests.requests
        cells = (instance_numa_topology.cells
                 if instance_numa_topology else None)
        chosen = self.stats.choose_devices(requests, cells)
        if chosen is None:
            LOG.error(
                'Instance %(instance)s cannot claim its PCI devices: '
                '%(reason)s', {
                    'instance': pci_requests.instance_uuid,
                    'reason': self.stats.to_list().explain_requests(
                        requests, None, cells).reason})
            raise exception.PciDeviceRequestFailed(requests=pci_requests)
        claimed = self._claim_all(chosen, pci_requests)
        if cells and any(device.numa_node is None for device in claimed):
            LOG.warning(
                'Instance %(instance)s has a NUMA topology, and gets a PCI '
                'device of which nobody knows the NUMA node.',
                {'instance': pci_requests.instance_uuid})
        return claimed

    def _claim_all(
        self, chosen: _Chosen, pci_requests: typing.Any,
    ) -> list[typing.Any]:
        """Claim these devices, or none of them.

        :raises nova.exception.PciDeviceRequestFailed: if one of them refuses
        """
        instance_uuid = pci_requests.instance_uuid
        claimed: list[typing.Any] = []
        for device, request_id in chosen:
            try:
                device.claim(instance_uuid)
                claimed.append(device)
                device.request_id = request_id
            except Exception as error:
                LOG.exception(
                    'Instance %(instance)s cannot claim PCI device '
                    '%(address)s, though it is available.', {
                        'instance': instance_uuid,
                        'address': device.address})
                self._take_back(claimed, instance_uuid)
                raise exception.PciDeviceRequestFailed(
                    requests=pci_requests) from error
        return claimed

    def _take_back(
        self, claimed: list[typing.Any], instance_uuid: str,
    ) -> None:
        """Free what an instance has just claimed, last one first.

        What cannot be freed stays among the claims: Nova frees those of an
        instance that is not here with each update of the resources
        (nova.pci.manager, clean_usage).
        """
        for device in reversed(claimed):
            try:
                device.free()
            except Exception:
                LOG.exception(
                    'PCI device %(address)s cannot be taken back from '
                    'instance %(instance)s. The next update of resources '
                    'tries again.', {
                        'address': device.address,
                        'instance': instance_uuid})
                self.claims[instance_uuid].append(device)

    def save(self, context: typing.Any) -> None:
        """Save the devices that have changed.

        Nova records a device's placement provider without saying so, and
        would only save it when something else of the device changes.
        """
        current = self._current_rp_uuids()
        for device in self.pci_devs:
            uuid = device.uuid
            if current[uuid] != self._rp_uuids.get(uuid):
                device.extra_info = device.extra_info
        self._rp_uuids = current
        super().save(context)

    def _current_rp_uuids(self) -> dict[str, str | None]:
        return {device.uuid: device.extra_info.get('rp_uuid')
                for device in self.pci_devs}
