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

"""Random instances that want what a host has, as a hypothesis strategy."""

import dataclasses

from hypothesis import strategies as st

from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import wants as random_wants

_POLICIES = (None, *random_wants.POLICIES)


@st.composite
def _fitting(draw, pool):
    """Draw a request that a pool can serve, if nothing else is against it."""
    dev_type = pool['dev_type']
    policy = draw(st.sampled_from(_POLICIES))
    if dev_type == fleets.VDPA or dev_type != fleets.PCI and (
            'rp_uuid' not in pool and draw(st.booleans())):
        spec = {'physical_network': pool.get('physical_network'),
                'remote_managed': pool['remote_managed']}
        if dev_type != fleets.VF:
            spec['dev_type'] = dev_type
        if pool.get('parent_ifname') and draw(st.integers(0, 4)) == 4:
            spec['parent_ifname'] = pool['parent_ifname']
        return random_wants.Ask((spec,), 1, None, policy)
    spec = {key: pool[key] for key in ('vendor_id', 'product_id', 'dev_type')}
    if 'color' in pool and draw(st.booleans()):
        spec['color'] = pool['color']
    return random_wants.Ask(
        (spec,), draw(st.sampled_from((1, 1, min(2, pool['count']), 3))),
        'alias', policy)


def tracked(machine):
    """Return a fleets.Machine whose devices can be allocated in placement.

    Those with a physical network are not there, and a port and its functions
    never both.
    """
    parents = {device.get('parent_addr') for device in machine.devices}
    return dataclasses.replace(
        machine, in_placement=True, device_spec=tuple(
            {key: value for key, value in spec.items()
             if key != 'physical_network'} for spec in machine.device_spec),
        devices=tuple(device for device in machine.devices
                      if device['address'] not in parents))


@st.composite
def wants(draw, machine, pools):
    """Draw what one instance asks for: as a rule what is there.

    :param machine: the fleets.Machine
    :param pools: the pools that it has now
    """
    if not pools or draw(st.integers(0, 3)) == 3:
        return draw(random_wants.wants((machine,)))
    pools = draw(st.permutations(pools))
    if draw(st.integers(0, 3)):
        # Relatives would exclude each other.
        pools = list({pool['address']: pool for pool in pools}.values())
    return random_wants.Want(
        tuple(draw(_fitting(pool)) for pool in pools[
            :draw(st.sampled_from((1, 1, 2, 2, 3)))]),
        draw(st.sampled_from(((), (), (), (0,), (1,), (0, 1)))),
        draw(st.integers(0, 999)))
