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

"""Nova's request objects, compiled for the decision."""

import copy

import ddt

from pci_filter.matching import request as request_module
from pci_filter.objects import device_requests
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders
from pci_filter.tests.scenarios.builders import ID1
from pci_filter.tests.scenarios.builders import ID2
from pci_filter.tests.scenarios.builders import PORT
from pci_filter.tests.scenarios.builders import RP1
from pci_filter.tests.scenarios.builders import RP2


def _compile(request, mapping=None, guest=(), sockets=None):
    topology = None if sockets is None else builders.Topology(tuple(
        builders.Cell(node, socket) for node, socket in enumerate(sockets)))
    return _ask(
        request, mapping, [builders.Cell(node) for node in guest], topology)


def _ask(request, mapping=None, cells=None, topology=None):
    demand = device_requests.Demands().of([request])
    compiled, = demand.question(cells, topology).compiled(
        demand.providers([request], mapping))
    return compiled


class Untouchable:
    """A host cell as it was stored before Nova knew of sockets."""

    id = 0

    @property
    def socket(self):
        raise NotImplementedError("Cannot load 'socket' in the base class")


@ddt.ddt
class TestCompile(base.UnitTestCase):

    def test_plain(self):
        compiled = _compile(builders.alias(
            {'Vendor_ID': '10DE', 'tier': None}, count=3))
        self.assertEqual(
            ('alias', 3, ({'Vendor_ID': '10de', 'tier': None},), 'legacy'),
            (compiled.label, compiled.count, compiled.specs,
             compiled.numa_policy))
        self.assertEqual((), compiled.rp_uuids)

    def test_request_is_not_changed(self):
        request = builders.alias(
            {**builders.A_GPU, 'traits': 'A', 'tier': 'Gold'})
        before = copy.deepcopy(request)
        _compile(request, {f'{ID1}-0': [RP1]})
        self.assertEqual(before, request)

    def test_keys_that_only_placement_matches(self):
        self.assertEqual(({'tier': 'gold'},), _compile(builders.alias({
            'resource_class': 'A', 'traits': 'B', 'rp_uuids': RP1,
            'rp_uuid': RP1, 'tier': 'gold'})).specs)

    @ddt.data(None, 'legacy', 'required', 'socket', 'preferred')
    def test_policy(self, policy):
        self.assertEqual(policy or 'legacy', _compile(
            builders.alias({}, policy=policy)).numa_policy)

    @ddt.data(
        (({},), (False, False, False)),
        (({'dev_type': 'type-PF'},), (True, False, False)),
        (({'dev_type': 'TYPE-PF'},), (False, False, False)),
        (({'dev_type': 'vdpa'},), (False, True, False)),
        (({'remote_managed': 'True'},), (False, False, True)),
        (({'remote_managed': 'False'},), (False, False, False)),
        (({}, {'dev_type': 'type-PF'}, {'dev_type': 'vdpa'}),
         (True, True, False)),
        ((), (False, False, False)))
    @ddt.unpack
    def test_what_has_to_be_asked_for(self, specs, wants):
        compiled = _compile(builders.alias(*specs))
        self.assertEqual(wants, (
            compiled.wants_pf, compiled.wants_vdpa,
            compiled.wants_remote_managed))

    @ddt.data(
        (('true',), 'true'), (('false',), 'false'), (('true', 'true'), 'true'),
        (('true', 'false'), None), (('true', None), None), ((None,), None),
        (('True',), None), ((), None))
    @ddt.unpack
    def test_live_migratable(self, values, demand):
        compiled = _compile(builders.alias(*(
            {'live_migratable': value} if value else {} for value in values)))
        self.assertEqual(demand, compiled.live_migratable)


@ddt.ddt
class TestProviders(base.UnitTestCase):

    @ddt.data(
        (None, ()), ({}, ()),
        ({f'{ID1}-0': [RP1], f'{ID1}-1': [RP2], f'{ID1}-2': [RP1]},
         (RP1, RP2, RP1)),
        ({f'{ID2}-0': [RP1]}, ()),
        ({'': [RP2], f'{ID1}-0': [RP1]}, (RP1,)),
        ({None: [RP2], f'{ID1}-0': [RP1]}, (RP1,)),
        ({f'{ID1}-0': [], f'{ID1}-1': [RP1]}, (RP1,)))
    @ddt.unpack
    def test_mapping(self, mapping, rp_uuids):
        self.assertEqual(
            rp_uuids, _compile(builders.alias({}), mapping).rp_uuids)

    def test_stored(self):
        request = builders.alias({'rp_uuids': f'{RP2},{RP1}'}, {})
        self.assertEqual((RP2, RP1), _compile(request).rp_uuids)
        self.assertEqual((RP2, RP1), _compile(request, {}).rp_uuids)
        self.assertEqual(
            (), _compile(request, {f'{ID2}-0': [RP1]}).rp_uuids)

    def test_no_spec_stores_nothing(self):
        self.assertEqual((), _compile(builders.alias()).rp_uuids)

    def test_port(self):
        request = builders.port(rp_uuids=RP1)
        self.assertEqual((), _compile(request, {ID1: [RP1]}).rp_uuids)
        self.assertEqual((), _compile(request).rp_uuids)

    def test_request_without_id(self):
        request = builders.alias({}, request_id=None)
        self.assertEqual((), _compile(request, {ID1: [RP1]}).rp_uuids)

    def test_stored_for_a_request_without_id(self):
        # The id is for the mapping only (_get_rp_uuids_for_request).
        request = builders.alias({'rp_uuids': RP1}, request_id=None)
        self.assertEqual((RP1,), _compile(request).rp_uuids)


@ddt.ddt
class TestDemands(base.UnitTestCase):
    """What was compiled once is found again, and nothing else is."""

    def setUp(self):
        super().setUp()
        self.demands = device_requests.Demands()

    def test_same_list(self):
        requests = [builders.alias(builders.A_VF), builders.port()]
        demand = self.demands.of(requests)
        self.assertIs(demand, self.demands.of(requests))
        self.assertIs(demand.question(), demand.question())

    def test_equal_copies(self):
        requests = [builders.alias(builders.A_VF), builders.port()]
        demand = self.demands.of(requests)
        for other in (list(requests), copy.deepcopy(requests),
                      tuple(requests)):
            self.assertIs(demand, self.demands.of(other))
        # Nova goes back and forth between the original and clones.
        self.assertIs(demand, self.demands.of(requests))

    @ddt.data(
        ('count', 2), ('numa_policy', 'required'), ('request_id', ID2),
        ('alias_name', 'other'), ('alias_name', None),
        ('requester_id', 'other'), ('spec', [{}]),
        ('spec', [{**builders.A_VF, 'tier': None}]),
        ('spec', [builders.A_VF, {}]))
    @ddt.unpack
    def test_changed_copies(self, name, value):
        request = builders.alias(builders.A_VF)
        changed = copy.deepcopy(request)
        setattr(changed, name, value)
        demand = self.demands.of([request])
        other = self.demands.of([changed])
        self.assertIsNot(demand, other)
        self.assertIs(demand, self.demands.of([request]))
        self.assertIsNot(demand.question(), other.question())
        compiled, = other.question().requests
        expected = _compile(changed)
        self.assertEqual(expected, compiled)

    def test_order_and_number(self):
        one, other = builders.alias(builders.A_VF), builders.port()
        found = [self.demands.of(requests) for requests in (
            [], [one], [one, other], [other, one], [one, one])]
        self.assertEqual(5, len(set(map(id, found))))
        self.assertEqual([0, 1, 2, 2, 2], [
            len(demand.question().requests) for demand in found])

    def test_question_of_a_place(self):
        demand = self.demands.of([
            builders.alias({}, policy='socket'), builders.alias({})])
        topologies = [builders.Topology(tuple(
            builders.Cell(node, socket)
            for node, socket in enumerate(sockets)))
            for sockets in ((0, 0), (0, 1), (5, 5))]
        cells = [builders.Cell(0)]
        first, second, third = (
            demand.question(cells, topology) for topology in topologies)
        self.assertIs(first, third)
        self.assertIsNot(first, second)
        self.assertEqual([{0, 1}, set()], [
            request.socket_cells for request in first.requests])
        self.assertEqual([{0}, set()], [
            request.socket_cells for request in second.requests])
        for question, other in (
                (first, demand.question()),
                (first, demand.question([builders.Cell(1)], topologies[0])),
                (first, demand.question(cells, topologies[0], False))):
            self.assertIsNot(question, other)
        self.assertIs(demand.question(), demand.question([], topologies[1]))
        self.assertIs(True, first.mind_relatives)
        self.assertIs(False, demand.question(
            cells, topologies[0], False).mind_relatives)

    def test_stored_providers_are_read_anew(self):
        """The conductor adds them to the requests it has."""
        requests = [builders.alias(dict(builders.A_VF))]
        demand = self.demands.of(requests)
        self.assertEqual((), demand.providers(requests, None))
        requests[0].spec[0]['rp_uuids'] = RP1
        self.assertIs(demand, self.demands.of(requests))
        self.assertEqual([[RP1]], [
            list(one) for one in demand.providers(requests, None)])

    def test_many_threads(self):
        scenarios = [
            [builders.alias(builders.A_VF, count=1 + number % 5)]
            for number in range(50)]
        found = []

        def ask():
            for _ in range(20):
                found.append([
                    self.demands.of(copy.deepcopy(requests)).question()
                    .requests[0].count for requests in scenarios])

        base.run_in_threads(8, ask)
        self.assertEqual(
            [[1 + number % 5 for number in range(50)]] * 160, found)


@ddt.ddt
class TestIsTracked(base.UnitTestCase):

    @ddt.data(
        ([f'{ID1}-0'], True), ([None, '', f'{ID1}-0'], True),
        ([f'{ID2}-0'], False), ([f'x{ID1}-0'], False), ([], False),
        ([None], False))
    @ddt.unpack
    def test_groups(self, group_ids, tracked):
        for requests, expected in (
                ([builders.alias({})], tracked),
                ([builders.port(), builders.alias({})], tracked),
                ([builders.port()], False),
                ([builders.alias({}, request_id=None)], False), ([], False)):
            self.assertEqual(expected, device_requests.is_tracked(
                requests, group_ids))

    def test_groups_may_be_an_iterator(self):
        requests = [builders.alias({}, request_id=ID2), builders.alias({})]
        self.assertTrue(device_requests.is_tracked(
            requests, iter([f'{ID1}-0'])))

    def test_stored(self):
        for request, tracked in (
                (builders.alias({'rp_uuids': RP1}), True),
                (builders.alias({'rp_uuids': ''}), False),
                (builders.alias({'rp_uuids': None}), False),
                (builders.alias(), False),
                (builders.port(rp_uuids=RP1), False)):
            self.assertEqual(
                tracked, device_requests.is_tracked([request], []))

    def test_whoever_is_not_tracked_has_no_providers(self):
        """What is not read is never asked for."""
        for request in (builders.alias({}), builders.port(),
                        builders.alias({}, {'tier': 'gold'})):
            for mapping in (None, {}, {f'{ID2}-0': [RP1]}, {'': [RP1]},
                            {PORT: [RP1]}):
                self.assertFalse(device_requests.is_tracked(
                    [request], mapping or ()))
                self.assertFalse(any(self.providers(request, mapping)))

    def providers(self, request, mapping):
        return device_requests.Demands().of([request]).providers(
            [request], mapping)


@ddt.ddt
class TestCells(base.UnitTestCase):

    @ddt.data(
        ((0,), (0, 0, 1, 1), {0, 1}), ((2, 3), (0, 0, 1, 1), {2, 3}),
        ((0, 2), (0, 0, 1, 1), {0, 1, 2, 3}), ((9,), (0, 0), set()),
        ((0,), (0, None), set()), ((0,), (), set()), ((0,), None, set()),
        ((), (0, 0), set()))
    @ddt.unpack
    def test_socket(self, guest, sockets, cells):
        compiled = _compile(
            builders.alias({}, policy='socket'), None, guest, sockets)
        self.assertEqual(set(guest), compiled.numa_cells)
        self.assertEqual(cells, compiled.socket_cells)

    @ddt.data((None, [0]), ('required', [0]), ('preferred', [0]),
              ('socket', []), ('socket', None))
    @ddt.unpack
    def test_sockets_are_read_only_if_needed(self, policy, guest):
        cells = None if guest is None else [
            builders.Cell(node) for node in guest]
        compiled = _ask(
            builders.alias({}, policy=policy), None, cells,
            builders.Topology((Untouchable(),)))
        self.assertEqual(frozenset(), compiled.socket_cells)

    def test_no_cells(self):
        for cells in (None, (), []):
            compiled = _ask(builders.alias({}), None, cells)
            self.assertIsInstance(compiled, request_module.DeviceRequest)
            self.assertEqual(frozenset(), compiled.numa_cells)
