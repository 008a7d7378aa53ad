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

"""Made-up fleets: which host has what, and what instances ask for.

Everything follows from a seed, so that a run can be repeated.
"""

from collections.abc import Callable
import dataclasses
import json
import random
import typing

from pci_filter.cli.demo import hardware

#: Buses of the cards of a host, by NUMA node.
_CARD_BUSES: typing.Final = (0x17, 0x98)
_GPU_BUSES: typing.Final = ((0x31, 0x3b, 0x4b, 0x5e), (0xb1, 0xbd, 0xca, 0xda))


@dataclasses.dataclass(frozen=True)
class Machine:
    """A host as it comes out of the box.

    :param name: host name, telling what the host is for
    :param devices: its PCI devices
    :param device_spec: its [pci]device_spec, one JSON text each
    :param sockets: socket of each NUMA node
    """

    name: str
    devices: tuple[hardware.Device, ...]
    device_spec: tuple[str, ...]
    sockets: tuple[int, ...] = (0, 1)


@dataclasses.dataclass(frozen=True)
class Want:
    """A group of equal devices that an instance asks for.

    :param label: what it is, for people
    :param spec: what devices must match
    :param count: how many
    :param alias: name of the flavor's alias; None if a port asks
    """

    label: str
    spec: dict[str, str]
    count: int = 1
    alias: str | None = None


@dataclasses.dataclass(frozen=True)
class Order:
    """All that one instance asks for.

    :param key: short name
    :param title: what it is, for people
    :param wants: in the order in which Nova serves them
    """

    key: str
    title: str
    wants: tuple[Want, ...]


def port(physical_network: str, dev_type: str | None = None) -> Want:
    """Return what a Neutron port asks for.

    :param physical_network: the network's physnet
    :param dev_type: ``type-PF`` for a direct-physical port, ``vdpa`` for a
        vDPA port, None for a direct port
    """
    kind = {hardware.PF: 'PF', hardware.VDPA: 'vDPA'}.get(dev_type or '', 'VF')
    spec = {'physical_network': physical_network, 'remote_managed': 'False'}
    if dev_type:
        spec['dev_type'] = dev_type
    return Want(f'{kind} on {physical_network}', spec)


def gpus(count: int) -> Want:
    """Return what a flavor with a GPU alias asks for."""
    return Want(
        'gpu',
        {'vendor_id': hardware.TESLA_V100.vendor_id,
         'product_id': hardware.TESLA_V100.product_id,
         'dev_type': hardware.PCI},
        count, 'gpu')


ORDERS: typing.Final = (
    Order('two_vfs', '2 VFs on physnet1',
          (port('physnet1'), port('physnet1'))),
    Order('pf_and_vf', '1 PF and 1 VF on physnet1',
          (port('physnet1', hardware.PF), port('physnet1'))),
    Order('two_gpus', '2 GPUs', (gpus(2),)),
    Order('vdpa', '1 vDPA device on physnet2',
          (port('physnet2', hardware.VDPA),)),
)

#: What instances that are there already asked for, by dev_type that it takes.
_SMALL_ORDERS: typing.Final = {
    hardware.VF: (port('physnet1'), port('physnet2')),
    hardware.PF: (port('physnet1', hardware.PF),
                  port('physnet2', hardware.PF)),
    hardware.PCI: (gpus(1),),
    hardware.VDPA: (port('physnet2', hardware.VDPA),),
}


def _spec(model: hardware.Model | None, bus: int, **tags: str) -> str:
    # A glob, not an address: Nova would look an address up in /sys here.
    where = {'address': f'*:{bus:02x}:*.*'}
    if model:
        where['vendor_id'] = model.vendor_id
    return json.dumps(where | tags)


def _network_host(rng: random.Random, name: str) -> Machine:
    """Two cards, one per NUMA node, each on a physnet of its own."""
    first, second = _CARD_BUSES
    model = rng.choice((hardware.INTEL_E810, hardware.CONNECTX_6))
    ports, vfs = rng.choice((1, 2)), rng.choice((4, 8))
    return Machine(
        name,
        (*hardware.network_card(model, first, 0, ports, vfs),
         *hardware.network_card(model, second, 1, ports, vfs)),
        (_spec(model, first, physical_network='physnet1'),
         _spec(model, second, physical_network='physnet2', trusted='true')))


def _edge_host(rng: random.Random, name: str) -> Machine:
    """One card, and firmware that does not tell its NUMA node."""
    bus = _CARD_BUSES[0]
    return Machine(
        name,
        tuple(hardware.network_card(
            hardware.INTEL_X710, bus, None, rng.choice((1, 1, 2)), 4)),
        (_spec(hardware.INTEL_X710, bus, physical_network='physnet1'),),
        sockets=(0,))


def _gpu_host(rng: random.Random, name: str) -> Machine:
    """GPUs on both NUMA nodes, and a card for the network."""
    bus = _CARD_BUSES[0]
    per_node = rng.choice((1, 2, 4))
    return Machine(
        name,
        (*hardware.network_card(hardware.CONNECTX_6, bus, 0, 1, 4),
         *(hardware.gpu(gpu_bus, node)
           for node, buses in enumerate(_GPU_BUSES)
           for gpu_bus in buses[:per_node])),
        (_spec(hardware.CONNECTX_6, bus, physical_network='physnet1'),
         json.dumps({'vendor_id': hardware.TESLA_V100.vendor_id})))


def _vdpa_host(rng: random.Random, name: str) -> Machine:
    """A card with vDPA devices, and one with plain virtual functions."""
    first, second = _CARD_BUSES
    return Machine(
        name,
        (*hardware.network_card(hardware.INTEL_E810, first, 0, 1, 8),
         *hardware.network_card(
             hardware.CONNECTX_6, second, 1, 1, rng.choice((2, 4)),
             hardware.VDPA)),
        (_spec(hardware.INTEL_E810, first, physical_network='physnet1'),
         _spec(hardware.CONNECTX_6, second, physical_network='physnet2')))


_KINDS: typing.Final[
    dict[str, Callable[[random.Random, str], Machine]]
] = {
    'net': _network_host,
    'edge': _edge_host,
    'gpu': _gpu_host,
    'vdpa': _vdpa_host,
}


def machines(rng: random.Random, count: int) -> list[Machine]:
    """Make up hosts, of all kinds in turn.

    :param rng: the source of all variety
    :param count: how many
    """
    width = len(str(count))
    kinds = list(_KINDS.items())
    made = []
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        made.append(make(rng, f'{kind}-{number + 1:0{width}}'))
    return made


def small_orders(rng: random.Random, machine: Machine) -> list[Want]:
    """Make up what instances took from a host before.

    :param rng: the source of all variety
    :param machine: the host
    :returns: wants in random order; a host may be unable to serve the last
    """
    load = rng.choice((0.0, 0.2, 0.5, 0.9))
    wants = []
    for device in machine.devices:
        # Physical functions are seldom handed out whole.
        share = load / 6 if device['dev_type'] == hardware.PF else load
        if rng.random() < share:
            wants.append(rng.choice(_SMALL_ORDERS[device['dev_type']]))
    rng.shuffle(wants)
    return wants
