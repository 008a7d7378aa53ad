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

"""Small hosts: what they are made of, and which of them are the same.

A host has up to two network cards and up to two plain devices. A card is a
port with up to two functions. A device is on NUMA node 0, on 1, or on one that
nobody knows.

Hosts that a renaming turns into each other are generated once:

* Networks have names that are only compared with each other. So net1 is the
  one that comes first by address.
* The same holds for the products of plain devices.
* The functions of a port that have the same tag are in one pool, of which only
  the number decides. So those that are free come first.
* A pool without a tag comes before those with one wherever its devices are. So
  of the functions of a port those without a tag come first.

The order of cards, and of plain devices, is none: a claim goes by it.
"""

from __future__ import annotations

import itertools
import random
import typing

from pci_filter.tests.functional.nova import fleets

NODES = (0, 1, None)
NETWORKS = (None, 'net1', 'net2')

CARD = fleets.CARDS[0]
PLAIN_VENDOR = fleets.GPU.vendor_id
PRODUCTS = (fleets.GPU.pf_product_id, '20b0')

#: What a letter in a state says of a device: nobody has it, an instance has
#: it, or an instance has a relative of it.
FREE, USED, BESIDE = 'F', 'U', '-'

#: The states of a card: its port, if that is in device_spec, and what is
#: carved out of it.
WITH_PORT = ('F:', 'U:', 'F:F', '-:U', 'U:-', 'F:FF', '-:FU', '-:UU', 'U:--')
WITHOUT_PORT = (':F', ':U', ':FF', ':FU', ':UU')
#: Some devices came when a relative of theirs was in use already, and Nova
#: left them available.
LATE = ('F:U', 'F:FU', 'F:UU', 'U:F', 'U:F-', 'U:FF')
STATES = (*WITH_PORT, *WITHOUT_PORT, *LATE)
ALL_FREE = ('F:', 'F:F', 'F:FF', ':F', ':FF')
#: Those in which functions can differ in their tags, and in who has them.
SEVERAL_FUNCTIONS = ('F:FF', '-:FU', '-:UF', ':FF', ':FU', ':UF')


class Card(typing.NamedTuple):
    """A network card.

    :param state: of the port, a colon, and of each function
    :param node: its NUMA node
    :param networks: the physical network of each device that has a state,
        None if it has no tag
    """

    state: str
    node: int | None
    networks: tuple[str | None, ...]

    @property
    def port(self):
        return self.state.partition(':')[0]

    @property
    def functions(self):
        return self.state.partition(':')[2]

    @property
    def is_late(self):
        return self.state in LATE

    @property
    def is_split(self):
        """Whether functions of it differ in their tags."""
        return len(set(self.networks[len(self.port):])) > 1

    @property
    def available(self):
        """How many devices are in pools."""
        return self.state.count(FREE)

    def __str__(self):
        networks = {str(network) for network in self.networks}
        return f'card {self.state} node {self.node} ' + (
            networks.pop() if len(networks) == 1
            else '/'.join(map(str, self.networks)))


class Plain(typing.NamedTuple):
    """A device that has neither port nor functions.

    :param product: its product id
    :param node: its NUMA node
    :param migratable: whether it has the tag live_migratable
    :param state: FREE or USED
    """

    product: str
    node: int | None
    migratable: bool = False
    state: str = FREE

    @property
    def available(self):
        """How many devices are in pools."""
        return self.state.count(FREE)

    def __str__(self):
        return (f'plain {self.product} {self.state} node {self.node}'
                + ' migratable' * self.migratable)


class World(typing.NamedTuple):
    """A host.

    :param cards: its network cards, in the order of their addresses
    :param plains: its plain devices, likewise
    :param untold: the number of the part of which the summary tells nothing,
        None if it tells of all
    """

    cards: tuple[Card, ...] = ()
    plains: tuple[Plain, ...] = ()
    untold: int | None = None

    @property
    def parts(self):
        return (*self.cards, *self.plains)

    @property
    def nodes(self):
        return {part.node for part in self.parts}

    @property
    def is_late(self):
        return any(card.is_late for card in self.cards)

    @property
    def is_blind(self):
        """Whether Nova's tracker leaves tags of devices unknown."""
        return self.untold is not None or any(
            card.is_split for card in self.cards)

    def __str__(self):
        return ', '.join(map(str, self.parts)) + (
            '' if self.untold is None else f', untold {self.untold}')


def together(networks, devices):
    """Tag all devices of a card alike."""
    return [(network,) * devices for network in networks]


def each(networks, devices):
    """Tag each device of a card in any way."""
    return itertools.product(networks, repeat=devices)


def worlds(states, plains=0, plain_states=FREE, tag=together):
    """Generate hosts, those that a renaming makes the same once.

    :param states: the states that each of the cards can have, one collection
        for each card
    :param plains: number of plain devices
    :param plain_states: the states that those can have
    :param tag: gives the devices of a card their networks
    """
    for cards in itertools.product(*map(
            lambda of_card: list(_cards(of_card, tag)), states)):
        if not _named_in_turn(itertools.chain.from_iterable(
                card.networks for card in cards), NETWORKS[1:]):
            continue
        for devices in itertools.product(itertools.starmap(
                Plain, itertools.product(
                    PRODUCTS, NODES, (False, True), plain_states)),
                repeat=plains):
            if _named_in_turn(
                    [plain.product for plain in devices], PRODUCTS):
                yield World(cards, devices)


def untold(hosts):
    """Generate the same hosts, but the summary tells nothing of one part."""
    for host in hosts:
        for number, _ in enumerate(host.parts):
            yield host._replace(untold=number)


def slice_of(hosts, number, count):
    """Return one of so many parts of equal size, which are much alike.

    :param hosts: some worlds
    :param number: from 0 on
    :param count: how many parts there are
    """
    shuffled = list(hosts)
    random.Random(0).shuffle(shuffled)
    return shuffled[number::count]


def _cards(states, tag):
    for state, node in itertools.product(states, NODES):
        for networks in tag(NETWORKS, len(state) - 1):
            card = Card(state, node, networks)
            functions = list(zip(
                networks[len(card.port):], card.functions))
            if all(_in_order(*pair)
                   for pair in zip(functions, functions[1:])):
                yield card


def _in_order(one, other):
    """Tell whether two functions of a port are in the order of a claim."""
    if one[0] == other[0]:
        return one[1] <= other[1] or USED not in (one[1], other[1])
    return other[0] is not None


def _named_in_turn(used, names):
    """Tell whether the first is called by the first name, and so on."""
    found = [name for name in dict.fromkeys(used) if name is not None]
    return found == list(names[:len(found)])
