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

"""Every way to get [pci_filter]device_spec wrong, and what is said then."""

import json

import ddt
from testtools import matchers

from pci_filter import exception
from pci_filter.tags import device_spec
from pci_filter.tests import base


@ddt.ddt
class TestErrors(base.UnitTestCase):

    def _refused(self, value, *specs):
        """Return what start-up says."""
        error = self.assertRaises(
            exception.InvalidDeviceSpec, device_spec.DeviceSpecTags,
            base.options(device_spec=[*specs, value]))
        self.assertEqual(value, error.value)
        self.assertIn(error.reason, str(error))
        self.assertEqual(1, len(str(error).splitlines()), str(error))
        self.assertThat(str(error), matchers.StartsWith(
            f'[pci_filter]device_spec = {" ".join(value.split())}: '))
        return error.reason

    @ddt.data('', 'vendor_id=8086', '{', "{'vendor_id': '8086'}",
              '{"vendor_id": "8086"} {}', '[' * 10 ** 5)
    def test_not_json(self, value):
        self.assertThat(
            self._refused(value), matchers.StartsWith('not JSON: '))

    @ddt.data('null', '5', '"8086"', 'true', '[5]', '[{}, []]', '[null]',
              '[[{}]]')
    def test_no_dictionaries(self, value):
        self.assertEqual('neither a JSON dictionary nor a list of such',
                         self._refused(value))

    @ddt.data(
        ('vendor_id', 'x'), ('vendor_id', ''), ('vendor_id', '18086'),
        ('vendor_id', '808 6'), ('vendor_id', '-1'), ('vendor_id', '8086*'),
        ('vendor_id', '80_86'), ('vendor_id', 8086), ('vendor_id', None),
        ('vendor_id', ['8086']), ('vendor_id', '0x'),
        ('product_id', 'zz'), ('product_id', '154cd'), ('product_id', 1))
    @ddt.unpack
    def test_id(self, name, value):
        self.assertEqual(
            f'{name} is not a hexadecimal number of up to 4 digits: '
            f'{value!r}', self._refused(json.dumps({name: value})))

    @ddt.data(
        ('10000:0a:00.5', "domain of address is not between 0 and FFFF: "
                          "'10000'"),
        ('0000:100:00.5', "bus of address is not between 0 and FF: '100'"),
        ('0000:0a:20.5', "slot of address is not between 0 and 1F: '20'"),
        ('0000:0a:00.8', "function of address is not between 0 and 7: '8'"),
        ('0000:0a:00.-1', "function of address is not between 0 and 7: '-1'"),
        ('0000:h4:00.5', "bus of address is not a hexadecimal number: 'h4'"),
        ('0000:0a:0?.5', "slot of address is not a hexadecimal number: '0?'"),
        ('0000:0a:00.5.6', 'function of address is not a hexadecimal number: '
                           "'5.6'"),
        # The first field at fault is named.
        ('0000:h4.12:6', "slot of address is not a hexadecimal number: 'h4'"),
        ('00:0000:0a:00.5', "address has too many fields: '00:0000:0a:00.5'"),
        (5, 'address is neither a string nor a dictionary: 5'),
        (['.*', '00'], "address is neither a string nor a dictionary: "
                       "['.*', '00']"))
    @ddt.unpack
    def test_address(self, address, reason):
        self.assertEqual(
            reason, self._refused(json.dumps({'address': address})))

    @ddt.data(
        ('domain', '*'), ('bus', '[6[-7]'), ('slot', '('), ('function', '+'),
        ('bus', 'a{99999999999}'), ('bus', '(' * 5000 + ')' * 5000))
    @ddt.unpack
    def test_regex(self, name, expression):
        self.assertThat(
            self._refused(json.dumps({'address': {name: expression}})),
            matchers.StartsWith(
                f'{name} of address is no regular expression: '
                f'{expression!r} ('))

    @ddt.data(5, None, ['0'], {}, True)
    def test_regex_is_no_string(self, value):
        self.assertEqual(
            f'function of address is not a string: {value!r}',
            self._refused(json.dumps({'address': {'function': value}})))

    @ddt.data({'devname': 'eth0'}, {'devname': 'eth0', 'address': '.3'})
    def test_devname(self, spec):
        self.assertEqual(
            'devname can only be resolved on the compute host; use address '
            'instead', self._refused(json.dumps(spec)))

    @ddt.data('managed', 'live_migratable', 'one_time_use')
    def test_boolean(self, name):
        for value in ('maybe', '', '2', 2, [], {}):
            self.assertEqual(f'{name} is neither true nor false: {value!r}',
                             self._refused(json.dumps({name: value})))

    @ddt.data('physical_network', 'traits', 'tier')
    def test_tag_of_many_values(self, name):
        for value in (['a'], [], {'a': 'b'}):
            self.assertEqual(f'{name} is not a string: {value!r}',
                             self._refused(json.dumps({name: value})))

    @ddt.data('numa_node', 'dev_type', 'count', 'rp_uuid')
    def test_property_as_tag(self, name):
        self.assertEqual(f'{name} is told by the device, it is no tag',
                         self._refused(json.dumps({name: '1'})))

    @ddt.data(5, '', None, ['a'], {})
    def test_host(self, value):
        self.assertEqual(f'host is no pattern: {value!r}',
                         self._refused(json.dumps({'host': value})))

    def test_value_of_several_lines(self):
        self._refused('{"vendor_id": "8086",\n "product_id": "zz"}')

    def test_fault_with_line_breaks(self):
        self._refused(json.dumps({'vendor_id': '80\n86'}))
        self._refused(json.dumps({'address': {'bus': '(\n'}}))
        self._refused(json.dumps({'a': {'b\n': '\r\x85\u2028'}}))

    def test_only_the_faulty_value_is_quoted(self):
        reason = self._refused('{"vendor_id": "zz"}', '{"vendor_id": "10de"}')
        self.assertNotIn('10de', reason)

    def test_one_bad_spec_of_a_list(self):
        self._refused('[{"vendor_id": "8086"}, {"vendor_id": "x"}]')
