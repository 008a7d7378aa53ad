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

"""Whatever Nova does to random hosts, the audit finds nothing wrong."""

import collections
import logging

import fixtures
import hypothesis
from hypothesis import strategies as st
from nova.pci import manager as nova_manager

from pci_filter.audit import kinds
from pci_filter.cli.audit import auditor
from pci_filter.compute import tracker as our_tracker
from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.fixture import scheduling
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import audit_servers
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests.functional.nova import computes
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import machine_wants


class TestAuditProperty(tests_base.PropertyMixin, base.NovaTestCase):

    cells = 1
    log_level = logging.CRITICAL

    def setUp(self):
        super().setUp()
        conf.register_opts(databases.CONF)
        self.booted = 0

    def add(self, machine, tracker):
        """Start a nova-compute, for the first time."""
        if machine.in_placement:
            machine = machine_wants.tracked(machine)
        compute = audit_servers.Compute(
            self.cloud, tracker, name=machine.name,
            topology=scheduling.host_numa_topology(machine.sockets)
            if machine.sockets else None, in_placement=machine.in_placement)
        compute.start(machine.device_spec, machine.devices)
        return machine, compute

    def boot(self, machine, compute, data):
        """Boot a server with some devices; return its UUID if that works."""
        want = data.draw(machine_wants.wants(machine, compute.pools()))
        try:
            uuid = compute.boot(*want.requests())
        except computes.Refused:
            # The next one must not suffer from what that left in memory.
            compute.start()
            return []
        self.booted += 1
        return [uuid]

    def find(self):
        url = self.cloud.cells[0].database_connection
        return [
            (one.finding.kind, one.finding.subject)
            for one in auditor.Auditor(
                commands.cells_of(url), kinds.FAULTS, 0).findings()]

    @staticmethod
    def split(compute):
        """Return the findings that are true of a random host.

        Netdevs of functions may differ, and their pools then; if they are in
        placement Nova refuses the host.
        """
        providers = collections.Counter(
            pool['rp_uuid'] for pool in compute.tracker.stats.pools
            if 'rp_uuid' in pool)
        return [('rp-split', rp_uuid) for rp_uuid in sorted(providers)
                if providers[rp_uuid] > 1]

    @tests_base.examples(12)
    @hypothesis.given(
        machine=fleets.machines(0), data=st.data(), tracker=st.sampled_from(
            (nova_manager.PciDevTracker, our_tracker.PciDevTracker)))
    def _check(self, machine, data, tracker):
        # A start reads device_spec, and asks for each address what is there.
        with fixtures.MonkeyPatch(
                'nova.pci.utils.is_physical_function',
                fleets.is_physical_function(machine.devices)):
            self.live(machine, data, tracker)

    def live(self, machine, data, tracker):
        """Let some things happen to a host, and audit it after each."""
        audit_servers.remove_all(self.cloud)
        self.cloud.reset()
        machine, compute = self.add(machine, tracker)
        running = []
        for step in data.draw(st.lists(st.sampled_from(
                ('boot', 'boot', 'boot', 'delete', 'report', 'restart')),
                min_size=1, max_size=8)):
            if step == 'boot':
                running += self.boot(machine, compute, data)
            elif step == 'delete' and running:
                compute.delete(running.pop())
            elif step == 'report':
                compute.report()
            elif step == 'restart':
                compute.start()
            self.assertEqual(self.split(compute), self.find(), step)

    def test_nothing_is_wrong(self):
        self._check()
        # Fewer would prove little.
        self.assertGreater(self.booted, 5 * tests_base.PART)
