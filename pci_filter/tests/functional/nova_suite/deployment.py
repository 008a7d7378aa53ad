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

"""A deployment that lives without ``compute_nodes.pci_stats``.

Nova's functional stack with computes in two cells: our filter in the
scheduler, our tracker in each nova-compute, and no summary. After each step
the databases, the guests and placement have to tell of the same devices.

``test_nova_pci`` adds these tests to Nova's where our tracker is in place. An
ordinary test run does not find them: importing them needs Nova's test stack.
"""

import collections
import copy
import json
from unittest import mock

import nova.conf
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import base
from nova.tests.functional.libvirt import test_pci_sriov_servers
from oslo_utils import uuidutils

from pci_filter import conf
from pci_filter.tests.functional.nova_suite import deployment_checks

_GPU = {'vendor_id': fakelibvirt.PCI_VEND_ID,
        'product_id': fakelibvirt.PCI_PROD_ID}
_PORT = {'vendor_id': fakelibvirt.PCI_VEND_ID,
         'product_id': fakelibvirt.VF_PROD_ID}

# The network of the functions of each host, its cell, GPUs and functions.
_HOSTS = {
    'alpha': ('physnet4', 'cell1', 2, 2),
    'beta': ('physnet4', 'cell1', 1, 1),
    'gamma': ('elsewhere', 'cell2', 2, 2),
}


class DeploymentWithoutSummary(
        deployment_checks.DeploymentChecks,
        test_pci_sriov_servers._PCIServersTestBase):
    """Placement knows nothing of PCI devices."""

    NUMBER_OF_CELLS = 2
    ADMIN_API = True
    microversion = 'latest'

    # Each host has its own when it starts.
    PCI_DEVICE_SPEC = ()
    PCI_ALIAS = [json.dumps(dict(_GPU, name='gpu'))]

    def setUp(self):
        conf.register_opts(nova.conf.CONF)
        self.flags(write_pci_stats=False, group='pci_filter')
        self.flags(pci_in_placement=self.in_placement,
                   group='filter_scheduler')
        self.flags(report_in_placement=self.in_placement, group='pci')
        super().setUp()
        self.neutron = self.useFixture(base.LibvirtNeutronFixture(self))
        for name in _HOSTS:
            self._start(name)
        self.flavors = {
            count: self._create_flavor(extra_spec=count and {
                'pci_passthrough:alias': f'gpu:{count}'} or {})
            for count in (0, 1, 2)}
        self.check()
        self.assertEqual(
            {name: gpus + functions
             for name, (_, _, gpus, functions) in _HOSTS.items()},
            collections.Counter(host for host, _ in self.device_rows()))

    def _configure(self, name):
        network = _HOSTS[name][0]
        self.flags(group='pci', device_spec=[
            json.dumps(spec)
            for spec in (_GPU, dict(_PORT, physical_network=network))])

    def _start(self, name):
        self._configure(name)
        _, cell, gpus, functions = _HOSTS[name]
        self.start_compute(
            name, cell_name=cell, pci_info=fakelibvirt.HostPCIDevicesInfo(
                num_pci=gpus, num_pfs=1, num_vfs=functions))

    def _boot(self, gpus=0, ports=0):
        """Boot a server with GPUs and ports on physnet4."""
        server = self._create(gpus, ports)
        self.check()
        return server

    def _refuse(self, gpus=0, ports=0):
        """Boot a server that no host can take."""
        server = self._create(gpus, ports, expected_state='ERROR')
        self.assertIn('No valid host', server['fault']['message'])
        self.check()
        self._delete(server)

    def _create(self, gpus, ports=0, **expected):
        networks = [{'port': self._create_port()} for _ in range(ports)]
        return self._create_server(
            flavor_id=self.flavors[gpus], networks=networks or 'none',
            **expected)

    def _create_port(self):
        port = copy.deepcopy(self.neutron.network_4_port_1)
        port['id'] = uuidutils.generate_uuid()
        return self.neutron.create_port({'port': port})['port']['id']

    def _delete(self, *servers):
        for server in servers:
            self._delete_server(server)
        self.check()

    def _moving(self):
        return mock.patch(
            'nova.virt.libvirt.driver.LibvirtDriver'
            '.migrate_disk_and_power_off', return_value='{}')

    def _confirm(self, server, source):
        # Nova's driver takes CONF.host, of which there is but one here, for
        # the name of the source.
        self.flags(host=source)
        self._confirm_resize(server)
        self.check()
        # Before that, Nova's resource tracker there does not free what is
        # deleted: it takes the server for a new one.
        self._run_periodics()
        self.check()

    def _host(self, server):
        return self.api.get_server(server['id'])['OS-EXT-SRV-ATTR:host']

    def _on(self, host, servers):
        return [server for server in servers if self._host(server) == host]

    def test_full_and_free_again(self):
        """Boot, fill up, free and boot again."""
        servers = [self._boot(gpus=2)]
        servers += [self._boot(gpus=1) for _ in range(3)]
        self._refuse(gpus=1)
        pair = servers.pop(0)
        self._delete(pair)
        self._refuse(gpus=2, ports=3)
        # The only host with two is the one that just lost its pair.
        again = self._boot(gpus=2)
        self.assertEqual(
            pair['OS-EXT-SRV-ATTR:host'], again['OS-EXT-SRV-ATTR:host'])
        self._refuse(gpus=1)
        self._delete(*servers, again)

    def test_tags_without_summary(self):
        """A network is known from the rows alone."""
        servers = [self._boot(ports=1) for _ in range(3)]
        self.assertEqual(
            ['alpha', 'alpha', 'beta'], sorted(map(self._host, servers)))
        # Those of gamma are free, but on another network.
        self._refuse(ports=1)
        self._delete(*self._on('alpha', servers))
        server = self._boot(ports=2, gpus=2)
        self.assertEqual('alpha', self._host(server))
        self._refuse(ports=1)

    def test_moves(self):
        """Migrate and confirm, resize and revert."""
        servers = [self._boot(gpus=1) for _ in range(5)]
        moving, = self._on('beta', servers)
        leaving, staying = self._on('alpha', servers)
        self._delete(leaving)
        # Only one device is free, as Nova's claim of a migration does not ask
        # which one placement has allocated.
        with self._moving():
            self._migrate_server(moving)
        self.assertEqual('alpha', self._host(moving))
        self._confirm(moving, source='beta')
        growing = self._boot(gpus=1)
        self.assertEqual('beta', self._host(growing))
        # The other cell is out of reach, and full.
        self.assertRaises(
            client.OpenStackApiException, self._migrate_server, moving)
        self.check()
        self._delete(moving, staying)
        with self._moving():
            self._resize_server(growing, self.flavors[2])
        # It holds three until the resize is confirmed or reverted.
        self.assertEqual(['alpha', 'alpha', 'beta'], sorted(
            host for (host, _), row in self.device_rows().items()
            if row['instance_uuid'] == growing['id']))
        self._create(gpus=1, expected_state='ERROR')
        # Not to be migrated now: Nova does not revert the PCI requests of
        # its RequestSpec, so it would ask for two.
        self._revert_resize(growing)
        self.check()
        self.assertEqual('beta', self._host(growing))

    def test_restart(self):
        """A nova-compute that starts anew finds everything as it was."""
        servers = [self._boot(gpus=2), self._boot(gpus=1, ports=1)]
        for name in _HOSTS:
            self._configure(name)
            self.restart_compute_service(name)
            self.check()
        self._refuse(ports=3)
        self._delete(*servers)


class DeploymentInPlacement(DeploymentWithoutSummary):
    """Placement allocates the GPUs, and nobody needs to heal that."""

    in_placement = True
