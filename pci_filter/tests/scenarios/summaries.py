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

"""Hosts of which the rows are known, and the tags by summary only."""

from pci_filter import model
from pci_filter import objects
from pci_filter.objects import pool_load
from pci_filter.tags import pci_stats
from pci_filter.tests import base


def groups(pools):
    """Return what the rows tell of the devices of these pools."""
    found = {}
    alike = {}
    for index, pool in enumerate(pools):
        key = tuple(pool[name] for name in (
            'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address'))
        alike.setdefault(key, []).append((index, pool))
    for key, same in alike.items():
        kind = model.DeviceKind(*key)
        found[kind] = model.DeviceGroup(
            kind, sum(pool['count'] for _, pool in same), f'{same[0][0]:04}',
            rp_uuids=frozenset(
                pool['rp_uuid'] for _, pool in same if 'rp_uuid' in pool))
    return found


def pool_list(pools, host_topology=None, **more):
    """Return the pools as the scheduler makes them of rows and summary."""
    made, unknown, _ = pool_load.PoolMaker(
        [pci_stats.PciStatsTags(base.options())]).make(
            model.ComputeNode('uuid', 'host', 'node', pools), groups(pools))
    return objects.PciDevicePoolList(made, host_topology, unknown, **more)
