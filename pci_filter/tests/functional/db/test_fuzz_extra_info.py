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

"""What is in extra_info harms no statement and no other row.

The texts of a batch are in one table, so that one bad row would be seen by
the others.
"""

import json

import sqlalchemy as sa
import testtools

from pci_filter.db import device_groups
from pci_filter import model
from pci_filter.tags import pci_devices
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.db import base
from pci_filter.tests.fuzz import base as fuzz
from pci_filter.tests.fuzz import values

BATCH = 50
RIGHT = {'parent_ifname': 'eth0', 'rp_uuid': 'rp', 'managed': 'true',
         'capabilities': '{"vpd": {"card_serial_number": "MT1"}}'}
GOLD = {'tier': 'gold'}
TAGS = pci_devices.PciDevicesTags(tests_base.options()).for_node(
    model.ComputeNode('uuid', 'host', 'node'))

#: Lengths of the longest values that are read whole.
LONGEST_NAME = 15
LONGEST_UUID = 36


def written(extra, tags):
    """Return what Nova's or our tracker writes."""
    return json.dumps(pci_devices.stored(
        extra, None if tags is None else pci_devices.to_text(tags)))


def reference(text, key, length):
    """Return what is to be read of a text, found in another way."""
    _, found, behind = text.partition(f'"{key}": "')
    value = behind[:length].partition('"')[0] if found else ''
    return None if set(value) & {'\\', '\n'} else value or None


def sure(value, longest):
    """Return a value if it is one that Nova writes, read whole."""
    return value if value and value.isascii() and value.isprintable() and (
        not set(value) & {'"', '\\'}) and len(value) <= longest else None


class ExtraInfoMixin(fuzz.FuzzMixin, base.DatabaseMixin):

    batch = BATCH
    cost = 2

    def setUp(self):
        super().setUp()
        self.nodes = self.add_nodes(BATCH)
        for node in self.nodes:
            self.add_devices(
                node, {'extra_info': written(RIGHT, GOLD)}, {'numa_node': 1})
        odd = base.DEVICES.c.numa_node == 1
        self.rows = [
            dict(row._mapping) for row in self.connection.execute(
                sa.select(base.DEVICES).where(odd).order_by(
                    base.DEVICES.c.compute_node_id))]
        self.remove = sa.delete(base.DEVICES).where(odd)

    def store(self, texts):
        """Let the second device of each node have one of the texts."""
        self.connection.execute(self.remove)
        self.connection.execute(sa.insert(base.DEVICES), [
            {**row, 'extra_info': text}
            for row, text in zip(self.rows, texts)])

    def load(self, by_device):
        """Return the odd group of each node; the other one is as ever."""
        loaded = device_groups.load(
            self.connection, self.nodes, by_device=by_device,
            stored_tags=True)
        odd = []
        for node in self.nodes:
            right, group = sorted(
                loaded[node].values(), key=lambda one: one.kind.numa_node)
            self.assertEqual(
                ('eth0', {'rp'}, GOLD, 1, 0, True if by_device else None),
                (right.kind.parent_ifname, right.rp_uuids, TAGS(right.kind),
                 right.available, right.in_use, right.kind.has_card_serial))
            self.assertEqual((1, 1, 0), (
                group.kind.numa_node, group.available, group.in_use))
            odd.append(group)
        return odd

    def check_written(self, batch):
        """What Nova writes is read as it is, or not at all."""
        self.store([written(*one) for one in batch])
        for by_device in (False, True):
            for (extra, tags), group in zip(batch, self.load(by_device)):
                text = written(extra, tags)
                kind = group.kind
                self.check_value(
                    kind.parent_ifname, extra.get('parent_ifname'),
                    LONGEST_NAME, text)
                self.check_value(
                    group.rp_uuid, extra.get('rp_uuid'), LONGEST_UUID, text)
                self.check_tags(TAGS(kind), tags, text)
                if by_device:
                    self.assertEqual(
                        bool(json.loads(extra.get('capabilities', '{}')).get(
                            'vpd', {}).get('card_serial_number')),
                        kind.has_card_serial, text)

    def check_value(self, found, value, longest, text):
        if value is None:
            self.assertIsNone(found, text)
        elif sure(value, longest):
            self.assertEqual(value, found, text)

    def check_tags(self, found, tags, text):
        if tags is None or not pci_devices.is_readable(
                pci_devices.to_text(tags)):
            self.assertIsNone(found, text)
        else:
            self.assertEqual(
                pci_devices.to_text(tags), pci_devices.to_text(found), text)

    def check_any(self, batch):
        """Other texts cost no row, and all databases read the same."""
        batch = [self.storable(text) for text in batch]
        self.store(batch)
        found = []
        for by_device in (False, True):
            found = []
            for text, group in zip(batch, self.load(by_device)):
                # To others a letter is not a byte, or a zero is the end.
                if text.isascii() and '\0' not in text:
                    self.assertEqual(
                        (reference(text, 'parent_ifname', 16),
                         reference(text, 'rp_uuid', 36)),
                        (group.kind.parent_ifname, group.rp_uuid), text)
                tags = TAGS(group.kind)
                found.append('no tags' if tags is None else 'tags')
        return found

    def test_written(self):
        self.for_all(values.EXTRA_INFO, self.check_written)

    def test_any(self):
        self.for_texts(
            values.EXTRA_INFO.map(lambda one: written(*one)), self.check_any)

    def storable(self, text):
        """Return a text without what the database refuses to store."""
        return text


class TestSQLite(ExtraInfoMixin, testtools.TestCase):
    pass


class TestMySQL(ExtraInfoMixin, base.MySQLMixin, testtools.TestCase):

    def storable(self, text):
        # Nova's column has three bytes for a letter, and 64 KiB for a text.
        return ''.join(
            letter for letter in text[:20_000] if letter <= '\uffff')


class TestPostgreSQL(
        ExtraInfoMixin, base.PostgreSQLMixin, testtools.TestCase):

    def storable(self, text):
        return text.replace('\0', '')
