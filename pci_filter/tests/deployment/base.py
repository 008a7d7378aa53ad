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

"""What an operator does to the cloud, and what has to be true after it."""

import testtools
from testtools import content

from pci_filter.tests.deployment import books
from pci_filter.tests.deployment import client
from pci_filter.tests.deployment import hosts
from pci_filter.tests.deployment import processes
from pci_filter.tests.deployment import running


def parse(alias):
    """Return what the extra spec of a flavor asks for, by its aliases."""
    return {kind: int(count) for kind, count in (
        part.split(':') for part in alias.split(','))}


class DeploymentTestCase(testtools.TestCase):
    """Tests in one cloud, which each finds and leaves empty."""

    cloud = None
    left_by = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.flavors = {}
        cls.cloud = running.start()

    @classmethod
    def tearDownClass(cls):
        running.stop(cls.cloud)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.api = self.cloud.client
        # What no server can be placed on, for reasons other than its devices.
        self.out_of_service = set()
        if self.left_by:
            self.skipTest(f'The cloud is as {self.left_by} left it, failing.')
        self.addOnException(self._note_failure)
        self.say(f'--- {self.id().rpartition(".")[2]}')
        self.check()

    def say(self, text):
        running.say(text)

    def _note_failure(self, _):
        type(self).left_by = self.id()
        for name, tail in self.cloud.log_tails().items():
            self.addDetail(f'{name}.log', content.text_content(tail))

    # What an operator does.

    def flavor(self, alias):
        """Return the id of the flavor with these devices."""
        if alias not in self.flavors:
            self.flavors[alias] = self.api.create_flavor(
                alias, {'pci_passthrough:alias': alias})
        return self.flavors[alias]

    def request(self, alias):
        """Ask for a server with the devices of a flavor; return its id."""
        return self.api.create_server(alias, self.flavor(alias))

    def boot(self, alias):
        """Boot a server, which has to land exactly if there is room for it.

        :returns: the server, or None if it was rightly refused
        """
        room = books.hosts_with_room(
            self.cloud.books.devices(), parse(alias)) - self.out_of_service
        offset = self.cloud.scheduler.log_size()
        server = self.settled(self.request(alias))
        if room:
            self.assertEqual('ACTIVE', server['status'], server.get('fault'))
            self.assertIn(server['OS-EXT-SRV-ATTR:host'], room)
        else:
            self._assert_refused(server, offset)
            self.remove(server)
        self.say(f'{alias}: ' + (
            f'on {server["OS-EXT-SRV-ATTR:host"]}' if room else 'refused'))
        self.check()
        return server if room else None

    def _assert_refused(self, server, offset):
        """Check that it was our filter that refused, and no claim."""
        self.assertEqual('ERROR', server['status'])
        self.assertIn('No valid host', server['fault']['message'])
        self.assertIsNone(server['OS-EXT-SRV-ATTR:host'])
        self.assertIn(
            'the PCI devices for instance ' + server['id'],
            self.cloud.scheduler.read_log(offset))
        self.assertFalse(self.tried_on(server))

    def boot_until_refused(self, alias):
        """Return all the servers that there was room for."""
        booted = []
        while server := self.boot(alias):
            booted.append(server)
        return booted

    def settled(self, uuid):
        """Return a server when it has been built or refused."""
        def done():
            server = self.api.get_server(uuid)
            # For a moment Nova may be moving it to its cell.
            return server and server['status'] != 'BUILD' and server

        return processes.wait_for(f'the boot of {uuid}', done)

    def delete(self, *servers):
        """Delete servers, and wait until their devices are free."""
        self.remove(*servers)
        self.check()

    def remove(self, *servers):
        """Delete servers, and wait until the API knows them no more."""
        for server in servers:
            self.api.delete_server(server['id'])
        for server in servers:
            processes.wait_for(
                f'the end of {server["id"]}',
                lambda uuid=server['id']: self.api.get_server(uuid) is None)

    def delete_all(self):
        """Delete all servers, whatever has become of them."""
        self.delete(*self.api.list_servers())

    # What has to be true.

    def tried_on(self, server):
        """Return the computes that have tried to build a server."""
        return [name for name, compute in self.cloud.computes.items()
                if server['id'] in compute.read_log()]

    def check(self):
        """Check that all say the same, and no device is used twice."""
        try:
            self.wait_for_balance()
        except processes.NotInTime as error:
            self.fail(f'{error}: {self._faults()}')

    def wait_for_balance(self, seconds=processes.PATIENCE):
        """Wait until all say the same.

        nova-compute frees devices after the API has forgotten the server.

        :raises NotInTime: they do not
        """
        processes.wait_for(
            'books that balance', lambda: not self._faults(), seconds)

    def active_servers(self):
        """Return the host and the devices that each server should have."""
        return {
            server['id']: (
                server['OS-EXT-SRV-ATTR:host'], parse(
                    server['flavor']['extra_specs']['pci_passthrough:alias']))
            for server in self.api.list_servers()
            if server['status'] == 'ACTIVE'}

    def _faults(self):
        servers = self.active_servers()
        faults = books.find_faults(
            self.cloud.books.devices(), servers, self.cloud.guests())
        for uuid, (host, _) in servers.items():
            allocated = self.api.list_allocations(uuid)
            if allocated != [host]:
                faults.append(f'placement has {uuid} on {allocated}')
        return faults

    def free(self, kind):
        """Return how many devices of a kind are available."""
        return sum(
            device.status == 'available'
            and device.dev_type == hosts.TYPES[kind]
            for device in self.cloud.books.devices())

    def fill_and_free(self):
        """Boot and delete servers, as before whatever has happened."""
        booted = self.boot_until_refused('gpu:2')
        self.assertNotEqual([], booted)
        self.delete(*booted)

    def assert_unavailable(self):
        """Check that the API serves nothing, and says so."""
        self.assertRaises(client.Unavailable, self.request, 'gpu:1')
