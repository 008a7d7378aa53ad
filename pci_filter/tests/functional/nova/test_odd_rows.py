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

"""Rows and summaries that make no sense, in a real scheduler."""

import json

from nova import exception as nova_exception
from nova import objects as nova_objects
from nova.pci import stats

from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

FAILURES = 'pci_filter.scheduler.failures'
UNKNOWN_TAGS = 'pci_filter.scheduler.unknown_tags'
VFS = "dev_type = 'type-VF'"


class TestOddRows(base.NovaTestCase):

    cells = 1

    def setUp(self):
        super().setUp()
        self.host = self.add_host('host0')
        self.manager = self.our_manager()

    def update(self, change, where=VFS):
        """Change rows behind Nova's back."""
        self.assertGreater(self.cloud.execute(
            self.host.cell,
            f'UPDATE pci_devices SET {change} WHERE {where}'), 0)

    def pools(self):
        """Return (device type, address, count) of each pool."""
        state, = scheduling.host_states(
            self.manager, scheduling.request_spec([base.vf_request()]))
        self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
        return sorted((pool['dev_type'], pool['address'], pool['count'])
                      for pool in state.pci_stats.pools)

    def passes(self, request):
        spec = scheduling.request_spec([request])
        return bool(scheduling.passing_hosts(
            self.manager, scheduling.host_states(self.manager, spec), spec))

    def warnings(self):
        return [*self.log_lines(f'WARNING {FAILURES} '),
                *self.log_lines(f'WARNING {UNKNOWN_TAGS} ')]

    def test_malformed_extra_info(self):
        for text in ('', '{', '[]', '"x"', '5', 'null', '{"rp_uuid": 5}',
                     '{"parent_ifname": {"a": ["b"]}}'):
            self.update(f"extra_info = '{text}'")
            pools = self.pools()
            # Devices without a known netdev are no others.
            self.assertEqual(5, sum(count for *_, count in pools), text)
            self.assertTrue(self.passes(base.vf_request(count=4)), text)
            self.assertFalse(self.passes(base.vf_request(count=5)), text)
        self.assertEqual([], self.warnings())

    def test_nova_compute_needs_extra_info(self):
        """Nova cannot start its tracker on such rows: they hurt nobody."""
        self.update("extra_info = '{'")
        self.assertRaises(ValueError, self.cloud.tracker, self.host)
        self.update('extra_info = NULL')
        self.assertRaises(TypeError, self.cloud.tracker, self.host)

    def test_no_extra_info(self):
        self.update('extra_info = NULL', where='1 = 1')
        self.assertEqual([('type-PF', '0000:81:00.0', 1),
                          ('type-VF', '0000:81:00.0', 4)], self.pools())
        self.assertTrue(self.passes(base.vf_request(count=4)))

    def test_one_bad_row_of_many(self):
        self.update("extra_info = '{bad'", where="address LIKE '%.2'")
        self.assertTrue(self.passes(base.vf_request(count=4)))

    def test_unknown_status(self):
        self.update("status = 'borrowed'", where="address LIKE '%:02.1'")
        self.assertEqual([('type-PF', '0000:81:00.0', 1),
                          ('type-VF', '0000:81:00.0', 3)], self.pools())
        self.assertFalse(self.passes(base.vf_request(count=4)))

    def test_parent_unknown(self):
        """Nobody knows the tags of a function without a known parent."""
        for nothing in ("''", 'NULL'):
            self.update(f'parent_addr = {nothing}',
                        where="address LIKE '%:02.1'")
            self.assertEqual([('type-PF', '0000:81:00.0', 1),
                              ('type-VF', '0000:81:00.0', 3)], self.pools())
            by_spec = self.our_manager(
                device_spec=['{"vendor_id": "8086"}'])
            state, = scheduling.host_states(by_spec, self.pci_spec())
            self.assertEqual(
                [('0000:81:00.0', 1), ('0000:81:00.0', 3),
                 ('0000:81:02.1', 1)],
                sorted((pool['address'], pool['count'])
                       for pool in state.pci_stats.pools))

    def pci_spec(self):
        return scheduling.request_spec([base.vf_request()])

    def test_null_everywhere(self):
        """Whatever the schema lets be NULL."""
        self.update('numa_node = NULL, parent_addr = NULL, dev_id = NULL, '
                    'extra_info = NULL', where='1 = 1')
        self.assertEqual([], [
            pool for pool in self.pools() if pool[0] == 'type-VF'])
        self.assertFalse(self.passes(base.vf_request()))
        self.assertEqual(1, len(self.warnings()))

    def test_unknown_devices_are_told_once(self):
        self.cloud.store_summary(self.host, None)
        told = []
        for _ in range(3):
            self.assertFalse(self.passes(base.vf_request()))
            told.append(len(self.warnings()))
        self.assertEqual([0, 1, 1], told)
        self.assertEqual([
            f'WARNING {UNKNOWN_TAGS} Devices whose tags no source knows are '
            f'left out in cell {self.host.cell.uuid}: 8086:154c (type-VF), '
            '8086:1572 (type-PF) on host0. Give their tags in '
            '[pci_filter]device_spec.'], self.warnings())
        self.assertRegex(
            self.warnings()[0], documented.pattern('unknown-tags'))
        # Three requests, one line each; the note says what is missing.
        info, _second, _third = self.log_lines(
            'INFO pci_filter.scheduler.rejections')
        self.assertIn('devices whose tags are unknown are left out', info)

    def test_summary_is_not_json(self):
        """Nova takes such a summary for none; nobody knows tags then."""
        for text in ('', 'no JSON', '{"half": '):
            self.cloud.store_summary(self.host, text)
            state, = scheduling.host_states(
                self.cloud.host_manager(), self.pci_spec())
            self.assertIs(stats.PciDeviceStats, type(state.pci_stats))
            self.assertEqual([], state.pci_stats.pools)
            self.assertEqual([], self.pools())
            self.assertFalse(self.passes(base.vf_request()))
        by_spec = self.our_manager(device_spec=['{"vendor_id": "8086"}'])
        state, = scheduling.host_states(by_spec, self.pci_spec())
        self.assertEqual([1, 4], sorted(
            pool['count'] for pool in state.pci_stats.pools))

    def test_summary_is_other_json(self):
        """Nova cannot load the nodes of such a cell; we can."""
        self.add_host('host1')
        by_spec = self.our_manager(device_spec=['{"vendor_id": "8086"}'])
        for text in ('5', '[1]', '{"nova_object.namespace": "nova"}'):
            self.cloud.store_summary(self.host, text)
            for manager, expected in (
                    (self.manager, [0, 5]), (by_spec, [5, 5]),
                    # HostStates of its own, which read every summary.
                    (self.cloud.host_manager(), [0, 5])):
                self.assertEqual(expected, [
                    sum(pool['count'] for pool in state.pci_stats.pools)
                    for state in scheduling.host_states(
                        manager, self.pci_spec())])
        self.assertEqual([], self.log_lines(
            'Failed to get computes for cell'))
        # Nobody had to look at what Nova would have made of it.
        self.assertEqual([], self.log_lines('cannot be parsed'))
        hook.detach()
        self.assertEqual([], scheduling.host_states(
            self.cloud.host_manager(), self.pci_spec()))
        self.assertEqual(1, len(self.log_lines(
            'Failed to get computes for cell')))

    def test_summary_of_old(self):
        """From before Nova stored objects: a list of dicts."""
        summary = json.loads(self.cloud.summary(self.host))
        pools = []
        for pool in summary['nova_object.data']['objects']:
            data = pool['nova_object.data']
            pools.append({**data.pop('tags'), **data})
        self.cloud.store_summary(self.host, json.dumps(pools))
        self.assertTrue(self.passes(scheduling.pci_request(
            {'physical_network': 'physnet1', 'remote_managed': 'False'}, 4)))

    def test_summary_without_count(self):
        def change(summary):
            del summary['nova_object.data']['objects'][0][
                'nova_object.data']['count']
            return summary

        self.cloud.falsify_summary(self.host, change)
        self.assertEqual(
            [('type-PF', '0000:81:00.0', 1), ('type-VF', '0000:81:00.0', 4)],
            self.pools())

    def test_node_gone(self):
        """A node that was deleted in the meantime has nothing to offer."""
        loaded = self.manager._get_host_states

        def then_delete(*args):
            states = list(loaded(*args))
            with self.cloud.target(self.host.cell) as context:
                self.host.load_node(context).destroy()
            return iter(states)

        self.manager._get_host_states = then_delete
        self.assertEqual([], self.pools())
        with self.cloud.target(self.host.cell) as context:
            self.assertRaises(
                nova_exception.ComputeHostNotFound,
                nova_objects.ComputeNode.get_by_uuid, context,
                self.host.node_uuid)
