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

"""What our tracker writes, and what the scheduler makes of that."""

import json

from nova.compute import pci_placement_translator
from nova.compute import provider_tree
from nova.pci import manager as pci_manager

from pci_filter.fixture import databases
from pci_filter.fixture import scheduling
from pci_filter import model
from pci_filter import objects
from pci_filter.tags import pci_devices
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import test_tracker

VF_SPEC = {'vendor_id': '8086', 'product_id': '154c'}
FUNCTIONS, OTHERS = test_tracker.FUNCTIONS


def port_request(count=1, **tags):
    """Return what Neutron asks for, and more tags."""
    return scheduling.pci_request(
        {'physical_network': 'physnet1', 'remote_managed': 'false', **tags},
        count)


def with_tags(**tags):
    return [json.dumps(VF_SPEC | tags)]


class TestStoredTags(test_tracker.TrackerTestCase):

    def stored(self, host):
        """Return what the rows say of tags, by address."""
        found = {}
        for address, row in self.cloud.rows(host).items():
            extra_info = json.loads(row['extra_info'])
            found[address] = extra_info.get(model.STORED_TAGS_KEY)
            if found[address] is not None:
                self.assertEqual(
                    model.STORED_TAGS_KEY, next(iter(extra_info)))
                found[address] = pci_devices.from_text(found[address])
        return found

    def test_stored_beside_the_rest(self):
        host = self.add(device_spec=with_tags(
            physical_network='physnet1', tier='gold', resource_class='X',
            traits='A,B'))
        self.assertEqual(
            dict.fromkeys(FUNCTIONS + OTHERS, {
                'physical_network': 'physnet1', 'tier': 'gold'}),
            {address: {key: tags[key] for key in tags if key != 'managed'}
             for address, tags in self.stored(host).items()})
        theirs = self.add('theirs', tracker_class=None,
                          device_spec=host.device_spec)
        other_rows = self.cloud.rows(theirs)
        for address, row in self.cloud.rows(host).items():
            extra_info = json.loads(row['extra_info'])
            del extra_info[model.STORED_TAGS_KEY]
            self.assertEqual(
                json.loads(other_rows[address]['extra_info']), extra_info)

    def test_follow_device_spec(self):
        host = self.add(device_spec=with_tags(tier='gold'))
        claimed = self.cloud.claim(host, [base.vf_request()])
        host = self.cloud.start_anew(
            host, self.card(), with_tags(tier='lead', color='red'))
        for tags in self.stored(host).values():
            self.assertEqual(('lead', 'red'), (tags['tier'], tags['color']))
        self.assertEqual(
            {('lead', 'red')}, {(pool['tier'], pool['color'])
                                for pool in self.cloud.running(host).stats})
        self.refused(host, scheduling.pci_request({'tier': 'gold'}))
        # Its own tags are known when it is free again.
        self.cloud.release(host, claimed)
        self.cloud.claim(host, [scheduling.pci_request({'tier': 'lead'}, 8)])

    def test_device_that_no_value_matches_any_more(self):
        host = self.add(device_spec=with_tags(tier='gold'))
        device, = self.cloud.claim(host, [base.vf_request()])
        host = self.cloud.start_anew(
            host, self.card(), ['{"vendor_id": "10de"}'])
        # Nova keeps the row of what is in use.
        self.assertEqual({device.address: None}, self.stored(host))
        self.assertEqual([], self.cloud.running(host).stats.pools)
        self.cloud.release(host, [device])
        self.assertEqual([], self.cloud.running(host).stats.pools)
        self.assertEqual(
            [], self.cloud.running(host).stats.get_free_devs())

    def test_not_to_be_stored(self):
        host = self.add(device_spec=with_tags(tier='gold'))
        self.override('pci_filter', write_tags=False)
        host = self.cloud.start_anew(host, self.card())
        self.assertEqual(
            dict.fromkeys(FUNCTIONS + OTHERS), self.stored(host))
        # The tracker itself knows them all the same.
        self.cloud.claim(host, [scheduling.pci_request({'tier': 'gold'}, 8)])

    def test_nova_leaves_them_alone(self):
        host = self.add(device_spec=with_tags(tier='gold'))
        before = self.stored(host)
        with self.cloud.target(host.cell) as context, databases.overriding(
                'pci', device_spec=list(host.device_spec)):
            theirs = pci_manager.PciDevTracker(
                context, host.load_node(context))
            theirs.update_devices_from_hypervisor_resources(
                json.dumps(self.card()))
            theirs.save(context)
        self.assertEqual(before, self.stored(host))


class TestRows(test_tracker.TrackerTestCase):

    def test_summary(self):
        self.override('pci_filter', write_pci_stats=False)
        host = self.add()
        self.assertIsNone(self.cloud.summary(host))
        self.cloud.claim(host, [base.vf_request()])
        self.assertIsNone(self.cloud.summary(host))
        self.override('pci_filter', write_pci_stats=True)
        self.cloud.restart(host)
        self.assertIn('physnet1', self.cloud.summary(host))
        self.override('pci_filter', write_pci_stats=False)
        self.cloud.restart(host)
        self.assertIsNone(self.cloud.summary(host))

    def translate(self, host):
        """Report the devices to placement, as the resource tracker does."""
        self.override('pci', report_in_placement=True)
        tree = provider_tree.ProviderTree()
        tree.new_root(host.name, host.node_uuid)
        pci_placement_translator.update_provider_tree_for_pci(
            tree, host.name, self.cloud.running(host), {}, [])
        self.cloud.save(host)
        return tree

    def test_provider_reaches_the_row(self):
        host = self.add(device_spec=with_tags())
        tree = self.translate(host)
        for number, functions in enumerate(test_tracker.FUNCTIONS):
            uuid = tree.data(
                f'{host.name}_{test_tracker.PORTS[number]}').uuid
            self.assertEqual({uuid}, {
                json.loads(self.cloud.rows(host)[address]['extra_info'])
                ['rp_uuid'] for address in functions})
        self.assertEqual(
            {pool['rp_uuid'] for pool in self.cloud.running(host).stats},
            {pool['rp_uuid'] for pool in self.cloud.tracker(host).stats})

    def test_free_after_hot_unplug(self):
        host = self.add(ports=1)
        devices = self.cloud.claim(host, [base.vf_request(2)])
        gone, stays = (device.address for device in devices)
        running = self.cloud.running(host)
        running.update_devices_from_hypervisor_resources(json.dumps(
            [device for device in self.card(1) if device['address'] != gone]))
        self.cloud.save(host)
        self.assertEqual('allocated', self.statuses(host)[gone])
        self.cloud.release(host, devices)
        self.assertEqual('available', self.statuses(host)[stays])
        self.assertNotIn(gone, self.statuses(host))
        self.cloud.claim(host, [base.vf_request(3)])
        self.refused(host, base.vf_request())

    def test_remote_managed(self):
        devices = self.card(1)
        for device in devices:
            # Nova wants to know the card of what is managed remotely.
            device['capabilities'] = {'vpd': {'card_serial_number': 'SN'}}
        host = self.add(
            devices=devices, device_spec=with_tags(remote_managed='true'))
        remote = scheduling.pci_request({'remote_managed': 'true'}, 4)
        self.cloud.claim(host, [remote])
        stats = self.cloud.running(host).stats
        self.assertEqual([], stats.pools)
        self.assertTrue(stats.has_remote_managed_device_pools())
        self.assertTrue(
            self.cloud.tracker(host).stats.has_remote_managed_device_pools())
        for name, device_spec in (
                ('local', test_tracker.SPEC),
                ('false', with_tags(remote_managed='false')), ('none', [])):
            other = self.add(name, device_spec=device_spec)
            self.assertFalse(self.cloud.running(
                other).stats.has_remote_managed_device_pools(), name)


def comparable(pools):
    return sorted(repr(sorted(pool.items(), key=repr)) for pool in pools)


class TestAgreement(test_tracker.TrackerTestCase):

    def check(self, host):
        """Check that rows and tracker tell of the same pools."""
        node = model.ComputeNode(host.node_uuid, host.name, host.name)
        sources = [pci_devices.PciDevicesTags(tests_base.options())]
        with self.cloud.engine(host.cell).connect() as connection:
            found = objects.PciDevicePoolList.get_by_compute_node(
                connection, node, sources)
            among_all = objects.PciDevicePoolList.get_all(
                connection, tag_sources=sources)[host.node_uuid]
        expected = comparable(self.cloud.running(host).stats.pools)
        self.assertEqual(expected, comparable(found.pools))
        self.assertEqual(expected, comparable(among_all.pools))
        self.assertNotEqual([], expected)

    def test_same_pools(self):
        self.override('pci_filter', write_pci_stats=False)
        self.add('other')
        for name, more in {
                'plain': {}, 'placement': {'in_placement': True},
                'bare': {'device_spec': with_tags()},
                'odd': {'device_spec': with_tags(
                    tier='\N{SNOWMAN}"}\\', size=5, on=True, none=None)},
        }.items():
            host = self.add(name, **more)
            self.check(host)
            claimed = self.cloud.claim(host, [base.vf_request(3)])
            self.check(host)
            self.cloud.claim(host, [base.vf_request(2)], allocate=False)
            self.check(host)
            self.cloud.release(host, claimed)
            self.check(host)
            self.cloud.restart(host)
            self.check(host)


class TestScheduling(test_tracker.TrackerTestCase):

    def decide(self, hosts, *requests):
        """Return who passes, which must be where a claim succeeds."""
        manager = self.our_manager()
        spec = scheduling.request_spec(list(requests))
        passing = scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec)
        self.assertEqual(passing, {
            host.name for host in hosts
            if self.cloud.claim_error(host, requests) is None})
        return passing

    def test_mixed_fleet(self):
        self.override('pci_filter', write_pci_stats=False)
        elsewhere = with_tags(physical_network='elsewhere')
        ours, ours_elsewhere, theirs, theirs_elsewhere = hosts = [
            self.add('ours'),
            self.add('ours elsewhere', device_spec=elsewhere),
            self.add('theirs', tracker_class=None),
            self.add('theirs elsewhere', tracker_class=None,
                     device_spec=elsewhere)]
        self.assertEqual(
            [True, True, False, False],
            [self.cloud.summary(host) is None for host in hosts])
        self.assertEqual(
            {'ours', 'theirs'}, self.decide(hosts, port_request(8)))
        self.assertEqual(set(), self.decide(hosts, port_request(9)))
        self.assertEqual(
            {host.name for host in hosts},
            self.decide(hosts, base.vf_request(8)))
        self.cloud.claim(ours, [port_request(6)])
        self.cloud.claim(theirs, [port_request(5)])
        self.assertEqual(
            {'ours', 'theirs'}, self.decide(hosts, port_request(2)))
        self.assertEqual({'theirs'}, self.decide(hosts, port_request(3)))
        # A host that changes over keeps what it has.
        hosts[2] = self.cloud.start_anew(
            theirs, self.card(), tracker=ours.tracker)
        self.assertIsNone(self.cloud.summary(hosts[2]))
        self.assertEqual({'theirs'}, self.decide(hosts, port_request(3)))
        self.assertEqual([], self.log_lines('tags'))

    def test_functions_of_one_port_with_different_tags(self):
        """Only the rows can tell which function is trusted."""
        trusted = [json.dumps({
            'address': address, 'physical_network': 'physnet1',
            'trusted': 'true'}) for address in FUNCTIONS[1:3]]
        self.override('pci_filter', write_pci_stats=False)
        host = self.add(ports=1, device_spec=[
            *trusted, *with_tags(physical_network='physnet1')])
        want = port_request(1, trusted='true')
        self.assertEqual({'ours'}, self.decide(
            [host], port_request(2, trusted='true'), port_request(2)))
        self.assertEqual(
            set(), self.decide([host], port_request(3, trusted='true')))
        for address in FUNCTIONS[2:0:-1]:
            device, = self.cloud.claim(host, [want])
            self.assertEqual(address, device.address)
        self.assertEqual(set(), self.decide([host], want))
        self.assertEqual({'ours'}, self.decide([host], port_request(2)))
