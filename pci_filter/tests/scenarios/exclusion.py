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

"""Scenarios: a physical function and what is carved out of it.

Nova's scheduler does not know that they exclude each other, so it promises
what the claim then refuses.
"""

from pci_filter.tests.scenarios.builders import A
from pci_filter.tests.scenarios.builders import A_PF
from pci_filter.tests.scenarios.builders import A_VDPA
from pci_filter.tests.scenarios.builders import A_VF
from pci_filter.tests.scenarios.builders import alias
from pci_filter.tests.scenarios.builders import ANY_INTEL
from pci_filter.tests.scenarios.builders import B
from pci_filter.tests.scenarios.builders import C
from pci_filter.tests.scenarios.builders import gpu
from pci_filter.tests.scenarios.builders import pf
from pci_filter.tests.scenarios.builders import port
from pci_filter.tests.scenarios.builders import scenario
from pci_filter.tests.scenarios.builders import vdpa
from pci_filter.tests.scenarios.builders import vf

_EXCLUDED = 'PF and VF of one family cannot be in use together'

_FAMILY = (pf(A), vf(4, address=A))
_MELLANOX_PF = ('15b3', '101d')
_A_MELLANOX_PF = {'vendor_id': '15b3', 'product_id': '101d',
                  'dev_type': 'type-PF'}


def _refused(name, pools, requests, fails='spec', fails_at=1, **more):
    """Nova's scheduler lets it pass, the claim fails."""
    return scenario(name, pools, requests, fails=fails, fails_at=fails_at,
                    in_tree=True, why=_EXCLUDED, **more)


_TWO_REQUESTS = (
    _refused('pf_then_vf', _FAMILY, [alias(A_PF), alias(A_VF)], fails='free'),
    _refused('vf_then_pf', _FAMILY, [alias(A_VF), alias(A_PF)]),
    scenario('pf_then_vf_of_other_family',
             [pf(A), vf(2, address=B)], [alias(A_PF), alias(A_VF)],
             left=(0, 1)),
    scenario('vf_then_pf_of_other_family',
             [pf(A), vf(2, address=B)], [alias(A_VF), alias(A_PF)],
             left=(0, 1)),
    scenario('two_families_pf_then_vf',
             [pf(A), vf(2, address=A), pf(B), vf(2, address=B)],
             [alias(A_PF), alias(A_VF)], left=(0, 0, 0, 1),
             in_tree_left=(0, 1, 1, 2), why=_EXCLUDED),
    scenario('two_families_vf_then_pf',
             [pf(A), vf(2, address=A), pf(B), vf(2, address=B)],
             [alias(A_VF), alias(A_PF)], left=(0, 1, 0, 0),
             in_tree_left=(0, 1, 1, 2), why=_EXCLUDED),
    _refused('two_families_both_pfs_then_vf',
             [pf(A), vf(2, address=A), pf(B), vf(2, address=B)],
             [alias(A_PF, count=2), alias(A_VF)], fails='free'),
    _refused('two_families_vfs_of_both_then_pf',
             [pf(A), vf(2, address=A), pf(B), vf(2, address=B)],
             [alias(A_VF, count=3), alias(A_PF)]),
    scenario('vf_then_vf', _FAMILY, [alias(A_VF), alias(A_VF, count=3)],
             left=(0, 0), in_tree_left=(1, 0), why=_EXCLUDED),
    scenario('pf_then_gpu', [*_FAMILY, gpu()],
             [alias(A_PF), alias({'vendor_id': '10de'})],
             left=(0, 0, 0), in_tree_left=(0, 4, 0), why=_EXCLUDED),
    _refused('gpu_between', [*_FAMILY, gpu()],
             [alias(A_PF), alias({'vendor_id': '10de'}), alias(A_VF)],
             fails='free', fails_at=2),
    _refused('pf_then_some_vfs_elsewhere',
             [pf(A), vf(4, address=A), vf(2, address=B)],
             [alias(A_PF), alias(A_VF, count=3)], fails='free'),
    scenario('pf_then_enough_vfs_elsewhere',
             [pf(A), vf(4, address=A), vf(2, address=B)],
             [alias(A_PF), alias(A_VF, count=2)], left=(0, 0, 0),
             in_tree_left=(0, 2, 2), why=_EXCLUDED),
    scenario('pf_without_vfs_then_vf', [pf(A), pf(B), vf(1, address=B)],
             [alias(A_PF), alias(A_VF)], left=(0, 0, 0),
             in_tree_left=(0, 1, 0), why=_EXCLUDED),
    scenario('vf_whose_pf_is_not_ours', [vf(4, address=A)],
             [alias(A_VF), alias(A_VF)], left=2),
    _refused('flavor_pf_then_port_vf',
             [pf(A), vf(4, address=A, physical_network='net1')],
             [alias(A_PF), port(physical_network='net1')], fails='free'),
    _refused('port_pf_then_port_vf',
             [pf(A, physical_network='net1'),
              vf(4, address=A, physical_network='net1')],
             [port(physical_network='net1', dev_type='type-PF'),
              port(physical_network='net1')], fails='free'),
    scenario('other_function_is_another_family',
             [pf('0000:81:00.0'), vf(4, address='0000:81:00.1')],
             [alias(A_PF), alias(A_VF)], left=(0, 3)),
)

_SPLIT_FAMILIES = (
    _refused('vfs_in_two_pools_both_gone',
             [pf(A), vf(2, address=A, tier='gold'),
              vf(2, address=A, tier='lead')],
             [alias(A_PF), alias({'tier': 'lead'})], fails='free'),
    scenario('two_pools_of_one_family',
             [vf(2, address=A, tier='gold'), vf(2, address=A, tier='lead')],
             [alias({'tier': 'lead'}), alias({'tier': 'gold'})],
             left=(1, 1)),
    _refused('second_pool_of_a_family_takes_its_pf',
             [pf(A), vf(2, address=A, tier='gold'),
              vf(2, address=A, tier='lead')],
             [alias({'tier': 'lead'}), alias(A_PF)]),
)

_VDPA = (
    _refused('pf_then_vdpa',
             [pf(A, ids=_MELLANOX_PF), vdpa(address=A)],
             [alias(_A_MELLANOX_PF), alias(A_VDPA)], fails='free'),
    _refused('vdpa_then_pf',
             [pf(A, ids=_MELLANOX_PF), vdpa(address=A)],
             [alias(A_VDPA), alias(_A_MELLANOX_PF)]),
    scenario('vdpa_and_vf_live_together',
             [vdpa(2, address=A), vf(2, address=A)],
             [alias(A_VDPA, count=2), alias(A_VF, count=2)], left=(0, 0)),
    scenario('vdpa_then_pf_of_other_family',
             [pf(B, ids=_MELLANOX_PF), vdpa(address=A)],
             [alias(A_VDPA), alias(_A_MELLANOX_PF)], left=(0, 3)),
)

_ONE_REQUEST = (
    _refused('pf_and_its_vfs_at_once', _FAMILY,
             alias(A_PF, A_VF, count=2), fails='relatives', fails_at=0),
    _refused('vfs_and_their_pf_at_once', [vf(2, address=A), pf(A)],
             alias(A_VF, A_PF, count=3), fails='relatives', fails_at=0),
    # The claim takes from the pools in turn too, and does not look ahead.
    _refused('no_looking_ahead', [pf(A), vf(4, address=A), pf(B)],
             alias(A_PF, A_VF, count=2), fails='relatives', fails_at=0),
    scenario('pfs_of_two_families', [pf(A), pf(B), vf(4, address=B)],
             alias(A_PF, A_VF, count=2), left=(0, 0, 0),
             in_tree_left=(0, 0, 4), why=_EXCLUDED),
    scenario('pf_and_vfs_of_other_family', [pf(A), vf(4, address=B)],
             alias(A_PF, A_VF, count=3), left=(0, 2)),
    scenario('only_vfs_needed', [vf(4, address=A), pf(A)],
             alias(A_VF, A_PF, count=4), left=(0, 0), in_tree_left=(0, 1),
             why=_EXCLUDED),
    scenario('unrequested_pf_of_the_family', _FAMILY,
             alias(ANY_INTEL, count=4), left=(0, 0), in_tree_left=(1, 0),
             why=_EXCLUDED),
    _refused('numa_brings_them_together',
             [pf(A, numa=0), pf(C, numa=1), vf(1, address=A, numa=0)],
             alias(A_PF, A_VF, count=2, policy='preferred'), guest=(0,),
             fails='relatives', fails_at=0),
)

SCENARIOS = (*_TWO_REQUESTS, *_SPLIT_FAMILIES, *_VDPA, *_ONE_REQUEST)
