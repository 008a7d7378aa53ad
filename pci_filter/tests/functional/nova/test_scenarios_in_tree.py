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

"""The table of decisions, against Nova's scheduler and Nova's compute."""

import ddt
from nova import exception as nova_exception
from nova import objects
import testtools

from pci_filter.tests.functional.nova import nova_objects
from pci_filter.tests.functional.nova import nova_release
from pci_filter.tests import scenarios
from pci_filter.tests.scenarios import builders

_ALL = [[one.name, one] for one in scenarios.SCENARIOS]
_TRACKED = [[one.name, one] for one in scenarios.SCENARIOS
            if not one.untracked]


@ddt.ddt
class TestScenariosInTree(testtools.TestCase):
    """Where the table says that we differ from nova.pci.stats, we do."""

    def setUp(self):
        super().setUp()
        objects.register_all()

    @ddt.named_data(*_ALL)
    def test_in_tree(self, scenario):
        if scenario.fails == 'live_migratable' and (
                not nova_release.HAS_LIVE_MIGRATABLE):
            self.skipTest('no request to this Nova can ask for it')
        pools = nova_objects.to_stats(scenario.pools, scenario.sockets)
        cells = nova_objects.to_cells(scenario.guest)
        for requests in scenario.before:
            pools.apply_requests(
                nova_objects.to_requests(requests), scenario.mapping, cells)
        question = (nova_objects.to_requests(scenario.requests),
                    scenario.mapping, cells)
        fits = scenario.fits if scenario.in_tree is None else scenario.in_tree
        self.assertEqual(fits, pools.support_requests(*question))
        if not fits:
            self.assertRaises(nova_exception.PciDeviceRequestFailed,
                              pools.apply_requests, *question)
            return
        pools.apply_requests(*question)
        if scenario.fits:
            left = scenario.in_tree_left or scenario.left
            self.assertEqual(scenario.pools_left(left),
                             builders.canonical(pools))

    @ddt.named_data(*_TRACKED)
    def test_claim(self, scenario):
        host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
        for requests in scenario.before:
            self.assertIsNone(
                host.claim(requests, scenario.mapping, scenario.guest))
        error = host.claim(
            scenario.requests, scenario.mapping, scenario.guest)
        self.assertEqual(scenario.fits, error is None, error)
        if scenario.fits:
            self.assertEqual(scenario.pools_left(scenario.left),
                             builders.canonical(host.stats))

    @ddt.named_data(*_TRACKED)
    def test_pools_of_a_claim(self, scenario):
        """The claims are on the scenario's pools, not on others."""
        host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
        counts = tuple(pool['count'] for pool in scenario.pools)
        self.assertEqual(scenario.pools_left(counts),
                         builders.canonical(host.stats))
