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

"""Whatever stands in texts from outside, nobody trips over it."""

import json
import types

from hypothesis import strategies as st

from pci_filter import exception
from pci_filter import model
from pci_filter import objects
from pci_filter.objects import pool_load
from pci_filter import summary
from pci_filter.tags import device_spec
from pci_filter.tags import pci_devices
from pci_filter.tags import pci_stats
from pci_filter.tests import base
from pci_filter.tests.fuzz import base as fuzz
from pci_filter.tests.fuzz import values
from pci_filter.tests.scenarios import builders

NODE = model.ComputeNode('uuid', 'host', 'node')
WANTED = [builders.port(physical_network='net1')]


def groups(**fields):
    """Return two devices of each kind."""
    return {kind: model.DeviceGroup(kind, 2, values.PARENT, **fields)
            for kind in values.KINDS}


def decide(test, pools):
    """Ask a pool list all that a scheduler asks."""
    fits = pools.supports_requests(WANTED)
    explained = pools.explain_requests(WANTED)
    test.assertEqual(fits, explained.fits)
    test.assertIsInstance(explained.reason, str)
    test.assertEqual(len(pools), len(pools.pools))
    if fits:
        pools.apply_requests(WANTED)
    return 'fits' if fits else 'does not fit'


class TestDeviceSpecs(fuzz.FuzzMixin, base.UnitTestCase):

    def check(self, batch):
        return [self.check_one(text) for text in batch]

    def check_one(self, text):
        """It is refused in one clear line, or taken and of use."""
        try:
            # Not by oslo.config, to which '$' means something.
            source = device_spec.DeviceSpecTags(
                types.SimpleNamespace(device_spec=[text]))
        except exception.InvalidDeviceSpec as error:
            line = str(error)
            self.assertEqual([line], line.splitlines())
            self.assertTrue(
                line.startswith('[pci_filter]device_spec = '), line)
            return 'refused'
        look_up = source.for_node(NODE)
        for kind in values.KINDS:
            tags = look_up(kind)
            self.assertIsInstance(tags, (dict, type(None)))
        pools, unknown, _ = pool_load.PoolMaker([source]).make(NODE, groups())
        self.assertEqual(len(values.KINDS) * 2, sum(
            one.count for one in pools) + sum(
                group.available for group in unknown))
        decide(self, objects.PciDevicePoolList(pools))
        return 'taken'

    def test_nova_syntax(self):
        self.for_texts(values.DEVICE_SPECS, self.check)

    def test_host_patterns(self):
        self.for_texts(values.HOST_SPECS, self.check)


class TestSummaries(fuzz.FuzzMixin, base.UnitTestCase):

    source = pci_stats.PciStatsTags(base.options())

    def make(self, maker, text):
        pools, unknown, _ = maker.make(NODE._replace(summary=text), groups())
        self.assertEqual(len(values.KINDS) * 2, sum(
            one.count for one in pools) + sum(
                group.available for group in unknown))
        return objects.PciDevicePoolList(pools, unknown=unknown)

    def check(self, batch):
        """Nothing fails, and none changes what another tells."""
        right = json.dumps([builders.vf(
            address=values.PARENT, tier='gold', rp='rp9')])
        expected = self.make(
            pool_load.PoolMaker([self.source]), right).pools
        self.assertEqual(2 * 2, sum(pool['count'] for pool in expected))
        maker = pool_load.PoolMaker([self.source])
        found = []
        for text in batch:
            found.append(decide(self, self.make(maker, text)))
            self.assertEqual(expected, self.make(maker, right).pools)
            parsed = summary.parse(text)
            if parsed is None:
                continue
            # What is kept under a shorter text is what the text says.
            of_text, of_pools = (
                self.source.for_node(NODE._replace(summary=one))
                for one in (text, parsed))
            for kind in values.KINDS:
                self.assertEqual(repr(of_pools(kind)), repr(of_text(kind)))
        return found

    def test_summaries(self):
        self.for_texts(values.SUMMARIES, self.check)


class TestStoredTags(fuzz.FuzzMixin, base.UnitTestCase):

    source = pci_devices.PciDevicesTags(base.options())

    def look_up(self, text):
        kind, = (model.DeviceKind(
            '8086', '154c', 0, 'type-VF', values.PARENT, stored_tags=text),)
        tags = self.source.for_node(NODE)(kind)
        pools, unknown, _ = pool_load.PoolMaker([self.source]).make(
            NODE, {kind: model.DeviceGroup(kind, 2, values.PARENT)})
        self.assertEqual(1, len(pools) + len(unknown))
        decide(self, objects.PciDevicePoolList(pools, unknown=unknown))
        return tags

    def check_written(self, batch):
        """What the tracker writes is read; NaN is no equal of itself."""
        for tags in batch:
            text = pci_devices.to_text(tags)
            found = self.look_up(json.dumps(text)[1:-1])
            self.assertEqual(text, pci_devices.to_text(found))

    def check_any(self, batch):
        return ['read' if self.look_up(text) is not None else 'not read'
                for text in batch]

    def test_written(self):
        self.for_all(values.STORED, self.check_written)

    def test_any(self):
        self.for_texts(values.STORED.map(
            lambda tags: json.dumps(json.dumps(tags))[1:-1]), self.check_any)


#: What Nova's objects let through: texts, null, any number.
_TEXT = st.one_of(
    st.none(), st.sampled_from((
        '', 'net1', 'true', 'NONE', '8086', '154c', 'type-VF', 'type-PF',
        'vdpa', 'rp1', 'rp1,rp2', ',', '\x00', '\ud800', 'İ', 'x' * 300)))
_REQUEST_SPECS = st.dictionaries(st.one_of(
    st.sampled_from(('vendor_id', 'product_id', 'dev_type', 'count',
                     'physical_network', 'remote_managed', 'rp_uuids',
                     'live_migratable', 'numa_node', 'tags', 'address', '')),
    st.text(max_size=2)), _TEXT, max_size=3)
_REQUESTS = st.builds(
    builders.Request, count=st.sampled_from(
        (1, 1, 1, 2, 0, -1, 2 ** 31, 10 ** 30)),
    spec=st.lists(_REQUEST_SPECS, max_size=3), alias_name=_TEXT,
    request_id=_TEXT, requester_id=_TEXT, numa_policy=st.sampled_from(
        (None, 'required', 'socket', 'legacy', 'preferred')))
_MAPPINGS = st.dictionaries(
    _TEXT, st.lists(st.sampled_from(('rp1', 'rp2', '')), max_size=2),
    max_size=3)


class TestRequests(fuzz.FuzzMixin, base.UnitTestCase):

    def check(self, batch):
        """Whatever is asked for, all that can be asked agrees."""
        found = []
        for requests, mapping, guest in batch:
            pools = objects.PciDevicePoolList(builders.to_pools((
                builders.vf(4, rp='rp1', physical_network='net1'),
                builders.pf(rp='rp1'),
                builders.vf(2, address=builders.B, live_migratable='true'),
                builders.gpu())))
            asked = requests, mapping, guest
            fits = pools.supports_requests(*asked)
            explained = pools.explain_requests(*asked)
            self.assertEqual(fits, explained.fits)
            self.assertIsInstance(explained.reason, str)
            before = sum(pool.count for pool in pools)
            try:
                pools.apply_requests(*asked)
            except exception.PciRequestsNotSupported:
                self.assertFalse(fits)
                self.assertEqual(before, sum(pool.count for pool in pools))
            else:
                self.assertTrue(fits)
            found.append('fits' if fits else 'does not fit')
        return found

    def test_requests(self):
        self.for_all(st.tuples(
            st.lists(_REQUESTS, max_size=3),
            st.one_of(st.none(), _MAPPINGS),
            st.sampled_from(((), (), [builders.Cell(0)])),
        ), self.check)
