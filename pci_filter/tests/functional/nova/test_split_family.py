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

"""Functions of one parent with different tags, known from the summary only.

The rows do not tell which function has which tags, so the summary alone must
never promise more than a claim can keep; it may promise less.
"""

import dataclasses
import logging

import hypothesis
from hypothesis import strategies as st
from nova import objects as nova
import testtools

from pci_filter.tests import base
from pci_filter.tests.functional.nova import nova_objects
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import strategies
from pci_filter.tests.scenarios import summaries


def _from_summary(scenario):
    """Return the pools as the scheduler makes them of rows and summary."""
    return summaries.pool_list(
        scenario.pools, scenario.pool_list()._host_topology)


class TestSplitFamily(base.PropertyMixin, testtools.TestCase):

    def setUp(self):
        super().setUp()
        nova.register_all()
        # Nova reports every refused claim as an error.
        nova_log = logging.getLogger('nova.pci')
        self.addCleanup(nova_log.setLevel, nova_log.level)
        nova_log.setLevel(logging.CRITICAL)

    def _check(self, scenario):
        explained = _from_summary(scenario).explain_requests(
            scenario.requests, scenario.mapping, scenario.guest_cells)
        if explained.fits:
            host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
            self.assertIsNone(host.claim(
                scenario.requests, scenario.mapping, scenario.guest))

    @base.examples(800)
    @hypothesis.given(strategies.scenarios())
    def test_no_promise_is_broken(self, scenario):
        self._check(scenario)

    @base.examples(200)
    @hypothesis.given(
        strategies.scenarios(),
        st.sampled_from(((0,), (1,), (0, 1))))
    def test_no_promise_is_broken_near_the_guest(self, scenario, guest):
        for policy in ('legacy', 'required', 'socket', 'preferred'):
            self._check(dataclasses.replace(
                scenario, guest=guest, requests=tuple(
                    dataclasses.replace(request, numa_policy=policy)
                    for request in scenario.requests)))

    @base.examples(300)
    @hypothesis.given(strategies.scenarios())
    def test_no_promise_is_broken_to_later_instances(self, scenario):
        pools = _from_summary(scenario)
        host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
        for request in scenario.requests * 2:
            question = [request], None, scenario.guest_cells
            if pools.supports_requests(*question):
                pools.apply_requests(*question)
                self.assertIsNone(
                    host.claim([request], None, scenario.guest))

    def test_claim_uses_them_before_another_family(self):
        # Together they have more tags than the other family has, but those
        # without the tag come first.
        self._check(builders.scenario(
            'between', [
                builders.vf(2, physical_network='net1', trusted='true'),
                builders.vf(2, physical_network='net1'),
                builders.vf(1, builders.B, ids=('8086', '1889'),
                            physical_network='net1')],
            [builders.port(physical_network='net1'),
             builders.alias(builders.A_VF, count=4)]))

    def test_request_for_the_tag_in_question(self):
        # The summary cannot serve it from the family, but the claim does.
        self._check(builders.scenario(
            'mirror', [
                builders.vf(2, tier='gold'), builders.vf(2, tier='lead'),
                builders.vf(1, builders.B, ids=('8086', '1889'),
                            tier='gold')],
            [builders.port(tier='gold'),
             builders.alias(builders.A_VF, count=4)]))

    def test_local_device_of_the_next_request(self):
        # The claim takes the certain device that is near, too.
        for policy in (None, 'preferred'):
            requests = [
                builders.alias({'color': 'red'}, count=2, policy=policy),
                builders.alias({'product_id': '1234'}, policy=policy)]
            scenario = builders.scenario(
                'near', [
                    builders.vf(1, color='red'), builders.vf(1, color='blue'),
                    builders.vf(2, builders.B, numa=None, color='red'),
                    builders.vf(1, builders.C, ids=('8086', '1234'),
                                color='red')],
                requests, guest=(0,))
            host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
            self.assertIsNotNone(host.claim(requests, None, (0,)))
            self._check(scenario)

    def test_parent_and_functions_in_one_request(self):
        self._check(builders.scenario(
            'family', [
                builders.pf(), builders.vf(2, tier='gold'),
                builders.vf(2, tier='lead')],
            builders.alias(builders.A_PF, builders.A_VF, count=2)))

    def test_several_instances(self):
        scenario = builders.scenario(
            'instances', [
                builders.vf(2, tier='gold'), builders.vf(2, tier='lead'),
                builders.vf(4, builders.B)], builders.alias(builders.A_VF))
        pools = _from_summary(scenario)
        host = nova_objects.ComputeHost(scenario.pools, scenario.sockets)
        served = 0
        while pools.supports_requests(scenario.requests):
            pools.apply_requests(scenario.requests)
            self.assertIsNone(host.claim(scenario.requests, None, ()))
            served += 1
        self.assertGreater(served, 0)

    def test_tag_that_all_have(self):
        scenario = builders.scenario(
            'agreeing', [
                builders.vf(2, physical_network='net1', tier='gold'),
                builders.vf(2, physical_network='net1', tier='lead')],
            builders.port(physical_network='NET1', count=4))
        pools = _from_summary(scenario)
        self.assertTrue(pools.supports_requests(scenario.requests))
        for tier in ('gold', 'lead', None):
            self.assertFalse(pools.supports_requests([
                builders.port(physical_network='net1', tier=tier)]))
