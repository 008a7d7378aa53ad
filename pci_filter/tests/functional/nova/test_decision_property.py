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

"""Random decisions, compared with Nova's scheduler and Nova's compute.

No database here: test_property has the whole way from the rows. Set
PCI_FILTER_SEED to the seed of an earlier run to repeat it.
"""

import dataclasses
import logging

import hypothesis
from nova import objects
import testtools

from pci_filter.tests import base
from pci_filter.tests.functional.nova import nova_objects
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import strategies


class TestDecisionProperty(base.PropertyMixin, testtools.TestCase):

    def setUp(self):
        super().setUp()
        objects.register_all()
        # Nova reports every refused claim as an error.
        nova_log = logging.getLogger('nova.pci')
        self.addCleanup(nova_log.setLevel, nova_log.level)
        nova_log.setLevel(logging.CRITICAL)

    @base.examples(2000)
    @hypothesis.given(strategies.scenarios())
    def test_one_request_as_in_tree(self, scenario):
        # In-tree does not know that a PF excludes its functions: there are
        # no families here, and placement is not asked.
        apart = [
            {**pool, 'address': f'0000:00:{number:02x}.0'}
            for number, pool in enumerate(scenario.pools)]
        scenario = dataclasses.replace(scenario, pools=tuple(apart))
        request = scenario.requests[:1]
        in_tree = nova_objects.to_stats(
            apart, scenario.sockets).support_requests(
                nova_objects.to_requests(request), None,
                nova_objects.to_cells(scenario.guest))
        ours = scenario.pool_list().supports_requests(
            request, None, scenario.guest_cells)
        hypothesis.event(f'fits: {ours}')
        self.assertEqual(in_tree, ours)

    @base.examples(800)
    @hypothesis.given(strategies.scenarios())
    def test_verdict_is_what_a_claim_does(self, scenario):
        host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
        pools = scenario.pool_list()
        question = scenario.requests, scenario.mapping, scenario.guest_cells
        explained = pools.explain_requests(*question)
        hypothesis.event(f'fits: {explained.fits}')
        error = host.claim(
            scenario.requests, scenario.mapping, scenario.guest)
        self.assertEqual(explained.fits, error is None,
                         f'{explained}\nclaim: {error}')
        if explained.fits:
            pools.apply_requests(*question)
            self.assertEqual(builders.canonical(host.stats),
                             builders.canonical(pools))
