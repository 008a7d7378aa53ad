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

"""One question, put to many hosts: what was decided once is not again.

The verdict must be that of Question.decide() whatever the host. Set
PCI_FILTER_SEED to the seed of an earlier run to repeat it.
"""

import collections
import copy
import dataclasses

import ddt
import hypothesis
from hypothesis import strategies as st

from pci_filter import matching
from pci_filter.matching import pool as pool_module
from pci_filter import objects
from pci_filter.objects import device_requests
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import strategies

_PROVIDERS = (builders.RP1, builders.RP2, builders.RP3, 'rp4', 'rp5')
_FAMILIES = (builders.A, builders.B, builders.C)

_BROAD: tuple[tuple[dict[str, str], ...], ...] = (
    ({},), (builders.ANY_INTEL,), (builders.A_PF, {}),
    (builders.A_PF, builders.A_VF), (builders.A_PF, builders.A_VDPA),
    (builders.A_VDPA, {}), (builders.A_PF, builders.A_VDPA, {}),
    ({'remote_managed': 'True'}, {}))


class CountingQuestion(matching.Question):
    """Counts how often it has to decide."""

    decided = 0

    def decide(self, *args):
        self.decided += 1
        return super().decide(*args)


def _compiled(request, guest=(), sockets=(0, 0, 1, 1)):
    """Return the request for a guest on these host NUMA nodes."""
    topology = builders.Topology(tuple(
        builders.Cell(node, socket) for node, socket in enumerate(sockets)))
    compiled, = device_requests.Demands().of([request]).question(
        [builders.Cell(node) for node in guest], topology).requests
    return compiled


def _question(*requests, guest=(), sockets=(0, 0, 1, 1), relatives=True):
    return CountingQuestion([
        _compiled(request, guest, sockets) for request in requests], relatives)


def _truth(question, pools, providers=()):
    return matching.Question.decide(question, pools, providers) is not None


def _by_provider(pools):
    """Return the pool of each provider, None if some has several."""
    found = [pool for pool in pools if pool.rp_uuid is not None]
    by_provider = {pool.rp_uuid: pool for pool in found}
    return by_provider if len(by_provider) == len(found) else None


def _pools(*dicts, blocked=()):
    return pool_module.claim_order(
        dataclasses.replace(pool, blocked=number in blocked)
        for number, pool in enumerate(builders.to_pools(dicts)))


class _Hosts:
    """Makes hosts that are alike in some respects, out of drawn ones.

    :param random: decides in which
    :param drawn: pools of some hosts, as in-tree dicts
    """

    def __init__(self, random, *drawn):
        self._random = random
        self._drawn = drawn
        self._kinds = {}

    def requests(self, scenario):
        """Return the scenario's requests, some replaced by broad ones.

        Those are met by devices of several types, so that hosts can seem
        alike which are not.
        """
        random = self._random
        return [request if random.random() < .6 else builders.alias(
            *random.choice(_BROAD), count=random.randint(1, 3),
            policy=request.numa_policy, request_id=request.request_id)
            for request in scenario.requests]

    def make(self):
        random = self._random
        dicts = [pool for pool in random.choice(self._drawn)
                 if random.random() < .8]
        moved = dict(zip(_FAMILIES, random.sample(_FAMILIES, 3)))
        move = random.random() < .3
        one_each = random.random() < .7
        providers = random.sample(_PROVIDERS, len(_PROVIDERS))
        pools = []
        for pool in dicts:
            if move or random.random() < .05:
                pool = {**pool, 'address': moved.get(
                    pool['address'], random.choice(_FAMILIES))}
            rp_uuid = pool.get('rp_uuid')
            if one_each:
                rp_uuid = providers.pop() if providers else None
            pools.append(matching.PciDevicePool(
                self._kind(pool),
                random.choice((pool['count'], random.randint(1, 8))),
                random.choice((rp_uuid, rp_uuid, None)),
                f'{random.randrange(20):04}', random.random() < .1))
        return pool_module.claim_order(pools)

    def _kind(self, pool):
        """Return the kind of a pool, mostly the one that others have."""
        if self._random.random() < .1:
            self._kinds.clear()
        key = repr({**pool, 'count': 0, 'rp_uuid': None})
        if key not in self._kinds:
            made, = builders.to_pools([pool])
            self._kinds[key] = made.kind
        return self._kinds[key]

    def providers(self, requests, pools):
        """Return an allocation of placement, mostly one of this host's."""
        random = self._random
        known = [pool.rp_uuid for pool in pools if pool.rp_uuid] or ['rp1']
        if random.random() < .1:
            known.append('nowhere')
        some = random.sample(known, random.randint(1, len(known)))
        return [
            [random.choice(some) for _ in range(
                request.count + random.choice((0,) * 12 + (-1, 1)))]
            if random.random() < .85 else [] for request in requests]


class TestSameVerdict(base.PropertyMixin, base.UnitTestCase):

    def _questions(self, scenario, requests):
        for guest in {scenario.guest, ()}:
            for relatives in (True, False):
                yield _question(*requests, guest=guest,
                                sockets=scenario.sockets, relatives=relatives)

    @base.examples(250)
    @hypothesis.given(strategies.scenarios(), strategies.hosts(),
                      st.randoms(use_true_random=True))
    def test_of_any_provider(self, scenario, other, random):
        hosts = _Hosts(random, scenario.pools, other)
        requests = hosts.requests(scenario)
        many = [hosts.make() for _ in range(25)]
        for question in self._questions(scenario, requests):
            for pools in many:
                expected = _truth(question, pools)
                for _ in range(2):
                    self.assertEqual(expected, question.fits(pools), pools)
            hypothesis.event(f'shared: {question.decided < len(many) // 2}')

    @base.examples(250)
    @hypothesis.given(strategies.scenarios(), strategies.hosts(),
                      st.randoms(use_true_random=True))
    def test_of_certain_providers(self, scenario, other, random):
        hosts = _Hosts(random, scenario.pools, other)
        requests = hosts.requests(scenario)
        for question in self._questions(scenario, requests):
            verdicts = collections.Counter()
            for _ in range(25):
                pools = hosts.make()
                providers = hosts.providers(question.requests, pools)
                if not any(providers):
                    continue
                expected = _truth(question, pools, providers)
                verdicts[expected] += 1
                for _ in range(2):
                    self.assertEqual(expected, question.fits_allocation(
                        pools, _by_provider(pools), providers),
                        (pools, providers))
                # The two kinds of verdicts are not mistaken for each other.
                self.assertEqual(
                    _truth(question, pools), question.fits(pools), pools)
            hypothesis.event(f'some fit: {verdicts[True] > 0}')

    @base.examples(100)
    @hypothesis.given(strategies.scenarios(), strategies.hosts(),
                      st.randoms(use_true_random=True))
    def test_lists_that_share_their_demands(self, scenario, other, random):
        hosts = _Hosts(random, scenario.pools, other)
        requests = hosts.requests(scenario)
        demands = device_requests.Demands()
        for _ in range(20):
            pools = hosts.make()
            numa_guest = random.random() < .3
            if random.random() < .2:
                requests = copy.deepcopy(requests)
            many = objects.PciDevicePoolList(
                pools, scenario.pool_list()._host_topology,
                numa_guest=numa_guest, demands=demands)
            alone = objects.PciDevicePoolList(
                pools, scenario.pool_list()._host_topology,
                numa_guest=numa_guest)
            mapping = {
                f'{request.request_id}-{number}': [rp_uuid]
                for request, providers in zip(
                    requests, hosts.providers(requests, pools))
                for number, rp_uuid in enumerate(providers)
                if request.alias_name}
            for asked in (scenario.mapping, mapping, None):
                args = requests, asked, random.choice(
                    (scenario.guest_cells, None))
                explained = many.explain_requests(*args)
                self.assertEqual(alone.explain_requests(*args), explained)
                self.assertEqual(
                    explained.fits, many.supports_requests(*args), args)


@ddt.ddt
class TestShared(base.UnitTestCase):
    """Hosts whose differences are of no importance."""

    def check(self, question, *hosts):
        """Check that one decision is enough for all the hosts."""
        for pools in hosts:
            self.assertEqual(_truth(question, pools), question.fits(pools))
        self.assertEqual(1, question.decided)

    def test_counts_above_the_demand(self):
        for wanted, counts in ((1, (2, 3, 64)), (3, (4, 5, 64))):
            self.check(
                _question(builders.alias(builders.A_VF, count=wanted)),
                *(_pools(builders.vf(count)) for count in counts))
        self.check(
            _question(builders.alias(builders.A_VF),
                      builders.alias(builders.A_VF, count=2)),
            *(_pools(builders.vf(count)) for count in (4, 5, 64)))

    def test_pools_that_nobody_wants(self):
        self.check(
            _question(builders.alias(builders.A_VF)),
            _pools(builders.vf()), _pools(builders.vf(), builders.gpu()),
            _pools(builders.gpu(9), builders.vf(), builders.pf(builders.B)),
            _pools(builders.vf(tier='gold'), builders.vdpa()))

    def test_pools_that_are_dropped_for_what_they_are(self):
        self.check(
            _question(builders.alias(builders.ANY_INTEL)),
            _pools(builders.vf()), _pools(builders.vf(), builders.pf()),
            _pools(builders.vf(), builders.vf(remote_managed='true')))

    def test_addresses(self):
        self.check(
            _question(builders.alias(builders.A_VF)),
            _pools(builders.vf()), _pools(builders.vf(address=builders.B)))
        self.check(
            _question(builders.alias(builders.A_PF),
                      builders.alias(builders.A_VF)),
            _pools(builders.pf(), builders.vf(address=builders.B)),
            _pools(builders.pf(builders.C), builders.vf(address=builders.A)))

    def test_in_how_many_pools(self):
        self.check(
            _question(builders.alias(builders.A_VF, count=3)),
            _pools(builders.vf(3)),
            _pools(builders.vf(1), builders.vf(2, address=builders.B)),
            _pools(builders.vf(2, tier='a'), builders.vf(1, tier='b')))

    def test_numa_nodes_where_the_place_is_unknown(self):
        self.check(
            _question(builders.alias(builders.A_VF, policy='required')),
            _pools(builders.vf(numa=0)), _pools(builders.vf(numa=None)))

    def test_providers_that_nobody_allocated(self):
        self.check(
            _question(builders.alias(builders.A_VF)),
            _pools(builders.vf()), _pools(builders.vf(rp=builders.RP1)))

    def test_nothing_wanted_is_there(self):
        question = _question(builders.alias(builders.A_VF))
        self.check(question, _pools(), _pools(builders.gpu()),
                   _pools(builders.pf(), builders.gpu(4)))
        self.assertFalse(question.fits(_pools()))

    def test_allocation(self):
        question = _question(builders.alias(builders.A_VF, count=2))
        for pools, rp_uuid in (
                (_pools(builders.vf(8, rp=builders.RP1)), builders.RP1),
                (_pools(builders.vf(9, rp=builders.RP2, address=builders.B)),
                 builders.RP2),
                (_pools(builders.vf(7, rp=builders.RP1),
                        builders.vf(7, rp=builders.RP2, address=builders.B),
                        builders.gpu(rp=builders.RP3)), builders.RP2)):
            self.assertTrue(question.fits_allocation(
                pools, _by_provider(pools), [[rp_uuid] * 2]))
        self.assertEqual(1, question.decided)

    def test_asked_by_many_threads(self):
        question = _question(
            builders.alias(builders.A_VF, count=2),
            builders.alias(builders.A_PF))
        hosts = [
            _pools(builders.vf(1 + number % 4), builders.pf(
                (builders.A, builders.B)[number % 2]))
            for number in range(40)]
        expected = [_truth(question, pools) for pools in hosts]
        found = []
        base.run_in_threads(8, lambda: found.append(
            [question.fits(pools) for pools in hosts]))
        self.assertEqual([expected] * 8, found)
        self.assertIn(True, expected)
        self.assertIn(False, expected)


@ddt.ddt
class TestNotShared(base.UnitTestCase):
    """Hosts that look alike and are not."""

    def check(self, question, fitting, other):
        self.assertTrue(_truth(question, fitting))
        self.assertFalse(_truth(question, other))
        for pools in (fitting, other, fitting):
            self.assertEqual(pools is fitting, question.fits(pools))
        self.assertEqual(2, question.decided)

    def test_counts(self):
        self.check(_question(builders.alias(builders.A_VF, count=2)),
                   _pools(builders.vf(2)), _pools(builders.vf(1)))
        self.check(
            _question(builders.alias(builders.A_VF, count=2),
                      builders.alias(builders.A_VF)),
            _pools(builders.vf(3)), _pools(builders.vf(2)))

    def test_blocked(self):
        self.check(
            _question(builders.alias(builders.A_VF)),
            _pools(builders.vf()), _pools(builders.vf(), blocked=[0]))

    def test_parent_or_function(self):
        # Both meet the same specs of the same requests.
        self.check(
            _question(builders.alias(
                builders.A_PF, builders.A_VF, count=2)),
            _pools(builders.vf(1), builders.vf(1, tier='gold')),
            _pools(builders.vf(1), builders.pf(tier='gold')))

    def test_parent_or_function_of_a_provider(self):
        question = _question(builders.alias(
            builders.A_PF, builders.A_VF, count=2))
        first = builders.vf(1, rp=builders.RP1)
        for other, fits in (
                (builders.vf(1, rp=builders.RP2, tier='gold'), True),
                (builders.pf(rp=builders.RP2, tier='gold'), False)):
            pools = _pools(first, other)
            providers = [[builders.RP1, builders.RP2]]
            self.assertEqual(fits, _truth(question, pools, providers))
            self.assertEqual(fits, question.fits_allocation(
                pools, _by_provider(pools), providers))

    def test_plain_device_beside_a_parent(self):
        # A type-PCI device is nobody's relative.
        plain = {**builders.gpu(1, address=builders.A), **builders.ANY_INTEL,
                 'tier': 'a', 'remote_managed': 'false'}
        self.check(
            _question(builders.alias(builders.A_PF),
                      builders.alias(builders.ANY_INTEL)),
            _pools(builders.pf(), plain),
            _pools(builders.pf(), builders.vf(1, tier='a')))

    def test_family(self):
        self.check(
            _question(builders.alias(builders.A_PF),
                      builders.alias(builders.A_VF)),
            _pools(builders.pf(), builders.vf(address=builders.B)),
            _pools(builders.pf(), builders.vf()))

    def test_order(self):
        # What the first request takes the second misses.
        first, second = builders.vf(1, tier='a'), builders.vf(1, color='b')
        self.check(
            _question(builders.alias(builders.A_VF),
                      builders.alias({'tier': 'a'})),
            _pools(second, first), _pools(first, second))

    def test_numa_node_of_a_guest_in_place(self):
        self.check(
            _question(builders.alias(builders.A_VF, policy='required'),
                      guest=[0]),
            _pools(builders.vf(numa=0)), _pools(builders.vf(numa=1)))

    def test_device_near_a_guest_in_place_that_is_not_taken(self):
        # It still decides how far the search goes.
        near = builders.vf(1, remote_managed='true')
        far = builders.vf(1, address=builders.B, numa=1)
        self.check(
            _question(builders.alias(builders.A_VF, policy='preferred'),
                      guest=[0]),
            _pools(far), _pools(near, far))

    def test_parent_near_a_guest_that_goes_with_its_function(self):
        # The first request takes a function, so its parent does not count
        # any more for the second.
        function = builders.vf(1, tier='a')
        far = builders.vf(1, builders.B, numa=1, tier='b')
        self.check(
            _question(builders.alias({'tier': 'a'}),
                      builders.alias({'tier': 'b'}, policy='preferred'),
                      guest=[0]),
            _pools(function, far, builders.pf(tier='b')),
            _pools(function, far, builders.pf(builders.C, tier='b')))

    def test_live_migratable(self):
        # The spec is compared without regard to case, the demand is not.
        self.check(
            _question(builders.alias(
                {**builders.A_GPU, 'live_migratable': 'true'})),
            _pools(builders.gpu(live_migratable='true')),
            _pools(builders.gpu(live_migratable='True')))

    def test_sockets(self):
        request = builders.alias(builders.A_VF, policy='socket')
        for sockets, fits in (((0, 0), True), ((0, 1), False)):
            question = _question(request, guest=[0], sockets=sockets)
            self.assertEqual(
                fits, question.fits(_pools(builders.vf(numa=1))))

    @ddt.data(
        [[builders.RP1]], [[builders.RP2, builders.RP2]],
        [[builders.RP1, builders.RP2]], [['nowhere'] * 2], [[]])
    def test_allocation(self, providers):
        question = _question(builders.alias(builders.A_VF, count=2))
        pools = _pools(
            builders.vf(4, rp=builders.RP1),
            builders.gpu(4, rp=builders.RP2))
        by_provider = _by_provider(pools)
        self.assertTrue(question.fits(pools))
        self.assertTrue(question.fits_allocation(
            pools, by_provider, [[builders.RP1] * 2]))
        self.assertEqual(
            _truth(question, pools, providers),
            question.fits_allocation(pools, by_provider, providers))

    def check_allocation(self, question, providers, fitting, other):
        for pools in (fitting, other, fitting):
            fits = pools is fitting
            self.assertEqual(fits, _truth(question, pools, providers))
            self.assertEqual(fits, question.fits_allocation(
                pools, _by_provider(pools), providers))

    def test_family_of_providers(self):
        self.check_allocation(
            _question(builders.alias(builders.A_PF),
                      builders.alias(builders.A_VF)),
            [[builders.RP1], [builders.RP2]],
            _pools(builders.pf(rp=builders.RP1),
                   builders.vf(rp=builders.RP2, address=builders.B)),
            _pools(builders.pf(rp=builders.RP1),
                   builders.vf(rp=builders.RP2)))

    def test_blocked_provider(self):
        pools = builders.vf(rp=builders.RP1),
        self.check_allocation(
            _question(builders.alias(builders.A_VF)), [[builders.RP1]],
            _pools(*pools), _pools(*pools, blocked=[0]))

    def test_port_beside_an_allocation(self):
        gpu = builders.gpu(rp=builders.RP1)
        self.check_allocation(
            _question(builders.alias(builders.A_GPU), builders.port(
                physical_network='net1')),
            [[builders.RP1], []],
            _pools(gpu, builders.vf(physical_network='net1')),
            _pools(gpu, builders.vf(physical_network='net2')))

    def test_guest_in_place_with_two_allocations(self):
        # The search for the second goes far if the first takes what is near.
        far = builders.vf(1, builders.B, numa=1, rp=builders.RP2)
        request = builders.alias(builders.A_VF, policy='preferred')
        self.check_allocation(
            _question(request, request, guest=[0]),
            [[builders.RP1], [builders.RP2]],
            _pools(far, builders.vf(1, rp=builders.RP1)),
            _pools(far, builders.vf(2, rp=builders.RP1)))

    def test_guest_in_place_with_an_allocation_far_away(self):
        far = builders.vf(1, numa=1, rp=builders.RP1)
        self.check_allocation(
            _question(builders.alias(builders.A_VF, policy='preferred'),
                      guest=[0]),
            [[builders.RP1]], _pools(far),
            _pools(far, builders.vf(1, address=builders.B)))

    def test_split_provider(self):
        question = _question(builders.alias(builders.A_VF))
        whole = _pools(builders.vf(rp=builders.RP1))
        split = _pools(builders.vf(rp=builders.RP1),
                       builders.gpu(rp=builders.RP2, numa=0),
                       builders.gpu(rp=builders.RP2, numa=1))
        for pools, fits in ((whole, True), (split, False), (whole, True)):
            self.assertEqual(fits, question.fits_allocation(
                pools, _by_provider(pools), [[builders.RP1]]))


class TestCompiled(base.UnitTestCase):

    def test_providers(self):
        question = _question(builders.alias({}, count=2), builders.port())
        for providers in ((), [(), ()]):
            self.assertEqual(
                [(), ()], [request.rp_uuids for request in
                           question.compiled(providers)])
        self.assertEqual(
            [('x', 'y'), ()], [request.rp_uuids for request in
                               question.compiled([['x', 'y'], ()])])
        self.assertEqual(
            [(), ()], [request.rp_uuids for request in question.requests])

    def test_no_requests(self):
        question = _question()
        self.assertTrue(question.fits(_pools()))
        self.assertTrue(question.fits(_pools(builders.vf())))
