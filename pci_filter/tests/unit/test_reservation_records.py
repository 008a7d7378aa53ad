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

import json

import hypothesis
from hypothesis import strategies as st

from pci_filter import matching
from pci_filter.reservations import reservation
from pci_filter.tests import base

_texts = st.text(max_size=8)
_requests = st.builds(
    matching.DeviceRequest.compile, _texts, st.integers(1, 64),
    st.lists(st.dictionaries(
        st.sampled_from(('vendor_id', 'product_id', 'physical_network',
                         'dev_type', 'remote_managed', 'live_migratable')),
        st.one_of(_texts, st.sampled_from(('true', 'type-PF', 'vdpa')))),
        max_size=3),
    st.sampled_from(('required', 'socket', 'legacy', 'preferred')),
    st.frozensets(st.integers(0, 9)), st.frozensets(st.integers(0, 9)))
_reservations = st.builds(
    reservation.Reservation, _texts,
    st.lists(_requests, max_size=3).map(tuple), st.integers(0, 99),
    st.frozensets(st.integers(1)), st.one_of(st.none(), _texts),
    st.floats(allow_nan=False, allow_infinity=False), _texts)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _texts),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(_texts, inner)), max_leaves=9)


def _one(**values):
    return reservation.Reservation(**{**{
        'instance_uuid': 'a', 'requests': (matching.DeviceRequest.compile(
            'gpu', 2, [{'vendor_id': '10de'}]),), 'devices': 2,
        'had': frozenset(), 'waits_in': 'scheduling', 'made_at': 100.0,
        'made_by': 'host:1'}, **values})


def _paths(value, path=()):
    """Yield the way to everything that is within some JSON."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, found in inner:
        yield from _paths(found, (*path, key))


class TestRecords(base.PropertyMixin, base.UnitTestCase):

    @base.examples(200)
    @hypothesis.given(st.lists(_reservations, max_size=3))
    def test_what_is_written_is_read(self, written):
        text = reservation.dumps(written)
        self.assertEqual(written, reservation.loads(text))
        self.assertEqual(written, reservation.loads(text.encode()))

    @base.examples(300)
    @hypothesis.given(st.one_of(st.text(), st.binary(), _json.map(json.dumps)))
    def test_garbage(self, text):
        try:
            self.assertEqual([], reservation.loads(text))
        except ValueError:
            pass

    @base.examples(300)
    @hypothesis.given(st.data())
    def test_one_thing_is_another(self, data):
        written = json.loads(reservation.dumps([_one()]))
        way = data.draw(st.sampled_from(list(_paths(written))))
        place = written
        for key in way[:-1]:
            place = place[key]
        if data.draw(st.booleans()):
            del place[way[-1]]
        else:
            place[way[-1]] = data.draw(_json)
        try:
            read = reservation.loads(json.dumps(written))
        except ValueError:
            return
        # Whatever is read can be used.
        for one in read:
            one.age(0.0)
            str(one.wanted)
            for request in one.requests:
                matching.fit_one_by_one([], [[request]])
        reservation.dumps(read)

    def test_nested_deeply(self):
        text = '{"version": 1, "reservations": ' + '[' * 10 ** 5
        self.assertRaises(ValueError, reservation.loads, text)

    def test_other_version(self):
        error = self.assertRaises(
            ValueError, reservation.loads,
            '{"version": 2, "reservations": []}')
        self.assertEqual('version 2 instead of 1', str(error))

    def test_not_a_record(self):
        error = self.assertRaises(
            ValueError, reservation.loads, '{"version": 1}')
        self.assertEqual('not a record of reservations (KeyError)', str(error))

    def test_from_the_future(self):
        one = _one()
        self.assertEqual(20.0, one.age(120.0))
        self.assertEqual(300.0, one.age(-200.0))

    def test_wanted(self):
        self.assertEqual('2 x gpu', _one().wanted)

    def test_no_number(self):
        text = reservation.dumps([_one()])
        for number in ('NaN', 'Infinity', '-Infinity', '1e999'):
            self.assertRaises(ValueError, reservation.loads, text.replace(
                '100.0', number))
            self.assertRaises(ValueError, reservation.loads, text.replace(
                '"devices": 2', f'"devices": {number}'))
