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
from pci_filter.tests.scenarios.builders import RP1
from pci_filter.tests.scenarios.builders import RP2


def _compile(request, mapping=None, guest=(), sockets=None):
    topology = None if sockets is None else builders.Topology(tuple(
        builders.Cell(node, socket) for node, socket in enumerate(sockets)))
    compiled, = device_requests.compile_requests(
        [request], mapping, [builders.Cell(node) for node in guest], topology)
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
        compiled, = device_requests.compile_requests(
            [builders.alias({}, policy=policy)], None, cells,
            builders.Topology((Untouchable(),)))
        self.assertEqual(frozenset(), compiled.socket_cells)

    def test_no_cells(self):
        for cells in (None, (), []):
            compiled, = device_requests.compile_requests(
                [builders.alias({})], None, cells)
            self.assertIsInstance(compiled, request_module.DeviceRequest)
            self.assertEqual(frozenset(), compiled.numa_cells)
