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

"""Keep reservations on memcached servers that several controllers share.

Each compute node has a home: of all servers the one whose name, hashed with
that of the node, comes first. All who are configured with the same names find
the same, in whatever order they are listed, and losing one server moves only
the nodes that were at home there: they go to their second server, and back as
soon as the first one answers. What was promised on a server is forgotten when
it is lost, or left.

Invariants. A record is replaced only by who has read it: each that is written
begins with a random number, and the one that is there is compared as a whole
with the one that was read, on the connection on which memcached's number for
it is then used. memcached counts these anew when it is restarted, so that a
number alone could be that of another record. What was written is never sent a
second time: whether the first time had arrived nobody could tell.

Limits. Two controllers that disagree about a server look for a node's record
in different places, and do not see what the other one promises: it is as
without reservations between these two, on the nodes that are at home there.
How long that is:

- A server that is down refuses connections. Everyone who asks it finds out at
  once, and asks it again each time: nobody disagrees.
- A server that is silent costs its share of the time that the call may take,
  and is not asked for _REST seconds. For that long it can be avoided by one
  process and asked by another, for instance after a lost packet.
- A server that comes back is empty, or has what it had when it was left.
  Until what was promised meanwhile has ended, for [pci_filter]
  reservation_timeout at most, the nodes that are at home there may be promised
  again. What it still has ends as every reservation does.
- A network that lets one controller reach a server, and another one not: as
  long as it does that. To make no reservations there would be no better.

Refused: pymemcache's HashClient, which gives up a server for 60 seconds and
tries others as often as it likes, and a pool that fails instead of waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import hashlib
import math
import os
import secrets
import time
import typing

from oslo_config import cfg
from oslo_log import log as logging
from oslo_utils import importutils

from pci_filter import exception
from pci_filter import printable
from pci_filter.reservations import memcache_connections as connections
from pci_filter.reservations import memcache_options
from pci_filter.reservations import memcache_sasl
from pci_filter.reservations import store

LOG = logging.getLogger(__name__)

#: Precedes the UUIDs of compute nodes; memcached can count by it.
_PREFIX: typing.Final = 'pci_filter:'

#: Bytes of a random number, which precedes the text.
_NUMBER: typing.Final = 16

#: Bytes that a record has at most. The limit of memcached is 1 MiB, for the
#: key and what it notes besides, too, and in the binary protocol it forgets
#: the record if the one that should replace it is larger.
_LARGEST: typing.Final = 1_000_000

#: What is longer memcached takes for a date, in seconds.
_LONGEST: typing.Final = 30 * 24 * 60 * 60

#: Nodes in one command; memcached takes lines of some kilobytes.
_AT_ONCE: typing.Final = 100

#: Seconds for which a server that is silent is not asked.
_REST: typing.Final = 2

#: Characters of what a server or the library says.
_SHOWN: typing.Final = 200

_Call = Callable[[connections.Client], typing.Any]


class _Unknown(Exception):
    """Nobody knows whether a record was written."""


class MemcachedStore(store.Store):
    """Keeps reservations on ``[pci_filter]reservation_servers``.

    :param conf: nova.conf; the options of oslo.cache are registered if they
        are not, and if it is installed
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        if importutils.try_import('pymemcache') is None:
            raise exception.MissingLibrary(
                '[pci_filter]reservations = memcached', 'pymemcache',
                'memcached')
        self._options = memcache_options.read(conf)
        # By process: what the parent has connected to is not its children's.
        self._pools: dict[
            int, dict[connections.Server, connections.Pool]] = {}
        self._resting: dict[connections.Server, float] = {}
        local = memcache_options.local(self._options.servers)
        if local:
            LOG.warning(
                'Reservations are kept on %s: a nova-scheduler on another '
                'machine does not see them there.',
                ', '.join(map(str, local)))

    def read(self, node_uuid: str, seconds: float) -> store.Record:
        """Return what there is of a compute node."""
        server, (value, _) = self._ask_one_of(
            self._servers(node_uuid), lambda client: client.gets(
                _PREFIX + node_uuid), seconds)
        if value is None:
            return store.NO_RECORD
        return store.Record((server, value), value[_NUMBER:])

    def write(
        self, node_uuid: str, token: typing.Any, text: str, lifetime: float,
        seconds: float,
    ) -> bool:
        """Replace the record of a compute node, unless others have.

        memcached counts seconds that began before the record was written, so
        it keeps the record for up to two seconds longer.
        """
        new = secrets.token_hex(_NUMBER // 2).encode() + text.encode()
        if len(new) > _LARGEST:
            raise store.StoreError(
                f'memcached: a record of {len(new)} bytes is too large')
        servers, old = (self._servers(node_uuid), None) if token is None else (
            [token[0]], token[1])
        expire = min(max(math.ceil(lifetime), 0) + 1, _LONGEST)
        replaced: bool
        _, replaced = self._ask_one_of(servers, functools.partial(
            _replace, _PREFIX + node_uuid, old, new, expire), seconds)
        return replaced

    def read_many(
        self, node_uuids: Sequence[str], seconds: float,
    ) -> Mapping[str, bytes]:
        """Return the texts of those of some nodes that have a record."""
        deadline = time.monotonic() + seconds
        texts: dict[str, bytes] = {}
        lost: dict[connections.Server, store.StoreError] = {}
        left = list(node_uuids)
        while left:
            homes: dict[connections.Server, list[str]] = {}
            for node_uuid in left:
                servers = [server for server in self._servers(node_uuid)
                           if server not in lost]
                if not servers:
                    raise _all_failed(lost.values())
                homes.setdefault(servers[0], []).append(node_uuid)
            left = []
            for server, some in homes.items():
                try:
                    texts.update(self._ask(server, functools.partial(
                        _get_all, some), _share(deadline, len(
                            self._options.servers) - len(lost))))
                except store.StoreError as error:
                    lost[server] = error
                    left += some
        return texts

    def _servers(self, node_uuid: str) -> list[connections.Server]:
        """Return the servers that a node may be on, its home first."""
        ranked = sorted(self._options.servers, key=lambda server: (
            hashlib.sha256(f'{server} {node_uuid}'.encode()).digest()))
        now = time.monotonic()
        awake = [server for server in ranked
                 if self._resting.get(server, now) <= now]
        return awake or ranked

    def _ask_one_of(
        self, servers: Sequence[connections.Server], call: _Call,
        seconds: float,
    ) -> tuple[connections.Server, typing.Any]:
        """Return the first server that answers, and what it answers.

        :raises StoreError: if none does in so many seconds, nobody knows what
            one did, or it is we who could not ask
        """
        deadline = time.monotonic() + seconds
        failed = []
        for number, server in enumerate(servers):
            try:
                return server, self._ask(
                    server, call, _share(deadline, len(servers) - number))
            except store.StoreError as error:
                failed.append(error)
                if isinstance(error.__cause__, (_Unknown, connections.Busy)):
                    break
        raise _all_failed(failed)

    def _ask(
        self, server: connections.Server, call: _Call, deadline: float,
    ) -> typing.Any:
        """Ask a server.

        :raises StoreError: if it does not answer, or not as it should
        """
        try:
            return self._ask_twice(server, call, deadline)
        except Exception as error:
            reason = error.__cause__ or error
            if isinstance(reason, connections.TIMEOUTS):
                self._resting[server] = time.monotonic() + _REST
            # A server that is none makes the library raise whatever it likes.
            told = printable.printable(
                str(reason) or type(reason).__name__)[:_SHOWN]
            raise store.StoreError(f'memcached at {server}: {told}') from error

    def _ask_twice(
        self, server: connections.Server, call: _Call, deadline: float,
    ) -> typing.Any:
        pool = self._pool(server)
        try:
            with pool.client(deadline) as client:
                return call(client)
        except ConnectionError:
            # It has closed the connection since it was last used.
            with pool.client(deadline) as client:
                return call(client)

    def _pool(self, server: connections.Server) -> connections.Pool:
        process = os.getpid()
        pools = self._pools.get(process)
        if pools is None:
            # Atomic: no lock, which another thread could have held while the
            # process was forked.
            pools = self._pools.setdefault(process, {
                each: connections.Pool(each, self._options.tls, self._begin)
                for each in self._options.servers})
            for other in set(self._pools) - {process}:
                for pool in self._pools.pop(other, {}).values():
                    pool.close()
        return pools[server]

    def _begin(self, sock: connections.Socket) -> connections.Client:
        credentials = self._options.credentials
        if credentials is not None:
            return memcache_sasl.SaslClient(sock, *credentials)
        library: typing.Any = importutils.import_module(
            'pymemcache.client.base')
        client = library.Client(('', 0), default_noreply=False)
        client.sock = sock
        return typing.cast(connections.Client, client)


def _replace(
    key: str, old: bytes | None, new: bytes, expire: int,
    client: connections.Client,
) -> bool:
    """Replace a value, None being none, and tell whether it was as expected.

    :raises _Unknown: if it may have been replaced
    """
    found, number = client.gets(key)
    if found != old:
        return False
    try:
        if old is None:
            return client.add(key, new, expire)
        return bool(client.cas(key, new, number, expire))
    except Exception as error:
        raise _Unknown from error


def _get_all(
    node_uuids: Sequence[str], client: connections.Client,
) -> dict[str, bytes]:
    texts = {}
    for first in range(0, len(node_uuids), _AT_ONCE):
        found = client.get_many([
            _PREFIX + node_uuid
            for node_uuid in node_uuids[first:first + _AT_ONCE]])
        texts.update({key[len(_PREFIX):]: value[_NUMBER:]
                      for key, value in found.items()})
    return texts


def _share(deadline: float, servers: int) -> float:
    """Return until when one may be asked, if there are so many to ask."""
    now = time.monotonic()
    return now + (deadline - now) / 2 if servers > 1 else deadline


def _all_failed(errors: typing.Iterable[store.StoreError]) -> store.StoreError:
    return store.StoreError('; '.join(map(str, errors)))
