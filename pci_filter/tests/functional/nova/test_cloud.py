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

"""The embedded cloud that the demo and the property tests stand on."""

import collections
import json
import pathlib
import tempfile

import fixtures
import nova.conf
from nova import context as nova_context
from nova.db.api import api as api_db
from nova.db.main import api as main_db
from nova.db.main import models
from nova.db import migration
from nova import objects
import sqlalchemy as sa
import testtools

from pci_filter.fixture import cloud as embedded_cloud
from pci_filter.fixture import compute_host
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling

CONF = nova.conf.CONF

CARD = hardware.network_card(hardware.INTEL_X710, 0x81, 0, ports=1, vfs=2)
SPEC = [json.dumps({'address': '*:81:*.*', 'physical_network': 'physnet1'})]

VF = {'physical_network': 'PhysNet1'}
PF = {'physical_network': 'physnet1', 'dev_type': 'type-PF'}


def requests(*specs):
    return [scheduling.pci_request(spec) for spec in specs]


def pool_counts(pools):
    return {(pool['dev_type'], pool['address']): pool['count']
            for pool in pools}


class TestEmbeddedCloud(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        self.cloud = embedded_cloud.EmbeddedCloud(cells=2)
        self.cloud.open()
        self.addCleanup(self.cloud.close)

    def _add(self, name='host', cell=0, **kwargs):
        return self.cloud.add_host(cell, name, CARD, SPEC, **kwargs)

    def _statuses(self, host):
        with self.cloud.target(host.cell) as context:
            devices = objects.PciDeviceList.get_by_compute_node(
                context, host.node_id)
        return collections.Counter(
            (device.dev_type, device.status) for device in devices)

    def _summary_counts(self, host):
        summary = json.loads(self.cloud.summary(host))
        pools = [pool['nova_object.data']
                 for pool in summary['nova_object.data']['objects']]
        return {pool['tags']['dev_type']: pool['count'] for pool in pools}

    def test_databases_are_at_the_head_of_novas_migrations(self):
        head = migration.db_version('main')
        self.assertIsNotNone(head)
        self.assertIsNotNone(migration.db_version('api'))
        for cell in self.cloud.cells:
            with self.cloud.target(cell) as context:
                self.assertEqual(
                    head, migration.db_version('main', context=context))

    def test_a_host_is_known_to_nova(self):
        host = self._add(cell=1)
        context = nova_context.get_admin_context()
        mapping = objects.HostMapping.get_by_host(context, 'host')
        self.assertEqual(
            self.cloud.cells[1].uuid, mapping.cell_mapping.uuid)
        with self.cloud.target(host.cell) as context:
            node = objects.ComputeNode.get_by_uuid(context, host.node_uuid)
            self.assertEqual(host.node_id, node.id)
            objects.Service.get_by_compute_host(context, 'host')

    def test_summary_is_what_a_fresh_tracker_counts(self):
        host = self._add()
        self.assertEqual(
            {'type-PF': 1, 'type-VF': 2}, self._summary_counts(host))
        self.assertEqual(
            {('type-PF', '0000:81:00.0'): 1, ('type-VF', '0000:81:00.0'): 2},
            pool_counts(self.cloud.tracker(host).stats.pools))

    def test_claim_is_stored(self):
        host = self._add()
        devices = self.cloud.claim(host, requests(VF))
        self.assertEqual(['type-VF'], [d.dev_type for d in devices])
        self.assertEqual(
            {('type-PF', 'unavailable'): 1, ('type-VF', 'available'): 1,
             ('type-VF', 'allocated'): 1}, self._statuses(host))
        self.assertEqual({'type-VF': 1}, self._summary_counts(host))

    def test_claim_without_allocation(self):
        host = self._add()
        self.cloud.claim(host, requests(PF), allocate=False)
        self.assertEqual(
            {('type-PF', 'claimed'): 1, ('type-VF', 'unclaimable'): 2},
            self._statuses(host))

    def test_emptied_pool_stays_in_the_summary_until_restart(self):
        host = self._add()
        self.cloud.claim(host, requests(VF, VF))
        self.assertEqual({'type-VF': 0}, self._summary_counts(host))
        self.cloud.restart(host)
        self.assertEqual({}, self._summary_counts(host))

    def test_failed_claim_stores_nothing(self):
        host = self._add()
        before = self._statuses(host), self.cloud.summary(host)
        error = self.assertRaises(
            compute_host.ClaimFailed, self.cloud.claim, host,
            requests(PF, VF))
        self.assertEqual('host', error.host)
        self.assertEqual(
            before, (self._statuses(host), self.cloud.summary(host)))
        # And the host goes on working.
        self.cloud.claim(host, requests(PF))

    def test_claim_on_a_host_without_devices_fails(self):
        host = self.cloud.add_host(0, 'bare', [], [])
        self.assertEqual(
            'Claim pci failed', self.cloud.claim_error(host, requests(VF)))

    def test_trying_a_claim_stores_nothing(self):
        host = self._add()
        before = self._statuses(host), self.cloud.summary(host)
        self.assertIsNone(self.cloud.claim_error(host, requests(VF, VF)))
        self.assertEqual(
            'Claim pci failed',
            self.cloud.claim_error(host, requests(VF, VF, VF)))
        self.assertEqual(
            before, (self._statuses(host), self.cloud.summary(host)))

    def test_numa_affinity_decides(self):
        host = self._add(numa_topology=scheduling.host_numa_topology([0, 1]))
        wanted = [scheduling.pci_request(VF, numa_policy='required')]
        near = scheduling.instance_numa_topology([0])
        far = scheduling.instance_numa_topology([1])
        self.assertIsNone(self.cloud.claim_error(host, wanted, near))
        self.assertIsNotNone(self.cloud.claim_error(host, wanted, far))

    def test_devices_in_placement(self):
        host = self._add(in_placement=True)
        pools = self.cloud.tracker(host).stats.pools
        self.assertEqual(1, len({pool['rp_uuid'] for pool in pools}))
        self.assertIn(pools[0]['rp_uuid'], self.cloud.summary(host))

    def test_falsified_counts(self):
        host = self._add()
        self.cloud.falsify_counts(host, lambda count: count + 40)
        self.assertEqual(
            {'type-PF': 41, 'type-VF': 42}, self._summary_counts(host))
        self.assertEqual(2, len(self.cloud.tracker(host).stats.pools))

    def test_summary_can_be_null_or_nonsense(self):
        host = self._add()
        self.cloud.falsify_summary(host, lambda summary: None)
        self.assertIsNone(self.cloud.summary(host))
        self.cloud.store_summary(host, '{')
        self.assertEqual('{', self.cloud.summary(host))

    def test_scheduler_sees_all_cells(self):
        self._add('full', cell=0)
        self._add('free', cell=1)
        self.cloud.claim(self.cloud.hosts['full'], requests(VF, VF))
        manager = self.cloud.host_manager()
        spec = scheduling.request_spec(requests(VF))
        states = scheduling.host_states(manager, spec)
        self.assertEqual(['free', 'full'], [state.host for state in states])
        self.assertEqual(
            {'free'}, scheduling.passing_hosts(manager, states, spec))

    def test_filters_that_look_at_more_than_pci_can_run(self):
        self._add(numa_topology=scheduling.host_numa_topology([0, 1]))
        manager = self.cloud.host_manager(
            ['PciPassthroughFilter', 'NUMATopologyFilter'])
        spec = scheduling.request_spec(
            requests(VF), scheduling.instance_numa_topology([0]))
        states = scheduling.host_states(manager, spec)
        self.assertEqual(
            {'host'}, scheduling.passing_hosts(manager, states, spec))

    def test_reset(self):
        self._add()
        self.cloud.reset()
        self.assertEqual({}, self.cloud.hosts)
        for cell in self.cloud.cells:
            with self.cloud.target(cell) as context:
                engine = main_db.get_engine(context=context)
                with engine.connect() as connection:
                    for model in (models.PciDevice, models.ComputeNode,
                                  models.Service):
                        self.assertEqual(0, connection.scalar(
                            sa.select(sa.func.count()).select_from(model)))
        # The same name is free again, in another cell too.
        self._add(cell=1)


class TestLifeCycle(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def test_nothing_is_left_behind(self):
        def globals_of_nova():
            return (api_db.context_manager._factory,
                    main_db.context_manager._factory,
                    dict(CONF.database), dict(CONF.api_database),
                    dict(CONF.filter_scheduler), dict(CONF.pci))
        with embedded_cloud.EmbeddedCloud():
            # Registers options that are there for good.
            pass
        before = globals_of_nova()
        # Where tempfile puts things is read once per process.
        earlier, tempfile.tempdir = tempfile.tempdir, str(self.directory)
        self.addCleanup(setattr, tempfile, 'tempdir', earlier)

        def fail_inside():
            with embedded_cloud.EmbeddedCloud() as cloud:
                cloud.add_host(0, 'host', CARD, SPEC)
                cloud.host_manager()
                self.assertNotEqual([], list(self.directory.iterdir()))
                raise KeyboardInterrupt()

        self.assertRaises(KeyboardInterrupt, fail_inside)
        self.assertEqual([], list(self.directory.iterdir()))
        self.assertEqual(before, globals_of_nova())
        self.assertEqual({}, nova_context.CELL_CACHE)

    def test_given_directory_stays(self):
        with embedded_cloud.EmbeddedCloud(1, directory=self.directory):
            pass
        self.assertEqual(
            {'api.db', 'cell0.db', 'cell1.db'},
            {path.name for path in self.directory.iterdir()})

    def test_faulty_device_spec_of_a_host(self):
        with embedded_cloud.EmbeddedCloud(1) as cloud:
            self.assertRaises(
                nova.exception.PciConfigInvalidSpec, cloud.add_host,
                0, 'host', CARD, ['{'])
            self.assertEqual([], CONF.pci.device_spec)
            # The transaction was rolled back, so the name is free.
            cloud.add_host(0, 'host', CARD, SPEC)

    def test_given_databases_are_emptied_in_the_end(self):
        url = f'sqlite:///{self.directory / "given.db"}'
        for _ in range(2):
            with embedded_cloud.EmbeddedCloud(cell_urls=[url]) as cloud:
                self.assertEqual(1, len(cloud.cells))
                cloud.add_host(0, 'host', CARD, SPEC)

    def test_given_database_in_use_is_refused(self):
        with embedded_cloud.EmbeddedCloud(
                1, directory=self.directory) as cloud:
            cloud.add_host(0, 'host', CARD, SPEC)
        url = f'sqlite:///{self.directory / "cell1.db"}'
        error = self.assertRaises(
            ValueError, embedded_cloud.EmbeddedCloud(cell_urls=[url]).open)
        self.assertIn('give an empty one', str(error))
        # It is still all there, and nothing is left open.
        with sa.create_engine(url).connect() as connection:
            self.assertEqual(
                3, connection.scalar(sa.text('SELECT COUNT(*) FROM '
                                             'pci_devices')))
        self.assertEqual({}, nova_context.CELL_CACHE)


class TestOverriding(testtools.TestCase):

    def test_options_are_cleared_after_an_error(self):
        default = CONF.pci.device_spec

        def fail_inside():
            with databases.overriding('pci', device_spec=['{}']):
                self.assertEqual(['{}'], CONF.pci.device_spec)
                raise ValueError()

        self.assertRaises(ValueError, fail_inside)
        self.assertEqual(default, CONF.pci.device_spec)
