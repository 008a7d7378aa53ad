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

"""compute_nodes.pci_stats, as every Nova since Grizzly has written it."""

import json
import sys

import ddt

from pci_filter import summary
from pci_filter.tests import base

TAGS = {'dev_type': 'type-VF', 'address': '0000:81:00.0', 'tier': 'gold',
        'physical_network': None}
POOL = {'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0, 'count': 4}


def pool_primitive(version='1.1', tags=TAGS, **fields):
    return {
        'nova_object.name': 'PciDevicePool',
        'nova_object.namespace': 'nova', 'nova_object.version': version,
        'nova_object.changes': ['count', 'tags'],
        'nova_object.data': {**POOL, 'tags': tags, **fields}}


def list_primitive(*pools, version='1.1'):
    return {
        'nova_object.name': 'PciDevicePoolList',
        'nova_object.namespace': 'nova', 'nova_object.version': version,
        'nova_object.changes': ['objects'],
        'nova_object.data': {'objects': list(pools)}}


def parse(stored):
    return summary.parse(json.dumps(stored))


@ddt.ddt
class TestForms(base.UnitTestCase):

    def test_object(self):
        self.assertEqual(
            [{**POOL, **TAGS}, {**POOL, **TAGS, 'count': 0}],
            parse(list_primitive(pool_primitive(), pool_primitive(count=0))))

    def test_object_without_pools(self):
        self.assertEqual([], parse(list_primitive()))

    def test_first_version_of_the_object(self):
        old = pool_primitive('1.0')
        del old['nova_object.data']['numa_node']
        found, = parse(list_primitive(old, version='1.0'))
        self.assertEqual(
            {**POOL, **TAGS}, {**found, 'numa_node': 0})
        self.assertNotIn('numa_node', found)

    def test_version_to_come(self):
        found, = parse(list_primitive(
            pool_primitive('2.7', news='x'), version='2.0'))
        # A field that Nova adds is no tag of the operator.
        self.assertEqual({**POOL, **TAGS}, found)

    def test_without_tags(self):
        for tags in ({}, None, 'text', [1]):
            found, = parse(list_primitive(pool_primitive(tags=tags)))
            self.assertEqual(POOL, found)

    def test_list_of_dicts(self):
        self.assertEqual([{**POOL, **TAGS}, POOL],
                         parse([{**POOL, **TAGS}, POOL]))

    def test_single_dict(self):
        self.assertEqual([{**POOL, **TAGS}], parse({**POOL, **TAGS}))

    @ddt.data(
        (5, '5'), (0.5, '0.5'), (True, 'True'), ('x', 'x'), (None, None),
        (float('nan'), 'nan'), (10 ** 30, '1' + '0' * 30))
    @ddt.unpack
    def test_tags_are_texts(self, stored, tag):
        """As Nova's objects have them, whatever was stored."""
        for form in ([{**POOL, 'tier': stored}],
                     list_primitive(pool_primitive(tags={'tier': stored}))):
            self.assertEqual([{**POOL, 'tier': tag}], parse(form))

    @ddt.data(('0', 0), (' 1 ', 1), (True, 1), (0.5, 0), (None, None))
    @ddt.unpack
    def test_node_is_a_number(self, stored, node):
        self.assertEqual(
            [{**POOL, 'numa_node': node}],
            parse([{**POOL, 'numa_node': stored}]))

    @ddt.data('x', '', '0.5', float('nan'), float('inf'), [0])
    def test_node_that_is_none(self, node):
        self.assertEqual([POOL], parse([POOL, {**POOL, 'numa_node': node}]))

    def test_node_of_many_digits(self):
        """Pythons that are old, or were mended late, read any number."""
        digits = '9' * 5000
        limited = hasattr(sys, 'set_int_max_str_digits')
        self.assertEqual(
            [] if limited else [{**POOL, 'numa_node': int(digits)}],
            parse([{**POOL, 'numa_node': digits}]))

    def test_value_that_has_parts(self):
        """Nova makes nothing of such a pool, and nobody has to compare it."""
        deep = json.loads('[' * 500 + ']' * 500)
        for value in [], ['x'], {}, {'a': 'b'}, deep:
            for key in 'tier', 'vendor_id', 'rp_uuid':
                self.assertEqual([POOL], parse([{**POOL, key: value}, POOL]))
            self.assertEqual([POOL], parse(list_primitive(
                pool_primitive(tags={'tier': value}),
                pool_primitive(tags={}))))

    @ddt.data('[]', '  []\n', '{}', 'null', '0')
    def test_empty_list(self, text):
        self.assertEqual([], summary.parse(text))


@ddt.ddt
class TestGarbage(base.UnitTestCase):

    @ddt.data(None, '', ' ', 'true', '5', '"8086"', 'pci', '{',
              '[' * 10 ** 5, '{"a":' * 10 ** 5, '9' * 10 ** 4, '\x00')
    def test_nothing_can_be_made_of_it(self, text):
        self.assertIsNone(summary.parse(text))

    @ddt.data(None, 'text', 5, [], [[]], {}, {'objects': None},
              {'objects': 'text'}, {'objects': 5})
    def test_list_without_a_list(self, data):
        self.assertIsNone(parse({**list_primitive(),
                                 'nova_object.data': data}))

    def test_truncated_anywhere(self):
        text = json.dumps(list_primitive(pool_primitive()))
        self.assertEqual(
            [{**POOL, **TAGS}], summary.parse(text))
        for length in range(len(text)):
            self.assertIsNone(summary.parse(text[:length]))

    @ddt.data(None, 'text', 5, 0.5, True, [], [1], {'nova_object.data': None},
              {'nova_object.data': 'abc'}, {'nova_object.data': [1, 2]},
              {'nova_object.data': 5})
    def test_entry_that_is_no_pool(self, entry):
        self.assertEqual(
            [POOL, POOL], parse([POOL, entry, POOL]))
        self.assertEqual(
            [{**POOL, **TAGS}], parse(list_primitive(entry, pool_primitive())))

    def test_single_pool_instead_of_the_list(self):
        self.assertIsNone(parse(
            {**list_primitive(), 'nova_object.data': {'objects': POOL}}))

    def test_huge(self):
        pools = [{**POOL, 'count': number, 'note': 'x' * 1000}
                 for number in range(5000)]
        self.assertEqual(pools, parse(pools))
