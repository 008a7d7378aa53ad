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
from pci_filter.tags import pci_stats
from pci_filter.tests import base


def groups(pools):
    """Yield what the rows tell of the devices of these pools."""
    alike = {}
    for index, pool in enumerate(pools):
        key = tuple(pool[name] for name in (
            'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address'))
        alike.setdefault(key, []).append((index, pool))
    for key, found in alike.items():
        providers = sorted(
            pool['rp_uuid'] for _, pool in found if 'rp_uuid' in pool)
        yield model.DeviceGroup(
            'uuid', *key, None, None,
            sum(pool['count'] for _, pool in found), f'{found[0][0]:04}',
            (providers[0], providers[-1]) if providers else (None, None))


def pool_list(pools, host_topology=None, **more):
    """Return the pools as the scheduler makes them of rows and summary."""
    return objects.PciDevicePoolList.from_groups(
        model.ComputeNode('uuid', 'host', 'node', pools), list(groups(pools)),
        [pci_stats.PciStatsTags(base.options())], host_topology, **more)
