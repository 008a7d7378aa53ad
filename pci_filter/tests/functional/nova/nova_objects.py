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

"""Nova's objects for what the scenarios are made of."""

import copy
import json

from nova.compute import utils as compute_utils
from nova import objects
from nova.objects import pci_device_pool
from nova.pci import manager
from nova.pci import stats
from nova.pci import whitelist

INSTANCE = 'eeeeeeee-0000-4000-8000-000000000000'

#: What the driver tells of a device; the rest is from [pci]device_spec.
_TOLD_BY_DRIVER = ('vendor_id', 'product_id', 'numa_node', 'dev_type',
                   'parent_ifname', 'rp_uuid')


def to_requests(requests):
    return [
        objects.InstancePCIRequest(
            count=one.count, spec=copy.deepcopy(one.spec),
            alias_name=one.alias_name, request_id=one.request_id,
            requester_id=one.requester_id, numa_policy=one.numa_policy)
        for one in requests]


def to_cells(guest):
    return [objects.InstanceNUMACell(id=node) for node in guest]


def to_topology(sockets):
    if sockets is None:
        return None
    return objects.NUMATopology(cells=[
        objects.NUMACell(id=node, socket=socket)
        for node, socket in enumerate(sockets)])


def to_stats(pools, sockets):
    """Make what a HostState has in-tree."""
    listed = pci_device_pool.from_pci_stats(copy.deepcopy(list(pools)))
    return stats.PciDeviceStats(to_topology(sockets), listed)


class ComputeHost:
    """The devices of a compute host, and how it hands them out.

    A PciDevTracker without the database below it: the same PciDevices in the
    same PciDeviceStats, claimed one instance after the other.

    :param pools: the pools that the devices are to form, as in-tree dicts
    :param sockets: socket of each host NUMA node; None for no topology
    """

    def __init__(self, pools, sockets):
        devices, specs = [], []
        for index, pool in enumerate(pools):
            for number in range(pool['count']):
                address = _own_address(pool, index, number)
                devices.append(_device(pool, address))
                # The address of a physical function could stand for its
                # functions too: theirs come first.
                specs.insert(
                    len(specs) if pool['dev_type'] == 'type-PF' else 0,
                    _device_spec(pool, address))
        self.stats = stats.PciDeviceStats(
            to_topology(sockets), dev_filter=whitelist.Whitelist(specs))
        manager.PciDevTracker._build_device_tree(list(devices))
        for device in devices:
            self.stats.add_device(device)
        self.stats.populate_pools_metadata_from_assigned_devices()

    def claim(self, requests, mapping, guest):
        """Claim devices for an instance, as nova-compute does.

        :returns: why that failed, None if it did not
        """
        asked = to_requests(requests)
        # The conductor does this before it calls nova-compute.
        compute_utils.update_pci_request_with_placement_allocations(
            None, None, asked, mapping or {})
        try:
            # So does Claim._test_pci, before the guest has a place.
            if not self.stats.support_requests(asked, provider_mapping=None):
                return 'Claim pci failed'
            devices = self.stats.consume_requests(asked, to_cells(guest))
            for device in devices:
                device.claim(INSTANCE)
        except Exception as error:
            return f'{type(error).__name__}: {error}'
        expected = sum(one.count for one in requests)
        if len(devices) != expected:
            # The guest would be started without some of its devices.
            return f'{len(devices)} devices instead of {expected}'
        return None


def _own_address(pool, index, number):
    """Return addresses in the order of the pools, parents aside."""
    if pool['dev_type'] == 'type-PF':
        return pool['address']
    return f'{0x1000 + index:04x}:{number:02x}:00.0'


def _device(pool, address):
    return objects.PciDevice.create(None, {
        'compute_node_id': 1,
        'address': address,
        'parent_addr': (
            None if pool['dev_type'] == 'type-PF' else pool['address']),
        # Without it no remote-managed device is in use at all.
        'capabilities': {'vpd': {'card_serial_number': 'MT1'}},
        **{key: value for key, value in pool.items()
           if key in _TOLD_BY_DRIVER}})


def _device_spec(pool, address):
    return json.dumps({'address': address, **{
        key: value for key, value in pool.items()
        if key not in (*_TOLD_BY_DRIVER, 'address', 'count')}})
