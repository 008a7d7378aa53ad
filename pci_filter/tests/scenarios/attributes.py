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

"""Scenarios: what a device is, and what it is tagged with."""

from pci_filter.tests.scenarios.builders import A
from pci_filter.tests.scenarios.builders import A_GPU
from pci_filter.tests.scenarios.builders import A_PF
from pci_filter.tests.scenarios.builders import A_VDPA
from pci_filter.tests.scenarios.builders import A_VF
from pci_filter.tests.scenarios.builders import alias
from pci_filter.tests.scenarios.builders import ANY_INTEL
from pci_filter.tests.scenarios.builders import B
from pci_filter.tests.scenarios.builders import gpu
from pci_filter.tests.scenarios.builders import pf
from pci_filter.tests.scenarios.builders import port
from pci_filter.tests.scenarios.builders import RP1
from pci_filter.tests.scenarios.builders import scenario
from pci_filter.tests.scenarios.builders import vdpa
from pci_filter.tests.scenarios.builders import vf
from pci_filter.tests.scenarios.builders import without

_IDENTITY = (
    scenario('one_of_one', gpu(), alias(A_GPU), left=0),
    scenario('no_pools', (), alias(A_GPU), fails='free'),
    scenario('no_requests', gpu(), (), left=1),
    scenario('no_pools_no_requests', (), (), left=()),
    scenario('other_vendor', gpu(), alias({'vendor_id': '1002'}),
             fails='spec'),
    scenario('other_product', gpu(),
             alias({'vendor_id': '10de', 'product_id': '20b5'}),
             fails='spec'),
    scenario('vendor_alone_suffices', gpu(), alias({'vendor_id': '10de'}),
             left=0),
    scenario('ids_in_other_case', gpu(ids=('10de', '20b0')),
             alias({'vendor_id': '10DE', 'product_id': '20B0'}), left=0),
    scenario('type_vf', [pf(), vf()], alias(A_VF), left=(0, 3),
             in_tree_left=(1, 3), why='the PF of a used VF is gone'),
    scenario('type_in_other_case', vf(),
             alias({**A_VF, 'dev_type': 'TYPE-vf'}), left=3),
    scenario('type_pci_does_not_match_vf', vf(),
             alias({'vendor_id': '8086', 'dev_type': 'type-PCI'}),
             fails='spec'),
    scenario('no_such_property', gpu(), alias({**A_GPU, 'color': 'red'}),
             fails='spec'),
    scenario('empty_spec_matches_anything', gpu(), alias({}), left=0),
    scenario('address_is_a_property', [vf(), vf(address=B)],
             alias({'address': B}), left=(4, 3)),
    scenario('parent_ifname_is_a_property',
             [vf(parent_ifname='ens1'), vf(address=B, parent_ifname='ens2')],
             port(parent_ifname='ENS2'), left=(4, 3)),
)

_TAGS = (
    scenario('tag', gpu(tier='gold'), alias({**A_GPU, 'tier': 'gold'}),
             left=0),
    scenario('tag_in_other_case', gpu(tier='GoLd'),
             alias({'tier': 'gOlD'}), left=0),
    scenario('tag_differs', gpu(tier='gold'), alias({'tier': 'lead'}),
             fails='spec'),
    scenario('tag_is_no_prefix', gpu(tier='golden'),
             alias({'tier': 'gold'}), fails='spec'),
    scenario('tag_nobody_asks_for', gpu(tier='gold'), alias(A_GPU), left=0),
    scenario('tag_missing_is_none', gpu(), alias({'tier': None}), left=0),
    scenario('tag_none_is_none', gpu(tier=None), alias({'tier': None}),
             left=0),
    scenario('tag_set_is_not_none', gpu(tier='gold'), alias({'tier': None}),
             fails='spec'),
    scenario('tag_none_is_no_string', gpu(tier=None),
             alias({'tier': 'None'}), fails='spec'),
    scenario('number_is_no_text', gpu(numa=1), alias({'numa_node': '1'}),
             fails='spec'),
    scenario('physnet', [vf(physical_network='net1'),
                         vf(address=B, physical_network='net2')],
             port(physical_network='net2'), left=(4, 3)),
    scenario('physnet_in_other_case', vf(physical_network='PhysNet1'),
             port(physical_network='physnet1'), left=3),
    scenario('physnet_unknown', vf(physical_network='net1'),
             port(physical_network='net3'), fails='spec'),
    scenario('physnet_none_asked_none_set', vf(physical_network=None),
             port(physical_network=None), left=3),
    scenario('physnet_none_asked_absent', vf(), port(physical_network=None),
             left=3),
    scenario('physnet_none_asked_net_set', vf(physical_network='net1'),
             port(physical_network=None), fails='spec'),
    scenario('physnet_asked_none_set', vf(physical_network=None),
             port(physical_network='net1'), fails='spec'),
    scenario('trusted', [vf(trusted='false'), vf(address=B, trusted='True')],
             port(trusted='true'), left=(4, 3)),
)

_ALTERNATIVES = (
    scenario('second_alternative', gpu(),
             alias({'vendor_id': '1002'}, A_GPU), left=0),
    scenario('all_alternatives_miss', gpu(),
             alias({'vendor_id': '1002'}, {'vendor_id': '1003'}),
             fails='spec'),
    scenario('alternatives_add_up', [gpu(), vf(1)],
             alias(A_GPU, A_VF, count=2), left=(0, 0)),
    scenario('alternatives_are_not_merged', gpu(tier='gold'),
             alias({'vendor_id': '1002', 'tier': 'gold'},
                   {'vendor_id': '10de', 'tier': 'lead'}), fails='spec'),
    scenario('one_alternative_asks_for_pfs', [pf(), vf(address=B)],
             alias(A_PF, A_VF), left=(0, 4)),
)

_PLACEMENT_KEYS = (
    scenario('resource_class_is_ignored', gpu(),
             alias({**A_GPU, 'resource_class': 'CUSTOM_X'}), left=0),
    scenario('traits_are_ignored', gpu(),
             alias({**A_GPU, 'traits': 'CUSTOM_A,CUSTOM_B'}), left=0),
    scenario('rp_uuids_of_a_port_are_ignored', vf(physical_network='net1'),
             port(physical_network='net1', rp_uuids=RP1), left=3),
    scenario('rp_uuid_is_ignored', gpu(rp=RP1),
             alias({**A_GPU, 'rp_uuid': 'x'}), left=0),
)

_UNREQUESTED = (
    scenario('pf_unrequested', pf(), alias(ANY_INTEL),
             fails='unrequested_pf'),
    scenario('pf_unrequested_vf_taken', [pf(), vf(address=B)],
             alias(ANY_INTEL), left=(1, 3)),
    scenario('pf_requested', pf(), alias(A_PF), left=0),
    scenario('pf_by_product_alone', pf(),
             alias({'vendor_id': '8086', 'product_id': '1572'}),
             fails='unrequested_pf'),
    scenario('pf_requested_in_other_case', pf(),
             alias({**A_PF, 'dev_type': 'TYPE-PF'}),
             fails='unrequested_pf'),
    scenario('vdpa_unrequested', vdpa(), alias({'vendor_id': '15b3'}),
             fails='unrequested_vdpa'),
    scenario('vdpa_unrequested_by_physnet', vdpa(physical_network='net1'),
             port(physical_network='net1'), fails='unrequested_vdpa'),
    scenario('vdpa_requested', vdpa(), alias(A_VDPA), left=3),
    scenario('vdpa_port', [vf(ids=('15b3', '101e'), physical_network='net1'),
                           vdpa(address=B, physical_network='net1')],
             port(physical_network='net1', dev_type='vdpa'), left=(4, 3)),
    scenario('remote_managed_unrequested',
             vf(remote_managed='true'), alias(A_VF),
             fails='unrequested_remote_managed'),
    scenario('remote_managed_port_on_plain_vf',
             vf(physical_network='net1'),
             port(physical_network='net1', remote_managed='True'),
             fails='spec'),
    scenario('remote_managed_port',
             [vf(physical_network='net1'),
              vf(address=B, physical_network='net1', remote_managed='true')],
             port(physical_network='net1', remote_managed='True'),
             left=(4, 3)),
    scenario('plain_port_on_remote_managed',
             vf(physical_network='net1', remote_managed='true'),
             port(physical_network='net1'), fails='spec'),
    scenario('remote_managed_spelled_otherwise',
             vf(remote_managed='Yes'), alias(A_VF),
             fails='unrequested_remote_managed'),
    scenario('remote_managed_in_one_alternative',
             vf(remote_managed='true'),
             alias(A_VF, {'remote_managed': 'true', 'vendor_id': 'x'}),
             left=3),
    scenario('remote_managed_untold',
             without(vf(physical_network='net1'), 'remote_managed'),
             alias(A_VF), left=3, untracked='the tracker adds the tag'),
    scenario('remote_managed_untold_to_a_port',
             without(vf(physical_network='net1'), 'remote_managed'),
             port(physical_network='net1'), fails='spec',
             untracked='the tracker adds the tag'),
)


def _live(*values):
    """Three devices that can, cannot and do not say, for these requests."""
    pools = [gpu(address='0000:41:00.0', live_migratable='true'),
             gpu(address='0000:42:00.0', live_migratable='false'),
             gpu(address='0000:43:00.0')]
    return pools, alias(*(
        {**A_GPU, 'live_migratable': value} if value else A_GPU
        for value in values))


_LIVE_MIGRATABLE = (
    scenario('live_true', *_live('true'), left=(0, 1, 1)),
    scenario('live_false', *_live('false'), left=(1, 0, 1)),
    # Pools with fewer properties come first.
    scenario('live_absent', *_live(None), left=(1, 1, 0)),
    scenario('live_true_or_absent', *_live('true', None), left=(1, 1, 0)),
    scenario('live_true_or_false', *_live('true', 'false'), left=(0, 1, 1)),
    scenario('live_true_twice', *_live('true', 'true'), left=(0, 1, 1)),
    scenario('live_in_other_case', *_live('True'), left=(0, 1, 1)),
    scenario('live_true_only_false', gpu(live_migratable='false'),
             alias({'live_migratable': 'true'}), fails='spec'),
    scenario('live_false_only_untold', gpu(),
             alias({'live_migratable': 'false'}), fails='spec'),
    scenario('live_tag_in_other_case', gpu(live_migratable='True'),
             alias({'live_migratable': 'true'}), fails='live_migratable',
             untracked='nova-compute stores true or false only'),
    scenario('live_too_few', _live()[0],
             alias({**A_GPU, 'live_migratable': 'true'}, count=2),
             fails='spec'),
)

_COUNTS = (
    scenario('all_of_a_pool', vf(4), alias(A_VF, count=4), left=0),
    scenario('more_than_a_pool', vf(4), alias(A_VF, count=5), fails='free'),
    scenario('over_two_pools', [vf(2), vf(3, address=B)],
             alias(A_VF, count=4), left=(0, 1)),
    scenario('over_all_pools', [vf(2), vf(3, address=B)],
             alias(A_VF, count=5), left=(0, 0)),
    scenario('one_more_than_all_pools', [vf(2), vf(3, address=B)],
             alias(A_VF, count=6), fails='free'),
    scenario('emptied_pool_is_passed_over', [vf(0), vf(1, address=B)],
             alias(A_VF), left=(0, 0)),
    scenario('emptied_pool_alone', vf(0), alias(A_VF), fails='free'),
    scenario('fewer_properties_first',
             [vf(2, tier='gold', color='red'), vf(2, address=B, tier='gold')],
             alias({'tier': 'gold'}), left=(2, 1)),
    scenario('equal_properties_in_order',
             [vf(2, tier='gold'), vf(2, address=B, tier='gold')],
             alias({'tier': 'gold'}), left=(1, 2)),
    scenario('unmatched_do_not_count', [vf(2), vf(8, address=B, tier='x')],
             alias({'tier': 'x'}, count=8), left=(2, 0)),
    scenario('dropped_pfs_do_not_count', [pf(), vf(2, address=B)],
             alias(ANY_INTEL, count=3), fails='unrequested_pf'),
    scenario('none_asked_for', vf(2), alias(A_VF, count=0), left=2),
    scenario('none_asked_for_of_nothing', gpu(), alias(A_VF, count=0),
             fails='spec'),
    scenario('same_family_two_tags',
             [vf(2, address=A, tier='gold'), vf(2, address=A, tier='lead')],
             alias({'tier': 'lead'}, count=2), left=(2, 0)),
)

SCENARIOS = (
    *_IDENTITY, *_TAGS, *_ALTERNATIVES, *_PLACEMENT_KEYS, *_UNREQUESTED,
    *_LIVE_MIGRATABLE, *_COUNTS)
