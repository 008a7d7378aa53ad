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

"""[pci]alias and --request are read as Nova does, and faults are shown."""

from pci_filter.cli import base as cli_base
from pci_filter.cli.request import aliases
from pci_filter.cli.request import fault
from pci_filter.tests import base

GOOD = '{"name": "a", "vendor_id": "8086", "product_id": "154c"}'


class TestAliases(base.UnitTestCase):

    def refused(self, *texts, **options):
        error = self.assertRaises(
            cli_base.CommandError, aliases.parse_aliases, texts, **options)
        return str(error)

    def assertFault(self, text, reason, marked, **options):
        """Check for a reason, and what the caret stands under."""
        message, quoted, caret = self.refused(
            GOOD, text, **options).splitlines()
        self.assertEqual(f'[pci]alias: {reason}', message)
        self.assertEqual(marked, quoted[len(caret) - 1:][:len(marked)])

    def test_alternatives(self):
        self.assertEqual(
            {'a': aliases.Alias('legacy', [
                {'vendor_id': '8086', 'product_id': '154c'}]),
             'b': aliases.Alias('required', [
                 {'vendor_id': '10de', 'product_id': '0001',
                  'dev_type': 'type-PF'},
                 {'vendor_id': '10de', 'product_id': '0002',
                  'dev_type': 'type-PF', 'live_migratable': 'true'}])},
            aliases.parse_aliases([GOOD, *(
                '{"name": "b ", "vendor_id": "10de", "numa_policy": '
                f'"required", "device_type": "type-PF", {more}}}'
                for more in ('"product_id": "0001"',
                             '"product_id": "0002", '
                             '"live_migratable": "yes"'))]))

    def test_no_json(self):
        self.assertFault('{"name": "x" "a"',
                         "not JSON: Expecting ',' delimiter", '"a"')
        self.assertFault('["a"]', 'not a JSON object', '["a"]')
        self.assertIn('not JSON', self.refused('[' * 100_000))

    def test_keys(self):
        self.assertFault(
            '{"name": "x", "vendor": "8086"}',
            'vendor is not known; did you mean vendor_id?', '"vendor":')
        self.assertFault(
            '{"name": "x", "physical_network": "a"}',
            'physical_network is not known; there is: name, '
            'capability_type, product_id, vendor_id, device_type, '
            'numa_policy, resource_class, traits, live_migratable',
            '"physical_network"')

    def test_values(self):
        for key, value, reason in (
                ('name', '""', 'is not a text of 1 to 256 characters'),
                ('vendor_id', '"808"',
                 'is not a text of four hexadecimal digits'),
                ('product_id', '8086',
                 'is not a text of four hexadecimal digits'),
                ('device_type', '"vdpa"',
                 'is not one of type-PCI, type-PF, type-VF'),
                ('numa_policy', '"strict"',
                 'is not one of required, legacy, preferred, socket'),
                ('capability_type', '"usb"', 'is not one of pci'),
                ('traits', '["A"]', 'is not a text'),
                ('live_migratable', '"maybe"',
                 'is not a text that means true or false'),
                ('live_migratable', 'true',
                 'is not a text that means true or false')):
            self.assertFault(
                f'{{"traits": "T", "{key}" :  {value}}}' if key != 'traits'
                else f'{{"{key}" :  {value}}}', f'{key} {reason}', value)

    def test_what_has_to_be_there(self):
        self.assertFault('{"vendor_id": "8086"}', 'it has no name', '{')
        self.assertFault('{"name": "x"}',
                         'it has no vendor_id and product_id', '{')
        self.assertFault('{"name": "x"}',
                         'it has no vendor_id and product_id', '{',
                         pci_in_placement=True)
        self.assertEqual(['x'], list(aliases.parse_aliases(
            ['{"name": "x", "resource_class": "R"}'], True)))

    def test_alternatives_that_differ(self):
        self.assertFault(
            GOOD[:-1] + ', "numa_policy": "required"}',
            'numa_policy differs from an earlier alias with this name',
            '"required"')
        self.assertFault(
            GOOD[:-1] + ', "device_type": "type-VF"}',
            'device_type has to be the same in all aliases with this name',
            '"type-VF"')
        typed = GOOD[:-1] + ', "device_type": "type-VF"}'
        self.assertEqual(
            '[pci]alias: a is there more than once, which cannot be with '
            '[filter_scheduler]pci_in_placement',
            self.refused(typed, typed, pci_in_placement=True))


class TestRequest(base.UnitTestCase):

    def test_of_a_port(self):
        self.assertEqual(
            (None, 2, aliases.Alias('legacy', [
                {'physical_network': None, 'remote_managed': 'False',
                 'dev_type': 'vdpa'}])),
            aliases.parse_request('--request', (
                '{"physical_network": null, "remote_managed": "False", '
                '"device_type": "vdpa", "count": 2}')))

    def test_name_and_policy(self):
        self.assertEqual(
            ('x', 1, aliases.Alias('socket', [{'product_id': '0001'}])),
            aliases.parse_request('--request', (
                '{"name": "x", "product_id": "0001", '
                '"numa_policy": "socket"}')))

    def test_faults(self):
        for text, reason in (
                ('{"count": 0}', 'count is not a whole number above 0'),
                ('{"count": true}', 'count is not a whole number above 0'),
                ('{"count": "1"}', 'count is not a whole number above 0'),
                ('{"color": 1}', 'color is not a text'),
                ('{"nuam_policy": "legacy"}',
                 'nuam_policy is not known; did you mean numa_policy?')):
            error = self.assertRaises(
                cli_base.CommandError, aliases.parse_request, '--request',
                text)
            self.assertEqual(
                f'--request: {reason}', str(error).splitlines()[0])


class TestFault(base.UnitTestCase):

    def test_line_of_several(self):
        text = '{"a": 1,\n\t"b": 2}'
        self.assertEqual(
            'here: wrong\n   "b": 2}\n        ^',
            str(fault.at('here', text, text.index('2'), 'wrong')))

    def test_what_would_control_a_terminal(self):
        text = '{"\x1b[31m": 2}'
        self.assertEqual(
            'here: no \\x1b\n  {"\\x1b[31m": 2}\n               ^',
            str(fault.at('here', text, text.index('2'), 'no \x1b')))

    def test_window_of_a_long_line(self):
        text = '-' * 500 + 'X' + '-' * 500
        _, shown, caret = str(
            fault.at('here', text, 500, 'wrong')).splitlines()
        self.assertEqual('X', shown[caret.index('^')])
        self.assertLess(len(shown), 130)

    def test_key_that_is_a_value_too(self):
        text = '{"b": "a", "a": "x"}'
        self.assertEqual(11, fault.position_of(text, 'a'))
        self.assertEqual(16, fault.position_of(text, 'a', value=True))
        self.assertEqual(0, fault.position_of(text, 'c'))
