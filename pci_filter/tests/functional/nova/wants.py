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

"""Random instances that want PCI devices, as hypothesis strategies."""

from __future__ import annotations

import collections
import dataclasses
import random
import typing

from hypothesis import strategies as st
from nova.compute import utils as compute_utils
from oslo_utils import uuidutils

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import nova_release

POLICIES = ('required', 'socket', 'legacy', 'preferred')

#: RequestGroup requester_id to the chosen resource providers.
Mapping = dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class Ask:
    """One PCI request, of a flavor's alias or of a port.

    :param specs: the alternatives
    :param count: number of devices; one for a port
    :param alias: name of the alias, None for a port
    :param numa_policy: the policy, if any was given
    """

    specs: tuple[fleets.Tags, ...]
    count: int
    alias: str | None
    numa_policy: str | None


@dataclasses.dataclass(frozen=True)
class Want:
    """The PCI requests of one instance.

    :param asks: the requests in their order
    :param numa_nodes: where on the host the instance's NUMA cells are
    :param seed: of what placement chooses
    """

    asks: tuple[Ask, ...]
    numa_nodes: tuple[int, ...]
    seed: int

    def requests(self) -> list[typing.Any]:
        """Build the InstancePCIRequest objects."""
        return [
            scheduling.pci_request(
                ask.specs, ask.count, alias_name=ask.alias,
                numa_policy=ask.numa_policy)
            for ask in self.asks]


def _case(draw: st.DrawFn, text: str) -> str:
    """Nova ignores case, so change it now and then."""
    return text.upper() if draw(st.sampled_from((False, False, True))) else (
        text)


@st.composite
def _aliases(draw: st.DrawFn, devices: list[fleets.Device]) -> Ask:
    """What a flavor's alias can ask for.

    Nova refuses an alias whose alternatives are not of one device type, and
    has no vDPA devices in aliases.
    """
    device = draw(st.sampled_from(devices))
    alike = sorted({
        (other['vendor_id'], other['product_id']) for other in devices
        if other['dev_type'] == device['dev_type']})
    several = draw(st.sampled_from((False, False, True)))
    ids = alike[:2] if several else [
        (device['vendor_id'], device['product_id'])]
    specs: list[fleets.Tags] = [
        {'vendor_id': _case(draw, vendor_id),
         'product_id': _case(draw, product_id)}
        for vendor_id, product_id in ids]
    if several or draw(st.booleans()) or device['dev_type'] == fleets.PF:
        dev_type = {fleets.VDPA: fleets.VF}.get(
            device['dev_type'], device['dev_type'])
        specs = [{**spec, 'dev_type': dev_type} for spec in specs]
    migratable = nova_release.HAS_LIVE_MIGRATABLE and draw(
        st.sampled_from((None,) * 5 + ('true', 'false')))
    if migratable:
        specs[0]['live_migratable'] = migratable
        # As a rule all alternatives say so, but nothing makes them.
        if draw(st.booleans()):
            specs[-1]['live_migratable'] = migratable
    if draw(st.sampled_from((False, False, False, True))):
        specs[0].update(resource_class='CUSTOM_THING', traits='CUSTOM_A')
    return Ask(
        tuple(specs), draw(st.sampled_from((1, 1, 2, 3))), 'alias',
        draw(st.sampled_from((*POLICIES, 'preferred'))))


@st.composite
def _ports(draw: st.DrawFn, tags: list[fleets.Tags]) -> Ask:
    """What a port can ask for, one with guaranteed bandwidth included."""
    wanted = draw(st.sampled_from(tags))
    physnet = wanted.get('physical_network')
    spec: fleets.Tags = {
        'physical_network': physnet and _case(draw, physnet),
        'remote_managed': str(bool(wanted.get('remote_managed')))}
    dev_type = draw(st.sampled_from(
        (None, None, None, fleets.PF, fleets.VDPA)))
    if dev_type:
        spec['dev_type'] = dev_type
    trusted = draw(st.sampled_from(
        (None, None, None, wanted.get('trusted'), 'True', 'False')))
    if trusted:
        spec['trusted'] = trusted.title()
    if draw(st.sampled_from((False, False, False, False, True))):
        spec['parent_ifname'] = draw(st.sampled_from(('ens129f0', 'ENS129F1')))
    return Ask((spec,), 1, None, draw(st.sampled_from((None, *POLICIES))))


@st.composite
def wants(
    draw: st.DrawFn, machines: typing.Sequence[fleets.Machine],
) -> Want:
    """What one instance asks for: mostly what one of the hosts once had."""
    machine = draw(st.sampled_from(machines))
    asks = st.one_of(
        _aliases(list(machine.devices)), _aliases(list(machine.devices)),
        _ports(list(machine.device_spec)))
    return Want(
        tuple(draw(asks)
              for _ in range(draw(st.sampled_from((1, 1, 2, 2, 3))))),
        draw(st.sampled_from(((), (), (), (), (0,), (1,), (0, 1), (1, 0)))),
        draw(st.integers(0, 999)))


def allocate(
    want: Want, requests: typing.Sequence[typing.Any],
    pools: typing.Sequence[dict[str, typing.Any]],
) -> Mapping:
    """Choose providers for an instance on a host as placement might.

    Ports are not in placement. What is chosen need not be there any more, nor
    be what the alias asks for, as when the traits of a provider changed.

    :param want: the instance
    :param requests: its InstancePCIRequest objects
    :param pools: the host's pools
    """
    rng = random.Random(want.seed)
    products: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for pool in pools:
        if 'rp_uuid' in pool:
            products[pool['vendor_id'], pool['product_id']] += (
                [pool['rp_uuid']] * pool['count'])
    mapping: Mapping = {}
    if rng.random() < 0.2:
        # A port with guaranteed bandwidth has a group of its own.
        mapping[uuidutils.generate_uuid()] = [uuidutils.generate_uuid()]
    for request in requests:
        spec = request.spec[0]
        fitting = products.get((
            spec.get('vendor_id', '').lower(),
            spec.get('product_id', '').lower()), [])
        everything = sum(products.values(), [])
        if request.alias_name is None or not everything:
            continue
        # Mostly free devices of the right kind, each of them once.
        candidates = rng.sample(fitting, len(fitting))
        for number in range(request.count):
            lucky = candidates and rng.random() < 0.95
            mapping[f'{request.request_id}-{number}'] = [
                candidates.pop() if lucky else rng.choice(everything)]
    return mapping


def with_providers(
    requests: typing.Sequence[typing.Any], mapping: Mapping,
) -> list[typing.Any]:
    """Return the requests as nova-compute claims them after scheduling.

    :param requests: InstancePCIRequest objects; they stay as they are
    :param mapping: what placement chose
    """
    clones = [request.obj_clone() for request in requests]
    compute_utils.update_pci_request_with_placement_allocations(
        None, None, clones, mapping)
    return clones
