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

"""Tags that the tracker stores with each device."""

import json

import ddt
import hypothesis
from hypothesis import strategies as st
from oslo_serialization import jsonutils

from pci_filter import model
from pci_filter.tags import pci_devices
from pci_filter.tests import base

KEY = model.STORED_TAGS_KEY
NOVA_WRITES = {'parent_ifname': 'eth0', 'rp_uuid': 'rp'}


def kind(stored_tags):
    return model.DeviceKind(
        '8086', '154c', 0, 'type-VF', '0000:81:00.0', stored_tags=stored_tags)


def read_by_sql(extra_info):
    """Do what db.extra_info.stored_tags does in a database."""
    start = f'{{"{KEY}": "'
    if not extra_info.startswith(start):
        return None
    text = extra_info[len(start):][:model.STORED_TAGS_LENGTH]
    return text[:text.find('}"') + 1] or None


class TestText(base.UnitTestCase):

    def test_same_text_for_the_same_tags(self):
        self.assertEqual(
            '{"a": "1", "b": "2"}', pci_devices.to_text({'b': '2', 'a': '1'}))
        self.assertEqual('{}', pci_devices.to_text({}))

    def test_what_placement_matches_is_left_out(self):
        self.assertEqual('{"tier": "gold"}', pci_devices.to_text({
            'tier': 'gold', 'traits': 'A,B', 'resource_class': 'X',
            'rp_uuid': None}))

    def test_null_is_kept(self):
        # Nova sorts pools by how many tags they have.
        self.assertEqual('{"physical_network": null, "tier": "gold"}',
                         pci_devices.to_text(
                             {'tier': 'gold', 'physical_network': None}))

    def test_values_keep_their_types(self):
        for value in (True, False, 0, 5, 0.5, '', 'true', ['a'], {'b': None}):
            tags = pci_devices.from_text(pci_devices.to_text({'a': value}))
            self.assertEqual({'a': value}, tags)
            self.assertIs(type(value), type(tags['a']))

    def test_plain_letters_only(self):
        text = pci_devices.to_text({'\N{SNOWMAN}': '\N{PILE OF POO}\n'})
        self.assertTrue(text.isascii() and text.isprintable(), text)

    def test_not_ours(self):
        for text in ('[]', '"x"', '5', 'null'):
            error = self.assertRaises(
                ValueError, pci_devices.from_text, text)
            self.assertEqual(f'no JSON object: {text}', str(error))
        for text in ('', '{', 'x'):
            self.assertRaises(ValueError, pci_devices.from_text, text)

    def test_readable(self):
        longest = max(
            length for length in range(500)
            if pci_devices.is_readable(pci_devices.to_text(
                {'a': 'x' * length})))
        for letter, share in ('x', 1), ('"', 4), ('\N{SNOWMAN}', 7):
            fits, too_long = (
                pci_devices.to_text({'a': letter * (longest // share + more)})
                for more in (0, 1))
            self.assertTrue(pci_devices.is_readable(fits), letter)
            self.assertFalse(pci_devices.is_readable(too_long), letter)


class TestStored(base.UnitTestCase):

    def test_first(self):
        for before in (
                {}, NOVA_WRITES, {**NOVA_WRITES, KEY: 'old'},
                {KEY: 'old', **NOVA_WRITES}, {**NOVA_WRITES, KEY: '{}'}):
            copy = dict(before)
            self.assertFalse(pci_devices.is_stored(before, '{}'))
            stored = pci_devices.stored(before, '{}')
            self.assertEqual(copy, before)
            self.assertEqual(KEY, next(iter(stored)))
            rest = {key: value for key, value in before.items() if key != KEY}
            self.assertEqual({KEY: '{}', **rest}, stored)
            self.assertEqual([KEY, *rest], list(stored))
            self.assertTrue(pci_devices.is_stored(stored, '{}'))
            self.assertFalse(pci_devices.is_stored(stored, '{"a": "b"}'))

    def test_none(self):
        for before in ({}, NOVA_WRITES):
            self.assertTrue(pci_devices.is_stored(before, None))
            self.assertEqual(before, pci_devices.stored(before, None))
            with_tags = pci_devices.stored(before, '{}')
            self.assertFalse(pci_devices.is_stored(with_tags, None))
            self.assertEqual(before, pci_devices.stored(with_tags, None))


class SourceTestCase(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.source = pci_devices.PciDevicesTags(base.options())
        self.look_up = self.source.for_node(
            model.ComputeNode('uuid', 'host', 'node'))

    def check_round_trip(self, tags):
        """Check what arrives of tags that have gone all the way."""
        text = pci_devices.to_text(tags)
        extra_info = jsonutils.dumps(pci_devices.stored(NOVA_WRITES, text))
        found = read_by_sql(extra_info)
        if pci_devices.is_readable(text):
            self.assertEqual(tags, self.look_up(kind(found)))
        else:
            self.assertIsNone(found)


@ddt.ddt
class TestSource(SourceTestCase):

    def test_needs_them(self):
        self.assertTrue(self.source.stored_tags)
        self.assertFalse(self.source.by_device)
        self.assertIsNone(self.source.rp_uuid(
            model.ComputeNode('uuid', 'host', 'node'), kind('{}')))

    def test_one_look_up_for_all_nodes(self):
        for other in 'abc':
            self.assertIs(self.look_up, self.source.for_node(
                model.ComputeNode(other, other, other, '[]')))

    def test_nothing_stored(self):
        self.assertIsNone(self.look_up(kind(None)))

    def test_no_tags_are_known_too(self):
        self.assertEqual({}, self.look_up(kind('{}')))

    def test_escapes(self):
        self.assertEqual(
            {'a': '"\N{SNOWMAN}'},
            self.look_up(kind(r'{\"a\": \"\\\"\\u2603\"}')))
        # As another writer may put it.
        self.assertEqual(
            {'a': '\N{SNOWMAN}'}, self.look_up(kind('{\\"a\\": \\"☃\\"}')))

    @ddt.data(
        'x', '{', '}', '{}}', '[]', '5', 'null', '{a}', '{"a": "b"}',
        '{\\"a\\": }', '\\', '{\\', '{\\u12}', '{\n}', '{"}', '"', '')
    def test_garbage(self, text):
        self.assertIsNone(self.look_up(kind(text)))

    def test_deep_garbage(self):
        for text in ('[' * 9, '[' * 100_000, '{\\"a\\": ' * 10_000):
            self.assertIsNone(self.look_up(kind(text)))

    @ddt.data(
        {}, {'a': '}"'}, {'}"': '"}'}, {'a': '\\'}, {'a': '\\"}'},
        {'a': '\n\r\t\x00\x7f'}, {'a': '\N{SNOWMAN}' * 20}, {'a': "'%s'"},
        {KEY: '{}'}, {'a': None}, {'a': {'b': ['}"', 1, True, None]}},
        {'a': 'x' * 391}, {'a': '"' * 200})
    def test_round_trip(self, tags):
        self.check_round_trip(tags)

    def test_same_text_is_read_once(self):
        text = json.dumps(pci_devices.to_text({'only': 'once'}))[1:-1]
        self.assertIs(
            self.look_up(kind(text)), self.look_up(kind(f'{text} '.strip())))


class TestRoundTrip(base.PropertyMixin, SourceTestCase):

    @base.examples(400)
    @hypothesis.given(st.dictionaries(
        st.text(max_size=8), st.one_of(
            st.none(), st.text(max_size=40), st.booleans(), st.integers(),
            st.text(alphabet='{}"\\', max_size=12),
            st.lists(st.text(max_size=3), max_size=2)), max_size=6))
    def test_round_trip_of_any_tags(self, tags):
        # What placement alone matches goes no way at all.
        self.check_round_trip(pci_devices.from_text(
            pci_devices.to_text(tags)))
