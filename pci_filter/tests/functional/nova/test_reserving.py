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

"""Servers that are asked for at once get a device each.

No test waits for luck: claims come only when all requests are answered, which
is the latest that they can.
"""

import collections

from nova import exception as nova_exception

from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import selecting


class TestBurst(selecting.SelectingTestCase):

    def boot_all(self, servers):
        """Let all claims come, which must succeed."""
        for server in servers:
            server.boot(server.host)

    def check_burst(self, hosts, functions, managers):
        added = [self.add_host(f'host{n}', functions=functions)
                 for n in range(hosts)]
        number = hosts * functions
        servers = self.select_at_once(
            number, base.vf_request(), managers=managers)
        self.assertEqual(
            {host.name: functions for host in added},
            collections.Counter(server.host.name for server in servers))
        line = self.assertNoneFits(base.vf_request())
        told = f'{functions} servers such as' if functions > 1 else '1 server,'
        self.assertRegex(
            line, r'for other servers, whose claims are to come: (on host '
            rf'host\d, for {told} \S+, for at most \d+ s(; )?)+'
            r'(and on 3 more hosts)?\. What ')
        self.boot_all(servers)
        for host in added:
            self.assertEqual([], self.counting(host))
            self.assertEqual({'claimed'}, {
                row['status'] for row in self.cloud.rows(host).values()
                if row['dev_type'] == 'type-VF'})
        # Now there are none, which is not the fault of reservations.
        self.assertEqual('', self.assertNoneFits(base.vf_request()))
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_a_host_each(self):
        self.check_burst(8, 1, ())

    def test_all_on_one_host(self):
        self.check_burst(1, 8, ())

    def test_several_schedulers(self):
        """Each has locks of its own, so that only the store is between."""
        self.check_burst(
            4, 2, [self.scheduler() for _ in range(4)])

    def test_without_reservations(self):
        """What the rest is for: all are sent to the same host."""
        self.manager = self.scheduler(reservations='none')
        for number in range(4):
            self.add_gpus(f'host{number}')
        hosts = {self.select(selecting.gpu_request()).host.name
                 for _ in range(4)}
        self.assertEqual(1, len(hosts))
        self.assertEqual([], self.log_lines('Reserved on host'))

    def test_alternates_are_not_reserved(self):
        for number in range(4):
            self.add_gpus(f'host{number}')
        spec = self.spec(selecting.gpu_request())
        ((_, *alternates),) = self.select_all(spec)
        self.assertEqual(2, len(alternates))
        self.assertEqual([[], [], [], [spec.instance_uuid]], sorted(
            map(self.counting, self.cloud.hosts.values())))
        for _ in range(3):
            self.select(selecting.gpu_request())


class TestEnd(selecting.SelectingTestCase):
    """A reservation ends neither earlier nor later than it has to."""

    def setUp(self):
        super().setUp()
        self.host = self.add_gpus('host0')
        self.server = self.select(selecting.gpu_request())

    def check_counts(self):
        self.assertEqual([self.server.uuid], self.counting(self.host))
        self.assertIn(
            f'for 1 server, {self.server.uuid}, for at most ',
            self.assertNoneFits(selecting.gpu_request()))

    def check_free(self):
        """Nobody is refused for a reservation, and the device is to have."""
        self.assertEqual([], self.counting(self.host))
        self.select(selecting.gpu_request())

    def test_claim(self):
        """It does when the rows show the claim, and not before."""
        self.check_counts()
        self.server.create(self.host)
        self.check_counts()
        self.server.arrive()
        self.check_counts()
        self.server.claim()
        self.assertEqual([], self.counting(self.host))
        self.assertEqual('', self.assertNoneFits(selecting.gpu_request()))
        self.server.build()
        self.assertEqual('', self.assertNoneFits(selecting.gpu_request()))

    def test_deleted(self):
        """A server that comes and goes leaves its device free at once."""
        self.server.boot(self.host).delete()
        self.check_free()
        self.assertEqual(1, len(self.log_lines(
            f'for instance {self.server.uuid} has ended: the instance is '
            'deleted')))

    def test_deleted_before_claim(self):
        self.server.create(self.host).arrive().set(task_state='deleting')
        # nova-compute may be about to claim all the same.
        self.check_counts()
        self.server.delete()
        self.check_free()

    def test_error(self):
        self.server.create(self.host).fail()
        self.check_free()

    def test_claim_fails(self):
        """The conductor sends it elsewhere, or nowhere."""
        other = self.add_gpus('host1')
        self.server.create(self.host).arrive()
        self.server.set(host=None, node=None, task_state='scheduling')
        self.check_counts_on_first()
        self.server.host = other
        self.server.arrive()
        self.check_free()

    def check_counts_on_first(self):
        self.assertEqual([self.server.uuid], self.counting(self.host))

    def test_asked_for_again(self):
        """An instance does not wait for itself."""
        spec = self.spec(selecting.gpu_request())
        spec.instance_uuid = self.server.uuid
        self.client.forget(self.server.uuid)
        self.select_all(spec)
        self.assertEqual([self.server.uuid], self.counting(self.host))
        self.assertEqual(1, len(self.kept(self.host)))


class TestPlacement(selecting.SelectingTestCase):
    """What placement does not grant is not reserved either."""

    def setUp(self):
        super().setUp()
        self.hosts = [self.add_gpus(f'host{n}') for n in range(2)]

    def counted(self):
        return sorted(uuid for host in self.hosts
                      for uuid in self.counting(host))

    def test_refuses(self):
        answers = [('409 Conflict', '{"errors": [{"code": "full"}]}')]
        self.placement.answer_instead = lambda method, path: (
            answers.pop() if answers and method == 'PUT'
            and path.startswith('/allocations/') else None)
        server = self.select(selecting.gpu_request())
        self.assertEqual([], answers)
        self.assertEqual([server.uuid], self.counting(server.host))
        self.assertEqual([server.uuid], self.counted())
        self.assertEqual(1, len(self.log_lines(
            'is given back: placement refused')))

    def test_fails(self):
        """Nova lets the request fail then."""
        self.placement.answer_instead = lambda method, path: (
            ('409 Conflict', '{"errors": [{"code": '
             '"placement.concurrent_update", "detail": '
             '"consumer generation conflict"}]}')
            if method == 'PUT' and path.startswith('/allocations/') else None)
        self.assertRaises(
            nova_exception.AllocationUpdateFailed, self.select,
            selecting.gpu_request())
        self.assertEqual([], self.counted())
        self.assertEqual(1, len(self.log_lines(
            'is given back: placement failed')))

    def test_has_nothing_to_offer(self):
        """The store is not asked for a request that ends before."""
        self.assertRaises(
            selecting.NoValidHost, self.select,
            selecting.gpu_request(2))
        self.assertEqual([], self.counted())

    def test_some_do_not_fit(self):
        """Of a multi-create that fails nothing is left."""
        hosts = [self.add_gpus(f'more{n}') for n in range(5)]
        self.hosts += hosts
        spec = self.spec(selecting.gpu_request(), num_instances=8)
        uuids = [spec.instance_uuid, *(
            self.spec().instance_uuid for _ in range(7))]
        self.assertRaises(
            selecting.NoValidHost, self.select_all, spec, uuids)
        self.assertEqual([], self.counted())
        self.assertEqual([], [
            one for host in self.hosts for one in self.kept(host)])
        self.assertEqual(7, len(self.log_lines(
            'is given back: the request failed')))
        for uuid in uuids:
            self.assertEqual({}, self.client.allocations(uuid))
        spec = self.spec(selecting.gpu_request(), num_instances=7)
        uuids = [spec.instance_uuid, *uuids[:6]]
        selections = self.select_all(spec, uuids)
        self.assertEqual(7, len({
            selection[0].service_host for selection in selections}))
        self.assertEqual(sorted(uuids), self.counted())
