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

"""What the table of scenarios does not tell about the constraints.

That is mostly tags of which only ``pci_stats`` says that they differ.
"""

import ddt

from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.matching import request as request_module
from pci_filter import model
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders


def _pools(*dicts):
    return builders.to_pools(dicts)


def _request(*specs, **fields):
    return request_module.DeviceRequest.compile('test', 1, specs, **fields)


@ddt.ddt
class TestUnknownTags(base.UnitTestCase):

    @ddt.data('net1', 'unknown', '<unknown>', 'UNKNOWN', '', None)
    def test_equals_nothing(self, wanted):
        pools = _pools(builders.vf(physical_network=model.UNKNOWN))
        self.assertEqual([], constraints.spec(
            pools, _request({'physical_network': wanted})))

    def test_is_no_obstacle_to_who_does_not_ask(self):
        pools = _pools(builders.vf(physical_network=model.UNKNOWN))
        self.assertEqual(pools, constraints.spec(
            pools, _request(builders.A_VF)))

    def test_may_be_remote_managed(self):
        pools = _pools(builders.vf(remote_managed=model.UNKNOWN))
        self.assertEqual([], constraints.unrequested_remote_managed(
            pools, _request(builders.A_VF)))

    def test_may_not_be_remote_managed(self):
        pools = _pools(builders.vf(remote_managed=model.UNKNOWN))
        request = _request({'remote_managed': 'True'})
        self.assertEqual([], constraints.spec(pools, request))

    @ddt.data('true', 'false')
    def test_live_migratable(self, wanted):
        pools = _pools(builders.gpu(live_migratable=model.UNKNOWN))
        request = _request({**builders.A_GPU, 'live_migratable': wanted})
        self.assertEqual([], constraints.live_migratable(pools, request))
        self.assertEqual([], constraints.spec(pools, request))


class TestConstraints(base.UnitTestCase):

    def test_all_have_a_text(self):
        names = [name for name, _ in constraints.CONSTRAINTS]
        self.assertEqual(
            names + ['relatives', 'promised'],
            list(explanation.STAGE_TEXTS))

    def test_return_the_pools_themselves(self):
        # allot() tells pools apart by identity.
        pools = _pools(builders.vf(), builders.vf(address=builders.B))
        request = _request(
            builders.A_VF, numa_policy='preferred',
            numa_cells=frozenset((0,)))
        for name, constraint in constraints.CONSTRAINTS:
            left = constraint(pools, request)
            self.assertEqual(
                list(map(id, pools)), list(map(id, left)), name)

    def test_do_not_touch_the_list(self):
        request = _request(
            {'vendor_id': 'none'}, numa_policy='required',
            numa_cells=frozenset((7,)), rp_uuids=['none'])
        for name, constraint in constraints.CONSTRAINTS:
            pools = _pools(
                builders.pf(), builders.vdpa(),
                builders.vf(address=builders.B, remote_managed='true'))
            given = list(pools)
            constraint(pools, request)
            self.assertEqual(given, pools, name)

    def test_no_alternative_no_device(self):
        self.assertEqual(
            [], constraints.spec(_pools(builders.gpu()), _request()))

    def test_numbers_are_compared_as_they_are(self):
        pools = _pools(builders.gpu(speed=100))
        self.assertEqual(
            pools, constraints.spec(pools, _request({'speed': 100})))
        self.assertEqual(
            [], constraints.spec(pools, _request({'speed': '100'})))

    def test_whole_allocation_of_unnamed_pool(self):
        # The literal text 'None' is no provider.
        pools = _pools(builders.gpu())
        request = _request(builders.A_GPU, rp_uuids=['None'])
        self.assertEqual([], constraints.placement(pools, request))
