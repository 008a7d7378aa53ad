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

"""Placement is asked for hosts that its limit has left out.

PCI_FILTER_BEYOND is how many hosts placement names in TestAllBeyond.
"""

import logging
import math
import os

import fixtures
from nova import context as nova_context
from nova.scheduler.filters import compute_filter

from pci_filter.fixture import scheduling
from pci_filter.scheduler import candidates
from pci_filter.scheduler import host_manager
from pci_filter.scheduler import narrowed
from pci_filter.scheduler import rejections
from pci_filter.scheduler import widening
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import selecting


def tagged_request():
    """Return a request for GPUs that are there, with a tag that none has."""
    return scheduling.pci_request(
        {**selecting.GPU, 'physical_network': 'physnet1'}, alias_name='gpu')


class WideningTestCase(selecting.SelectingTestCase):
    """Placement names three hosts of many, the same ones each time."""

    LIMIT = 3

    def setUp(self):
        super().setUp()
        self.override('scheduler', max_placement_results=self.LIMIT)
        self.name_first_ones()
        self.context = nova_context.get_admin_context()
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


class TestWidening(WideningTestCase):

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


class TestAllBeyond(WideningTestCase):
    """All devices are beyond what placement names, and all are wanted."""

    LIMIT = int(os.environ.get('PCI_FILTER_BEYOND') or 3)
    HOSTS = 3 * LIMIT
    GPU_HOSTS = max(5, LIMIT // 25)
    #: Of each; all of them together are asked for, one by one.
    GPUS = max(2, LIMIT // GPU_HOSTS)
    #: In-tree each request is like the one before.
    IN_TREE = 2

    def test_lands(self):
        """Each request lands, to the last device, and in-tree none."""
        for number in range(self.HOSTS - self.LIMIT - self.GPU_HOSTS):
            self.add_gpus(f'b{number}', 0)
        for number in range(self.GPU_HOSTS):
            self.add_gpus(f'gpu{number}', self.GPUS)
        in_tree = self.scheduler(available=scheduling.IN_TREE_FILTERS)
        for _ in range(self.IN_TREE):
            self.assertRaises(selecting.NoValidHost, self.select,
                              selecting.gpu_request(), manager=in_tree)
        for _ in range(self.GPU_HOSTS * self.GPUS):
            server = self.select(selecting.gpu_request())
            server.boot(server.host)
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request())


class TestCounting(WideningTestCase):
    """The hosts that can fit are counted once for a request."""

    def test_once(self):
        beyond = self.add_gpus('gpu', 2)
        with base.Statements('AS fitting') as statements:
            self.assertEqual(beyond, self.select(
                selecting.gpu_request(2)).host)
        self.assertEqual(1, len(statements.texts))

    def test_left_out(self):
        """Few hosts are named, but they need not be asked about."""
        self.add_gpus('gpu', 2)
        with base.Statements('FROM compute_nodes') as statements:
            self.select(selecting.gpu_request(2))
        loading, = [text for text in statements.texts if 'pci_stats' in text]
        self.assertIn('compute_nodes.uuid IN', loading)
        line, = self.log_lines('DEBUG pci_filter.scheduler.stages')
        self.assertIn(' asked=4 left=1 loaded=1 ', line)

    def test_nothing_is_to_be_left_out(self):
        self.add_gpus('gpu', 2)
        self.select(selecting.gpu_request(2), manager=self.scheduler(
            narrow=False))
        line, = self.log_lines('DEBUG pci_filter.scheduler.stages')
        self.assertIn(' asked=4 left=4 loaded=4 ', line)

    def while_asked(self, change):
        """Change something while placement is asked for more hosts."""
        def note(method, path):
            self.note(method, path)
            if len(self.asked) == 2:
                self.placement.answer_instead = self.note
                change()

        self.placement.answer_instead = note

    def test_taken_meanwhile(self):
        """It is seen, though the hosts were counted before."""
        beyond = self.add_gpus('gpu', 1)
        server = selecting.Server(self, [selecting.gpu_request()])
        self.while_asked(lambda: server.boot(beyond))
        self.assertRaises(
            selecting.NoValidHost, self.select, selecting.gpu_request())

    def test_freed_meanwhile(self):
        """It costs that host; the others are right."""
        freed = self.add_gpus('a3', 1)
        self.override('scheduler', max_placement_results=self.LIMIT + 1)
        server = selecting.Server(
            self, [selecting.gpu_request()]).boot(freed)
        beyond = self.add_gpus('gpu', 1)
        self.while_asked(server.free)
        self.assertEqual(beyond, self.select(selecting.gpu_request()).host)
        self.assertEqual(freed, self.select(selecting.gpu_request()).host)

    def test_other_request(self):
        """Only who has asked gets what was told."""
        self.add_gpus('gpu', 1)
        spec = self.spec(selecting.gpu_request())
        with widening.serving(*self.widener(), spec):
            request = widening.current()
            request.widen(([{}] * 3, {}, '1.36'), self.context, None,
                          self.ask)
            self.assertIsNotNone(request.fitting(spec))
            self.assertIsNone(request.fitting(
                self.spec(selecting.gpu_request())))

    def test_other_needs(self):
        """What was counted for one GPU does not tell who has two."""
        self.add_gpus('gpu', 1)
        spec = self.spec(selecting.gpu_request())
        widener, hosts = self.widener()
        fitting = widener.fitting(self.context, hosts, spec)
        cells = hosts.enabled_cells
        self.assertIsNotNone(fitting.of(cells, fitting.needs))
        self.assertIsNone(fitting.of(cells, [
            need._replace(number=2) for need in fitting.needs]))
        self.assertIsNone(fitting._replace(by_cell={}).of(
            cells, fitting.needs))

    def widener(self):
        hosts = self.manager.host_manager
        return hosts.enabled_filters[0].pool_mapper.widener, hosts

    def ask(self, resources):
        raise ValueError('nobody is to be asked')


class TestAdvice(WideningTestCase):
    """To raise the limit helps only if there is something beyond it."""

    def setUp(self):
        super().setUp()
        # As long as a test may take.
        self.patch(narrowed, 'FOR_WORDS', 60)

    def advice(self, request, lines=1, manager=None, **options):
        """Return the end of the line about a request that fails.

        :param lines: how many there are to be
        """
        def found():
            return [line for name in (rejections, narrowed)
                    for line in self.log_lines(f'INFO {name.__name__} ')]

        before = len(found())
        self.assertRaises(
            selecting.NoValidHost, self.select, request,
            manager=manager or self.scheduler(**options))
        told = found()[before:]
        self.assertEqual(lines, len(told))
        return ''.join(''.join(told).partition('Placement gave')[1:])

    def test_nobody_has_any(self):
        self.assertEqual('', self.advice(selecting.gpu_request()))

    def test_all_were_asked_for(self):
        for number in range(2):
            self.add_gpus(f'gpu{number}', 1)
        self.assertEqual('', self.advice(tagged_request()))
        self.assertEqual(1 + 2, len(self.asked))

    def test_some_were_asked_for(self):
        for number in range(3):
            self.add_gpus(f'gpu{number}', 1)
        advice = self.advice(tagged_request(), widen_to=1)
        self.assertRegex(advice, documented.pattern('list-widened'))
        self.assertEqual(
            'Placement gave 3 allocation requests, and '
            '[scheduler]max_placement_results is 3: it was asked for 1 of 3 '
            'other hosts that can have the devices. Raise '
            '[pci_filter]widen_to.', advice)

    def test_list_has_enough(self):
        """Those that can have the devices are rejected for their tags."""
        self.override('scheduler', max_placement_results=self.LIMIT + 1)
        self.add_gpus('b', 1)
        self.add_gpus('beyond', 1)
        self.assertIn(' asked for 0 of 1 other hosts ', self.advice(
            tagged_request(), widen_to=1))

    def test_off(self):
        for number in range(2):
            self.add_gpus(f'gpu{number}', 1)
        advice = self.advice(selecting.gpu_request(), widen_to=0)
        self.assertRegex(advice, documented.pattern('list-cut-counted'))
        self.assertIn(' is 3: 2 other hosts can have the devices.', advice)

    def test_off_and_nobody_has_any(self):
        self.add_gpus('gpu', 1)
        self.assertEqual('', self.advice(
            selecting.gpu_request(2), widen_to=0))

    def test_off_and_candidates_beyond_the_limit(self):
        """Of a host that placement names, it may have left out some."""
        request = selecting.gpu_request()
        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.request_specs.is_tracked',
                lambda spec_obj: True):
            self.assertRegex(self.advice(request, widen_to=0),
                             documented.pattern('list-cut'))

    def test_placement_is_asked_otherwise(self):
        """Then nobody knows how much it gave, but what is left tells it."""
        self.add_gpus('gpu', 1)
        host_manager.detach()
        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.host_manager.REPLACED',
                host_manager.REPLACED[:-1]):
            advice = self.advice(selecting.gpu_request())
        self.assertIn(' is 3: 1 other hosts can have the devices.', advice)
        self.assertEqual(1, len(self.asked))

    def test_refused_beyond_the_limit(self):
        """Those that were asked for are no others to be found."""
        self.add_gpus('gpu', 1)
        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.request_specs.is_tracked',
                lambda spec_obj: True):
            self.override('scheduler', max_placement_results=self.LIMIT + 1)
            self.add_gpus('b', 1)
            self.assertRegex(
                self.advice(tagged_request(), widen_to=2),
                documented.pattern('list-cut'))

    def test_cell_rests(self):
        """One that was slow is not asked for the sake of a line."""
        self.add_gpus('gpu', 1)
        manager = self.scheduler(widen_to=0)
        prefilter = manager.host_manager.enabled_filters[
            0].pool_mapper.prefilter
        prefilter._rests_until[self.cloud.cells[0].uuid] = math.inf
        with base.Statements('AS fitting') as statements:
            self.assertRegex(
                self.advice(selecting.gpu_request(), manager=manager),
                documented.pattern('list-cut'))
        self.assertEqual([], statements.texts)

    def test_other_filters_reject_the_rest(self):
        """What placement named is known still as the request ends."""
        self.add_gpus('gpu', 1)
        self.patch(compute_filter.ComputeFilter, 'host_passes',
                   lambda *args: False)
        enabled = ['ComputeFilter', 'PciPassthroughFilter']
        self.assertEqual('', self.advice(
            selecting.gpu_request(), enabled=enabled))
        line, = self.log_lines(f'INFO {narrowed.__name__} ')
        self.assertIn(' its filters saw 1: ', line)
        self.add_gpus('other', 1)
        self.assertIn(' asked for 1 of 2 other hosts ', self.advice(
            selecting.gpu_request(), enabled=enabled, widen_to=1))

    def test_line_that_fails(self):
        """The request fails with what it failed with."""
        self.add_gpus('gpu', 1)
        self.patch(compute_filter.ComputeFilter, 'host_passes',
                   lambda *args: False)
        self.patch(candidates, 'advice', lambda *args: 1 / 0)
        self.assertEqual('', self.advice(
            selecting.gpu_request(), lines=0,
            enabled=['ComputeFilter', 'PciPassthroughFilter']))

    def test_list_was_not_cut(self):
        self.override('scheduler', max_placement_results=self.LIMIT + 1)
        self.assertEqual('', self.advice(selecting.gpu_request()))

    def test_cell_does_not_tell(self):
        self.add_gpus('gpu', 1)
        with fixtures.MonkeyPatch('pci_filter.db.fitting_nodes.load',
                                  lambda *args: 1 / 0):
            advice = self.advice(selecting.gpu_request())
        self.assertRegex(advice, documented.pattern('list-cut'))

    def test_placement_gives_up(self):
        """What it did not answer may have been a host that passes."""
        for number in range(3):
            self.add_gpus(f'gpu{number}', 1)

        def note(method, path):
            self.note(method, path)
            return ('503 Service Unavailable', '{}') if (
                len(self.asked) == 2) else None

        self.placement.answer_instead = note
        self.assertRegex(self.advice(selecting.gpu_request()),
                         documented.pattern('list-cut'))
        self.assertEqual(2, len(self.asked))

    def test_placement_is_slow(self):
        """Nova alone would have gone on with the hosts that it has."""
        for number in range(3):
            self.add_gpus(f'gpu{number}', 1)
        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.widening._PATIENCE', 0):
            advice = self.advice(tagged_request())
        self.assertRegex(advice, documented.pattern('list-slow'))
        self.assertIn(' asked for 1 of 3 other hosts ', advice)
        self.assertEqual(2, len(self.asked))

    def test_candidates_beyond_the_limit(self):
        """It matters which it is if placement has allocated devices."""
        host = self.add_gpus('gpu', 1)
        request = selecting.gpu_request()
        hosts = self.manager.host_manager
        widener = hosts.enabled_filters[0].pool_mapper.widener
        for groups, pattern in (([], '^$'), (
                base.request_groups([request]),
                documented.pattern('list-cut'))):
            spec = self.spec(request, requested_resources=groups)
            with widening.serving(widener, hosts, spec):
                widening.current().widen(
                    ([{}] * 3, {host.node_uuid: {}}, '1.36'),
                    self.context, None, None)
                self.assertRegex(candidates.advice(None, 3), pattern)
