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

"""Which memcached servers are asked, and what is refused at start-up."""

import pathlib
import socket
import sys
import textwrap

import ddt
import fixtures
from oslo_config import cfg

from pci_filter import conf
from pci_filter import exception
from pci_filter.reservations import memcache_options
from pci_filter.reservations import memcached
from pci_filter.tests import base


class _Missing(fixtures.Fixture):
    """Lets a library be missing."""

    def __init__(self, name):
        self._name = name

    def _setUp(self):
        self.useFixture(fixtures.MonkeyPatch('sys.modules', {
            **sys.modules, self._name: None}))


@ddt.ddt
class TestMemcacheOptions(base.UnitTestCase):

    def configure(self, text):
        path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'nova.conf')
        path.write_text(textwrap.dedent(text))
        parsed = cfg.ConfigOpts()
        conf.register_opts(parsed)
        parsed(['--config-file', str(path)], project='nova',
               default_config_dirs=[])
        return parsed

    def read(self, text):
        return memcache_options.read(self.configure(text))

    def refuse(self, text):
        error = self.assertRaises(
            exception.InvalidStoreOption, self.read, text)
        self.assertEqual([str(error)], str(error).splitlines())
        return str(error)

    def test_nothing(self):
        options = self.read('')
        self.assertEqual(['localhost:11211'], list(map(str, options.servers)))
        self.assertIsNone(options.tls)
        self.assertIsNone(options.credentials)

    def test_servers_of_oslo_cache(self):
        options = self.read('''
            [cache]
            memcache_servers = 192.0.2.1:11211,inet6:[2001:db8::1]:11212
            ''')
        self.assertEqual(
            ['192.0.2.1:11211', '[2001:db8::1]:11212'],
            list(map(str, options.servers)))
        self.assertEqual(
            [socket.AF_UNSPEC, socket.AF_INET6],
            [server.family for server in options.servers])

    def test_our_servers_first(self):
        options = self.read('''
            [pci_filter]
            reservation_servers = Memcached-1,192.0.2.1,::1,memcached-1:11211
            [cache]
            memcache_servers = 192.0.2.2:11211
            ''')
        self.assertEqual(
            ['memcached-1:11211', '192.0.2.1:11211', '[::1]:11211'],
            list(map(str, options.servers)))

    @ddt.data('host:port', 'unix:/run/memcached', '/run/memcached', ':11211',
              'host:0', 'host:65536', '1:2:3', 'a b:c:d')
    def test_not_a_server(self, text):
        self.assertEqual(
            f'[pci_filter]reservation_servers: {text!r} is not an address '
            'and a port, such as 192.0.2.1:11211. Correct it and restart '
            'the service.',
            self.refuse(f'[pci_filter]\nreservation_servers = {text}\n'))

    @ddt.data('user:secret@host:1', 'user:secret@host', 'secret@host:1')
    def test_password_in_it(self, text):
        self.assertNotIn('secret', self.refuse(
            f'[pci_filter]\nreservation_servers = {text}\n'))

    def test_no_server(self):
        self.assertEqual(
            '[cache]memcache_servers: it names no server. Correct it and '
            'restart the service.',
            self.refuse('[cache]\nmemcache_servers =\n'))

    def test_credentials(self):
        parsed = self.configure('''
            [cache]
            memcache_sasl_enabled = true
            memcache_username = nova
            memcache_password = our secret
            ''')
        options = memcache_options.read(parsed)
        self.assertEqual(('nova', 'our secret'), options.credentials)
        self.assertNotIn('secret', repr(options))

    def test_older_oslo_cache(self):
        """Before 3.11 the names of the options were others."""
        parsed = self.configure('''
            [cache]
            memcache_sasl_enabled = true
            memcache_username = nova
            memcache_password = our secret
            ''')
        parsed.register_opts([
            cfg.ListOpt('memcache_servers', default=['192.0.2.1']),
            cfg.BoolOpt('memcache_sasl_enabled'),
            cfg.BoolOpt('tls_enabled'), cfg.StrOpt('memcache_username'),
            cfg.StrOpt('memcache_password')], group='cache')
        options = memcache_options.read(parsed)
        self.assertEqual(('nova', 'our secret'), options.credentials)

    @ddt.data('', 'memcache_username = nova', 'memcache_password = a secret')
    def test_no_credentials(self, more):
        text = self.refuse(
            f'[cache]\nmemcache_sasl_enabled = true\n{more}\n')
        self.assertEqual(
            '[cache]memcache_sasl_enabled: it needs a user name and a '
            'password, which are missing. Correct it and restart the '
            'service.', text)

    @ddt.data('tls_cafile = /nowhere', 'tls_certfile = /nowhere',
              'tls_allowed_ciphers = none of them')
    def test_tls_that_cannot_be(self, more):
        self.assertIn(
            '[cache]tls_cafile, tls_certfile, tls_keyfile or '
            'tls_allowed_ciphers: ',
            self.refuse(f'[cache]\ntls_enabled = true\n{more}\n'))

    def test_tls(self):
        options = self.read('[cache]\ntls_enabled = true\n')
        self.assertTrue(options.tls.check_hostname)

    def test_no_oslo_cache(self):
        self.useFixture(_Missing('oslo_cache'))
        options = self.read('''
            [pci_filter]
            reservation_servers = 192.0.2.1
            ''')
        self.assertEqual(['192.0.2.1:11211'], list(map(str, options.servers)))
        self.assertEqual((None, None), options[1:])
        self.assertEqual(
            '[pci_filter]reservation_servers: it names no server. Correct it '
            'and restart the service.', self.refuse(''))

    def test_no_pymemcache(self):
        self.useFixture(_Missing('pymemcache'))
        error = self.assertRaises(
            exception.MissingLibrary, memcached.MemcachedStore,
            self.configure(''))
        self.assertEqual(
            '[pci_filter]reservations = memcached needs pymemcache, which is '
            "not installed. Run pip install 'pci_filter[memcached]', with "
            'the constraints of your OpenStack release, and restart the '
            'service.', str(error))

    def test_servers_of_this_machine_only(self):
        log = self.useFixture(fixtures.FakeLogger())
        memcached.MemcachedStore(self.configure('''
            [pci_filter]
            reservation_servers = 192.0.2.1,localhost,127.0.1.1,[::1]
            '''))
        self.assertEqual(
            'Reservations are kept on localhost:11211, 127.0.1.1:11211, '
            '[::1]:11211: a nova-scheduler on another machine does not see '
            'them there.\n', log.output)
        memcached.MemcachedStore(self.configure('''
            [pci_filter]
            reservation_servers = 192.0.2.1
            '''))
        self.assertEqual(1, len(log.output.splitlines()))
