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

"""Servers that are on a host already, and are to be on another.

The task states are those of Nova, which nova_suite compares with what Nova's
functional tests do (reservation_witness).
"""

from pci_filter.tests.functional.nova import selecting

#: By the state in which a server is scheduled, those until its devices are
#: saved on its new host, and one after that.
MOVES = {
    'resize_prep': ((), 'resize_migrating'),
    'migrating': ((), None),
    'rebuilding': ((), 'rebuild_block_device_mapping'),
    'unshelving': (('spawning',), None),
}


class TestMoves(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.hosts = [self.add_gpus(f'host{n}') for n in range(2)]
        self.server = self.select(
            selecting.gpu_request(), ignore_hosts=['host1'])
        self.server.boot(self.hosts[0])

    def move(self, task_state, **fields):
        """Schedule the server anew; return its new self."""
        self.server.set(task_state=task_state)
        # What it has is the migration's from now on.
        self.client.forget(self.server.uuid)
        spec = self.spec(*self.server.requests, **fields)
        spec.instance_uuid = self.server.uuid
        ((selection, *_),) = self.select_all(spec)
        moved = selecting.Server(
            self, self.server.requests, self.server.uuid)
        moved.host = self.cloud.hosts[selection.service_host]
        return moved

    def check_counts(self):
        self.assertEqual([self.server.uuid], self.counting(self.hosts[1]))
        self.assertIn('on host host1, for 1 server', self.assertNoneFits(
            selecting.gpu_request()))

    def check_free(self):
        self.assertEqual([], self.counting(self.hosts[1]))
        self.assertEqual(
            'host1', self.select(selecting.gpu_request()).host.name)

    def test_claim(self):
        for task_state, (more, after) in MOVES.items():
            moved = self.move(task_state)
            self.check_counts()
            for later in more:
                self.server.set(task_state=later)
                self.check_counts()
            moved.claim()
            self.assertEqual([], self.counting(self.hosts[1]))
            self.assertEqual('', self.assertNoneFits(selecting.gpu_request()))
            self.server.set(task_state=after)
            # The operator changes his mind, so that it stays where it was.
            moved.free()
            self.server.set(task_state=None)
            self.check_free()
            self.forget_others()

    def forget_others(self):
        for one in self.kept(self.hosts[1]):
            if one.instance_uuid != self.server.uuid:
                other = selecting.Server(self, [], one.instance_uuid)
                other.create(self.hosts[1]).set(deleted=1)

    def test_claim_fails(self):
        for task_state in MOVES:
            self.move(task_state)
            self.check_counts()
            self.server.set(task_state=None)
            self.check_free()
            self.forget_others()

    def test_deleted(self):
        """Whoever moves it may be about to claim until its row is deleted."""
        for task_state in MOVES:
            self.move(task_state)
            self.server.set(task_state='deleting')
            self.check_counts()
            self.server.set(task_state=None)
        self.server.delete()
        self.assertEqual([], self.counting(self.hosts[1]))

    def test_resize_to_same_host(self):
        """What it has there already is not what it waits for."""
        host = self.add_gpus('both', 3)
        only = {'force_hosts': ['both'], 'force_nodes': ['both']}
        self.server = self.select(selecting.gpu_request(), **only).boot(host)
        moved = self.move('resize_prep', **only)
        self.assertEqual([self.server.uuid], self.counting(host))
        self.select(selecting.gpu_request(), **only).boot(host)
        self.assertIn('on host both', self.assertNoneFits(
            selecting.gpu_request(), **only))
        moved.claim()
        self.assertEqual([], self.counting(host))
        self.assertEqual({'claimed'}, {
            row['status'] for row in self.cloud.rows(host).values()})
