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

"""Hosts on which functions of one parent have different tags.

Only the summary knows the tags, so nobody knows which function has which.
"""

from pci_filter import exception
from pci_filter.matching import request as request_module
from pci_filter.matching import worst_case
from pci_filter import model
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios import summaries

NOTE = 'functions of one PF differ in '


def _trusted_and_not(address, count=1):
    """Return pools of functions, as many trusted as not."""
    return [builders.vf(count, address, physical_network='net1'),
            builders.vf(count, address, physical_network='net1',
                        trusted='true')]


def _ports(number, **spec):
    return [builders.port(physical_network='net1', **spec)
            for _ in range(number)]


class TestReservation(base.UnitTestCase):

    def _two_families(self, count=1):
        return summaries.pool_list([
            *_trusted_and_not(builders.A, count),
            *_trusted_and_not(builders.B, count)])

    def test_ports_of_one_instance(self):
        pools = self._two_families()
        self.assertEqual(frozenset(['trusted']), pools.unknown_tags)
        for number in (1, 3, 4):
            self.assertTrue(pools.supports_requests(_ports(number)), number)
        self.assertFalse(pools.supports_requests(_ports(5)))

    def test_many_instances(self):
        pools = self._two_families(2)
        for _ in range(8):
            pools.apply_requests(_ports(1))
        self.assertFalse(pools.supports_requests(_ports(1)))
        explained = pools.explain_requests(_ports(1))
        self.assertEqual('promised', explained.failed.failed_stage)
        self.assertEqual(
            f'port {builders.PORT} asks for 1: 8 free, 0 are certainly left '
            f'by the requests before it ({NOTE}trusted)', explained.reason)

    def test_promises_of_one_instance_count(self):
        pools = self._two_families(2)
        pools.apply_requests(_ports(3))
        pools.apply_requests([builders.alias(builders.A_VF, count=4)])
        self.assertTrue(pools.supports_requests(_ports(1)))
        self.assertFalse(pools.supports_requests(_ports(2)))

    def test_nothing_is_promised_unless_applied(self):
        pools = self._two_families()
        for _ in range(2):
            self.assertTrue(pools.supports_requests(_ports(4)))
            self.assertTrue(pools.explain_requests(_ports(4)).fits)
        self.assertRaises(exception.PciRequestsNotSupported,
                          pools.apply_requests, _ports(5))
        self.assertTrue(pools.supports_requests(_ports(4)))

    def test_tag_in_question(self):
        pools = self._two_families()
        for trusted in ('true', 'false', None):
            requests = _ports(1, trusted=trusted)
            self.assertFalse(pools.supports_requests(requests))
            explained = pools.explain_requests(requests)
            self.assertEqual('spec', explained.failed.failed_stage)
            self.assertIn(f'({NOTE}trusted)', explained.reason)

    def test_request_before_it_may_take_what_is_certain(self):
        # The first finds red devices in the certain family, but the claim
        # also looks among the uncertain ones, and the reverse.
        pools = summaries.pool_list([
            builders.vf(1, color='red'), builders.vf(1, color='blue'),
            builders.vf(2, builders.B, color='red')])
        red = builders.alias({'color': 'red'})
        self.assertTrue(pools.supports_requests([red]))
        self.assertTrue(pools.supports_requests([red, red]))
        self.assertFalse(pools.supports_requests([red, red, red]))
        # 4 free; each of the two may have taken any of them.
        self.assertTrue(pools.supports_requests(
            [red, red, builders.alias(builders.A_VF, count=2)]))
        self.assertFalse(pools.supports_requests(
            [red, red, builders.alias(builders.A_VF, count=3)]))

    def test_certain_local_device_may_be_taken(self):
        """What is near the guest, the claim may take before what we choose."""
        pools = summaries.pool_list([
            builders.vf(1, color='red'), builders.vf(1, color='blue'),
            builders.vf(2, builders.B, numa=None, color='red'),
            builders.vf(1, builders.C, ids=('8086', '1234'), color='red')])
        for policy in (None, 'legacy', 'preferred'):
            requests = [
                builders.alias({'color': 'red'}, count=2, policy=policy),
                builders.alias({'product_id': '1234'}, policy=policy)]
            for guest in ([builders.Cell(0)], None):
                self.assertFalse(pools.supports_requests(
                    requests, None, guest), (policy, guest))
            self.assertTrue(pools.supports_requests(
                requests[:1], None, [builders.Cell(0)]))
            self.assertTrue(pools.supports_requests(
                requests[1:], None, [builders.Cell(0)]))

    def test_requests_that_do_not_meet(self):
        pools = summaries.pool_list([
            *_trusted_and_not(builders.A), builders.gpu(2)])
        self.assertTrue(pools.supports_requests([
            builders.alias(builders.A_GPU, count=2), *_ports(2)]))

    def test_parent_and_functions(self):
        pools = summaries.pool_list([
            builders.pf(), *_trusted_and_not(builders.A),
            builders.pf(builders.B)])
        port, function = (builders.alias(builders.A_PF),
                          builders.alias(builders.A_VF))
        self.assertTrue(pools.supports_requests([port]))
        self.assertTrue(pools.supports_requests([function]))
        # The claim of the port may take the functions' parent.
        self.assertFalse(pools.supports_requests([port, function]))
        self.assertFalse(pools.supports_requests([
            builders.alias(builders.A_PF, builders.A_VF, count=2)]))
        # Functions exclude their parent for certain; the other is left.
        self.assertTrue(pools.supports_requests([function, port]))
        self.assertFalse(pools.supports_requests([
            function, builders.alias(builders.A_PF, count=2)]))

    def test_parent_of_another_instance(self):
        pools = summaries.pool_list([
            builders.pf(), *_trusted_and_not(builders.A)])
        pools.apply_requests([builders.alias(builders.A_PF)])
        self.assertFalse(pools.supports_requests(_ports(1)))

    def test_guest_without_a_place(self):
        more = {'numa_guest': True}
        pools = summaries.pool_list(
            [builders.pf(), *_trusted_and_not(builders.A)], **more)
        requests = [builders.alias(builders.A_PF),
                    builders.alias(builders.A_VF)]
        self.assertTrue(pools.supports_requests(requests))
        self.assertFalse(pools.supports_requests(
            requests, None, [builders.Cell(0)]))

    def test_allocation_of_placement(self):
        pools = summaries.pool_list([
            builders.vf(1, rp=builders.RP1, tier='gold'),
            builders.vf(1, rp=builders.RP1, tier='lead'),
            builders.gpu(rp=builders.RP3)])
        for request, provider in ((builders.A_VF, builders.RP1),
                                  (builders.A_GPU, builders.RP3)):
            explained = pools.explain_requests(
                [builders.alias(request)], {f'{builders.ID1}-0': [provider]})
            self.assertEqual(
                'one_pool_per_provider', explained.failed.failed_stage)
            self.assertEqual(
                'can be told apart by their resource providers',
                explained.failed.shortage)
            self.assertTrue(
                pools.supports_requests([builders.alias(request)]))


class TestMayTake(base.UnitTestCase):

    def _may_take(self, spec, **tags):
        pool, = builders.to_pools([builders.vf(**tags)])
        return worst_case.may_take(
            request_module.DeviceRequest.compile('x', 1, [spec]), pool)

    def test_unknown_may_be_anything(self):
        for value in ('true', 'false', None):
            self.assertTrue(self._may_take(
                {'tier': value}, tier=model.UNKNOWN))

    def test_what_is_known_is_not(self):
        self.assertTrue(self._may_take({'tier': 'GOLD'}, tier='Gold'))
        self.assertFalse(self._may_take({'tier': 'lead'}, tier='gold'))
        self.assertFalse(self._may_take(
            {'tier': 'lead', 'color': 'red'}, tier=model.UNKNOWN))

    def test_what_has_to_be_asked_for(self):
        parent, vdpa = builders.to_pools([builders.pf(), builders.vdpa()])
        for pool, spec, expected in (
                (parent, {}, False), (vdpa, {}, False),
                (parent, builders.A_PF, True),
                (vdpa, builders.A_VDPA, True)):
            self.assertEqual(expected, worst_case.may_take(
                request_module.DeviceRequest.compile('x', 1, [spec]), pool))


class TestPlace(base.UnitTestCase):
    """Where Nova's own nova-compute places a guest with NUMA cells."""

    def setUp(self):
        super().setUp()
        self.pools = summaries.pool_list([
            builders.pf(physical_network='net1'),
            builders.vf(1, physical_network='net1'),
            builders.vf(1, physical_network='net2'),
            builders.pf(builders.B, numa=1, physical_network='net1'),
            builders.vf(1, builders.C, numa=1, physical_network='net1')])

    def check(self, near, claimed, chosen, *requests):
        cells = [builders.Cell(near)]
        self.assertEqual(
            (claimed, chosen),
            (self.pools.supports_requests(requests, None, cells),
             self.pools.without_relatives().supports_requests(
                 requests, None, cells)))

    def ask(self, policy, **spec):
        return builders.port(policy=policy, physical_network='net1', **spec)

    def test_chosen_for_what_is_unknown(self):
        """On node 0 a function may be on net1, but excludes its port."""
        requests = [self.ask('required', dev_type='type-PF'),
                    self.ask('required', dev_type='type-VF')]
        self.check(0, False, True, *requests)
        self.check(1, True, True, *requests)

    def test_known_not_to_do(self):
        for policy, chosen in (('required', False), ('legacy', False),
                               ('preferred', True)):
            self.check(2, chosen, chosen, self.ask(
                policy, dev_type='type-PF'))
        self.check(1, False, False, self.ask('required', tier='gold'))
        self.check(1, False, False, *[self.ask(
            'required', count=2, dev_type='type-PF')])

    def test_socket(self):
        self.check(0, True, True, self.ask('socket', dev_type='type-PF'))


class TestMaySuffice(base.UnitTestCase):

    def test_near(self):
        known, unknown = builders.to_pools([
            builders.vf(1, numa=1), builders.vf(1, builders.B, numa=None)])
        for policy, one, other in (
                ('required', False, False), ('socket', True, False),
                ('legacy', False, True), ('preferred', True, True)):
            request = request_module.DeviceRequest.compile(
                'x', 1, [{}], policy, frozenset((0,)),
                frozenset((0, 1)) if policy == 'socket' else frozenset())
            self.assertEqual((one, other), tuple(
                worst_case.may_suffice([pool], [request])
                for pool in (known, unknown)), policy)
