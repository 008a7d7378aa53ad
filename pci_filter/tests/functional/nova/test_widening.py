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

"""Placement is asked for hosts that its limit has left out."""

import logging

import fixtures

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import selecting


class TestWidening(selecting.SelectingTestCase):
    """Placement names three hosts of many, the same ones each time."""

    LIMIT = 3

    def setUp(self):
        super().setUp()
        self.override('scheduler', max_placement_results=self.LIMIT)
        self.name_first_ones()
        self.asked = []
        self.placement.answer_instead = self.note
        for number in range(self.LIMIT):
            self.add_gpus(f'a{number}', 0)

    def name_first_ones(self):
        """Let placement cut its list by the names of hosts.

        It is the hashes of UUIDs that decide it otherwise, always alike in a
        process.
        """
        from placement.objects import research_context

        cut = research_context.RequestWideSearchContext.limit_results

        def in_order(context, requests, summaries):
            names = {host.node_uuid: host.name
                     for host in self.cloud.hosts.values()}
            return cut(context, sorted(requests, key=lambda request: names[
                request.anchor_root_provider_uuid]), summaries)

        self.patch(research_context.RequestWideSearchContext,
                   'limit_results', in_order)

    def note(self, method, path):
        if 'allocation_candidates' in path:
            self.asked.append(path)

    def schedulers(self):
        return {
            'ours': self.scheduler(), 'off': self.scheduler(widen_to=0),
            'in-tree': self.scheduler(
                available=scheduling.IN_TREE_FILTERS)}

    def test_devices_beyond_the_limit(self):
        beyond = self.add_gpus('gpu', 2)
        with_us = []
        for name, manager in self.schedulers().items():
            try:
                with_us.append((name, self.select(
                    selecting.gpu_request(2), manager=manager).host))
            except selecting.NoValidHost:
                pass
        self.assertEqual([('ours', beyond)], with_us)

    def test_as_many_as_are_wanted(self):
        for number in range(5):
            self.add_gpus(f'gpu{number}', 1)
        self.select(selecting.gpu_request(), manager=self.scheduler(
            widen_to=2))
        self.assertEqual(1 + 2, len(self.asked))

    def test_list_has_enough(self):
        """Some of the hosts that it names can have the devices."""
        self.override('scheduler', max_placement_results=self.LIMIT + 1)
        named = self.add_gpus('b', 1)
        self.add_gpus('beyond', 1)
        self.assertEqual(named, self.select(
            selecting.gpu_request(), manager=self.scheduler(widen_to=1)).host)
        self.assertEqual(1, len(self.asked))

    def test_list_was_not_cut(self):
        self.override('scheduler', max_placement_results=self.LIMIT + 9)
        self.add_gpus('gpu', 1)
        self.select(selecting.gpu_request())
        self.assertEqual(1, len(self.asked))

    def test_what_else_placement_asks_of_a_host(self):
        """One that has no room is not named, though it has devices."""
        with fixtures.MonkeyPatch(
                'pci_filter.tests.functional.nova.selecting.'
                'SelectingTestCase.add', lambda self, host: host):
            full = self.add_gpus('full', 1)
        self.client.add_provider(full.node_uuid, full.name, {
            'VCPU': 1024, 'MEMORY_MB': 1, 'DISK_GB': 10240})
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request())
        self.assertEqual(2, len(self.asked))

    def test_requests_without_devices(self):
        self.add_gpus('gpu', 1)
        self.select()
        self.assertEqual(1, len(self.asked))

    def test_fault(self):
        """Whatever goes wrong, the request has what Nova alone had."""
        self.add_gpus('gpu', 1)
        for name in ('db.fitting_nodes.load', 'scheduler.widening._in_tree'):
            with fixtures.MonkeyPatch(
                    f'pci_filter.{name}', self.fault):
                self.assertRaises(selecting.NoValidHost, self.select,
                                  selecting.gpu_request())

    def fault(self, *args, **more):
        raise ValueError('injected fault')

    def test_line(self):
        self.add_gpus('gpu', 1)
        with fixtures.FakeLogger(level=logging.DEBUG) as log:
            server = self.select(selecting.gpu_request())
        self.assertIn(
            'Placement named 3 candidates, which is its limit. 0 of their '
            'hosts, and 1 others, can have the devices for instance '
            f'{server.uuid}. Of 1 of those that it was asked for it named 1 '
            'candidates.', log.output)
