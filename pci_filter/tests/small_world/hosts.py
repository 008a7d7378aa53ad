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

"""Small hosts with rows that Nova's own code wrote, and who decides on them.

Each world is there twice: with Nova's tracker and with ours. A compute node
takes more than its devices to make, so the nodes stay and the devices of one
batch of worlds follow those of another.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import typing

from nova.db.main import models
from nova import objects as nova_objects
from nova.pci import utils as pci_utils
import sqlalchemy as sa

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import compute_host
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import claims
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.small_world import questions
from pci_filter.tests.small_world import worlds

STOCK, OURS = 'stock', 'ours'
_TRACKERS = {STOCK: None, OURS: our_tracker.PciDevTracker}

#: Where the parts of a world are.
CARDS = ('0000:81:00.0', '0000:82:00.0')
PLAINS = ('0000:91:00.0', '0000:92:00.0')

_INSTANCE = 'a5d7e1b5-3a8c-4f0e-8a5b-0d5b3a4a6f2f'


class Device(typing.NamedTuple):
    """A device of a world.

    :param told: what the virt driver tells of it
    :param tags: what device_spec tells of it
    :param is_used: whether an instance has it
    :param is_late: whether it came when a relative was in use
    """

    told: dict[str, typing.Any]
    tags: dict[str, str]
    is_used: bool
    is_late: bool = False

    @property
    def address(self):
        return self.told['address']

    @property
    def family(self):
        return self.told.get('parent_addr', self.address)


def devices(world):
    """Return the devices of a world, part by part, by address."""
    return [*map(_of_card, CARDS, world.cards),
            *map(_of_plain, PLAINS, world.plains)]


def _of_card(address, card):
    found = []
    states = card.port + card.functions
    for number, (state, network) in enumerate(zip(states, card.networks)):
        is_port = number < len(card.port)
        index = number - len(card.port)
        found.append(Device(
            _told(address, worlds.CARD.vendor_id, worlds.CARD.pf_product_id,
                  fleets.PF, card.node) if is_port else
            _told(address.replace('00.0', f'02.{index}'),
                  worlds.CARD.vendor_id, worlds.CARD.vf_product_id,
                  fleets.VF, card.node, parent_addr=address),
            {'physical_network': network} if network else {},
            state == worlds.USED,
            state == worlds.FREE and worlds.USED in (
                card.functions if is_port else card.port)))
    return found


def _of_plain(address, plain):
    return [Device(
        _told(address, worlds.PLAIN_VENDOR, plain.product, fleets.PCI,
              plain.node),
        {'live_migratable': 'true'} if plain.migratable else {},
        plain.state == worlds.USED)]


def _told(address, vendor_id, product_id, dev_type, node, **more):
    return {
        'address': address, 'dev_id': address, 'dev_type': dev_type,
        'vendor_id': vendor_id, 'product_id': product_id, 'numa_node': node,
        'label': 'label', **more}


def device_spec(found):
    """Return the values of [pci]device_spec.

    :param found: the devices. The address of a port would stand for its
        functions as well, so it comes last.
    """
    return [
        json.dumps({'address': device.address, **device.tags})
        for device in sorted(
            found, key=lambda device: device.told['dev_type'] == fleets.PF)]


class Stage:
    """A cloud with compute nodes on which worlds follow each other.

    :param test: a test with an open cloud
    """

    def __init__(self, test):
        self._cloud = test.cloud
        test.replace(
            f'{pci_utils.__name__}.is_physical_function',
            fleets.is_physical_function(
                {'dev_type': fleets.PF, 'address': address}
                for address in CARDS))
        self._hosts = {STOCK: [], OURS: []}

    def play(self, batch):
        """Give compute nodes the devices of some worlds.

        :param batch: the worlds
        :returns: for STOCK and OURS the claims.Claims of each world, by the
            name of its host
        """
        for who, hosts in self._hosts.items():
            for number in range(len(hosts), len(batch)):
                hosts.append(self._cloud.add_host(
                    0, f'{who}{number}', [], [],
                    scheduling.host_numa_topology(questions.SOCKETS),
                    tracker=_TRACKERS[who]))
        with self._cloud.transaction(self._cloud.cells[0]) as context:
            context.session.execute(sa.delete(models.PciDevice.__table__))
            return {
                who: {host.name: self._start(context, host, world)
                      for host, world in zip(hosts, batch)}
                for who, hosts in self._hosts.items()}

    def uuids(self, batch):
        """Return the UUIDs of the nodes that a batch is on."""
        return [host.node_uuid for hosts in self._hosts.values()
                for host in hosts[:len(batch)]]

    def _start(self, context, host, world):
        """Let nova-compute find the devices of a world, and start anew.

        The summary is from before the claims, so that its counts are wrong,
        and it has pools of which all devices are in use.
        """
        parts = devices(world)
        found = list(itertools.chain.from_iterable(parts))
        host = dataclasses.replace(
            host, device_spec=tuple(device_spec(found)))
        node = host.load_node(context)
        tracker = compute_host.new_tracker(context, host, node)
        _report(tracker, [one for one in found if not one.is_late])
        used = {one.address for one in found if one.is_used}
        instance = nova_objects.Instance(
            uuid=_INSTANCE,
            pci_devices=nova_objects.PciDeviceList(objects=[]))
        for device in tracker.pci_devs:
            if device.address in used:
                device.claim(_INSTANCE)
                device.allocate(instance)
        if world.is_late:
            _report(tracker, found)
        compute_host.save(context, host, tracker, node)
        if world.untold is not None:
            _forget(node, parts[world.untold][0].family)
        # The scheduler supposes that it was just started.
        return claims.Claims(
            compute_host.new_tracker(context, host, node), node)


def _report(tracker, found):
    tracker.update_devices_from_hypervisor_resources(
        json.dumps([one.told for one in found]))


def _forget(node, address):
    """Take the pools of a part out of the summary."""
    pools = node.pci_device_pools
    pools.objects = [
        pool for pool in pools if pool.tags['address'] != address]
    node.pci_device_pools = pools
    node.save()
