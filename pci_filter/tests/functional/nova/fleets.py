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

"""Random compute hosts with PCI devices, as hypothesis strategies."""

from __future__ import annotations

import dataclasses
import json
import typing

from hypothesis import strategies as st

from pci_filter.tests.functional.nova import nova_release

Device = dict[str, typing.Any]
Tags = dict[str, typing.Any]

PF = 'type-PF'
VF = 'type-VF'
PCI = 'type-PCI'
VDPA = 'vdpa'


class Model(typing.NamedTuple):
    """A kind of card with physical functions, and what is carved out."""

    vendor_id: str
    pf_product_id: str
    vf_product_id: str
    vf_type: str = VF


#: The last one gives its functions the product id of the card itself.
CARDS = (
    Model('8086', '10fb', '10ed'),
    Model('15b3', '101d', '101e', VDPA),
    Model('10de', '2330', '2330'),
)
GPU = Model('10de', '1db6', '')

#: Spelled as operators do, which need not be how Neutron spells them.
PHYSNETS = ('physnet1', 'PhysNet1', 'physnet2', None)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A compute host before nova-compute has seen it.

    :param name: its host name
    :param cell: number of its cell
    :param devices: what the virt driver reports
    :param device_spec: its [pci]device_spec, most specific first
    :param sockets: the socket of each NUMA node, None for no NUMA topology
    :param in_placement: whether [pci]report_in_placement is on
    """

    name: str
    cell: int
    devices: tuple[Device, ...]
    device_spec: tuple[Tags, ...]
    sockets: tuple[int | None, ...] | None
    in_placement: bool

    def nova_device_spec(self) -> list[str]:
        """Return the values of [pci]device_spec."""
        return [json.dumps(spec) for spec in self.device_spec]

    def our_device_spec(self) -> list[str]:
        """Return the values of [pci_filter]device_spec for this host."""
        return [json.dumps({'host': self.name, **spec})
                for spec in self.device_spec]


def _device(
    address: str, vendor_id: str, product_id: str, dev_type: str,
    numa_node: int | None, **more: typing.Any,
) -> Device:
    name = address.replace(':', '_').replace('.', '_')
    return {
        'address': address, 'dev_id': f'pci_{name}', 'dev_type': dev_type,
        'vendor_id': vendor_id, 'product_id': product_id,
        'numa_node': numa_node, 'label': f'label_{vendor_id}_{product_id}',
        **more}


def _serial_number(text: str | None) -> dict[str, typing.Any]:
    return {} if text is None else {'vpd': {'card_serial_number': text}}


_numa_nodes = st.sampled_from((0, 1, None, 0, 1))


@st.composite
def _card(
    draw: st.DrawFn, model: Model, bus: int, by_address: bool,
) -> list[Device]:
    """Ports with their functions.

    On some cards the addresses of the ports' functions alternate. Netdevs of
    ports may be unknown, or renamed after the first function was reported.

    :param by_address: let only some functions of a port tell the card's
        serial number
    """
    numa_node = draw(_numa_nodes)
    ports = draw(st.integers(1, 2))
    functions = draw(st.sampled_from((0, 2, 3, 4)))
    alternate = draw(st.booleans())
    netdev = draw(st.sampled_from(('ens', 'ens', 'renamed', None)))
    serials = draw(st.sampled_from((
        ('SN1', 'SN1'), ('', ''), (None, None), *(
            (('SN1', None), ('', 'SN1')) if by_address else ()))))
    devices = []
    for port in range(ports):
        parent = f'0000:{bus:02x}:00.{port}'
        devices.append(_device(
            parent, model.vendor_id, model.pf_product_id, PF, numa_node,
            mac_address=f'02:00:00:00:{bus:02x}:0{port}',
            capabilities=_serial_number(serials[0])))
        for number in range(functions):
            index = (number * ports + port if alternate
                     else port * functions + number)
            more: dict[str, typing.Any] = {'capabilities': {
                'network': ['rx', 'tx'],
                'sriov': {'vf_num': number, 'pf_mac_address': 'x'},
                **_serial_number(serials[number % 2])}}
            if netdev:
                renamed = netdev == 'renamed' and not number
                more['parent_ifname'] = (
                    f'old{port}' if renamed else f'ens{bus}f{port}')
            devices.append(_device(
                f'0000:{bus:02x}:{2 + index // 8:02x}.{index % 8}',
                model.vendor_id, model.vf_product_id, model.vf_type,
                numa_node, parent_addr=parent, **more))
    return devices


_tags = st.fixed_dictionaries({}, optional={
    'physical_network': st.sampled_from(PHYSNETS),
    'trusted': st.sampled_from(('true', 'True', 'false')),
    **({'live_migratable': st.sampled_from(('true', 'yes', 'no')),
        'managed': st.just('no')}
       if nova_release.HAS_LIVE_MIGRATABLE else {}),
    'color': st.sampled_from(('red', 'blue')),
    'resource_class': st.just('CUSTOM_THING'),
    'traits': st.just('CUSTOM_A,CUSTOM_B'),
})


@st.composite
def _where(draw: st.DrawFn, model: Model, bus: int) -> list[Tags]:
    """How the operator names the devices of a card."""
    return draw(st.sampled_from((
        [{'address': f'*:{bus:02x}:*.*'}],
        [{'address': f'{bus:02x}:', 'vendor_id': model.vendor_id}],
        [{'address': {'bus': f'{bus:02x}', 'function': '[0-7]'}}],
        # Functions only, here and on the other cards of this kind.
        [{'vendor_id': model.vendor_id, 'product_id': model.vf_product_id}],
        # Ports by address: their functions come with them.
        [{'address': f'0000:{bus:02x}:00.{port}'} for port in range(2)],
        [{'address': {'domain': '0000', 'bus': f'{bus:02x}', 'slot': '00',
                      'function': '0'}},
         {'vendor_id': model.vendor_id}],
    )))


@st.composite
def _card_specs(
    draw: st.DrawFn, model: Model, bus: int, by_address: bool,
) -> list[Tags]:
    """The device_spec values for one card.

    :param by_address: let functions of one port have different tags
    """
    tags = draw(_tags)
    specs: list[Tags] = []
    if by_address:
        places: list[Tags] = [
            {'address': f'0000:{bus:02x}:02.1'},
            {'address': f'*:{bus:02x}:02.2'},
            {'address': {'bus': f'{bus:02x}', 'slot': '0[2-9]',
                         'function': '[0-3]'}},
            {'address': {'bus': f'{bus:02x}', 'slot': '0[2-9]',
                         'function': '[13579]'}}]
        specs += [
            {**where, **draw(_tags)} for where in draw(st.lists(
                st.sampled_from(places), min_size=1, max_size=2,
                unique_by=str))]
    if draw(st.sampled_from((False, False, True))):
        # Only for cards whose serial number is known: Nova's rule.
        specs.append({'address': f'*:{bus:02x}:*.*', 'remote_managed': 'true',
                      'product_id': model.vf_product_id, **tags})
    specs += [{**where, **tags} for where in draw(_where(model, bus))]
    return specs


@st.composite
def machines(
    draw: st.DrawFn, number: int, by_address: bool = False,
) -> Machine:
    """One compute host with one or two cards and some GPUs."""
    devices: list[Device] = []
    specs: list[Tags] = []
    for bus in range(0x81, 0x81 + draw(st.integers(1, 2))):
        model = draw(st.sampled_from(CARDS))
        devices += draw(_card(model, bus, by_address))
        specs += draw(_card_specs(model, bus, by_address))
    for bus in range(0x3b, 0x3b + draw(st.integers(0, 2))):
        devices.append(_device(
            f'0000:{bus:02x}:00.0', GPU.vendor_id, GPU.pf_product_id, PCI,
            draw(_numa_nodes)))
    specs.append({'vendor_id': GPU.vendor_id,
                  'product_id': GPU.pf_product_id, **draw(_tags)})
    return Machine(
        f'host{number}', number % 2, tuple(devices), tuple(specs),
        draw(st.sampled_from((
            (0, 1), (0, 0, 1, 1), (0, 0), (None, None), None))),
        draw(st.booleans()))


def is_physical_function(
    devices: typing.Iterable[Device],
) -> typing.Callable[[str, str, str, str], bool]:
    """Return what /sys would tell nova.pci.utils on a host with these."""
    ports = {device['address'] for device in devices
             if device['dev_type'] == PF}

    def look_up(domain: str, bus: str, slot: str, function: str) -> bool:
        return f'{domain}:{bus}:{slot}.{function}' in ports
    return look_up
