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

"""Scenarios: how near to the guest's memory a device has to be.

The host has four NUMA nodes, two on each of its two sockets, if a scenario
does not say otherwise.
"""

from pci_filter.tests.scenarios.builders import A
from pci_filter.tests.scenarios.builders import A_GPU
from pci_filter.tests.scenarios.builders import A_PF
from pci_filter.tests.scenarios.builders import A_VF
from pci_filter.tests.scenarios.builders import alias
from pci_filter.tests.scenarios.builders import ANY_INTEL
from pci_filter.tests.scenarios.builders import B
from pci_filter.tests.scenarios.builders import C
from pci_filter.tests.scenarios.builders import gpu
from pci_filter.tests.scenarios.builders import pf
from pci_filter.tests.scenarios.builders import port
from pci_filter.tests.scenarios.builders import scenario
from pci_filter.tests.scenarios.builders import vf

D = '0000:84:00.0'


def _nodes(*nodes):
    """GPUs, one on each of these NUMA nodes."""
    return [gpu(address=f'0000:4{index}:00.0', numa=node)
            for index, node in enumerate(nodes)]


def _gpu(policy, count=1):
    return alias(A_GPU, count=count, policy=policy)


_ONE_ELSEWHERE = tuple(
    scenario(f'{policy or "default"}_other_node', _nodes(1),
             _gpu(policy), guest=(0,), **verdict)
    for policy, verdict in (
        ('required', {'fails': 'numa'}),
        ('socket', {'left': 0}),
        ('legacy', {'fails': 'numa'}),
        (None, {'fails': 'numa'}),
        ('preferred', {'left': 0})))

_ONE_UNTOLD = tuple(
    scenario(f'{policy or "default"}_unknown_node', _nodes(None),
             _gpu(policy), guest=(0,), **verdict)
    for policy, verdict in (
        ('required', {'fails': 'numa'}),
        ('socket', {'fails': 'numa'}),
        ('legacy', {'left': 0}),
        (None, {'left': 0}),
        ('preferred', {'left': 0})))

_ONE_OTHER_SOCKET = tuple(
    scenario(f'{policy}_other_socket', _nodes(2), _gpu(policy), guest=(0,),
             **verdict)
    for policy, verdict in (
        ('required', {'fails': 'numa'}),
        ('socket', {'fails': 'numa'}),
        ('legacy', {'fails': 'numa'}),
        ('preferred', {'left': 0})))

_ONE_HERE = tuple(
    scenario(f'{policy or "default"}_takes_local_first',
             _nodes(1, None, 0), _gpu(policy), guest=(0,), left=(1, 1, 0))
    for policy in ('required', 'socket', 'legacy', None, 'preferred'))

_PLACE_UNKNOWN = tuple(
    scenario(f'{policy}_place_not_known_yet', _nodes(2, 0), _gpu(policy),
             left=(0, 1))
    for policy in ('required', 'socket', 'legacy', 'preferred'))

_TOO_FEW_HERE = tuple(
    scenario(f'{policy}_too_few_local', _nodes(2, 1, None, 0),
             _gpu(policy, count=2), guest=(0,), **verdict)
    for policy, verdict in (
        ('required', {'fails': 'numa'}),
        # Once local devices do not suffice they have no precedence.
        ('socket', {'left': (1, 0, 1, 0)}),
        ('legacy', {'left': (1, 1, 0, 0)}),
        ('preferred', {'left': (1, 1, 0, 0)})))

_FALL_BACK = (
    scenario('legacy_too_few_with_unknown', _nodes(1, None, 0),
             _gpu('legacy', 3), guest=(0,), fails='numa'),
    scenario('preferred_too_few_with_unknown', _nodes(1, None, 2, 0),
             _gpu('preferred', 3), guest=(0,), left=(0, 0, 1, 0)),
    scenario('preferred_keeps_order_among_near', _nodes(2, None, 0, None, 1),
             _gpu('preferred', 4), guest=(0,), left=(0, 0, 0, 0, 1)),
    scenario('preferred_all_of_the_host', _nodes(2, 1, None, 0),
             _gpu('preferred', 4), guest=(0,), left=(0, 0, 0, 0)),
    scenario('preferred_none_near', _nodes(2, 3, 1), _gpu('preferred'),
             guest=(0,), left=(0, 1, 1)),
    scenario('socket_does_not_fall_back_to_unknown', _nodes(None, 0),
             _gpu('socket', 2), guest=(0,), fails='numa'),
    scenario('socket_local_and_neighbour', _nodes(0, 1, 2),
             _gpu('socket', 2), guest=(0,), left=(0, 0, 1)),
    scenario('socket_too_few_on_socket', _nodes(0, 1, 2),
             _gpu('socket', 3), guest=(0,), fails='numa'),
)

_GUEST_ON_TWO_NODES = (
    scenario('required_any_of_the_guests_nodes', _nodes(2, 1),
             _gpu('required'), guest=(0, 1), left=(1, 0)),
    scenario('required_nodes_add_up', _nodes(0, 1), _gpu('required', 2),
             guest=(0, 1), left=(0, 0)),
    scenario('socket_of_any_node', _nodes(3, 1), _gpu('socket', 2),
             guest=(0, 2), left=(0, 0)),
    scenario('guest_node_without_devices', _nodes(0), _gpu('required'),
             guest=(3,), fails='numa'),
)

_SOCKETS = (
    scenario('no_socket_told', _nodes(1), _gpu('socket'), guest=(0,),
             sockets=(None, None), fails='numa'),
    scenario('one_socket_not_told', _nodes(1), _gpu('socket'), guest=(0,),
             sockets=(0, 0, 1, None), fails='numa'),
    scenario('no_socket_told_but_local', _nodes(0), _gpu('socket'),
             guest=(0,), sockets=(None, None), left=0),
    scenario('no_socket_told_nor_needed', _nodes(1), _gpu('preferred'),
             guest=(0,), sockets=(None, None), left=0),
    scenario('one_socket_for_all', _nodes(3), _gpu('socket'), guest=(0,),
             sockets=(0, 0, 0, 0), left=0),
    scenario('sockets_interleaved', _nodes(1, 2), _gpu('socket'), guest=(0,),
             sockets=(0, 1, 0, 1), left=(1, 0)),
    scenario('device_node_not_in_topology', _nodes(7), _gpu('socket'),
             guest=(0,), fails='numa'),
    scenario('guest_node_not_in_topology', _nodes(0), _gpu('socket'),
             guest=(9,), fails='numa'),
    scenario('no_topology_but_local', _nodes(0), _gpu('socket'), guest=(0,),
             sockets=None, left=0),
)

_ORDER_OF_STAGES = (
    # NUMA is decided while the unrequested PFs are still there.
    scenario('local_pf_hides_need_for_others',
             [pf(A), vf(1, address=B, numa=1)],
             alias(ANY_INTEL, policy='preferred'), guest=(0,),
             fails='unrequested_pf'),
    scenario('local_pf_does_not_suffice',
             [pf(A), vf(2, address=B, numa=1)],
             alias(ANY_INTEL, count=2, policy='preferred'), guest=(0,),
             left=(1, 0)),
    scenario('local_pf_hides_unknown_nodes',
             [pf(A), vf(1, address=B, numa=None)],
             alias(ANY_INTEL), guest=(0,), fails='unrequested_pf'),
    scenario('local_remote_managed_hides_others',
             [vf(1, remote_managed='true'), vf(1, address=B, numa=1)],
             alias(A_VF, policy='preferred'), guest=(0,),
             fails='unrequested_remote_managed'),
    # What does not match at all hides nothing.
    scenario('local_mismatch_hides_nothing',
             [vf(1, tier='lead'), vf(1, address=B, numa=1, tier='gold')],
             alias({'tier': 'gold'}, policy='preferred'), guest=(0,),
             left=(1, 0)),
    scenario('fewer_properties_only_among_equally_near',
             [vf(1, address=B, numa=1), vf(1, tier='gold')],
             alias(A_VF, policy='preferred'), guest=(0,), left=(1, 0)),
)

_SEVERAL_REQUESTS = (
    scenario('each_with_its_policy', _nodes(0, 1, 2),
             [_gpu('required'), _gpu('socket'), _gpu('preferred')],
             guest=(0,), left=(0, 0, 0)),
    scenario('first_takes_the_local_one', _nodes(1, 0),
             [_gpu('preferred'), _gpu('required')],
             guest=(0,), fails='numa', fails_at=1),
    scenario('strict_one_first', _nodes(1, 0),
             [_gpu('required'), _gpu('preferred')], guest=(0,), left=(0, 0)),
    scenario('port_policy',
             [vf(address=A, numa=1, physical_network='net1'),
              vf(address=B, numa=0, physical_network='net1')],
             port(physical_network='net1', policy='required'), guest=(0,),
             left=(4, 3)),
    scenario('pf_and_vf_of_different_nodes',
             [pf(C, numa=1), vf(2, address=D, numa=0)],
             [alias(A_PF, policy='required'), alias(A_VF, policy='required')],
             guest=(0, 1), left=(0, 1)),
)

SCENARIOS = (
    *_ONE_ELSEWHERE, *_ONE_UNTOLD, *_ONE_OTHER_SOCKET, *_ONE_HERE,
    *_PLACE_UNKNOWN, *_TOO_FEW_HERE, *_FALL_BACK, *_GUEST_ON_TWO_NODES,
    *_SOCKETS, *_ORDER_OF_STAGES, *_SEVERAL_REQUESTS)
