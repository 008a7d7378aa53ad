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

"""What the scheduler says of itself: whether it decides, and by what."""

import importlib.metadata

import fixtures
import nova.conf
from nova import objects as nova_objects
from nova.scheduler.filters import pci_passthrough_filter as nova_filter

from pci_filter.compute import tracker
from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.reservations import memcached
from pci_filter.scheduler import announcements
from pci_filter.scheduler import fallback
from pci_filter.scheduler.filters import pci_passthrough_filter
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import test_degradation

SAYS = announcements.__name__
TALLY = fallback.__name__

IN_TREE, OURS = scheduling.OUR_FILTERS
NOVAS = ('nova.scheduler.filters.pci_passthrough_filter.'
         'PciPassthroughFilter')
THEIRS = f'{__name__}.their_filters'


class PciPassthroughFilter(nova_filter.PciPassthroughFilter):
    """A filter of a third package, with the same name."""


def their_filters():
    # As a package may do that extends ours.
    return [*pci_passthrough_filters(), PciPassthroughFilter]


def pci_passthrough_filters():
    from pci_filter.scheduler import filters
    return filters.all_filters()


class TestWhoDecides(base.NovaTestCase):
    """A HostManager of Nova's, as nova-scheduler makes it."""

    def setUp(self):
        super().setUp()
        announcements.forget()
        self.addCleanup(announcements.forget)

    def manager(self, *available, enabled=scheduling.PCI_FILTER):
        conf.register_opts(nova.conf.CONF)
        return self.cloud.host_manager(enabled, available)

    def test_active(self):
        for _ in range(2):
            manager = self.manager(IN_TREE, OURS)
            self.assertIsInstance(
                manager.enabled_filters[0],
                pci_passthrough_filter.PciPassthroughFilter)
        line, = self.log_lines(SAYS)
        self.assertRegex(line, documented.pattern('active'))
        self.assertIn(
            f' version={importlib.metadata.version("pci_filter")}. '
            'PciPassthroughFilter of pci_filter decides PCI requests from '
            'pci_devices, with tag_sources=pci_devices,device_spec,pci_stats '
            'on_load_failure=summary load_for=pci_requests load_timeout=10 '
            'narrow=true widen_to=20 reservations=local', line)

    def test_active_with_other_options(self):
        self.our_manager(
            on_load_failure='reject', load_for='all_requests',
            reservations='none', tag_sources=['pci_devices'],
            load_timeout=3, narrow=False, widen_to=0)
        line, = self.log_lines(SAYS)
        self.assertTrue(line.endswith(
            ' tag_sources=pci_devices on_load_failure=reject '
            'load_for=all_requests load_timeout=3 narrow=false widen_to=0 '
            'reservations=none'), line)
        self.assertRegex(line, documented.pattern('active'))

    def test_lines_reversed(self):
        for _ in range(2):
            manager = self.manager(OURS, IN_TREE)
            self.assertIs(nova_filter.PciPassthroughFilter,
                          type(manager.enabled_filters[0]))
        line, = self.log_lines(SAYS)
        self.assertTrue(documented.pattern('overruled').fullmatch(line), line)

    def test_who_is_taken(self):
        """What is said is what Nova does, however the lines stand."""
        for available in (
                [IN_TREE, OURS], [OURS, IN_TREE], [OURS],
                [OURS, IN_TREE, OURS], [IN_TREE, OURS, IN_TREE],
                [IN_TREE, OURS, NOVAS], [NOVAS, OURS], [OURS, NOVAS]):
            announcements.forget()
            before = len(self.log_lines(SAYS))
            taken = type(self.manager(*available).enabled_filters[0])
            line, = self.log_lines(SAYS)[before:]
            self.assertRegex(line, documented.pattern(
                'active' if issubclass(
                    taken, pci_passthrough_filter.PciPassthroughFilter)
                else 'overruled'), available)

    def test_filter_of_a_third_package(self):
        """Its names tell nothing; to load it here would not come to an end."""
        manager = self.manager(OURS, THEIRS)
        self.assertIs(PciPassthroughFilter, type(manager.enabled_filters[0]))
        self.assertEqual([], self.log_lines(SAYS))

    def test_not_enabled(self):
        for available in ([OURS, IN_TREE], [IN_TREE, OURS]):
            self.manager(*available, enabled=['ComputeFilter'])
        self.manager(IN_TREE)
        self.assertEqual([], self.log_lines(SAYS))


class FallbackTestCase(test_degradation.DegradationTestCase):
    """The tally of what is decided by fallback, with a clock of ours."""

    def setUp(self):
        super().setUp()
        self.now = 0.0

    def timed(self, manager):
        failures = manager.enabled_filters[0].pool_mapper.failures
        failures.fallback.clock = lambda: self.now
        return manager

    def told(self):
        return self.log_lines(f' {TALLY} ')

    def named(self, *numbers):
        return ','.join(f'{cell.name}({cell.uuid})' for cell in (
            self.cloud.cells[number] for number in numbers))

    def check(self, line, name, *texts, rejects=False):
        self.assertTrue(documented.pattern(name).fullmatch(line), line)
        for text in (*texts, 'on_load_failure=' + (
                'reject' if rejects else 'summary')):
            self.assertIn(f' {text}', line + ' ')


class TestFallback(FallbackTestCase):

    def check_cell(self, **options):
        """See what is told of a cell that cannot be read for a while."""
        before = len(self.told())
        manager = self.timed(self.our_manager(**options))
        self.ask(manager)
        self.execute('ALTER TABLE pci_devices RENAME TO away')
        for _ in range(3):
            self.ask(manager)
            self.now += 21
        self.assertEqual(before, len(self.told()))
        self.spec = scheduling.request_spec([base.vf_request()])
        self.ask(manager)
        self.ask(manager)
        self.execute('ALTER TABLE away RENAME TO pci_devices')
        for _ in range(2):
            self.ask(manager)
        warned, over = self.told()[before:]
        instance = f'instance={self.spec.instance_uuid} '
        rejects = 'on_load_failure' in options
        self.check(warned, 'fallback', 'requests=4 hosts=8 ', instance,
                   f'cells={self.named(0)} ', 'seconds=63 ', rejects=rejects)
        self.check(over, 'fallback-over', 'requests=5 hosts=10 ', instance,
                   f'cells={self.named(0)} ', 'seconds=63 ', rejects=rejects)

    def test_cell(self):
        self.check_cell()

    def test_cell_rejects(self):
        self.check_cell(on_load_failure='reject')

    def test_cell_that_nobody_asks_meanwhile(self):
        """Requests for another cell do not tell that it is over."""
        manager = self.timed(self.our_manager())
        self.execute('ALTER TABLE pci_devices RENAME TO away')
        self.ask(manager)
        self.execute('ALTER TABLE away RENAME TO pci_devices')
        everywhere, elsewhere = self.spec, scheduling.request_spec(
            [base.vf_request()],
            requested_destination=nova_objects.Destination(
                cell=self.cloud.cells[1], allow_cross_cell_move=False))
        self.spec = elsewhere
        self.ask(manager)
        self.assertEqual([], self.told())
        self.spec = everywhere
        self.ask(manager)
        line, = self.told()
        self.check(line, 'fallback-over', 'requests=1 hosts=2 ')

    def test_all_cells(self):
        def trouble(*args, **kwargs):
            raise RuntimeError('no threads left')

        manager = self.timed(self.our_manager())
        with fixtures.MonkeyPatch(
                'pci_filter.scheduler.cell_reader.CellReader', trouble):
            self.ask(manager)
            self.now += 60
            self.ask(manager)
        self.ask(manager)
        for name, line in zip(('fallback', 'fallback-over'), self.told()):
            self.check(line, name, 'requests=2 hosts=8 ')
            for number in (0, 1):
                self.assertIn(self.named(number), line)

    def test_request(self):
        """It cannot be read at all; that it is over, time tells."""
        manager = self.timed(self.our_manager())
        cells = manager.cells
        self.ask(manager, lambda: setattr(manager, 'cells', None))
        manager.cells = cells
        self.now += 30
        self.ask(manager)
        self.assertEqual([], self.told())
        self.now += 30
        self.ask(manager)
        line, = self.told()
        self.check(line, 'fallback-over', 'requests=1 hosts=4 ', 'seconds=60')

    def test_decisions(self):
        """Requests that pools cannot decide, among others that they can."""
        manager = self.timed(self.our_manager())
        fine, broken = self.spec, scheduling.request_spec([base.vf_request()])
        for one in broken.pci_requests.requests[0].spec:
            # Nova's field would refuse it.
            dict.__setitem__(one, 'vendor_id', ['8086'])
        for self.spec in (broken, fine, broken, fine):
            self.ask(manager)
            self.now += 15
        self.ask(manager)
        line, = self.told()
        self.check(line, 'fallback', 'requests=2 hosts=8 ', 'seconds=60',
                   f'instance={broken.instance_uuid} ')

    def test_healthy(self):
        manager = self.timed(self.our_manager())
        for _ in range(3):
            self.now += 100
            self.ask(manager)
        self.assertEqual([], self.told())


class TestHostFallback(
        test_degradation.HostFailsTestCase, FallbackTestCase):

    def test_host(self):
        manager = self.timed(self.manager())
        self.ask(manager)
        self.now += 60
        self.ask(manager)
        self.source.broken = False
        self.now += 60
        self.ask(manager)
        warned, over = self.told()
        self.check(warned, 'fallback', 'requests=2 hosts=2 ',
                   f'cells={self.named(0)} ')
        self.check(over, 'fallback-over', 'requests=2 hosts=2 ')


class TestOtherLines(base.NovaTestCase):
    """Lines of ours on the page that no other test compares with it."""

    cells = 1

    def test_differing_tags(self):
        self.cloud.add_host(
            0, 'host0', hardware.network_card(
                hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4),
            ['{"address": "*:81:*.3", "tier": "gold"}',
             '{"address": "*:81:*.*", "tier": "silver"}'])
        manager = self.our_manager()
        spec = scheduling.request_spec([base.vf_request()])
        for _ in range(2):
            scheduling.host_states(manager, spec)
        line, = self.log_lines('WARNING pci_filter.scheduler.unknown_tags')
        self.assertTrue(
            documented.pattern('differing-tags').fullmatch(line), line)

    def test_tags_too_long(self):
        self.add_host('host0')
        self.cloud.add_host(
            0, 'long', [hardware.gpu(0x3b, None)],
            ['{"vendor_id": "10de", "rack": "%s"}' % ('r' * 500)],
            tracker=tracker.PciDevTracker)
        line, = self.log_lines('WARNING pci_filter.compute.device_tags')
        self.assertTrue(
            documented.pattern('tags-too-long').fullmatch(line), line)

    def test_local_servers(self):
        with databases.overriding(
                'pci_filter', reservation_servers=['localhost:11211']):
            memcached.MemcachedStore(nova.conf.CONF)
        line, = self.log_lines('WARNING pci_filter.reservations')
        self.assertTrue(
            documented.pattern('local-servers').fullmatch(line), line)
