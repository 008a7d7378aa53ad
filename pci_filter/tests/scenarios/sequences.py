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

"""Scenarios: requests, and instances, that use up the same pools."""

from pci_filter.tests.scenarios.builders import A
from pci_filter.tests.scenarios.builders import A_GPU
from pci_filter.tests.scenarios.builders import A_PF
from pci_filter.tests.scenarios.builders import A_VF
from pci_filter.tests.scenarios.builders import alias
from pci_filter.tests.scenarios.builders import B
from pci_filter.tests.scenarios.builders import gpu
from pci_filter.tests.scenarios.builders import pf
from pci_filter.tests.scenarios.builders import port
from pci_filter.tests.scenarios.builders import RP1
from pci_filter.tests.scenarios.builders import RP2
from pci_filter.tests.scenarios.builders import scenario
from pci_filter.tests.scenarios.builders import vf

_TWO_GPUS = (gpu(address='0000:41:00.0'), gpu(address='0000:42:00.0'))
_FAMILY = (pf(A), vf(4, address=A))
_GONE = 'the PF of a used VF is gone'


def _rp(rp_uuid, count=1):
    return alias({**A_VF, 'rp_uuids': ','.join([rp_uuid] * count)},
                 count=count)


_SEVERAL_REQUESTS = (
    scenario('two_requests_two_devices', _TWO_GPUS,
             [alias(A_GPU), alias(A_GPU)], left=(0, 0)),
    scenario('three_requests_two_devices', _TWO_GPUS,
             [alias(A_GPU)] * 3, fails='free', fails_at=2),
    scenario('first_request_is_the_larger', [vf(5)],
             [alias(A_VF, count=3), alias(A_VF, count=2)], left=0),
    scenario('second_request_is_too_large', [vf(5)],
             [alias(A_VF, count=3), alias(A_VF, count=3)],
             fails='free', fails_at=1),
    scenario('first_request_fails', [vf(5)],
             [alias(A_GPU), alias(A_VF)], fails='spec', fails_at=0),
    scenario('different_kinds', [*_TWO_GPUS, vf(2)],
             [alias(A_VF), alias(A_GPU, count=2)], left=(0, 0, 1)),
    # Requests are served in their order, nothing is exchanged afterwards.
    scenario('greedy_first_request',
             [gpu(address='0000:41:00.0', tier='gold'),
              gpu(address='0000:42:00.0', tier='lead')],
             [alias(A_GPU), alias({'tier': 'gold'})],
             fails='spec', fails_at=1),
    scenario('demanding_request_first',
             [gpu(address='0000:41:00.0', tier='gold'),
              gpu(address='0000:42:00.0', tier='lead')],
             [alias({'tier': 'gold'}), alias(A_GPU)], left=(0, 0)),
    scenario('second_request_starts_in_a_used_pool',
             [vf(3), vf(3, address=B)],
             [alias(A_VF, count=2), alias(A_VF, count=2)], left=(0, 2)),
    scenario('ports_of_two_networks',
             [vf(1, physical_network='net1'),
              vf(1, address=B, physical_network='net2')],
             [port(physical_network='net2'), port(physical_network='net1')],
             left=(0, 0)),
    scenario('two_ports_of_one_network',
             [vf(1, physical_network='net1'),
              vf(1, address=B, physical_network='net2')],
             [port(physical_network='net1'), port(physical_network='net1')],
             fails='spec', fails_at=1),
)

_SEVERAL_INSTANCES = (
    scenario('one_instance_before', [vf(2)], alias(A_VF), left=0,
             before=((alias(A_VF),),)),
    scenario('host_used_up', [vf(2)], alias(A_VF), fails='free',
             before=((alias(A_VF),), (alias(A_VF),))),
    scenario('three_instances_over_two_pools', [vf(2), vf(3, address=B)],
             alias(A_VF, count=2), fails='free',
             before=((alias(A_VF, count=2),), (alias(A_VF, count=2),))),
    scenario('last_device_of_two_pools', [vf(2), vf(3, address=B)],
             alias(A_VF), left=(0, 0),
             before=((alias(A_VF, count=2),), (alias(A_VF, count=2),))),
    scenario('vf_before_takes_the_pf', _FAMILY, alias(A_PF), fails='spec',
             before=((alias(A_VF),),), in_tree=True, why=_GONE),
    scenario('pf_before_takes_the_vfs', _FAMILY, alias(A_VF), fails='free',
             before=((alias(A_PF),),), in_tree=True, why=_GONE),
    scenario('vfs_of_a_used_family', _FAMILY, alias(A_VF, count=2),
             left=(0, 0), before=((alias(A_VF, count=2),),),
             in_tree_left=(1, 0), why=_GONE),
    scenario('instances_with_two_requests_each',
             [gpu(2, tier='gold'), vf(4, address=B)],
             [alias(A_GPU), alias(A_VF, count=2)], left=(0, 0),
             before=((alias(A_GPU), alias(A_VF, count=2)),)),
    scenario('numa_nodes_used_up',
             [vf(1, numa=0), vf(1, address=B, numa=1)],
             alias(A_VF, policy='preferred'), guest=(0,), left=(0, 0),
             before=((alias(A_VF, policy='required'),),)),
    scenario('local_devices_used_up',
             [vf(1, numa=0), vf(1, address=B, numa=1)],
             alias(A_VF, policy='required'), guest=(0,), fails='numa',
             before=((alias(A_VF, policy='required'),),)),
    scenario('provider_used_up_by_instances',
             [vf(2, rp=RP1), vf(2, address=B, rp=RP2)],
             _rp(RP1), fails='placement',
             before=((_rp(RP1),), (_rp(RP1),))),
    scenario('other_provider_after_instances',
             [vf(2, rp=RP1), vf(2, address=B, rp=RP2)],
             _rp(RP2, count=2), left=(0, 0),
             before=((_rp(RP1),), (_rp(RP1),))),
)

SCENARIOS = (*_SEVERAL_REQUESTS, *_SEVERAL_INSTANCES)
