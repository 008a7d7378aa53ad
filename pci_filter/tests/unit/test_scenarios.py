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

"""The table of decisions, against our own matcher."""

import copy

import ddt

from pci_filter import exception
from pci_filter.matching import constraints
from pci_filter.matching import explanation
from pci_filter.tests import base
from pci_filter.tests import scenarios
from pci_filter.tests.scenarios import builders


def _question(scenario):
    return scenario.requests, scenario.mapping, scenario.guest_cells


@ddt.ddt
class TestScenarios(base.UnitTestCase):

    def _pools(self, scenario):
        """Return the host's pools after the instances before this one."""
        pools = scenario.pool_list()
        for requests in scenario.before:
            pools.apply_requests(
                requests, scenario.mapping, scenario.guest_cells)
        return pools

    @ddt.named_data(*([one.name, one] for one in scenarios.SCENARIOS))
    def test_supports(self, scenario):
        pools = self._pools(scenario)
        before = copy.deepcopy(list(map(dict, pools)))
        question = copy.deepcopy(_question(scenario))
        verdicts = [pools.supports_requests(*question) for _ in range(2)]
        self.assertEqual([scenario.fits] * 2, verdicts)
        self.assertEqual(before, list(map(dict, pools)))
        self.assertEqual(before, pools.pools)
        self.assertEqual(_question(scenario), question)

    @ddt.named_data(*([one.name, one] for one in scenarios.SCENARIOS))
    def test_apply(self, scenario):
        pools = self._pools(scenario)
        before = copy.deepcopy(pools.pools)
        given = list(pools)
        question = copy.deepcopy(_question(scenario))
        if scenario.fits:
            pools.apply_requests(*question)
            self.assertEqual(scenario.pools_left(scenario.left),
                             builders.canonical(pools))
            self.assertEqual(scenario.pools_left(scenario.left),
                             builders.canonical(pools.pools))
        else:
            explained = pools.explain_requests(*question)
            error = self.assertRaises(
                exception.PciRequestsNotSupported,
                pools.apply_requests, *question)
            self.assertEqual(explained.reason, str(error))
            self.assertEqual(before, pools.pools)
        self.assertEqual(before, [dict(pool) for pool in given])
        self.assertEqual(_question(scenario), question)

    @ddt.named_data(*([one.name, one] for one in scenarios.SCENARIOS))
    def test_explain(self, scenario):
        pools = self._pools(scenario)
        before = copy.deepcopy(pools.pools)
        question = copy.deepcopy(_question(scenario))
        explained = pools.explain_requests(*question)
        self.assertEqual(scenario.fits, explained.fits)
        self.assertEqual(explained, pools.explain_requests(*question))
        self.assertEqual(before, [dict(pool) for pool in pools])
        self.assertEqual(_question(scenario), question)
        if scenario.fits:
            self.assertEqual(len(scenario.requests), len(explained.requests))
            self.assertIsNone(explained.failed)
        else:
            self.assertEqual(scenario.fails_at + 1, len(explained.requests))
            self.assertIs(explained.requests[-1], explained.failed)
            self._check_failure(scenario.fails, explained.failed)
        for request in explained.requests:
            self._check_stages(request)

    def _check_failure(self, fails, failed):
        too_few = failed.offered < max(failed.request.count, 1)
        self.assertEqual(fails == 'free', too_few)
        self.assertEqual(too_few, failed.shortage == 'are free')
        self.assertEqual(constraints.CONSTRAINTS[0][0] if too_few else fails,
                         failed.failed_stage)

    def _check_stages(self, request):
        """Check what is true of the record of any decision."""
        names = [stage.stage for stage in request.stages]
        order = list(explanation.STAGE_TEXTS)
        self.assertEqual(sorted(names, key=order.index), names)
        constrained = len(constraints.CONSTRAINTS)
        self.assertEqual(order[:len(names)][:constrained], names[:constrained])
        counts = [request.offered, *(stage.left for stage in request.stages)]
        self.assertEqual(sorted(counts, reverse=True), counts)
        # The last stage is the one that decides.
        for stage in request.stages[:-1]:
            self.assertTrue(stage.left >= request.request.count, request)
        if request.fits:
            self.assertIsNone(request.failed_stage)
            self.assertEqual(constrained, len(names))
            self.assertTrue(counts[-1] >= request.request.count, request)
        else:
            self.assertEqual(names[-1], request.failed_stage)
            self.assertTrue(
                counts[-1] < max(request.request.count, 1), request)


class TestTable(base.UnitTestCase):

    def test_names_are_unique(self):
        names = [one.name for one in scenarios.SCENARIOS]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_every_stage_fails_somewhere(self):
        # unrequested_vdpa and so on: a constraint without a scenario that
        # it decides could be dropped unnoticed.
        # For 'promised' see test_worst_case.
        self.assertEqual(
            set(explanation.STAGE_TEXTS) - {'promised'} | {'free'},
            {one.fails for one in scenarios.SCENARIOS if one.fails})

    def test_differences_have_a_reason(self):
        for one in scenarios.SCENARIOS:
            differs = one.in_tree is not None or one.in_tree_left is not None
            self.assertEqual(differs, bool(one.why), one.name)
            self.assertNotEqual(one.fits, one.in_tree, one.name)
            self.assertEqual(one.fits, one.left is not None, one.name)
