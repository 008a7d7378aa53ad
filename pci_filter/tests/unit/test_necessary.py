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

"""What a host must have, whatever else is true of it."""

from pci_filter.matching import necessary
from pci_filter.matching import request as request_module
from pci_filter.tests import base

NEITHER = 'type-PF', 'vdpa'


def request(*specs, count=1):
    return request_module.DeviceRequest.compile('label', count, specs)


def needs(*requests):
    return [(need.number, need.text) for need in necessary.needs(requests)]


class TestNeeds(base.UnitTestCase):

    def test_ids(self):
        [need] = necessary.needs([request(
            {'vendor_id': '10DE', 'product_id': '20b5', 'label': 'x'},
            count=2)])
        self.assertEqual(necessary.Need((necessary.Kinds(
            (('vendor_id', '10de'), ('product_id', '20b5')), NEITHER),), 2),
            need)

    def test_types_that_are_asked_for(self):
        for dev_type, excluded in (
                ('type-PF', ('vdpa',)), ('vdpa', ('type-PF',)),
                ('type-VF', NEITHER)):
            [need] = necessary.needs([request({'dev_type': dev_type})])
            self.assertEqual((necessary.Kinds(
                (('dev_type', dev_type.lower()),), excluded),), need.kinds)

    def test_alternatives_that_a_row_cannot_tell_apart(self):
        [need] = necessary.needs([request(
            {'vendor_id': '10de', 'physical_network': 'one'},
            {'vendor_id': '10de', 'physical_network': 'two'})])
        self.assertEqual(1, len(need.kinds))

    def test_requests_for_the_same_add_up(self):
        one, other = {'vendor_id': '10de'}, {'vendor_id': '8086'}
        self.assertEqual(
            [(3, 'vendor_id=10de'), (1, 'vendor_id=8086')],
            needs(request(one), request(other), request(one, count=2)))

    def test_order_of_alternatives_is_the_same_need(self):
        one, other = {'vendor_id': '10de'}, {'vendor_id': '8086'}
        self.assertEqual(
            [(2, 'vendor_id=10de or vendor_id=8086')],
            needs(request(one, other), request(other, one)))

    def test_what_is_left_to_the_decision(self):
        for specs in ([], [{'vendor_id': None}], [{'vendor_id': '\u00e9'}]):
            for need in necessary.needs([request(*specs)]):
                self.assertEqual((), need.kinds[0].values)
        self.assertEqual([], needs(request()))
        self.assertEqual([], needs(request({}, count=0)))

    def test_texts(self):
        for spec, text in (
                ({'vendor_id': '10de', 'product_id': '20b5'}, '10de:20b5'),
                ({'product_id': '20b5', 'vendor_id': '10de',
                  'dev_type': 'type-PF'}, '10de:20b5 type-PF'),
                ({'product_id': '20b5'}, 'product_id=20b5'),
                ({'physical_network': 'one'},
                 'PCI devices other than type-PF and vdpa'),
                ({'dev_type': 'type-PCI'},
                 'PCI devices other than type-PF and vdpa')):
            self.assertEqual([(1, text)], needs(request(spec)))
