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

"""Which memcached servers there are, and how to talk to them.

It is oslo.cache that says so, as for everything else of OpenStack that uses
memcached. Nova requires it; where it is missing only our own option counts.
"""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import ipaddress
import socket
import ssl
import typing

from oslo_config import cfg
from oslo_utils import importutils
from oslo_utils import netutils

from pci_filter import exception
from pci_filter.reservations import memcache_connections

_PORT: typing.Final = 11211

#: What oslo.cache lets precede a server, with a colon.
_FAMILIES: typing.Final = {
    'inet': socket.AF_INET, 'inet6': socket.AF_INET6}


class Credentials(typing.NamedTuple):
    """Who we are to a server."""

    username: str
    password: str

    def __repr__(self) -> str:
        return 'Credentials()'


class Options(typing.NamedTuple):
    """The options.

    :param servers: the servers, at least one
    :param tls: how to talk TLS, None to do without
    :param credentials: what to tell the servers, None if they want nothing
    """

    servers: tuple[memcache_connections.Server, ...]
    tls: ssl.SSLContext | None
    credentials: Credentials | None


def read(conf: cfg.ConfigOpts) -> Options:
    """Return what is configured.

    :param conf: nova.conf
    :raises pci_filter.exception.InvalidStoreOption: if it is wrong
    """
    cache = _cache(conf)
    name = '[pci_filter]reservation_servers'
    servers = conf.pci_filter.reservation_servers
    if not servers and cache is not None:
        name, servers = '[cache]memcache_servers', cache.memcache_servers
    if not servers:
        raise exception.InvalidStoreOption(name, 'it names no server')
    return Options(
        tuple(dict.fromkeys(_server(name, server) for server in servers)),
        None if cache is None else _tls(cache),
        None if cache is None else _credentials(cache))


def local(
    servers: Iterable[memcache_connections.Server],
) -> list[memcache_connections.Server]:
    """Return those servers that each machine takes for one of its own."""
    return [server for server in servers if _is_local(server.host)]


def _cache(conf: cfg.ConfigOpts) -> typing.Any:
    oslo_cache = importutils.try_import('oslo_cache')
    if oslo_cache is None:
        return None
    # Nova has registered them, a command may not have.
    with contextlib.suppress(cfg.DuplicateOptError):
        oslo_cache.configure(conf)
    return conf.cache


def _server(name: str, text: str) -> memcache_connections.Server:
    family, colon, address = text.partition(':')
    if family not in _FAMILIES:
        family, address = '', text
    try:
        host, port = netutils.parse_host_port(address, _PORT)
    except ValueError:
        host, port = '', 0
    if not (host and 0 < port < 1 << 16) or set('/@') & set(host) or (
            ':' in host and not netutils.is_valid_ipv6(host)):
        # Before an @ somebody may have put a password.
        raise exception.InvalidStoreOption(
            name, f'{text.rpartition("@")[2]!r} is not an address and a '
            f'port, such as 192.0.2.1:{_PORT}')
    return memcache_connections.Server(
        host.lower(), port, _FAMILIES.get(family, socket.AF_UNSPEC))


def _tls(cache: typing.Any) -> ssl.SSLContext | None:
    """Return what oslo.cache would make of its options."""
    if not cache.tls_enabled:
        return None
    try:
        context = ssl.create_default_context(cafile=cache.tls_cafile)
        if cache.tls_certfile is not None:
            context.load_cert_chain(cache.tls_certfile, cache.tls_keyfile)
        if cache.tls_allowed_ciphers is not None:
            context.set_ciphers(cache.tls_allowed_ciphers)
    except OSError as error:
        raise exception.InvalidStoreOption(
            '[cache]tls_cafile, tls_certfile, tls_keyfile or '
            'tls_allowed_ciphers', str(error)) from error
    return context


def _credentials(cache: typing.Any) -> Credentials | None:
    if not cache.memcache_sasl_enabled:
        return None
    # Since oslo.cache 3.11 they are not memcached's only.
    found = Credentials(*(
        cache[name if name in cache else f'memcache_{name}']
        for name in ('username', 'password')))
    if not found.username or not found.password:
        raise exception.InvalidStoreOption(
            '[cache]memcache_sasl_enabled',
            'it needs a user name and a password, which are missing')
    return found


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
