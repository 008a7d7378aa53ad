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

"""Scenarios: what placement has allocated is what is taken, as a whole."""

from pci_filter.tests.scenarios.builders import A
from pci_filter.tests.scenarios.builders import A_GPU
from pci_filter.tests.scenarios.builders import A_PF
from pci_filter.tests.scenarios.builders import A_VF
from pci_filter.tests.scenarios.builders import alias
from pci_filter.tests.scenarios.builders import B
from pci_filter.tests.scenarios.builders import gpu
from pci_filter.tests.scenarios.builders import ID1
from pci_filter.tests.scenarios.builders import ID2
from pci_filter.tests.scenarios.builders import ID3
from pci_filter.tests.scenarios.builders import pf
from pci_filter.tests.scenarios.builders import port
from pci_filter.tests.scenarios.builders import RP1
from pci_filter.tests.scenarios.builders import RP2
from pci_filter.tests.scenarios.builders import RP3
from pci_filter.tests.scenarios.builders import scenario
from pci_filter.tests.scenarios.builders import vf

_WHOLE = "placement's allocation is a whole: the claim gets too few devices"

_VFS = (vf(4, A, rp=RP1), vf(4, B, rp=RP2))
_GPUS = (gpu(1, '0000:41:00.0', rp=RP1), gpu(1, '0000:42:00.0', rp=RP2))


def _groups(request_id, *rp_uuids):
    """Request groups as the PCI prefilter names them, one per device."""
    return {f'{request_id}-{index}': [rp_uuid]
            for index, rp_uuid in enumerate(rp_uuids)}


_MAPPING = (
    scenario('second_provider', _VFS, alias(A_VF), left=(4, 3),
             mapping=_groups(ID1, RP2)),
    scenario('two_devices_of_one_provider', _VFS, alias(A_VF, count=2),
             left=(4, 2), mapping=_groups(ID1, RP2, RP2)),
    scenario('one_device_of_each', _VFS, alias(A_VF, count=2),
             left=(3, 3), mapping=_groups(ID1, RP2, RP1)),
    scenario('counts_per_provider', _VFS, alias(A_VF, count=4),
             left=(1, 3), mapping=_groups(ID1, RP1, RP2, RP1, RP1)),
    scenario('all_of_a_provider', _VFS, alias(A_VF, count=4), left=(4, 0),
             mapping=_groups(ID1, RP2, RP2, RP2, RP2)),
    scenario('unknown_provider', _VFS, alias(A_VF), fails='placement',
             mapping=_groups(ID1, RP3)),
    scenario('provider_of_other_devices', [*_VFS, gpu(rp=RP3)], alias(A_VF),
             fails='placement', mapping=_groups(ID1, RP3)),
    scenario('provider_has_fewer_devices', [vf(1, A, rp=RP1), _VFS[1]],
             alias(A_VF, count=2), fails='placement',
             mapping=_groups(ID1, RP1, RP1)),
    scenario('pool_without_provider', [vf(4, A), _VFS[1]], alias(A_VF),
             left=(4, 3), mapping=_groups(ID1, RP2)),
    scenario('only_pools_without_provider', [vf(4, A)], alias(A_VF),
             fails='placement', mapping=_groups(ID1, RP1)),
    scenario('group_of_other_request', _VFS, alias(A_VF), left=(3, 4),
             mapping=_groups(ID2, RP2)),
    scenario('unsuffixed_group', _VFS, alias(A_VF), left=(4, 3),
             mapping={'': [RP3], **_groups(ID1, RP2)}),
    scenario('empty_mapping', _VFS, alias(A_VF), left=(3, 4), mapping={}),
    scenario('group_of_a_port', [*_VFS, vf(4, '0000:84:00.0', rp=RP3)],
             alias(A_VF, request_id=ID1), left=(4, 3, 4),
             mapping={ID2: [RP3], **_groups(ID1, RP2)}),
    scenario('only_the_first_of_a_group', _VFS, alias(A_VF), left=(4, 3),
             mapping={f'{ID1}-0': [RP2, RP1]}),
)

_STORED = (
    scenario('stored_provider', _VFS, alias({**A_VF, 'rp_uuids': RP2}),
             left=(4, 3)),
    scenario('stored_providers', _VFS,
             alias({**A_VF, 'rp_uuids': f'{RP2},{RP1},{RP2}'}, count=3),
             left=(3, 2)),
    scenario('stored_provider_unknown', _VFS,
             alias({**A_VF, 'rp_uuids': RP3}), fails='placement'),
    scenario('stored_nothing', _VFS, alias({**A_VF, 'rp_uuids': ''}),
             left=(3, 4)),
    scenario('mapping_before_stored', _VFS,
             alias({**A_VF, 'rp_uuids': RP1}), left=(4, 3),
             mapping=_groups(ID1, RP2)),
    scenario('stored_in_the_first_alternative_only', _VFS,
             alias(A_VF, {**A_VF, 'rp_uuids': RP2}), left=(3, 4)),
)

_PORTS = (
    scenario('port_ignores_mapping', _VFS, port(**A_VF), left=(3, 4),
             mapping=_groups(ID1, RP2)),
    scenario('port_ignores_stored', _VFS, port(**A_VF, rp_uuids=RP2),
             left=(3, 4)),
    scenario('flavor_and_port', _VFS,
             [alias(A_VF), port(**A_VF, request_id=ID2)], left=(3, 3),
             mapping={**_groups(ID1, RP2), ID2: [RP2]}),
)


def _partial(name, pools, request, fails='whole_allocation', **more):
    """Nova's scheduler lets it pass, the claim gets too few devices."""
    return scenario(name, pools, request, fails=fails, in_tree=True,
                    why=_WHOLE, **more)


_PARTIAL = (
    _partial('one_provider_unknown', _VFS, alias(A_VF, count=2),
             mapping=_groups(ID1, RP1, RP3)),
    _partial('one_provider_does_not_match',
             [vf(4, A, rp=RP1), vf(4, B, rp=RP2, ids=('8086', '1889'))],
             alias(A_VF, count=2), mapping=_groups(ID1, RP1, RP2)),
    _partial('one_provider_has_too_few', [vf(4, A, rp=RP1), vf(1, B, rp=RP2)],
             alias(A_VF, count=3), mapping=_groups(ID1, RP1, RP2, RP2)),
    _partial('one_provider_too_far',
             [vf(4, A, rp=RP1), vf(4, B, rp=RP2, numa=1)],
             alias(A_VF, count=2, policy='required'), guest=(0,),
             mapping=_groups(ID1, RP1, RP2)),
    _partial('fewer_allocated_than_asked', _VFS, alias(A_VF, count=2),
             mapping=_groups(ID1, RP1)),
    scenario('gpus_one_provider_unknown', _GPUS, alias(A_GPU, count=2),
             fails='placement', mapping=_groups(ID1, RP1, RP3)),
    scenario('gpus_whole', _GPUS, alias(A_GPU, count=2), left=(0, 0),
             mapping=_groups(ID1, RP1, RP2)),
    scenario('enough_at_hand_but_elsewhere',
             [vf(1, A, rp=RP1), vf(4, B, rp=RP2)], alias(A_VF, count=2),
             fails='placement', mapping=_groups(ID1, RP1, RP1)),
    scenario('wrong_numa_before_placement',
             [vf(4, A, rp=RP1), vf(4, B, rp=RP2, numa=1)],
             alias(A_VF, policy='preferred'), guest=(0,), fails='placement',
             mapping=_groups(ID1, RP2)),
)

_SPLIT = (
    scenario('provider_split_over_pools',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead')],
             alias(A_VF), fails='one_pool_per_provider',
             mapping=_groups(ID1, RP1)),
    scenario('provider_split_but_one_pool_matches',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead')],
             alias({'tier': 'lead'}), fails='one_pool_per_provider',
             mapping=_groups(ID1, RP1)),
    scenario('other_provider_split',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead'),
              vf(2, B, rp=RP2, tier='lead')],
             alias(A_VF), fails='one_pool_per_provider',
             mapping=_groups(ID1, RP2)),
    scenario('provider_of_other_devices_split',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead'),
              gpu(rp=RP3)],
             alias(A_GPU), fails='one_pool_per_provider',
             mapping=_groups(ID1, RP3)),
    scenario('other_provider_split_and_untracked_request',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead'),
              gpu()],
             alias(A_GPU), left=(2, 2, 0)),
    scenario('provider_no_longer_split_once_a_pool_is_used_up',
             [vf(1, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead'),
              gpu(rp=RP3)],
             [port(tier='gold', request_id=ID1),
              alias(A_GPU, request_id=ID2)],
             left=(0, 2, 0), mapping=_groups(ID2, RP3)),
    scenario('split_without_allocation',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead')],
             alias(A_VF, count=3), left=(0, 1)),
    scenario('split_and_each_too_small',
             [vf(2, A, rp=RP1, tier='gold'), vf(2, A, rp=RP1, tier='lead')],
             alias(A_VF, count=3), fails='one_pool_per_provider',
             mapping=_groups(ID1, RP1, RP1, RP1)),
    scenario('split_by_live_migratable',
             [vf(2, A, rp=RP1, live_migratable='true'),
              vf(2, A, rp=RP1, live_migratable='false')],
             alias({**A_VF, 'live_migratable': 'false'}),
             fails='one_pool_per_provider', mapping=_groups(ID1, RP1)),
)

_SEVERAL_REQUESTS = (
    scenario('each_request_its_provider', _VFS,
             [alias(A_VF, request_id=ID1), alias(A_VF, request_id=ID2)],
             left=(3, 3), mapping={**_groups(ID1, RP2), **_groups(ID2, RP1)}),
    scenario('requests_share_a_provider', [vf(3, A, rp=RP1)],
             [alias(A_VF, count=2, request_id=ID1),
              alias(A_VF, request_id=ID2)],
             left=0, mapping={**_groups(ID1, RP1, RP1), **_groups(ID2, RP1)}),
    scenario('requests_exceed_a_provider', [vf(2, A, rp=RP1), _VFS[1]],
             [alias(A_VF, count=2, request_id=ID1),
              alias(A_VF, request_id=ID2)],
             fails='placement', fails_at=1,
             mapping={**_groups(ID1, RP1, RP1), **_groups(ID2, RP1)}),
    scenario('untracked_request_takes_first', [vf(1, A, rp=RP1), _VFS[1]],
             [port(**A_VF, request_id=ID1), alias(A_VF, request_id=ID2)],
             fails='placement', fails_at=1, mapping=_groups(ID2, RP1)),
    scenario('pf_of_a_provider_then_its_vf',
             [pf(A, rp=RP1), vf(4, A, rp=RP2)],
             [alias(A_PF, request_id=ID1), alias(A_VF, request_id=ID2)],
             fails='free', fails_at=1, in_tree=True,
             why='PF and VF of one family cannot be in use together',
             mapping={**_groups(ID1, RP1), **_groups(ID2, RP2)}),
    scenario('pf_and_vf_allocated_together',
             [pf(A, rp=RP1), vf(4, A, rp=RP2)],
             alias(A_PF, A_VF, count=2), fails='relatives', in_tree=True,
             why='PF and VF of one family cannot be in use together',
             mapping=_groups(ID1, RP1, RP2)),
    scenario('third_request_without_allocation', _VFS,
             [alias(A_VF, request_id=ID1), alias(A_VF, request_id=ID2),
              alias(A_VF, count=3, request_id=ID3)],
             left=(0, 3), mapping={**_groups(ID1, RP2), **_groups(ID2, RP1)}),
)

SCENARIOS = (
    *_MAPPING, *_STORED, *_PORTS, *_PARTIAL, *_SPLIT, *_SEVERAL_REQUESTS)
