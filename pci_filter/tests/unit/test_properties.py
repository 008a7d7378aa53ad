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

"""What is true of the decision whatever the host and the requests.

Set PCI_FILTER_SEED to the seed of an earlier run to repeat it.
"""

import collections
import copy
import itertools

import hypothesis
from hypothesis import strategies as st

from pci_filter import exception
from pci_filter import objects
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import strategies


def _question(scenario):
    return scenario.requests, scenario.mapping, scenario.guest_cells


def _families(pools):
    """Return [how many PFs, how many of their functions] by address."""
    counts = collections.defaultdict(lambda: [0, 0])
    for pool in pools:
        if pool['dev_type'] == 'type-PF':
            counts[pool['address']][0] += pool['count']
        else:
            counts[pool['address']][1] += pool['count']
    return counts


def _may_have_been_taken(before, after):
    """Return how many devices of a family may have been taken."""
    parents, functions = before
    parents_left, functions_left = after
    if (parents, functions) == (parents_left, functions_left):
        return {0}
    if parents_left:
        return set()  # a function is gone, but its parent is still there
    taken = {functions - functions_left}
    if parents and not functions_left:
        taken.add(parents)
    return taken - {0}


class TestProperties(base.PropertyMixin, base.UnitTestCase):

    @base.examples(250)
    @hypothesis.given(strategies.scenarios())
    def test_one_verdict(self, scenario):
        pools = scenario.pool_list()
        before = copy.deepcopy((pools.pools, _question(scenario)))
        fits = pools.supports_requests(*_question(scenario))
        explained = pools.explain_requests(*_question(scenario))
        hypothesis.event(f'fits: {fits}')
        self.assertEqual(fits, explained.fits, explained)
        self.assertEqual(fits, explained.failed is None)
        self.assertEqual(before[0], [dict(pool) for pool in pools])
        if fits:
            pools.apply_requests(*_question(scenario))
        else:
            self.assertRaises(exception.PciRequestsNotSupported,
                              pools.apply_requests, *_question(scenario))
            self.assertEqual(before[0], pools.pools)
        self.assertEqual(before[1], _question(scenario))

    @base.examples(250)
    @hypothesis.given(strategies.scenarios())
    def test_as_many_devices_as_asked_for(self, scenario):
        pools = scenario.pool_list()
        hypothesis.assume(pools.supports_requests(*_question(scenario)))
        before = _families(pools)
        pools.apply_requests(*_question(scenario))
        after = _families(pools)
        asked = sum(request.count for request in scenario.requests)
        possible = set(map(sum, itertools.product(*(
            _may_have_been_taken(before[address], after[address])
            for address in before))))
        self.assertIn(asked, possible)

    @base.examples(150)
    @hypothesis.given(strategies.scenarios(), st.randoms())
    def test_order_of_the_pools_given(self, scenario, random):
        given = builders.to_pools(scenario.pools)
        random.shuffle(given)
        shuffled = objects.PciDevicePoolList(
            given, scenario.pool_list()._host_topology)
        pools = scenario.pool_list()
        self.assertEqual(pools.explain_requests(*_question(scenario)),
                         shuffled.explain_requests(*_question(scenario)))
        if pools.supports_requests(*_question(scenario)):
            pools.apply_requests(*_question(scenario))
            shuffled.apply_requests(*_question(scenario))
        self.assertEqual(pools.pools, shuffled.pools)

    @base.examples(100)
    @hypothesis.given(strategies.scenarios())
    def test_more_devices_do_no_harm_to_one_request(self, scenario):
        # Without placement and without parents in the way, a request that
        # fits still does when every pool has one device more.
        request = scenario.requests[0]
        apart = [{**pool, 'address': f'0000:00:{number:02x}.0'}
                 for number, pool in enumerate(scenario.pools)]
        question = [request], None, []
        pools = objects.PciDevicePoolList(builders.to_pools(apart))
        hypothesis.assume(pools.supports_requests(*question))
        richer = objects.PciDevicePoolList(builders.to_pools(
            {**pool, 'count': pool['count'] + 1} for pool in apart))
        self.assertTrue(richer.supports_requests(*question))
