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

"""The available devices of a compute host, as pools."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
import operator
import typing

from nova.objects import fields
from nova.objects import pci_device_pool

from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter import objects
from pci_filter.objects import device_requests
from pci_filter.tags import pci_devices

_IN_USE: typing.Final = (
    fields.PciDeviceStatus.CLAIMED, fields.PciDeviceStatus.ALLOCATED)

#: Tells the tags of a device as a text, None if it is none of ours.
TagsOf = Callable[[typing.Any], 'str | None']

_Devices = list[typing.Any]

#: Address and provider of a device, and itself.
_Found = tuple[str, 'str | None', typing.Any]
_BY_ADDRESS: typing.Final = operator.itemgetter(0)

#: What devices have in common that are in one pool, the tags as a text.
_Key = tuple[str, str, 'int | None', str, str, str]


class PoolView:
    """What Nova's resource tracker, claims and translator ask for.

    It takes the place of the PciDeviceStats of a tracker. Each answer is
    made of the devices as they are at that moment: what is not counted cannot
    be miscounted.

    :param devices: nova.objects.PciDeviceList, the tracker's own
    :param tags_of: what tells their tags
    :param host_topology: nova.objects.NUMATopology of the host, if it has one
    :param write_summary: whether there is to be a summary of the pools
    """

    def __init__(
        self,
        devices: typing.Any,
        tags_of: TagsOf,
        host_topology: device_requests.HostTopology | None,
        write_summary: bool,
    ) -> None:
        self._devices = devices
        self._tags_of = tags_of
        self._host_topology = host_topology
        self._write_summary = write_summary
        self._syncing = False

    @property
    def pools(self) -> list[dict[str, object]]:
        """The pools as the dicts that in-tree code reads."""
        return self.to_list().pools

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(self.pools)

    def to_list(self, numa_guest: bool = False) -> objects.PciDevicePoolList:
        """Return the pools, as the scheduler would make them of the rows.

        :param numa_guest: whether they are asked before a guest is placed;
            see PciDevicePoolList
        """
        return self._pool_list(self._sort()[0], numa_guest)

    def support_requests(
        self,
        requests: Sequence[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> bool:
        """Tell whether the requests can be met.

        Nova asks so before it places a guest on NUMA nodes and while it does,
        and once more afterwards without saying where. Hence relatives exclude
        each other only where a place is given.
        """
        return self.to_list(numa_guest=True).supports_requests(
            requests, provider_mapping, numa_cells)

    def choose_devices(
        self,
        requests: Sequence[device_requests.PciRequest],
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> list[tuple[typing.Any, str | None]] | None:
        """Choose the devices that a claim is to take; nothing changes.

        From each pool those with the highest addresses are taken, as a
        tracker of Nova's does that was just started.

        :param requests: the PCI requests of one instance; they carry the
            providers that placement allocated
        :param numa_cells: the guest's NUMA cells, placed on the host's
        :returns: each device with the id of the request that it is for; None
            if the requests cannot be served
        """
        pools, devices = self._sort()
        allotment = self._pool_list(pools).allot_requests(
            requests, None, numa_cells)
        if allotment is None:
            return None
        return [
            (devices[pool.kind].pop(), request.request_id)
            for request, shares in zip(requests, allotment.shares)
            for pool, count in shares
            for _ in range(count)]

    @contextlib.contextmanager
    def syncing(self) -> Iterator[None]:
        """Have no free devices while Nova takes over what was reported.

        For each device that goes it asks whether that is still among them, so
        as to take it out: with many devices that took half a minute.
        """
        self._syncing = True
        try:
            yield
        finally:
            self._syncing = False

    def get_free_devs(self) -> _Devices:
        """Return the devices that are available."""
        if self._syncing:
            return []
        return [device for device in self._devices
                if device.status == fields.PciDeviceStatus.AVAILABLE
                and self._tags_of(device) is not None]

    def to_device_pools_obj(self) -> typing.Any:
        """Return what is stored in ``compute_nodes.pci_stats``."""
        if not self._write_summary:
            return None
        return pci_device_pool.from_pci_stats(self.pools)

    def has_remote_managed_device_pools(self) -> bool:
        """Tell whether some device is managed remotely, in use or not."""
        return any(
            str(_tags(text).get('remote_managed')).lower() == 'true'
            for text in {self._tags_of(device) for device in self._devices}
            if text is not None)

    def populate_pools_metadata_from_assigned_devices(self) -> None:
        """Do nothing: the pools have the providers of their devices."""

    def add_device(self, device: typing.Any) -> None:
        """Do nothing: Nova tells of each change, and nothing is counted."""

    remove_device = update_device = add_device

    def _pool_list(
        self, pools: Iterable[matching.PciDevicePool],
        numa_guest: bool = False,
    ) -> objects.PciDevicePoolList:
        return objects.PciDevicePoolList(
            pools, self._host_topology, numa_guest=numa_guest)

    def _sort(self) -> tuple[
            list[matching.PciDevicePool], dict[matching.PoolKind, _Devices]]:
        """Return the pools, and the devices of each by address."""
        alike: dict[_Key, list[_Found]] = {}
        in_use = set()
        # Reading an attribute of Nova's objects is slow: each is read once.
        for device in self._devices.objects:
            status = device.status
            if status == fields.PciDeviceStatus.AVAILABLE:
                text = self._tags_of(device)
                if text is not None:
                    address, extra_info = device.address, device.extra_info
                    dev_type = device.dev_type
                    key = (
                        device.vendor_id, device.product_id,
                        device.numa_node, dev_type,
                        device.parent_addr or address,
                        _completed(text, dev_type,
                                   extra_info.get('parent_ifname')))
                    alike.setdefault(key, []).append(
                        (address, extra_info.get('rp_uuid'), device))
            elif status in _IN_USE:
                in_use.add(
                    (device.parent_addr or device.address, device.dev_type))
        pools = []
        devices = {}
        for key, found in alike.items():
            kind = matching.PoolKind(*key[:-1], _tags(key[-1]))
            found.sort(key=_BY_ADDRESS)
            devices[kind] = [device for _, _, device in found]
            pools.append(matching.PciDevicePool(
                kind, len(found),
                model.agreed_provider(rp_uuid for _, rp_uuid, _ in found),
                found[0][0]))
        return pool_module.mark_blocked(pools, in_use), devices


_tags = functools.lru_cache(maxsize=1024)(pci_devices.from_text)


@functools.lru_cache(maxsize=1024)
def _completed(text: str, dev_type: str, parent_ifname: str | None) -> str:
    """Return the tags of a pool as a text: the same for the same tags."""
    return pci_devices.to_text(pool_module.complete_tags(
        _tags(text), dev_type, parent_ifname))
