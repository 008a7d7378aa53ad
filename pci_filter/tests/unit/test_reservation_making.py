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

import itertools

from pci_filter import matching
from pci_filter import reservations
from pci_filter.reservations import making
from pci_filter.reservations import reservation
from pci_filter.reservations import sight
from pci_filter.reservations import store as store_module
from pci_filter.tests import base

TIMEOUT = 60


class Store(store_module.Store):
    """Keeps records in memory."""

    def __init__(self):
        self.records = {}
        self.calls = []
        # Called before each write.
        self.meanwhile = lambda: None
        self._tokens = itertools.count(1)

    def read(self, node_uuid, seconds):
        self.calls.append(('read', seconds))
        return self.records.get(node_uuid, store_module.NO_RECORD)

    def write(self, node_uuid, token, text, lifetime, seconds):
        self.calls.append(('write', seconds))
        self.meanwhile()
        if self.records.get(node_uuid, store_module.NO_RECORD).token != token:
            return False
        self.put(node_uuid, text)
        self.lifetime = lifetime
        return True

    def put(self, node_uuid, text):
        self.records[node_uuid] = store_module.Record(
            next(self._tokens), text)

    def made(self, node_uuid='node'):
        return [one.instance_uuid for one in reservation.loads(
            self.records[node_uuid].text)]


class Node:
    """Has so many devices of one kind."""

    uuid = 'node'

    def __init__(self, available=2, wanted=1):
        self.available = available
        self.wanted = wanted
        self.instances = {}
        self.owned = {}
        self.now = 1000.0
        self.looks = []
        self.known = {}
        self.asked_for = []
        self.moves = 0

    def look(self, instance_uuids):
        self.looks.append(list(instance_uuids))
        self.moves -= 1
        return sight.Sight(self.now, 'node', dict(self.instances),
                           dict(self.owned), self.moves >= 0)

    def asked(self, instance_uuids):
        self.asked_for.append(list(instance_uuids))
        return {uuid: self.known[uuid] for uuid in instance_uuids
                if uuid in self.known}

    def decide(self, waiting):
        taken = sum(request.count for requests in waiting
                    for request in requests)
        return _requests(self.wanted) if (
            self.available - taken >= self.wanted) else None


def _requests(count):
    return (matching.DeviceRequest.compile(
        'gpu', count, [{'vendor_id': '10de'}]),)


class TestPatience(base.UnitTestCase):

    def _patience(self, *times):
        return making.Patience(1.0, iter(times).__next__)

    def test_what_is_left_is_handed_on(self):
        patience = self._patience(0.0, 0.25, 5.0, 5.5)
        asked = []
        patience.spend(lambda *args: asked.append(args), 'a')
        patience.spend(lambda *args: asked.append(args), 'b')
        self.assertEqual([('a', 1.0), ('b', 0.75)], asked)
        self.assertEqual(0.25, patience.left)

    def test_nothing_is_left(self):
        patience = self._patience(0.0, 1.0)
        patience.spend(lambda left: None)
        error = self.assertRaises(
            reservations.StoreError, patience.spend, self.fail)
        self.assertEqual(making.LATE, str(error))

    def test_failures_take_time_too(self):
        patience = self._patience(0.0, 0.5)
        self.assertRaises(
            reservations.StoreError, patience.spend, self._fails)
        self.assertEqual(0.5, patience.left)

    def _fails(self, left):
        raise reservations.StoreError('down')


class TestMaking(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.store = Store()
        self.node = Node()

    def reserve(self, instance_uuid='a', patience=9.0):
        return making.reserve(
            self.store, self.node, making.Asker(
                instance_uuid, self.node.wanted, 'host:1'), TIMEOUT,
            making.Patience(patience))

    def release(self, made):
        making.release(
            self.store, 'node', made, TIMEOUT, making.Patience(9.0))

    def test_made(self):
        self.node.owned = {'a': frozenset((7,))}
        self.node.instances = {
            'a': sight.Instance('other', 'active', 'resize_prep', False)}
        made = self.reserve()
        self.assertEqual(reservation.Reservation(
            'a', _requests(1), 1, frozenset((7,)), 'resize_prep', 1000.0,
            'host:1'), made.reservation)
        self.assertEqual([], list(made.ended))
        self.assertEqual([made.reservation], reservation.loads(
            self.store.records['node'].text))
        self.assertGreater(self.store.lifetime, TIMEOUT)

    def test_no_more_than_there_are(self):
        self.assertIsInstance(self.reserve('a'), making.Made)
        self.assertIsInstance(self.reserve('b'), making.Made)
        self.node.now += 20
        refused = self.reserve('c')
        self.assertEqual([('a', 40.0), ('b', 40.0)], [
            (one.reservation.instance_uuid, one.seconds)
            for one in refused.waiting])
        self.assertEqual(['c', 'a', 'b'], self.node.looks[-1])

    def test_no_devices(self):
        self.node.available = 0
        self.assertEqual(making.Refused([]), self.reserve())
        self.assertEqual({}, self.store.records)

    def test_others_are_not_what_keeps_it_away(self):
        self.reserve()
        self.node.wanted = 3
        self.assertEqual(making.Refused([]), self.reserve('b'))

    def test_who_asks_again_replaces_his_own(self):
        self.node.available = 1
        self.reserve('a')
        self.assertIsInstance(self.reserve('a'), making.Made)
        self.assertEqual(['a'], self.store.made())

    def test_ended(self):
        for name in 'ab':
            self.reserve(name)
        self.node.owned = {'a': frozenset((7,))}
        self.node.available = 1
        self.node.instances = {
            'b': sight.Instance(None, 'building', None, True)}
        made = self.reserve('c')
        self.assertEqual(
            [('a', sight.End.CLAIMED), ('b', sight.End.DELETED)],
            [(one.instance_uuid, end) for one, end in made.ended])
        # The claim may be unknown to somebody who lags.
        self.assertEqual(['a', 'c'], self.store.made())

    def test_called_off(self):
        for name in 'ab':
            self.reserve(name)
        self.node.known = {'a': sight.Asked(True, False),
                           'b': sight.Asked(False, False)}
        looks = len(self.node.looks)
        made = self.reserve('c')
        self.assertEqual([('b', sight.End.CALLED_OFF)], [
            (one.instance_uuid, end) for one, end in made.ended])
        self.assertEqual(['a', 'c'], self.store.made())
        self.assertEqual([['a', 'b']], self.node.asked_for)
        self.assertEqual(looks + 1, len(self.node.looks))

    def test_none_is_called_off(self):
        for name in 'ab':
            self.reserve(name)
        refused = self.reserve('c')
        self.assertEqual(['a', 'b'], [
            one.reservation.instance_uuid for one in refused.waiting])
        self.assertEqual([['a', 'b']], self.node.asked_for)

    def test_nobody_asks_in_vain(self):
        self.reserve('a')
        # It fits; it never does; those who wait are on a host.
        self.reserve('b')
        self.node.wanted = 3
        self.reserve('c')
        self.node.wanted = 1
        self.node.instances = {name: sight.Instance(
            'node', 'building', None, False) for name in 'ab'}
        self.assertIsInstance(self.reserve('c'), making.Refused)
        # One without a row has too few devices.
        self.node.wanted = 2
        del self.node.instances['a']
        self.assertIsInstance(self.reserve('c'), making.Refused)
        self.assertEqual([], self.node.asked_for)

    def test_replaced_meanwhile(self):
        lost = iter((True, True, False))
        self.store.meanwhile = lambda: next(lost) and self.store.put(
            'node', reservation.dumps([]))
        self.assertIsInstance(self.reserve(), making.Made)
        self.assertEqual(['read', 'write'] * 3, [
            name for name, _ in self.store.calls])
        self.assertEqual(3, len(self.node.looks))

    def test_replaced_for_ever(self):
        self.store.meanwhile = lambda: self.store.put(
            'node', reservation.dumps([]))
        error = self.assertRaises(reservations.StoreError, self.reserve)
        self.assertEqual(
            'others have replaced the record 64 times', str(error))
        self.store.put('node', reservation.dumps([_some('a')]))
        self.store.meanwhile = lambda: self.store.put(
            'node', reservation.dumps([_some('a')]))
        error = self.assertRaises(
            reservations.StoreError, self.release, _some('a'))
        self.assertEqual(
            'others have replaced the record 64 times', str(error))

    def test_claims_that_arrive(self):
        self.reserve('a')
        self.reserve('b')
        self.node.looks.clear()
        self.node.moves = 3
        self.assertIsInstance(self.reserve('c'), making.Refused)
        self.assertEqual(4, len(self.node.looks))

    def test_a_claim_that_never_ends_to_arrive(self):
        self.store.put('node', reservation.dumps([_some('a', 2)]))
        self.node.owned = {'a': frozenset((7,))}
        self.node.available = 1
        refused = self.reserve('b')
        self.assertEqual(1, len(refused.waiting))
        self.assertEqual(making._LOOKS + 1, len(self.node.looks))

    def test_unreadable(self):
        for text in ('', '{', b'\xff', '{"version": 2, "reservations": []}'):
            self.store.put('node', text)
            error = self.assertRaises(reservations.StoreError, self.reserve)
            self.assertIn(
                'what it has of a compute node is unreadable: ', str(error))
        self.assertEqual([], self.node.looks)

    def test_out_of_date(self):
        self.store.records['node'] = store_module.Record(5, None)
        self.assertIsInstance(self.reserve(), making.Made)

    def test_release(self):
        made = self.reserve('a').reservation
        self.reserve('b')
        self.release(made)
        self.assertEqual(['b'], self.store.made())
        calls = len(self.store.calls)
        self.release(made)
        self.assertEqual(
            ['read'], [name for name, _ in self.store.calls[calls:]])

    def test_another_one_is_not_released(self):
        made = self.reserve('a').reservation
        self.node.now += 1
        self.reserve('a')
        self.release(made)
        self.assertEqual(['a'], self.store.made())

    def test_no_patience(self):
        self.assertRaises(
            reservations.StoreError, self.reserve, patience=0)
        self.assertEqual([], self.store.calls)

    def test_exceptions_of_the_node_are_handed_on(self):
        self.node.look = self._fails
        self.assertRaises(ZeroDivisionError, self.reserve)
        self.assertEqual({}, self.store.records)

    def _fails(self, instance_uuids):
        raise ZeroDivisionError


def _some(instance_uuid, count=1):
    return reservation.Reservation(
        instance_uuid, _requests(count), count, frozenset(), 'scheduling',
        1000.0, 'host:1')
