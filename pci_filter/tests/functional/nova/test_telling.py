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

import nova.conf
from nova.scheduler.filters import pci_passthrough_filter as nova_filter

from pci_filter import conf
from pci_filter.fixture import scheduling
from pci_filter.scheduler import announcements
from pci_filter.scheduler.filters import pci_passthrough_filter
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

SAYS = announcements.__name__

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
            'on_load_failure=summary load_for=pci_requests '
            'reservations=local', line)

    def test_active_with_other_options(self):
        self.our_manager(
            on_load_failure='reject', load_for='all_requests',
            reservations='none', tag_sources=['pci_devices'])
        line, = self.log_lines(SAYS)
        self.assertTrue(line.endswith(
            ' tag_sources=pci_devices on_load_failure=reject '
            'load_for=all_requests reservations=none'), line)

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
