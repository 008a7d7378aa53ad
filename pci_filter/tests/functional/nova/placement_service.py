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

"""A real placement, served over HTTP to all processes of a test.

Nova's own client talks to it as it is. Not wsgi-intercept, which serves only
the process that has installed it.
"""

from __future__ import annotations

import importlib.util
import pathlib
import socketserver
import threading
import typing
from wsgiref import simple_server

import fixtures

#: What Nova's client needs in nova.conf, but for the URL.
OPTIONS: typing.Final = {'auth_type': 'none'}


def is_installed() -> bool:
    """Tell whether openstack-placement is, with its test fixtures."""
    return bool(importlib.util.find_spec('placement')
                and importlib.util.find_spec('wsgi_intercept'))


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):

    daemon_threads = True
    # Connections of Nova's client outlive the test.
    block_on_close = False
    request_queue_size = 128


class _Handler(simple_server.WSGIRequestHandler):

    def log_message(self, *_args: typing.Any) -> None:
        pass


class Placement(fixtures.Fixture):
    """Serves placement, on a SQLite file."""

    def __init__(self) -> None:
        self.url = ''
        #: What is asked of placement meanwhile, as method and path; who
        #: returns a status line and a JSON text answers instead of it.
        self.answer_instead: typing.Callable[
            [str, str], 'tuple[str, str] | None'] = lambda method, path: None
        # SQLite would answer a second writer that it is locked.
        self._one_at_a_time = threading.Lock()

    def _setUp(self) -> None:
        # These are not installed everywhere.
        from oslo_config import cfg
        from oslo_config import fixture as config_fixture
        from placement import conf as placement_conf
        from placement import deploy
        from placement.tests.functional.fixtures import placement

        path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'placement.db')
        config = self.useFixture(config_fixture.Config(cfg.ConfigOpts()))
        placement_conf.register_opts(config.conf)
        config.config(
            connection=f'sqlite:///{path}', group='placement_database')
        self.useFixture(placement.PlacementFixture(
            conf_fixture=config, use_intercept=False, register_opts=False))
        self._application = deploy.loadapp(config.conf)
        server = simple_server.make_server(
            '127.0.0.1', 0, self._serve, _Server, _Handler)
        self.addCleanup(server.server_close)
        self.url = f'http://127.0.0.1:{server.server_port}'
        thread = threading.Thread(
            target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)

    def _serve(
        self, environ: typing.Any, start_response: typing.Any,
    ) -> typing.Any:
        # Whoever asks is an administrator: keystone would tell otherwise.
        environ['HTTP_X_AUTH_TOKEN'] = 'admin'
        instead = self.answer_instead(
            environ['REQUEST_METHOD'], environ['PATH_INFO'])
        if instead:
            status, text = instead
            start_response(status, [('Content-Type', 'application/json')])
            return [text.encode()]
        with self._one_at_a_time:
            return list(self._application(environ, start_response))


class Client:
    """Does what nova-compute does to placement.

    :param report_client: Nova's SchedulerReportClient
    """

    #: The microversion that it is written for.
    _VERSION = '1.39'

    def __init__(self, report_client: typing.Any) -> None:
        self._client = report_client

    def add_provider(
        self, uuid: str, name: str,
        inventory: typing.Mapping[str, int] = {
            'VCPU': 1024, 'MEMORY_MB': 1048576, 'DISK_GB': 10240},
        parent: str | None = None,
    ) -> None:
        """Create a resource provider with its inventory."""
        for resource_class in inventory:
            if resource_class.startswith('CUSTOM_'):
                self._ask(self._client.put(
                    f'/resource_classes/{resource_class}', None,
                    version=self._VERSION))
        self._ask(self._client.post('/resource_providers', {
            'uuid': uuid, 'name': name, **(
                {'parent_provider_uuid': parent} if parent else {})},
            version=self._VERSION))
        self._ask(self._client.put(
            f'/resource_providers/{uuid}/inventories',
            {'resource_provider_generation': 0, 'inventories': {
                resource_class: {'total': total}
                for resource_class, total in inventory.items()}},
            version=self._VERSION))
        self._add_traits(uuid)

    def allocations(self, consumer: str) -> dict[str, typing.Any]:
        """Return what an instance has, by provider."""
        return typing.cast('dict[str, typing.Any]', self._ask(
            self._client.get(f'/allocations/{consumer}',
                             version=self._VERSION)).json()['allocations'])

    def forget(self, consumer: str) -> None:
        """Delete what an instance has."""
        self._client.delete(f'/allocations/{consumer}')

    def _add_traits(self, uuid: str) -> None:
        import os_traits

        # Recent releases of Nova ask for it.
        if hasattr(os_traits, 'OWNER_NOVA'):
            self._ask(self._client.put(f'/resource_providers/{uuid}/traits', {
                'resource_provider_generation': 1,
                'traits': [os_traits.OWNER_NOVA]}, version=self._VERSION))

    @staticmethod
    def _ask(response: typing.Any) -> typing.Any:
        if response.status_code >= 300:
            raise AssertionError(
                f'{response.url}: {response.status_code} {response.text}')
        return response
