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

"""The scheduler's verdict on a host equals what a claim does there.

PCI_FILTER_SEED is where to start (pci_filter.tests.base, _seed).
"""

import collections
import logging
import sys
import typing

import fixtures
import hypothesis
from nova.pci import stats

from pci_filter.fixture import scheduling
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import comparison
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import servers
from pci_filter.tests.functional.nova import wants

#: Decisions of each run over rows, and of each over tags by address. A host
#: that the filter and the pools are asked about counts once.
ENOUGH = 5000
ENOUGH_BY_ADDRESS = 2000


def falsify(count: int) -> int:
    """Return a wrong count: too high where it was low, and none otherwise."""
    return 50 if count < 2 else 0


class TestProperty(base.NovaTestCase):

    #: What part of all examples are tried, and where to start.
    part = tests_base.PART / 2
    seed = tests_base.SEED
    log_level = logging.CRITICAL

    def replace(self, name: str, value: typing.Any) -> None:
        self.useFixture(fixtures.MonkeyPatch(name, value))

    def for_all(
        self, check: typing.Callable[[comparison.Scenario], None],
        examples: int, by_address: bool = False,
    ) -> None:
        """Run a check on random scenarios, the same ones for a seed."""
        hypothesis.seed(self.seed)(
            hypothesis.settings(
                max_examples=int(examples * self.part),
                deadline=None, database=None,
                # Shrinking takes minutes; a disagreement is short as it is.
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck))(
                hypothesis.given(comparison.scenarios(by_address))(check)))()

    def report(self, comparisons: typing.Iterable[comparison.Comparison],
               enough: int) -> None:
        enough = int(enough * self.part)
        if self.part < 0.5:
            # A few examples may happen to be small ones.
            enough //= 2
        for compared in comparisons:
            # The original, as stestr captures the other.
            print(f'property {compared}, seed {tests_base.SEED}, '
                  f'{type(self).__name__}', file=sys.__stdout__, flush=True)
            self.assertEqual([], compared.disagreements)
            self.assertGreaterEqual(compared.decisions, enough)
            # No verdict, or next to none, would prove little.
            self.assertGreater(compared.passed, compared.decisions // 20)
            self.assertLess(compared.passed, compared.decisions * 19 // 20)
            self.assertGreater(compared.kinds['numa'], enough // 20)
            self.assertGreater(compared.kinds['providers'], enough // 20)
            self.assertGreater(compared.kinds['filter'], enough // 20)

    def compare(
        self, compared: comparison.Comparison, scenario: comparison.Scenario,
        truth: typing.Any, pools_too: bool = True, **options: typing.Any,
    ) -> None:
        """Ask a scheduler and compare it with the truth.

        :param options: of the [pci_filter] section
        """
        manager = self.our_manager(**options)
        states = comparison.load_states(self.cloud, manager, scenario)
        for some in states:
            self.assertEqual(len(scenario.machines), len(some))
        if pools_too:
            compared.compare_pools(self.cloud, scenario, states.tracked)
        compared.compare_verdicts(
            self.cloud, scenario, truth, manager, states)
        if compared.disagreements:
            self.fail(f'{compared.disagreements[0]}\nseed {tests_base.SEED}')

    def device_spec(self, scenario: comparison.Scenario) -> list[str]:
        return [value for machine in scenario.machines
                for value in machine.our_device_spec()]

    def store_summaries(self, change: typing.Any) -> None:
        for host in self.cloud.hosts.values():
            change(host)

    def test_rows_decide(self) -> None:
        """Summary as it is, with wrong counts, and gone."""
        plain = comparison.Comparison('rows, summary as stored')
        false = comparison.Comparison('rows, every count falsified')
        empty = comparison.Comparison('rows, pci_stats NULL, device_spec')

        def check(scenario: comparison.Scenario) -> None:
            comparison.build(self.cloud, scenario, self.replace)
            truth = comparison.find_truth(self.cloud, scenario)
            self.compare(plain, scenario, truth)
            self.store_summaries(
                lambda host: self.cloud.falsify_counts(host, falsify))
            self.compare(false, scenario, truth)
            self.store_summaries(
                lambda host: self.cloud.store_summary(host, None))
            self.compare(empty, scenario, truth,
                         device_spec=self.device_spec(scenario))

        self.for_all(check, examples=205)
        self.report((plain, false, empty), ENOUGH)

    def test_tags_by_address(self) -> None:
        """Functions of one port with different tags, from device_spec.

        The summary alone cannot tell them apart: it must not promise then.
        """
        known = comparison.Comparison('tags by address, device_spec')
        blind = comparison.Comparison(
            'tags by address, summary only, passes', one_sided=True)

        def check(scenario: comparison.Scenario) -> None:
            comparison.build(self.cloud, scenario, self.replace)
            truth = comparison.find_truth(self.cloud, scenario)
            self.compare(blind, scenario, truth, pools_too=False)
            self.store_summaries(
                lambda host: self.cloud.store_summary(host, None))
            self.compare(known, scenario, truth,
                         device_spec=self.device_spec(scenario))

        self.for_all(check, examples=80, by_address=True)
        self.report((known, blind), ENOUGH_BY_ADDRESS)

    def test_what_is_left_out_fits_nowhere(self) -> None:
        """Hosts that Nova does not get to load would refuse the claim."""
        counts: collections.Counter[str] = collections.Counter()
        self.replace('pci_filter.scheduler.prefilter.WORTH', 0)

        def check(scenario: comparison.Scenario) -> None:
            comparison.build(self.cloud, scenario, self.replace)
            truth = comparison.find_truth(self.cloud, scenario)
            manager = self.our_manager()
            everywhere = self.our_manager(narrow=False)
            for number in range(len(scenario.wants)):
                # All devices are read for every other one.
                self.replace('pci_filter.db.fitting_nodes._BY_INDEX',
                             number % 2 * 99)
                check_want(scenario, truth, manager, everywhere, number)

        def check_want(
            scenario: comparison.Scenario, truth: typing.Any,
            manager: typing.Any, everywhere: typing.Any, number: int,
        ) -> None:
            spec = scheduling.request_spec(scenario.wants[number].requests())
            narrowed = manager.enabled_filters[0].pool_mapper.prefilter.narrow(
                spec._context, manager,
                [host.node_uuid for host in self.cloud.hosts.values()], spec)
            loaded = scheduling.host_states(everywhere, spec)
            passing = scheduling.passing_hosts(everywhere, loaded, spec)
            for name, host in self.cloud.hosts.items():
                known = truth.get((number, name))
                if known is None:
                    continue
                counts['fits'] += known.error is None
                counts['asked'] += 1
                if host.node_uuid not in narrowed.survivors:
                    counts['left out'] += 1
                    self.assertNotIn(name, passing)
                    self.assertIsNotNone(
                        known.error, f'{name}, {scenario.wants[number]}, '
                        f'seed {tests_base.SEED}')

        self.for_all(check, examples=40)
        print(f'property what is left out: {dict(counts)}',
              file=sys.__stdout__, flush=True)
        enough = int(400 * self.part)
        self.assertGreater(counts['asked'], enough)
        self.assertGreater(counts['left out'], enough // 10)
        self.assertGreater(counts['fits'], enough // 20)


class TestPropertyElsewhere(TestProperty):
    """The other half of the examples: two workers share what takes longest."""

    seed = tests_base.SEED + 1


class TestPropertyMySQL(servers.MySQLMixin, TestProperty):
    part = servers.PART_OF_EXAMPLES


class TestPropertyPostgreSQL(servers.PostgreSQLMixin, TestProperty):
    part = servers.PART_OF_EXAMPLES


class TestComparison(base.NovaTestCase):
    """The comparison does see a scheduler that is wrong."""

    log_level = logging.CRITICAL

    def setUp(self) -> None:
        super().setUp()
        port = '0000:81:00.0'
        ids = {'vendor_id': '8086', 'numa_node': 0, 'label': 'x'}
        devices: list[fleets.Device] = [
            {**ids, 'address': port, 'product_id': '10fb', 'dev_id': 'pf',
             'dev_type': fleets.PF}]
        devices += [
            {**ids, 'address': f'0000:81:02.{n}', 'product_id': '10ed',
             'dev_type': fleets.VF, 'dev_id': f'vf{n}', 'parent_addr': port}
            for n in range(2)]
        wanted = [
            wants.Ask(({'vendor_id': '8086', 'product_id': product},), count,
                      'alias', 'legacy')
            for product, count in (('10ed', 1), ('10ed', 3))]
        port_asked = wants.Ask((
            {'vendor_id': '8086', 'product_id': '10fb', 'dev_type': 'type-PF'},
        ), 1, 'alias', 'legacy')
        self.scenario = comparison.Scenario(
            (fleets.Machine('host0', 0, tuple(devices),
                            ({'vendor_id': '8086'},), None, False),),
            (),
            (wants.Want((wanted[0],), (), 0), wants.Want((wanted[1],), (), 0),
             wants.Want((port_asked, wanted[0]), (), 0)))
        comparison.build(
            self.cloud, self.scenario,
            lambda *args: self.useFixture(fixtures.MonkeyPatch(*args)))
        self.truth = comparison.find_truth(self.cloud, self.scenario)
        self.compared = comparison.Comparison('harness')

    def compare(self, manager: typing.Any) -> list[str]:
        states = comparison.load_states(self.cloud, manager, self.scenario)
        self.compared.compare_pools(
            self.cloud, self.scenario, states.tracked)
        self.compared.compare_verdicts(
            self.cloud, self.scenario, self.truth, manager, states)
        return [wrong for wrong in self.compared.disagreements]

    def test_ours_is_right(self) -> None:
        self.assertEqual([], self.compare(self.our_manager()))
        self.assertEqual((3, 1), (
            self.compared.decisions, self.compared.passed))

    def test_in_tree_promises_port_with_its_functions(self) -> None:
        pools, = self.compare(self.cloud.host_manager())[:1]
        self.assertIn("'dev_type': 'type-PF'", pools)
        self.assertIn('PciDeviceRequestFailed', pools)
        # Once by the pools and once by the filter.
        self.assertEqual(2, len(self.compared.disagreements))

    def test_in_tree_is_misled_by_counts(self) -> None:
        self.cloud.falsify_counts(self.cloud.hosts['host0'], falsify)
        wrong = self.compare(self.cloud.host_manager())
        self.assertIn("fresh tracker's pools", wrong[0])
        self.assertIn("'verdict': False", wrong[1])
        self.assertIn("claim's error\": None", wrong[1])

    def test_in_tree_pools_decide(self) -> None:
        """Our filter, but the hook lets Nova's pools stay."""
        self.cloud.falsify_counts(self.cloud.hosts['host0'], falsify)
        manager = self.our_manager()
        manager.enabled_filters[0].pool_mapper.map_pools = (
            lambda context, manager, states, *args: states)
        self.assertNotEqual([], self.compare(manager))
        self.assertIsInstance(
            scheduling.host_states(manager, None)[0].pci_stats,
            stats.PciDeviceStats)
