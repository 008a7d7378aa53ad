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

"""What has to be right in a deployment that has no summaries, all the time."""

import json
from xml.etree import ElementTree

import fixtures
from nova import context as nova_context
from nova.db.main import api as main_db
from nova.db.main import models
from nova.tests.fixtures import libvirt as fakelibvirt

from pci_filter import model


class DeploymentChecks:
    """Compares what the databases, the guests and placement say.

    For a subclass of Nova's _PCIServersTestBase.
    """

    in_placement = False

    def setUp(self):
        super().setUp()
        original = fakelibvirt.Domain._parse_definition

        def parse_definition(domain, xml):
            # Not every Nova keeps the PCI devices of what it parses.
            domain.xml = xml
            return original(domain, xml)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.tests.fixtures.libvirt.Domain._parse_definition',
            parse_definition))

    def device_rows(self):
        """Return the rows of all devices, by host and address."""
        rows = {}
        for name in self.computes:
            mapping = self.host_mappings[name].cell_mapping
            with nova_context.target_cell(self.ctxt, mapping) as context:
                engine = main_db.get_engine(context=context)
            with engine.connect() as connection:
                nodes = connection.execute(
                    models.ComputeNode.__table__.select()).mappings().all()
                devices = connection.execute(
                    models.PciDevice.__table__.select()).mappings().all()
            node, = [node for node in nodes if node['host'] == name]
            self.assertIsNone(node['pci_stats'], name)
            rows.update(
                ((name, device['address']), device) for device in devices
                if device['compute_node_id'] == node['id']
                and not device['deleted'])
        return rows

    def _in_guests(self):
        """Return which device of which host the guests have."""
        found = {}
        for name, compute in self.computes.items():
            connection = compute.driver._host.get_connection()
            for domain in connection.listAllDomains(
                    fakelibvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                for address in _addresses(domain.xml):
                    # The same device must not be in two guests.
                    self.assertNotIn((name, address), found)
                    found[name, address] = domain.UUIDString()
        return found

    def check(self):
        """Check that everybody says the same, and nobody a summary."""
        # nova-compute frees devices after the API has forgotten the server.
        self._wait_for_assert(self._check_now)

    def _check_now(self):
        rows = self.device_rows()
        for row in rows.values():
            self.assertEqual(
                model.STORED_TAGS_KEY, next(iter(json.loads(
                    row['extra_info']))), row['address'])
        owned = {key: row['instance_uuid'] for key, row in rows.items()
                 if row['status'] != 'available'}
        self.assertEqual(
            {'allocated'} if owned else set(),
            {rows[key]['status'] for key in owned})
        self.assertEqual(self._in_guests(), owned)
        self._check_servers(owned)
        self._check_placement(rows)

    def _check_servers(self, owned):
        """Check that each server has what it has asked for."""
        for server in self.api.get_servers():
            if server['status'] == 'ERROR':
                expected = 0
            else:
                extra_specs = server['flavor']['extra_specs']
                gpus = extra_specs.get('pci_passthrough:alias', ':0')
                expected = int(gpus.partition(':')[2]) + len(
                    self.neutron.list_ports(
                        is_admin=True, device_id=server['id'])['ports'])
            self.assertEqual(
                [server['OS-EXT-SRV-ATTR:host']] * expected,
                [host for (host, _), uuid in owned.items()
                 if uuid == server['id']])

    def _check_placement(self, rows):
        """Check that placement has given the servers what they have."""
        given = {}
        for (host, address), row in rows.items():
            server = row['instance_uuid']
            if server:
                given.setdefault(server, {host})
                if self.in_placement and row['dev_type'] == 'type-PCI':
                    given[server].add(f'{host}_{address}')
        self.assertEqual(given, {
            server: {self.placement.get(
                f'/resource_providers/{uuid}').body['name']
                for uuid in self._get_allocations_by_server_uuid(server)}
            for server in given})
        for name in self.computes:
            self.assert_no_pci_healing(name)


def _addresses(xml):
    """Return the addresses of the devices in a guest's XML."""
    devices = ElementTree.fromstring(xml).find('devices')
    for kind in 'hostdev', 'interface':
        for address in devices.iterfind(f'{kind}/source/address'):
            yield '{:04x}:{:02x}:{:02x}.{:x}'.format(*(
                int(address.get(part), 16)
                for part in ('domain', 'bus', 'slot', 'function')))
