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

"""The store that several controllers share, on one server and on three."""

import testtools

from pci_filter.tests.functional.reservations import base
from pci_filter.tests.functional.reservations import memcached
from pci_filter.tests import installed


class OnMemcached(base.StoreCase):
    """Has servers, and may freeze them."""

    software = installed.MEMCACHED

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.software.require()

    def setUp(self):
        super().setUp()
        self.servers = self.start()
        self.options = self.choose(self.servers)

    def start(self):
        return [self.useFixture(memcached.Memcached())]

    def choose(self, servers):
        return (
            '[pci_filter]\n'
            'reservations = memcached\n'
            'reservation_servers = '
            f'{",".join(server.address for server in servers)}\n')

    def blocked(self):
        return base.frozen(*self.servers)


class SASLMixin:
    """With a user name and a password, in the binary protocol."""

    software = installed.SASL

    def start(self):
        self.passwords = self.useFixture(memcached.Passwords())
        self.passwords.add('nova', 'our secret')
        return [self.useFixture(self.passwords.memcached())]

    def choose(self, servers):
        return super().choose(servers) + (
            '[cache]\n'
            'memcache_sasl_enabled = true\n'
            'memcache_username = nova\n'
            'memcache_password = our secret\n')


class TLSMixin:

    def start(self):
        memcached.require_tls()
        self.certificate = self.useFixture(memcached.Certificate())
        return [self.useFixture(memcached.Memcached(
            *self.certificate.options))]

    def choose(self, servers):
        return super().choose(servers) + (
            '[cache]\n'
            'tls_enabled = true\n'
            f'tls_cafile = {self.certificate.path}\n')


class TestMemcachedStore(OnMemcached, base.StoreMixin, testtools.TestCase):
    pass


class TestMemcachedStoreOnThree(
        OnMemcached, base.StoreMixin, testtools.TestCase):

    def start(self):
        return [self.useFixture(memcached.Memcached()) for _ in range(3)]


class TestMemcachedStoreSASL(
        SASLMixin, OnMemcached, base.StoreMixin, testtools.TestCase):
    pass


class TestMemcachedStoreTLS(
        TLSMixin, OnMemcached, base.StoreMixin, testtools.TestCase):
    pass
