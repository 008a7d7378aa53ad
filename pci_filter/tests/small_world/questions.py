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

"""What is asked of a small host, and what need not be asked.

An instance has one or two requests, each for one or two devices, with each
NUMA policy, and no, one or two NUMA cells. Of all these, what follows is left
out. ``test_nothing_left_out`` asks the smallest hosts all the same, to see
that it makes no difference.

* A request that no device of the host meets, or fewer than it asks for, free
  or not: nobody serves it.
* Of specs that the same devices of the host meet, all but one, if all or none
  of them ask for physical functions. A spec is only compared.
* Without NUMA cells all policies but one, and all NUMA nodes but one: neither
  the filter nor the claim looks at them.
* With as many cells as the host has nodes all known nodes but one: each of
  them is the guest's.
* A tag that no request asks for: it tells nothing, but a pool that has it
  comes later in the order of a claim. So only one host is left of those with
  the same order.
* What no request looks at. It is counted, though, to find the node that a
  guest with one cell is tried on first. So free plain devices that nobody asks
  for are there where they change that.
"""

from __future__ import annotations

import itertools
import typing

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import nova_release
from pci_filter.tests.functional.nova import wants
from pci_filter.tests.small_world import worlds

POLICIES = wants.POLICIES
COUNTS = (1, 2)
CELLS = (0, 1, 2)

#: The NUMA nodes of each host share a socket: the policy ``socket`` would be
#: ``required`` else.
SOCKETS = (0, 0)


class Spec(typing.NamedTuple):
    """What a device has to be like.

    :param properties: as Nova makes it of a port, or of an alias
    :param alias: whether an alias asks
    """

    properties: dict[str, str]
    alias: bool = True

    @property
    def network(self):
        return self.properties.get('physical_network')

    @property
    def wants_port(self):
        return self.properties.get('dev_type') == fleets.PF

    @property
    def wants_migratable(self):
        return 'live_migratable' in self.properties


def _network(name, **more):
    return Spec({'physical_network': name, 'remote_managed': 'False', **more},
                False)


def _product(product_id, vendor_id=worlds.PLAIN_VENDOR, **more):
    return Spec({'vendor_id': vendor_id, 'product_id': product_id, **more})


#: By name: a port that is given a function, one that is given a whole port,
#: and aliases.
SPECS = {
    **{name: _network(name) for name in worlds.NETWORKS[1:]},
    **{f'port of {name}': _network(name, dev_type=fleets.PF)
       for name in worlds.NETWORKS[1:]},
    'function': _product(
        worlds.CARD.vf_product_id, worlds.CARD.vendor_id, dev_type=fleets.VF),
    'port': _product(
        worlds.CARD.pf_product_id, worlds.CARD.vendor_id, dev_type=fleets.PF),
    **{product: _product(product) for product in worlds.PRODUCTS},
    **({f'{product} migratable': _product(product, live_migratable='true')
        for product in worlds.PRODUCTS}
       if nova_release.HAS_LIVE_MIGRATABLE else {})}


class Wish(typing.NamedTuple):
    """One request, but for its NUMA policy.

    :param name: of the spec
    :param devices: how many
    :param seen: the numbers of the parts of the host that it looks at
    """

    name: str
    devices: int
    seen: frozenset[int]

    @property
    def spec(self):
        return SPECS[self.name]


class Instance(typing.NamedTuple):
    """Who asks.

    :param asks: name of spec, count and policy of each request
    :param cells: number of NUMA cells
    """

    asks: tuple[tuple[str, int, str], ...]
    cells: int

    def requests(self):
        """Build the InstancePCIRequest objects."""
        return [
            scheduling.pci_request(
                SPECS[name].properties, count, numa_policy=policy,
                alias_name='alias' if SPECS[name].alias else None)
            for name, count, policy in self.asks]

    def __str__(self):
        return f'{self.cells} cells, ' + ' + '.join(
            f'{count} {name} ({policy})' for name, count, policy in self.asks)


def questions(world):
    """Generate the instances that a host is asked about."""
    for wishes, cells in _shapes(world):
        for policies in itertools.product(
                _policies(cells), repeat=len(wishes)):
            yield Instance(tuple(
                (wish.name, wish.devices, policy)
                for wish, policy in zip(wishes, policies)), cells)


def number_of_questions(world):
    """Return how many there are, without making them."""
    return sum(len(_policies(cells)) ** len(wishes)
               for wishes, cells in _shapes(world))


def pairs(world):
    """Generate two instances without NUMA cells that want a host at once.

    The first has one or two requests, the second has one.
    """
    if not _nodes_are_needed(world, 0):
        return
    wishes = list(_wishes(world))
    for number in (1, 2):
        for together in itertools.product(wishes, repeat=number + 1):
            if _tags_are_needed(world, together) and _parts_are_needed(
                    world, together, 0):
                asks = tuple((wish.name, wish.devices, *_policies(0))
                             for wish in together)
                yield Instance(asks[:-1], 0), Instance(asks[-1:], 0)


def guests(world):
    """Generate two instances with NUMA cells that want a host at once.

    Each has one request and one or two cells.
    """
    wishes = list(_wishes(world))
    for together in itertools.product(wishes, repeat=2):
        if not (_tags_are_needed(world, together)
                and _parts_are_needed(world, together, 0)):
            continue
        for cells in itertools.product(CELLS[1:], repeat=2):
            if not _nodes_are_needed(world, min(cells)):
                continue
            for policies in itertools.product(POLICIES, repeat=2):
                yield tuple(
                    Instance(((wish.name, wish.devices, policy),), number)
                    for wish, policy, number in zip(
                        together, policies, cells))


def everything(world):
    """Generate instances that need not be asked about, whatever a host is.

    With one request all there are, with two those of a function of net1, of
    any function and of a port.
    """
    each = itertools.product(SPECS, COUNTS, POLICIES)
    few = itertools.product(('net1', 'function', 'port'), (1,), POLICIES)
    for asks in itertools.chain(
            zip(each), itertools.product(few, repeat=2)):
        for cells in CELLS:
            yield Instance(asks, cells)


def _policies(cells):
    return POLICIES if cells else ('legacy',)


def _shapes(world):
    """Generate the requests of instances but for policies, and the cells."""
    cells_here = [
        cells for cells in CELLS if _nodes_are_needed(world, cells)]
    wishes = list(_wishes(world))
    for number in (1, 2):
        for together in itertools.product(wishes, repeat=number):
            if _tags_are_needed(world, together):
                for cells in cells_here:
                    if _parts_are_needed(world, together, cells):
                        yield together, cells


def _wishes(world):
    """Generate the requests that some devices of a host meet."""
    known = set()
    for name, spec in SPECS.items():
        met = frozenset(
            (number, device) for number, part in enumerate(world.parts)
            for device in _met(spec, part))
        if (met, spec.wants_port) not in known:
            known.add((met, spec.wants_port))
            # Ports are no functions, though a network has both.
            most = sum(
                isinstance(world.parts[number], worlds.Plain)
                or spec.wants_port == _is_port(world.parts[number], device)
                for number, device in met)
            for count in COUNTS:
                if count <= most:
                    yield Wish(name, count, frozenset(
                        number for number, _ in met))


def _is_port(card, device):
    return device < len(card.port)


def _met(spec, part):
    """Return the numbers of the devices of a part that meet a spec."""
    product = spec.properties.get('product_id')
    if isinstance(part, worlds.Plain):
        return [0] if product == part.product and (
            part.migratable or not spec.wants_migratable) else []
    return [
        device for device, network in enumerate(part.networks)
        if _is_port(part, device) >= spec.wants_port and (
            spec.network == network if spec.network else product == (
                worlds.CARD.pf_product_id if _is_port(part, device)
                else worlds.CARD.vf_product_id))]


def _nodes_are_needed(world, cells):
    """Tell whether no host with another node does as well."""
    if cells == 0:
        return world.nodes <= {0}
    return cells == 1 or world.nodes <= {0, None}


def _tags_are_needed(world, wishes):
    """Tell whether no host with fewer tags does as well."""
    if not any(wish.spec.network for wish in wishes):
        if not _has_few_tags([
                card.networks != (None,) * len(card.networks)
                for card in world.cards]) and not any(
                    len(set(card.networks)) > 1 for card in world.cards):
            return False
    return any(wish.spec.wants_migratable for wish in wishes) or (
        _has_few_tags([plain.migratable for plain in world.plains]))


def _has_few_tags(tagged):
    """Tell whether there are no more tags than the order of a claim takes."""
    return tagged in ([False] * len(tagged), [True, False])


def _parts_are_needed(world, wishes, cells):
    """Tell whether all that nobody looks at moves the guest."""
    seen = frozenset().union(*(wish.seen for wish in wishes))
    idle = [number for number, _ in enumerate(world.parts)
            if number not in seen]
    if not idle:
        return True
    if cells != 1 or not all(
            isinstance(part := world.parts[number], worlds.Plain)
            and part.available and not part.migratable for number in idle):
        return False
    first = _first_node(world.parts)
    return all(
        _first_node([*world.parts[:number], *world.parts[number + 1:]])
        != first for number in idle)


def _first_node(parts):
    """Return where Nova tries a guest with one cell first.

    It is the node with more available devices (nova.virt.hardware,
    numa_fit_instance_to_host).
    """
    available = [sum(part.available for part in parts if part.node == node)
                 for node in (0, 1)]
    return int(available[1] > available[0])
