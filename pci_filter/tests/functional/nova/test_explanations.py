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

import collections
import json
import logging
import pathlib
import threading
import time

import fixtures
from nova import context as nova_context
from nova import exception as nova_exception
from nova.scheduler.filters import compute_filter
from nova.scheduler import host_manager as nova_host_manager
from nova.scheduler import manager

from pci_filter.compute import tracker
from pci_filter.db import device_groups
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.objects import reasons
from pci_filter.scheduler import host_manager as hook
from pci_filter.scheduler import pool_mapper
from pci_filter.scheduler import prefilter
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests.functional.nova import documented

REJECTIONS = 'pci_filter.scheduler.rejections'


class Theirs(nova_host_manager.HostState):
    """The HostState of another package."""


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
        # They lack the same: what there is where there is more is told.
        self.assertEqual([
            f'INFO {REJECTIONS} None of the 2 hosts that reached '
            'PciPassthroughFilter has the PCI devices for instance '
            f'{spec.instance_uuid}: on 2, such as host1, fast asks for 5: '
            '4 VFs 8086:154c, 4 are free.'], lines[2:])

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
        self.assertEqual(
            f'INFO {REJECTIONS} The only host that reached '
            'PciPassthroughFilter is not known to have the PCI devices for '
            f'instance {spec.instance_uuid}: on host0, its device rows could '
            'not be read.', line)

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


class Manager(manager.SchedulerManager):
    """Nova's, without what it does not need to filter hosts."""

    def __init__(self, host_manager):
        self.host_manager = host_manager

    def schedule(self, spec, candidates):
        """Look for a host; return whether there is one.

        :param candidates: how many each compute node has, by its UUID
        """
        of_node = collections.defaultdict(list, {
            uuid: [{'mappings': {}, 'allocations': {uuid: {}}}] * number
            for uuid, number in candidates.items()})
        context = nova_context.get_admin_context()
        try:
            self._schedule(
                context, spec, [spec.instance_uuid], of_node,
                dict.fromkeys(candidates))
        except nova_exception.NoValidHost:
            return False
        return True


class NobodyTestCase(base.NovaTestCase):
    """Requests that no host can serve."""

    GPU = {'vendor_id': '10de', 'product_id': '1db6'}

    def add_gpus(self, name, number=1, cell=0):
        return self.cloud.add_host(
            cell, name, [hardware.gpu(0x3b + bus, 0) for bus in range(number)],
            ['{"vendor_id": "10de"}'])

    def ask(self, *requests, **options):
        """Return the line that the log has, without what is always there."""
        spec = scheduling.request_spec(requests)
        our_manager = self.our_manager(**options)
        self.assertEqual(set(), scheduling.passing_hosts(
            our_manager, scheduling.host_states(our_manager, spec), spec))
        *_, line = self.log_lines(f'INFO {REJECTIONS} ')
        self.assertTrue(any(
            documented.pattern(name).fullmatch(line)
            for name in ('none-has', 'only-has-not', 'none-is-known')), line)
        return line.removeprefix(f'INFO {REJECTIONS} ').replace(
            f' the PCI devices for instance {spec.instance_uuid}', '')

    def gpu_request(self, count=1, **spec):
        return scheduling.pci_request(
            {**self.GPU, **spec}, count, alias_name='gpu')


class TestWords(NobodyTestCase):
    """They are those of ``pci-filter explain``."""

    def make_cloud(self):
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        return base.CloudFixture(2, (), directory=self.directory)

    def explained(self, request):
        """Return what explain says, by host."""
        conf = self.useFixture(commands.NovaConf(self.directory)).path
        spec, = request.spec
        names = {'dev_type': 'device_type'}
        run = commands.run(
            'explain', '--request', json.dumps({
                'count': request.count, **{
                    names.get(key, key): value
                    for key, value in spec.items()}}),
            '--config-file', conf, '-f', 'json')
        return {row['host']: row['reason'].replace(
            'request 1', request.alias_name) for row in json.loads(run.stdout)}

    def check(self, request, *hosts):
        """See that the log says of these hosts what the command does."""
        reasons = self.explained(request)
        line = self.ask(request)
        for host in hosts:
            self.assertIn(f'{host}, {reasons[host]}', line)
        return line

    def test_all_in_use(self):
        for number in range(4):
            host = self.add_gpus(f'gpu{number}', 2, number % 2)
            self.cloud.claim(host, [self.gpu_request(2)])
        self.assertRegex(
            self.check(self.gpu_request()),
            r'^None of the 4 hosts that reached PciPassthroughFilter has: '
            r'on 4, such as gpu\d, gpu asks for 1: 2 devices 10de:1db6, 0 '
            r'are free\.$')

    def test_a_mixture(self):
        for name, number, taken in (
                ('used', 3, 3), ('some', 3, 2), ('few', 1, 0)):
            host = self.add_gpus(name, number)
            if taken:
                self.cloud.claim(host, [self.gpu_request(taken)])
        self.cloud.add_host(1, 'none', [], [])
        self.add_host('nic', 1)
        self.assertEqual(
            'None of the 5 hosts that reached PciPassthroughFilter has: '
            'on 2, such as some, gpu asks for 2: 3 devices 10de:1db6, 1 is '
            'free; on few, gpu asks for 2: 1 device 10de:1db6, 1 is free; '
            'on nic, gpu asks for 2: none of 5 devices is 10de:1db6; '
            'on none, gpu asks for 2: the host has no PCI devices.',
            self.check(self.gpu_request(2), 'few', 'nic', 'none', 'some'))

    def test_excluded(self):
        """A device that nobody can have since its PF is in use is there."""
        host = self.add_host('pf')
        self.cloud.claim(host, [scheduling.pci_request(
            {'vendor_id': '8086', 'dev_type': 'type-PF'})])
        host = self.add_host('vf', 1)
        self.cloud.claim(host, [base.vf_request(1)])
        function = base.vf_request(4, alias_name='vf')
        self.assertIn('on 2, such as vf, vf asks for 4: 4 VFs 8086:154c, 3 '
                      'are free', self.check(function, 'vf'))
        port = scheduling.pci_request(
            {'vendor_id': '8086', 'product_id': '1572',
             'dev_type': 'type-PF'}, alias_name='pf')
        self.assertIn(
            'on 2, such as pf, pf asks for 1: 1 PF 8086:1572, 0 are free',
            self.check(port, 'pf'))

    def test_tags(self):
        self.add_host('host0')
        self.assertIn('on host0, vf asks for 1: 0 of 4 VFs 8086:154c carry '
                      'physical_network=physnet2', self.check(
                          scheduling.pci_request({
                              'vendor_id': '8086', 'product_id': '154c',
                              'physical_network': 'physnet2'},
                              alias_name='vf'), 'host0'))

    def test_in_use_without_summary(self):
        """Where our tracker keeps the tags, the rows alone tell."""
        host = self.cloud.add_host(
            0, 'gpu', [hardware.gpu(0x3b, 0)], ['{"vendor_id": "10de"}'],
            tracker=tracker.PciDevTracker)
        self.cloud.claim(host, [self.gpu_request()])
        self.cloud.store_summary(host, None)
        self.assertEqual(
            'The only host that reached PciPassthroughFilter does not have: '
            'on gpu, gpu asks for 1: 1 device 10de:1db6, 0 are free.',
            self.check(self.gpu_request(), 'gpu'))


class TestNobody(NobodyTestCase):

    def test_statements(self):
        """The rows are read once more, and only to say why."""
        for number in range(4):
            self.add_host(f'host{number}', number % 2)
        our_manager = self.our_manager()
        for count, expected in ((5, 2), (4, 0)):
            spec = scheduling.request_spec([base.vf_request(count)])
            states = scheduling.host_states(our_manager, spec)
            with base.Statements('pci_devices') as statements:
                scheduling.passing_hosts(our_manager, states, spec)
            self.assertEqual(expected, len(statements.texts))
        spec = scheduling.request_spec([base.vf_request(5)])
        states = scheduling.host_states(our_manager, spec)
        logging.getLogger(REJECTIONS).setLevel(logging.WARNING)
        self.addCleanup(logging.getLogger(REJECTIONS).setLevel, logging.NOTSET)
        with base.Statements('') as statements:
            scheduling.passing_hosts(our_manager, states, spec)
        self.assertEqual([], statements.texts)

    def test_in_use_cannot_be_read(self):
        """The line is there, in the words that are true without it."""
        self.cloud.claim(self.add_gpus('gpu', 2), [self.gpu_request()])
        original = device_groups.load

        def load(*args, **kwargs):
            if args[5:] == (True,):
                raise RuntimeError('gone')
            return original(*args, **kwargs)

        for target, broken in (
                ('pci_filter.db.device_groups.load', load),
                ('pci_filter.scheduler.pool_mapper.PoolMapper.idle_pools',
                 lambda *args: {}['gone'])):
            with fixtures.MonkeyPatch(target, broken):
                self.assertIn(
                    ': on gpu, gpu asks for 2: 1 free.',
                    self.ask(self.gpu_request(2)))
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_cell_is_slow(self):
        """Nobody waits long for words."""
        self.cloud.claim(self.add_gpus('gpu', 2), [self.gpu_request()])
        original = device_groups.load
        done = threading.Event()
        self.addCleanup(done.set)

        def load(*args, **kwargs):
            if args[5:] == (True,):
                done.wait(20)
            return original(*args, **kwargs)

        with fixtures.MonkeyPatch('pci_filter.db.device_groups.load', load):
            began = time.monotonic()
            self.assertIn(': on gpu, gpu asks for 2: 1 free.',
                          self.ask(self.gpu_request(2)))
        self.assertLess(time.monotonic() - began, 4)

    def test_many_hosts(self):
        """The rows of some are read, and what they lack alike is told once."""
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.rejections._READ', 4))
        for number in range(6):
            host = self.add_gpus(f'gpu{number}', 2, number % 2)
            self.cloud.claim(host, [self.gpu_request(2 - number // 5)])
        for number in range(3):
            self.add_host(f'nic{number}')
        read, told = [], []
        original = reasons.reason

        def reason(*args):
            told.append(args)
            return original(*args)

        idle_pools = pool_mapper.PoolMapper.idle_pools

        def idle(mapper, host_states, spec_obj):
            read.extend(state.host for state in host_states)
            return idle_pools(mapper, host_states, spec_obj)

        with fixtures.MonkeyPatch(
                'pci_filter.objects.reasons.reason', reason), \
                fixtures.MonkeyPatch(
                    'pci_filter.scheduler.pool_mapper.PoolMapper.idle_pools',
                    idle):
            line = self.ask(self.gpu_request(2))
        self.assertEqual(['gpu0', 'gpu1', 'gpu5', 'nic0'], sorted(read))
        self.assertEqual(
            'None of the 9 hosts that reached PciPassthroughFilter has: '
            'on 3, such as gpu5, gpu asks for 2: 2 devices 10de:1db6, 1 is '
            'free; on nic0, gpu asks for 2: none of 5 devices is 10de:1db6; '
            'on 3, such as gpu2, gpu asks for 2: 0 free; '
            'on 2, such as nic1, gpu asks for 2: 5 free, 0 match '
            'vendor_id=10de, product_id=1db6.', line)
        self.assertEqual(2, len(told))

    def test_host_states_of_nova(self):
        """The summary that tells the tags is still there to be asked."""
        hook.detach()
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.host_manager.HostManager.host_state_cls',
            lambda self, host, node, cell, **kwargs: Theirs(
                host, node, cell)))
        self.cloud.claim(self.add_gpus('gpu', 2), [self.gpu_request(2)])
        self.assertIn(
            'on gpu, gpu asks for 1: 2 devices 10de:1db6, 0 are free.',
            self.ask(self.gpu_request()))
        hook.detach()

    def test_some_unreadable(self):
        self.add_gpus('gpu', 1)
        self.add_gpus('gone', 1, 1)
        self.cloud.execute(self.cloud.cells[1], (
            'ALTER TABLE pci_devices RENAME COLUMN status TO state'))
        self.addCleanup(self.cloud.execute, self.cloud.cells[1], (
            'ALTER TABLE pci_devices RENAME COLUMN state TO status'))
        self.assertEqual(
            'None of the 2 hosts that reached PciPassthroughFilter is known '
            'to have: on gone, its device rows could not be read; on gpu, gpu '
            'asks for 2: 1 device 10de:1db6, 1 is free.',
            self.ask(self.gpu_request(2), on_load_failure='reject'))

    def test_many_kinds(self):
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.rejections._SHOWN', 1))
        for name in ('gpu0', 'gpu1'):
            self.add_gpus(name)
        self.add_host('nic')
        self.cloud.add_host(1, 'none', [], [])
        self.assertEqual(
            'None of the 4 hosts that reached PciPassthroughFilter has: '
            'on 2, such as gpu0, gpu asks for 2: 1 device 10de:1db6, 1 is '
            'free; on 2 more, something else.', self.ask(self.gpu_request(2)))


class TestLimit(NobodyTestCase):
    """What placement may have left out, if nobody can count it."""

    def setUp(self):
        super().setUp()
        self.patch(prefilter.Prefilter, 'count_others', lambda *args: None)

    def advice(self, limit, candidates, enabled=scheduling.PCI_FILTER):
        """Return the end of the line.

        :param candidates: how many each host has, by its name
        """
        self.override('scheduler', max_placement_results=limit)
        spec = scheduling.request_spec([base.vf_request(5)])
        self.assertFalse(Manager(self.our_manager(enabled)).schedule(spec, {
            self.cloud.hosts[name].node_uuid: number
            for name, number in candidates.items()}))
        *_, line = self.log_lines(f'INFO {REJECTIONS} ')
        _, _, advice = line.partition('are free.')
        if advice:
            self.assertRegex(line, documented.pattern('list-cut'))
        return advice

    def told(self, known, limit):
        return (f' Placement gave at least {known} allocation requests, and '
                f'[scheduler]max_placement_results is {limit}: it may have '
                'left out hosts that have the devices. Raise that option.')

    def test_limit(self):
        for number in range(3):
            self.add_host(f'host{number}')
        few = {'host0': 1, 'host1': 1, 'host2': 1}
        self.assertEqual('', self.advice(4, few))
        self.assertEqual(self.told(3, 3), self.advice(3, few))
        # It cuts allocation requests, not hosts.
        many = {'host0': 8, 'host1': 8, 'host2': 4}
        self.assertEqual('', self.advice(21, many))
        self.assertEqual(self.told(20, 20), self.advice(20, many))

    def test_filters_before_ours(self):
        """What they reject was given by placement as well."""
        for number in range(3):
            self.add_host(f'host{number}')
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.filters.compute_filter.ComputeFilter.host_passes',
            lambda self, host_state, spec: self.filter_hosts(host_state)))

        def filter_hosts(host_state):
            host_state.allocation_candidates = (
                host_state.allocation_candidates[:1])
            return host_state.host == 'host1'

        compute_filter.ComputeFilter.filter_hosts = staticmethod(filter_hosts)
        self.addCleanup(delattr, compute_filter.ComputeFilter, 'filter_hosts')
        candidates = {'host0': 2, 'host1': 2, 'host2': 2}
        enabled = ['ComputeFilter', 'PciPassthroughFilter']
        self.assertEqual('', self.advice(7, candidates, enabled))
        self.assertEqual(self.told(6, 6), self.advice(6, candidates, enabled))
        self.assertEqual(2, len(self.log_lines('The only host that reached')))

    def test_passed_by(self):
        """Of a HostState from elsewhere only what is there is known."""
        self.add_host('host0')
        original = nova_host_manager.HostManager.get_host_states_by_uuids

        def get_host_states_by_uuids(self, context, compute_uuids, spec_obj):
            return original(self, context, compute_uuids, None)

        self.useFixture(fixtures.MockPatch(
            'nova.scheduler.host_manager.HostManager.'
            'get_host_states_by_uuids', get_host_states_by_uuids))
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.host_manager.REPLACED', ()))
        self.assertEqual(self.told(4, 3), self.advice(3, {'host0': 4}))
        self.assertEqual('', self.advice(5, {'host0': 4}))
