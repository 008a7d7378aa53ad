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

"""The compute hosts: their cells, commands and PCI devices."""

import dataclasses
import json
import typing

NOVA = 'nova-compute'
OURS = 'pci-filter-nova-compute'

_VENDOR = '8086'
_PRODUCTS = {'type-PCI': '10fb', 'type-PF': '1528', 'type-VF': '1515'}

CELLS = ('cell1', 'cell2')

# What a flavor asks for: an alias of Nova for each type of device.
TYPES = {'gpu': 'type-PCI', 'nic': 'type-PF', 'function': 'type-VF'}

ALIASES = tuple(
    json.dumps({'name': name, 'vendor_id': _VENDOR,
                'product_id': _PRODUCTS[kind], 'device_type': kind})
    for name, kind in TYPES.items())

DEVICE_SPECS = tuple(
    json.dumps({'vendor_id': _VENDOR, 'product_id': product})
    for product in _PRODUCTS.values())


@dataclasses.dataclass(frozen=True)
class Host:
    """A compute host.

    :param command: what runs there
    :param gpus: how many plain PCI devices it has
    :param nics: how many physical functions it has
    :param functions: how many virtual ones each of these has
    """

    name: str
    cell: str
    command: str
    gpus: int
    nics: int = 0
    functions: int = 2

    def hardware(self):
        """Return the devices in the form that virt drivers report."""
        devices = [_device(f'0000:81:{slot:02x}.0', 'type-PCI')
                   for slot in range(self.gpus)]
        for slot in range(self.nics):
            parent = f'0000:05:{slot:02x}.0'
            devices.append(_device(parent, 'type-PF'))
            devices += [
                _device(f'0000:05:{slot:02x}.{function}', 'type-VF', parent)
                for function in range(1, self.functions + 1)]
        return devices


def _device(address, kind, parent=None):
    return {
        'address': address, 'vendor_id': _VENDOR,
        'product_id': _PRODUCTS[kind], 'dev_type': kind,
        'parent_addr': parent, 'dev_id': f'pci_{address}',
        'status': 'available', 'numa_node': None,
        'label': f'label_{_VENDOR}_{_PRODUCTS[kind]}'}


#: Hosts by their names.
Fleet = typing.Mapping[str, Host]

HOSTS: Fleet = {host.name: host for host in (
    Host('alpha', 'cell1', NOVA, gpus=2, nics=1),
    Host('beta', 'cell1', OURS, gpus=1, nics=2),
    Host('gamma', 'cell2', NOVA, gpus=1, nics=1),
    Host('delta', 'cell2', OURS, gpus=2, nics=1),
)}
