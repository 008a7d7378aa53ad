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

"""Made-up PCI devices, in the words of Nova's libvirt driver."""

import dataclasses
import typing

#: What a virt driver reports about one device.
Device: typing.TypeAlias = dict[str, typing.Any]

PF: typing.Final = 'type-PF'
VF: typing.Final = 'type-VF'
PCI: typing.Final = 'type-PCI'
VDPA: typing.Final = 'vdpa'

_NIC_FEATURES: typing.Final = ('rx', 'tx', 'sg', 'tso', 'gso', 'gro', 'rxvlan')


@dataclasses.dataclass(frozen=True)
class Model:
    """A kind of device.

    :param vendor_id: PCI vendor
    :param product_id: PCI product of the device, or of its ports
    :param vf_product_id: PCI product of the virtual functions of a port
    """

    vendor_id: str
    product_id: str
    vf_product_id: str = ''


INTEL_X710: typing.Final = Model('8086', '1572', '154c')
INTEL_E810: typing.Final = Model('8086', '1593', '1889')
CONNECTX_6: typing.Final = Model('15b3', '101d', '101e')
TESLA_V100: typing.Final = Model('10de', '1db6')


def _device(
    address: str, vendor_id: str, product_id: str, numa_node: int | None,
    dev_type: str,
) -> Device:
    return {
        'address': address,
        'dev_id': 'pci_' + address.replace(':', '_').replace('.', '_'),
        'vendor_id': vendor_id,
        'product_id': product_id,
        'numa_node': numa_node,
        'label': f'label_{vendor_id}_{product_id}',
        'dev_type': dev_type,
    }


def network_card(
    model: Model,
    bus: int,
    numa_node: int | None,
    ports: int = 2,
    vfs: int = 8,
    vf_type: str = VF,
) -> list[Device]:
    """Describe an SR-IOV network card: its ports and their functions.

    :param model: what card
    :param bus: PCI bus it is on
    :param numa_node: NUMA node, None if the firmware does not say
    :param ports: physical functions, at most 4
    :param vfs: virtual functions of each port, at most 32
    :param vf_type: ``type-VF``, or ``vdpa`` if vDPA devices sit on them
    """
    devices = []
    for port in range(ports):
        parent = f'0000:{bus:02x}:00.{port}'
        mac = f'02:00:00:{bus:02x}:00:{port:02x}'
        devices.append(
            _device(parent, model.vendor_id, model.product_id, numa_node, PF)
            | {'mac_address': mac,
               'capabilities': {'vpd': {
                   'card_serial_number': f'SN{bus:02X}'}}})
        for number in range(vfs):
            # Each port has its own slots, as cards with ARI do.
            slot = 2 + port * 4 + number // 8
            function = _device(
                f'0000:{bus:02x}:{slot:02x}.{number % 8}', model.vendor_id,
                model.vf_product_id, numa_node, vf_type)
            function |= {'parent_addr': parent,
                         'parent_ifname': f'ens{bus}f{port}np{port}'}
            if vf_type == VF:
                function['capabilities'] = _capabilities(mac, number)
            devices.append(function)
    return devices


def _capabilities(mac: str, number: int) -> Device:
    """Describe what Nova reads of plain virtual functions only."""
    return {'network': list(_NIC_FEATURES),
            'sriov': {'pf_mac_address': mac, 'vf_num': number}}


def gpu(bus: int, numa_node: int | None) -> Device:
    """Describe a GPU without virtual functions."""
    return _device(
        f'0000:{bus:02x}:00.0', TESLA_V100.vendor_id, TESLA_V100.product_id,
        numa_node, PCI)
