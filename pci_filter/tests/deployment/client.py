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

"""What an operator sends to Nova's API and to placement."""

import json
import urllib.error
import urllib.request

from pci_filter.tests.deployment import configuration

MICROVERSION = 'latest'


class Unavailable(OSError):
    """The service did not serve the request."""


class Client:
    """Sends requests.

    :param nova: the URL of Nova's API
    :param placement: the URL of placement
    """

    def __init__(self, nova, placement):
        self._nova = nova
        self._placement = placement
        self._provider_names = {}

    def create_flavor(self, name, extra_specs, flavor=None):
        """Return the id of a flavor, a new one if none is given."""
        body = self._request('POST', '/flavors', {'flavor': {
            'name': name, 'id': flavor, 'vcpus': 1, 'ram': 64, 'disk': 1,
            'OS-FLV-EXT-DATA:ephemeral': 1}})
        flavor = body['flavor']['id']
        self._request('POST', f'/flavors/{flavor}/os-extra_specs',
                      {'extra_specs': extra_specs})
        return flavor

    def server_body(self, name, flavor):
        """Describe a server without network, with an empty disk."""
        return {'server': {
            'name': name, 'flavorRef': flavor, 'networks': 'none',
            'block_device_mapping_v2': [{
                'source_type': 'blank', 'destination_type': 'local',
                'boot_index': 0, 'volume_size': 1,
                'delete_on_termination': True}]}}

    def create_server(self, name, flavor):
        """Request a server, and return its id."""
        body = self._request(
            'POST', '/servers', self.server_body(name, flavor))
        return body['server']['id']

    def get_server(self, uuid):
        """Return a server, or None if there is none."""
        body = self._request('GET', f'/servers/{uuid}')
        return body and body['server']

    def list_servers(self):
        return self._request('GET', '/servers/detail')['servers']

    def delete_server(self, uuid):
        self._request('DELETE', f'/servers/{uuid}')

    def list_services(self):
        return self._request('GET', '/os-services')['services']

    def list_allocations(self, consumer):
        """Return the names of the providers that a consumer uses."""
        allocations = self._send(
            'GET', f'{self._placement}/allocations/{consumer}',
            {'X-Auth-Token': 'admin'})['allocations']
        return [self._provider_name(uuid) for uuid in allocations]

    def _provider_name(self, uuid):
        if uuid not in self._provider_names:
            self._provider_names[uuid] = self._send(
                'GET', f'{self._placement}/resource_providers/{uuid}',
                {'X-Auth-Token': 'admin'})['name']
        return self._provider_names[uuid]

    def _request(self, method, path, body=None):
        return self._send(
            method, f'{self._nova}{path}',
            {**configuration.IDENTITY,
             'OpenStack-API-Version': f'compute {MICROVERSION}'}, body)

    def _send(self, method, url, headers, body=None):
        request = urllib.request.Request(
            url, method=method, headers={
                **headers, 'Content-Type': 'application/json'},
            data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.loads(response.read() or 'null')
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors='replace')
            if error.code == 404:
                return None
            raise Unavailable(
                f'{method} {url}: {error.code} {text}') from error
