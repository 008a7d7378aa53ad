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

"""Tags from [pci_filter]device_spec: which devices are meant."""

import json

import ddt

from pci_filter import model
from pci_filter.tags import device_spec
from pci_filter.tests import base

PF = '0000:81:00.0'
VF = '0000:81:02.3'


def kind(device_address=VF, address=PF, **fields):
    return model.DeviceKind(**{
        'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
        'dev_type': 'type-VF', 'address': address,
        'device_address': device_address, **fields})


def source(*specs):
    return device_spec.DeviceSpecTags(base.options(device_spec=[
        spec if isinstance(spec, str) else json.dumps(spec)
        for spec in specs]))


def lookup(*specs, host='host1'):
    return source(*specs).for_node(model.ComputeNode('uuid', host, host))


def matches(spec, **fields):
    return lookup(spec)(kind(**fields)) is not None


@ddt.ddt
class TestIds(base.UnitTestCase):

    @ddt.data(
        ({}, True),
        ({'vendor_id': '8086'}, True),
        ({'vendor_id': '*', 'product_id': '*'}, True),
        ({'vendor_id': '8086', 'product_id': '154c'}, True),
        ({'vendor_id': '8086', 'product_id': '154C'}, True),
        ({'vendor_id': ' 0x8086 '}, True),
        ({'vendor_id': '008086'}, True),
        ({'vendor_id': '8087', 'product_id': '154c'}, False),
        ({'vendor_id': '8086', 'product_id': '154d'}, False),
        ({'product_id': '8086'}, False))
    @ddt.unpack
    def test_ids(self, spec, meant):
        self.assertEqual(meant, matches(spec))

    def test_short_id_is_filled_up(self):
        self.assertTrue(matches({'vendor_id': 'e'}, vendor_id='000e'))
        self.assertFalse(matches({'vendor_id': 'e'}, vendor_id='e000'))


@ddt.ddt
class TestAddress(base.UnitTestCase):

    @ddt.data(
        ('0000:81:02.3', True), ('0000:81:02.4', False),
        ('0000:81:03.3', False), ('0000:82:02.3', False),
        ('0001:81:02.3', False), ('*:81:02.3', True), ('*:81:*.*', True),
        ('*:*:*.*', True), ('0000:*:02.*', True), ('*:82:*.*', False),
        ('81:02.3', True), ('82:02.3', False), ('02.3', True),
        ('03.3', False), (':81:02.', True), ('.3', True), ('.4', False),
        (':', True), ('0:81:2.3', True), ('*: *: *.3', True),
        ('0000:81:02', True), ('81:02', True), ('81:03', False), ('', True))
    @ddt.unpack
    def test_string(self, address, meant):
        self.assertEqual(meant, matches({'address': address}))

    @ddt.data(
        ({}, True),
        ({'bus': '81'}, True), ({'bus': '82'}, False),
        ({'bus': '8'}, True), ({'bus': '1'}, False),
        ({'bus': '.1'}, True), ({'bus': '8[0-2]'}, True),
        ({'domain': '0000', 'bus': '81', 'slot': '02', 'function': '[0-3]'},
         True),
        ({'domain': '0000', 'bus': '81', 'slot': '02', 'function': '[4-7]'},
         False),
        ({'slot': '02$', 'function': '3|4'}, True))
    @ddt.unpack
    def test_regex(self, address, meant):
        self.assertEqual(meant, matches({'address': address}))

    @ddt.data('0000:81:00.0', '0000:81:0.0', {
        'domain': '0000', 'bus': '81', 'slot': '00', 'function': '0'})
    def test_full_address_of_parent_means_its_functions(self, address):
        self.assertTrue(matches({'address': address}))
        self.assertTrue(matches({'address': address}, device_address=PF))
        self.assertFalse(matches({'address': address}, address=VF))

    @ddt.data(
        '*:81:00.0', '0000:81:00.*', '81:00.0',
        # No device has these as its address, so no parent does.
        {'bus': '81', 'slot': '00', 'function': '0'},
        {'domain': '.*', 'bus': '81', 'slot': '00', 'function': '0'},
        {'domain': '', 'bus': '81', 'slot': '00', 'function': '0'},
        {'domain': '0000', 'bus': '8', 'slot': '00', 'function': '0'},
        {'domain': '0000', 'bus': '81', 'slot': '00', 'function': ''})
    def test_pattern_does_not_mean_functions_of_a_parent(self, address):
        self.assertTrue(matches({'address': address}, device_address=PF))
        self.assertFalse(matches({'address': address}))

    def test_upper_case(self):
        fields = {'device_address': '0000:8a:02.3', 'address': '0000:8a:00.0'}
        self.assertTrue(matches({'address': '0000:8A:00.0'}, **fields))
        self.assertTrue(matches({'address': '0000:8A:02.3'}, **fields))
        # An expression is taken as it stands, and the host has 8a.
        self.assertFalse(matches({'address': {
            'domain': '0000', 'bus': '8A', 'slot': '00', 'function': '0'}},
            **fields))

    @ddt.data('10000:81:02.3', '0000:81:02.30', '81:02.3', 'garbage', '', None)
    def test_address_that_nova_cannot_read(self, address):
        for where in ('*:*:*.*', {'bus': '.*'}):
            self.assertFalse(matches(
                {'address': where}, device_address=address, address='x'))

    def test_rows_are_read_by_device_only_if_needed(self):
        self.assertFalse(source().by_device)
        self.assertFalse(source({'vendor_id': '8086', 'address': ''})
                         .by_device)
        self.assertTrue(source({'vendor_id': '8086'}, {'address': '.3'})
                        .by_device)
        # The serial number of the card is a device's own too.
        self.assertTrue(source({'remote_managed': 'yes'}).by_device)


@ddt.ddt
class TestHost(base.UnitTestCase):

    @ddt.data(
        ('*', True), ('net-1', True), ('net-*', True), ('net-[0-4]', True),
        ('net-?', True), ('net-2', False), ('NET-1', False), ('net', False),
        ('gpu-*', False))
    @ddt.unpack
    def test_host(self, pattern, meant):
        found = lookup({'host': pattern, 'tier': 'gold'}, host='net-1')
        self.assertEqual({'tier': 'gold'} if meant else None, found(kind()))

    def test_is_no_tag(self):
        self.assertEqual({}, lookup({'host': '*'})(kind()))

    def test_each_host_its_own(self):
        tags = source({'host': 'a', 'tier': '1'}, {'host': 'b', 'tier': '2'},
                      {'tier': '3'})
        self.assertEqual(['1', '2', '3'], [
            tags.for_node(model.ComputeNode('', host, 'a'))(kind())['tier']
            for host in 'abc'])


@ddt.ddt
class TestTags(base.UnitTestCase):

    def test_nothing_configured_nothing_known(self):
        self.assertIsNone(lookup()(kind()))

    def test_tags(self):
        found = lookup({
            'vendor_id': '8086', 'product_id': '154c', 'address': VF,
            'physical_network': 'Net1', 'trusted': 'True', 'tier': None})
        self.assertEqual({
            'physical_network': 'Net1', 'trusted': 'True', 'tier': None},
            found(kind()))

    def test_first_match_decides(self):
        found = lookup(
            {'vendor_id': '10de', 'tier': '1'}, {'address': VF, 'tier': '2'},
            {'vendor_id': '8086', 'tier': '3'})
        self.assertEqual('2', found(kind())['tier'])
        self.assertEqual(
            '3', found(kind(device_address='0000:81:02.4'))['tier'])

    def test_one_value_may_hold_several_specs(self):
        found = lookup(
            [{'address': '0000:81:02.4', 'tier': '1'},
             {'address': VF, 'tier': '2'}], {'tier': '3'})
        self.assertEqual('2', found(kind())['tier'])

    @ddt.data('managed', 'live_migratable', 'one_time_use')
    def test_booleans_are_normalised(self, name):
        for value in ('yes', 'True', '1', 'on', True, 1):
            self.assertEqual({name: 'true'}, lookup({name: value})(kind()))
        for value in ('no', 'FALSE', '0', 'off', False, 0):
            self.assertEqual({name: 'false'}, lookup({name: value})(kind()))
        self.assertEqual({name: None}, lookup({name: None})(kind()))

    def test_other_tags_are_kept_as_they_are(self):
        tags = {'trusted': 'yes', 'physical_network': '1', 'speed': 100,
                'shiny': True}
        self.assertEqual(tags, lookup(tags)(kind()))

    @ddt.data('', None)
    def test_blank_devname_is_none(self, devname):
        self.assertEqual({'tier': 'gold'}, lookup(
            {'devname': devname, 'tier': 'gold'})(kind()))


class TestRemoteManaged(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.lookup = lookup(
            {'remote_managed': 'yes', 'tier': '1'}, {'tier': '2'})

    def test_needs_the_serial_number_of_the_card(self):
        # Nova does not use it as remote-managed without, but may otherwise.
        for known, tier in ((True, '1'), (1, '1'), (False, '2'), (0, '2'),
                            (None, '2')):
            self.assertEqual(
                tier, self.lookup(kind(has_card_serial=known))['tier'])

    def test_not_remote_managed_needs_none(self):
        self.assertIsNotNone(lookup({'remote_managed': 'no'})(kind()))
