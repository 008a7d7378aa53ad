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

"""Where Nova and we take a text from outside, it means the same to both."""

import logging

from hypothesis import strategies as st
from nova import exception as nova_exception
from nova import objects as nova_objects
from nova.objects import pci_device_pool
from nova.pci import request as pci_request
import sqlalchemy as sa
import testtools

from pci_filter.fixture import databases
from pci_filter.fixture import scheduling
from pci_filter import model
from pci_filter import objects
from pci_filter.tags import pci_stats
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import nova_objects as conversion
from pci_filter.tests.functional.nova import test_device_spec_in_tree
from pci_filter.tests.fuzz import base as fuzz
from pci_filter.tests.fuzz import inputs
from pci_filter.tests.fuzz import values
from pci_filter.tests.scenarios import builders


class InTreeTestCase(fuzz.FuzzMixin, testtools.TestCase):

    def setUp(self):
        super().setUp()
        nova_objects.register_all()


class TestDeviceSpecs(InTreeTestCase):

    cost = 4

    def check(self, batch):
        return [self.check_one(text) for text in batch]

    def check_one(self, text):
        # To oslo.config '$' means something, and to us 'host'.
        if '$' in text or 'host' in text:
            return 'not for Nova'
        ours = test_device_spec_in_tree.ours([text])
        try:
            expected = test_device_spec_in_tree.in_tree([text])
        except nova_exception.PciDeviceNotFoundById:
            # Nova looks for the functions of a port in its host's /sys.
            return 'told by the host'
        if ours is None or expected is None:
            return ('refused' if ours is expected
                    else 'only Nova takes it' if ours is None
                    else 'only we take it')
        self.assertEqual(repr(expected), repr(ours), text)
        return 'taken'

    def test_same_tags(self):
        self.for_texts(values.DEVICE_SPECS, self.check)


class TestSummaries(InTreeTestCase):

    source = pci_stats.PciStatsTags(tests_base.options())

    def check(self, batch):
        return [self.check_one(text) for text in batch]

    def check_one(self, text):
        try:
            pools = [pool.to_dict() for pool
                     in pci_device_pool.from_pci_stats(text).objects]
        except Exception:
            return 'not for Nova'
        node = model.ComputeNode('uuid', 'host', 'node')
        told, expected = (
            [(look_up(kind), self.source.rp_uuid(one, kind))
             for kind in values.KINDS]
            for one in (node._replace(summary=text),
                        node._replace(summary=pools))
            for look_up in [self.source.for_node(one)])
        self.assertEqual(expected, told, text)
        return 'without pools' if not pools else 'with pools'

    def test_same_tags(self):
        self.for_texts(values.SUMMARIES, self.check)


POOLS = (
    builders.pf(live_migratable='true'), builders.vf(3, tier='gold'),
    builders.vf(2, address=builders.B, numa=1, live_migratable='false'),
    builders.vf(1, address=builders.C, numa=None, remote_managed='true'),
    builders.vdpa(1, ids=('8086', '154c')), builders.gpu(2))


class TestAliases(InTreeTestCase):
    """[pci]alias and the extra spec of a flavor, up to the verdict."""

    def setUp(self):
        super().setUp()
        self.ours = objects.PciDevicePoolList(
            builders.to_pools(POOLS),
            host_topology=conversion.to_topology((0, 1)))
        self.in_tree = conversion.to_stats(POOLS, (0, 1))
        # Some releases keep what they have parsed.
        self.forget = getattr(getattr(
            pci_request, 'get_alias_from_config', None), 'cache_clear', int)
        self.addCleanup(self.forget)

    def check(self, batch):
        return [self.check_one(*one) for one in batch]

    def check_one(self, alias, wanted, guest):
        self.forget()
        try:
            with databases.overriding('pci', alias=[alias]):
                requests = pci_request.get_pci_requests_from_flavor(
                    nova_objects.Flavor(extra_specs={
                        'pci_passthrough:alias': wanted})).requests
        except Exception:
            return 'refused'
        asked = requests, None, conversion.to_cells(guest)
        fits = self.ours.supports_requests(*asked)
        self.assertEqual(
            self.in_tree.support_requests(*asked), fits,
            (alias, wanted, guest))
        self.assertEqual(fits, self.ours.explain_requests(*asked).fits)
        return 'fits' if fits else 'does not fit'

    def test_same_verdict(self):
        self.for_all(st.tuples(
            inputs.mutated(values.ALIASES), st.one_of(
                values.FLAVORS, inputs.mutated(values.FLAVORS)),
            st.sampled_from(((), (), (0,), (1,), (0, 1), (2,)))), self.check)


class TestScheduler(fuzz.FuzzMixin, base.NovaTestCase):
    """Summaries and extra_info that make no sense, in a real scheduler."""

    # Nova's columns on MariaDB are utf8mb3, and refuse much of it.
    cell_urls = ()
    cells = 1
    batch = 10
    cost = 10
    log_level = logging.WARNING

    def setUp(self):
        super().setUp()
        self.hosts = [self.add_host(f'host{number:02}', functions=2)
                      for number in range(self.batch + 1)]
        self.manager = self.our_manager()
        self.spec = scheduling.request_spec([
            scheduling.pci_request({'physical_network': 'physnet1'})])

    def ask(self):
        states = scheduling.host_states(self.manager, self.spec)
        self.assertEqual(len(self.hosts), len(states))
        for state in states:
            self.assertIsInstance(state.pci_stats, objects.PciDevicePoolList)
            self.assertGreaterEqual(len(state.pci_stats.pools), 0)
        last = states[-1].pci_stats.pools
        self.assertEqual({'type-PF': 1, 'type-VF': 2}, {
            pool['dev_type']: pool['count'] for pool in last})
        passed = scheduling.passing_hosts(self.manager, states, self.spec)
        self.assertIn(states[-1].host, passed)
        self.assertEqual([], self.log_lines('pci_filter.scheduler.failures'))
        return ['passes' if state.host in passed else 'does not pass'
                for state in states[:-1]]

    def check(self, batch):
        with self.cloud.engine(self.hosts[0].cell).begin() as connection:
            for host, (summary, extra_info) in zip(self.hosts, batch):
                connection.execute(sa.text(
                    'UPDATE compute_nodes SET pci_stats = :text '
                    'WHERE id = :node'), {
                        'text': summary, 'node': host.node_id})
                connection.execute(sa.text(
                    'UPDATE pci_devices SET extra_info = :text '
                    'WHERE compute_node_id = :node'), {
                        'text': extra_info, 'node': host.node_id})
        return self.ask()

    def test_no_request_fails(self):
        summaries = st.one_of(
            values.SUMMARIES, st.just(self.cloud.summary(self.hosts[0])))
        self.for_all(
            st.tuples(inputs.mutated(summaries), inputs.mutated(
                st.just('{"parent_ifname": "ens129f0np0"}'))), self.check)
