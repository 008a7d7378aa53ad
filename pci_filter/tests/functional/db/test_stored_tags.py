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

"""The tags that our tracker stores, read inside the database."""

import json

import sqlalchemy as sa
import testtools

from pci_filter.db import device_groups
from pci_filter import model
from pci_filter.tags import pci_devices
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.db import base

NOVA_WRITES = {'parent_ifname': 'eth0', 'rp_uuid': 'rp', 'managed': 'true'}
GOLD = {'tier': 'gold'}

#: Tags that could be taken for something else on their way.
ODD_TAGS: tuple[dict[str, object], ...] = (
    {}, {'tier': ''}, {'tier': None}, {'tier': '}"'}, {'tier': '"}'},
    {'}"': '}"}"'},
    {'tier': '\\'}, {'tier': '\\"}'}, {'a\nb': '\n', 'c': '\r\t'},
    {'tier': '/'}, {'tier': "'"}, {'tier': '%s :x'},
    {'tier': '\N{SNOWMAN}\N{PILE OF POO}', '\N{SNOWMAN}': '\x00'},
    {'size': 5, 'share': 0.5, 'on': True, 'more': ['a', {'b': '}"'}]},
    {'pci_filter_tags': '{"pci_filter_tags": "{}"}', 'parent_ifname': 'x'})


def extra_info(tags, rest=None, **more):
    """Return what Nova writes of a device with these tags."""
    stored = pci_devices.stored(
        NOVA_WRITES if rest is None else rest, pci_devices.to_text(tags))
    return json.dumps(stored, **more)


class StoredTagsMixin(base.DatabaseMixin):

    def setUp(self):
        super().setUp()
        self.node, = self.add_nodes(1)
        source = pci_devices.PciDevicesTags(tests_base.options())
        self.look_up = source.for_node(
            model.ComputeNode(self.node, 'host', 'host'))

    def load(self, stored_tags=True, **more):
        loaded = device_groups.load(
            self.connection, [self.node], stored_tags=stored_tags, **more)
        return list(loaded[self.node].values())

    def read(self, text, **more):
        """Return the group of a device with this extra_info.

        Another device stands by, and must be read whatever this one is.
        """
        self.connection.execute(sa.delete(base.DEVICES))
        self.add_devices(
            self.node, {'extra_info': text, 'numa_node': 1},
            {'extra_info': extra_info(GOLD)})
        good, odd = sorted(
            self.load(**more), key=lambda group: group.kind.numa_node)
        self.assertEqual(
            (GOLD, 'eth0', 1, 1),
            (self.look_up(good.kind), good.kind.parent_ifname,
             good.available, odd.available))
        return odd

    def test_first_key(self):
        for by_device in (False, True):
            for tags in ODD_TAGS:
                group = self.read(extra_info(tags), by_device=by_device)
                self.assertEqual(tags, self.look_up(group.kind))
                self.assertEqual(
                    ('eth0', 'rp'),
                    (group.kind.parent_ifname, group.rp_uuid), tags)

    def test_alone(self):
        for tags in ODD_TAGS:
            kind = self.read(extra_info(tags, {})).kind
            self.assertEqual(tags, self.look_up(kind))
            # What tags look like is not what Nova has written.
            self.assertIsNone(kind.parent_ifname)

    def test_not_there(self):
        text = pci_devices.to_text(GOLD)
        for stored in (
                None, '', '{}', json.dumps(NOVA_WRITES),
                # Only the first key is looked for.
                json.dumps({**NOVA_WRITES, model.STORED_TAGS_KEY: text}),
                json.dumps({'x': extra_info(GOLD)}), f'[{extra_info(GOLD)}]',
                # Nobody writes it so.
                extra_info(GOLD, indent=1), ' ' + extra_info(GOLD),
                extra_info(GOLD, separators=(',', ':')),
                json.dumps({model.STORED_TAGS_KEY.upper(): text})):
            group = self.read(stored)
            self.assertIsNone(group.kind.stored_tags, stored)
            self.assertIsNone(self.look_up(group.kind), stored)

    def test_malformed(self):
        start = '{"' + model.STORED_TAGS_KEY + '": '
        for stored in (
                start, start + '5}', start + 'null}', start + '{"a": "b"}}',
                start + '"', start + '""}', start + '"x"}', start + '"{}',
                start + '"{a}"}', start + '"[1}"}', start + '"}"}',
                start + '"{' + '"}' * 9, start + '"\\u12}"}',
                start + '"{' + '[' * 300 + '}"}', start + '"[]}"'):
            for by_device in (False, True):
                group = self.read(stored, by_device=by_device)
                self.assertIsNone(self.look_up(group.kind), stored)

    def test_raw_line_breaks(self):
        """No JSON has them; the device counts, whatever its tags are."""
        for tags in ('{\n}', '{\\"a\\":\n\\"b\\"}', '\n', '\n}', '{}\n'):
            for rest in ('}', ', "parent_ifname": "eth0"}'):
                stored = f'{{"{model.STORED_TAGS_KEY}": "{tags}"{rest}'
                group = self.read(stored)
                self.assertEqual(0, group.in_use, stored)
                # Found by the fuzz tests: what stands before the last one.
                self.assertIn(
                    group.kind.parent_ifname, (None, 'eth0'), stored)

    def test_raw_letters(self):
        tags = {'tier': '\N{LATIN SMALL LETTER U WITH DIAERESIS}}'}
        stored = json.dumps(
            {model.STORED_TAGS_KEY: json.dumps(tags, ensure_ascii=False),
             **NOVA_WRITES}, ensure_ascii=False)
        group = self.read(stored)
        self.assertEqual(tags, self.look_up(group.kind))
        self.assertEqual('eth0', group.kind.parent_ifname)

    def test_length(self):
        """As long as the tracker stores them, they are found."""
        found = set()
        for letter in 'x', '"', '\N{SNOWMAN}':
            for length in range(30, model.STORED_TAGS_LENGTH):
                tags = {'a': letter * length}
                readable = pci_devices.is_readable(pci_devices.to_text(tags))
                near = pci_devices.is_readable(pci_devices.to_text(
                    {'a': letter * (length - 2)})) and not (
                        pci_devices.is_readable(pci_devices.to_text(
                            {'a': letter * (length + 2)})))
                if not near:
                    continue
                found.add((letter, readable))
                group = self.read(extra_info(tags))
                self.assertEqual(
                    tags if readable else None, self.look_up(group.kind))
                self.assertEqual('eth0', group.kind.parent_ifname)
        self.assertEqual(6, len(found))

    def test_tell_groups_apart(self):
        self.add_devices(
            self.node, *[{'extra_info': extra_info(GOLD)}] * 3,
            {'extra_info': extra_info(GOLD), 'status': 'claimed'},
            *[{'extra_info': extra_info({'tier': 'lead'})}] * 2,
            {'extra_info': extra_info({})},
            {'extra_info': json.dumps(NOVA_WRITES)})
        self.assertEqual(
            {(GOLD['tier'], 3, 1), ('lead', 2, 0), (None, 1, 0)},
            {((self.look_up(group.kind) or {}).get('tier'),
              group.available, group.in_use) for group in self.load()})
        self.assertEqual(4, len(self.load()))
        # Nobody wants to know them: one group, as ever.
        group, = self.load(stored_tags=False)
        self.assertEqual(
            (7, 1, None, 'eth0', 'rp'),
            (group.available, group.in_use, group.kind.stored_tags,
             group.kind.parent_ifname, group.rp_uuid))

    def test_providers_and_vf_numbers_tell_no_groups_apart(self):
        self.add_devices(self.node, *(
            {'extra_info': extra_info(GOLD, {
                **NOVA_WRITES, 'rp_uuid': rp, 'capabilities': f'{{{number}}}'})
             } for number, rp in enumerate('abcd')))
        group, = self.load()
        self.assertEqual(
            (4, set('abcd')), (group.available, group.rp_uuids))

    def test_nobody_asks(self):
        expected = None
        for tags in (None, *ODD_TAGS):
            self.connection.execute(sa.delete(base.DEVICES))
            self.add_devices(self.node, {
                'extra_info': json.dumps(NOVA_WRITES) if tags is None
                else extra_info(tags)})
            told = [
                repr(self.load(stored_tags=False, by_device=by_device))
                for by_device in (False, True)]
            expected = expected or told
            self.assertEqual(expected, told, tags)


class TestSQLite(StoredTagsMixin, testtools.TestCase):
    pass


class TestMySQL(StoredTagsMixin, base.MySQLMixin, testtools.TestCase):
    pass


class TestPostgreSQL(
        StoredTagsMixin, base.PostgreSQLMixin, testtools.TestCase):
    pass
