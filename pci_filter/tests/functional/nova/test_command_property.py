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

"""What the commands say of random fleets is what the scheduler does there."""

import logging
import pathlib

import fixtures
import hypothesis

from pci_filter.cli import capacity
from pci_filter.cli import explain
from pci_filter.fixture import compute_host
from pci_filter.fixture import scheduling
from pci_filter.scheduler import first_place
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests.functional.nova import comparison

#: Verdicts on hosts, and hosts that are filled.
ENOUGH_VERDICTS = 800
ENOUGH_FILLED = 90


class TestCommandProperty(base.NovaTestCase):

    log_level = logging.CRITICAL

    def setUp(self):
        super().setUp()
        # One whose databases another process could read.
        self.cloud.close()
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.cloud = base.Cloud(cells=2, directory=directory)
        self.cloud.open()
        self.addCleanup(self.cloud.close)
        self.conf = self.useFixture(
            commands.NovaConf(directory, aliases=())).path

    def for_all(self, check, examples):
        hypothesis.seed(tests_base.SEED)(
            hypothesis.settings(
                max_examples=examples, deadline=None, database=None,
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck))(
                hypothesis.given(comparison.scenarios())(check)))()

    def build(self, scenario):
        comparison.build(
            self.cloud, scenario, lambda name, value: self.useFixture(
                fixtures.MonkeyPatch(name, value)))

    def run_command(self, command, requests, numa=None, *arguments):
        """Run a command about a server; return its rows by host."""
        spec = scheduling.request_spec(requests, numa)
        spec.create()
        _, rows = commands.run_here(
            command, f'--config-file={self.conf}',
            f'--instance={spec.instance_uuid}', *arguments)
        return spec, {row['host']: row for row in rows}

    def test_explain(self):
        """Its verdict is the filter's, with NUMA cells that of the pools.

        But for guests with NUMA nodes that nobody has placed: the filter
        looks for their place where it matters, and may not pass a host then.
        """
        verdicts = []

        def check(scenario):
            self.build(scenario)
            manager = self.our_manager()
            for want in scenario.wants:
                requests = want.requests()
                numa = scheduling.instance_numa_topology(
                    want.numa_nodes) if want.numa_nodes else None
                spec, rows = self.run_command(explain.Explain, requests, numa)
                states = scheduling.host_states(manager, spec)
                passing = scheduling.passing_hosts(manager, states, spec)
                explained = {
                    host for host, row in rows.items() if row['passes']}
                placed = {state.host for state in states
                          if first_place.matters(state, spec)}
                self.assertEqual(passing - placed, explained - placed)
                self.assertEqual(set(), passing - explained)
                verdicts.extend(row['passes'] for row in rows.values())
                if numa:
                    self.check_placed(
                        spec, requests, numa, scheduling.host_states(
                            manager, spec), verdicts)

        self.for_all(check, examples=25)
        print(f'explain: {len(verdicts)} verdicts, {sum(verdicts)} passed, '
              f'seed {tests_base.SEED}')
        self.assertGreater(len(verdicts), ENOUGH_VERDICTS)
        self.assertGreater(sum(verdicts), len(verdicts) // 20)
        self.assertLess(sum(verdicts), len(verdicts) * 19 // 20)

    def check_placed(self, spec, requests, numa, states, verdicts):
        """Compare with what NUMATopologyFilter asks the pools."""
        nodes = ','.join(str(cell.id) for cell in numa.cells)
        _, rows = commands.run_here(
            explain.Explain, f'--config-file={self.conf}',
            f'--instance={spec.instance_uuid}', f'--numa-cells={nodes}')
        for row in rows:
            state = next(
                state for state in states if state.host == row['host'])
            self.assertEqual(row['passes'], state.pci_stats.support_requests(
                requests, numa_cells=numa.cells))
            verdicts.append(row['passes'])

    def test_capacity(self):
        """As many as Nova's tracker grants before it refuses."""
        filled = []

        def check(scenario):
            self.build(scenario)
            for want in scenario.wants[:2]:
                if want.numa_nodes:
                    continue
                _, rows = self.run_command(
                    capacity.Capacity, want.requests())
                total = rows.pop(None)['instances']
                granted = {
                    name: self._grant(host, want)
                    for name, host in self.cloud.hosts.items()}
                self.assertEqual(granted, {
                    name: row['instances'] for name, row in rows.items()})
                self.assertEqual(sum(granted.values()), total)
                filled.extend(granted.values())

        self.for_all(check, examples=50)
        print(f'capacity: {len(filled)} hosts, {sum(map(bool, filled))} with '
              f'some, {sum(filled)} claims, seed {tests_base.SEED}')
        self.assertGreater(len(filled), ENOUGH_FILLED)
        self.assertGreater(sum(map(bool, filled)), len(filled) // 20)
        self.assertGreater(max(filled), 2)

    def _grant(self, host, want):
        """Claim until Nova refuses; return how often it worked."""
        self.cloud.restart(host)
        granted = []
        try:
            while True:
                granted.append(self.cloud.claim(host, want.requests()))
        except compute_host.ClaimFailed:
            pass
        for devices in granted:
            self.cloud.release(host, devices)
        return len(granted)
