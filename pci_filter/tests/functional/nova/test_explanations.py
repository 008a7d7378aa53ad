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

"""What the log says of hosts that do not pass."""

import logging

import fixtures

from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.tests.functional.nova import base

REJECTIONS = 'pci_filter.scheduler.rejections'


class TestExplanations(base.NovaTestCase):

    def ask(self, level, count):
        """Ask two hosts; return the log and how often was explained."""
        self.cloud.reset()
        for number, functions in enumerate((2, 4)):
            self.add_host(f'host{number}', number, functions)
        explained = []
        original = objects.PciDevicePoolList.explain_requests

        def explain(*args, **kwargs):
            explained.append(args)
            return original(*args, **kwargs)

        manager = self.our_manager()
        spec = scheduling.request_spec(
            [base.vf_request(count, alias_name='fast')])
        with fixtures.MonkeyPatch(
                'pci_filter.objects.PciDevicePoolList.explain_requests',
                explain), fixtures.FakeLogger(
                    level=level,
                    format='%(levelname)s %(name)s %(message)s') as log:
            scheduling.passing_hosts(
                manager, scheduling.host_states(manager, spec), spec)
        return [line for line in log.output.splitlines()
                if REJECTIONS in line], len(explained), spec

    def test_debug(self):
        lines, _explained, spec = self.ask(logging.DEBUG, 5)
        self.assertEqual([
            f'DEBUG {REJECTIONS} Host host{number}, node host{number} '
            f'rejected: fast asks for 5: {free}'
            for number, free in enumerate((
                '3 free',
                '5 free, 4 match vendor_id=8086, product_id=154c'))],
            lines[:2])
        self.assertEqual([
            f'INFO {REJECTIONS} No host has the PCI devices for instance '
            f'{spec.instance_uuid}: on 1 of 2 hosts fast asks for 5 but too '
            'few are free; on 1 of 2 hosts fast asks for 5 but too few match '
            'vendor_id=8086, product_id=154c.'], lines[2:])

    def test_unreadable(self):
        self.add_host('host0')
        cell = self.cloud.cells[0]
        rename = 'ALTER TABLE pci_devices RENAME COLUMN {} TO {}'.format
        self.cloud.execute(cell, rename('status', 'state'))
        self.addCleanup(
            self.cloud.execute, cell, rename('state', 'status'))
        spec = scheduling.request_spec([base.vf_request()])
        manager = self.our_manager(on_load_failure='reject')
        scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec)
        line, = self.log_lines(f'INFO {REJECTIONS} ')
        self.assertIn('on 1 of 1 hosts its device rows could not be read.',
                      line)

    def test_debug_when_one_passes(self):
        lines, explained, _spec = self.ask(logging.DEBUG, 3)
        line, = lines
        self.assertIn('Host host0, node host0 rejected', line)
        self.assertEqual(1, explained)

    def test_info(self):
        lines, explained, _spec = self.ask(logging.INFO, 5)
        self.assertEqual((1, 2), (len(lines), explained))
        self.assertEqual(([], 0), self.ask(logging.INFO, 3)[:2])
        self.assertEqual(([], 0), self.ask(logging.INFO, 1)[:2])

    def test_candidates_at_debug(self):
        """What Nova logs of each candidate is still there for who wants it."""
        self.add_host('host0')
        manager = self.our_manager()
        passed = []
        for level in (logging.DEBUG, logging.INFO):
            spec = scheduling.request_spec([base.vf_request()])
            with fixtures.FakeLogger(level=level) as log:
                state, = scheduling.host_states(manager, spec)
                candidates = state.allocation_candidates
                passed.append(scheduling.passing_hosts(
                    manager, [state], spec))
            self.assertEqual(candidates, state.allocation_candidates)
            self.assertIsNot(candidates, state.allocation_candidates)
            self.assertEqual(
                level == logging.DEBUG,
                'PciPassthroughFilter accepted allocation candidate'
                in log.output)
        self.assertEqual([{'host0'}] * 2, passed)

    def test_not_explained_unless_logged(self):
        self.assertEqual(([], 0), self.ask(logging.WARNING, 5)[:2])
