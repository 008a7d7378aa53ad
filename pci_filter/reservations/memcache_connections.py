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

"""Connections to a memcached server that end what they do at a deadline.

Neither the library nor a socket limits a whole call: each of its parts may
take as long again, which a server that is slow rather than dead makes use of.
So every part is given the time that is left.

Connections are used by one thread at a time. One on which anything failed is
closed, since an answer that comes late would be taken for that to the next
question; those that are idle are closed with it, since they are likely to
fail as well.

Limit: what looks up the name of a server cannot be stopped. Servers are best
named by addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import socket
import ssl
import threading
import time
import typing

#: Connections to one server that a process has at most. memcached takes 1,024
#: from all of its clients unless it is told otherwise.
_MOST: typing.Final = 8

#: Seconds for which a connection may be idle. Servers, and firewalls between,
#: drop those that are idle for long, and some do not tell.
_IDLE: typing.Final = 10

#: Python 3.9 has two of them.
TIMEOUTS: typing.Final = (TimeoutError, socket.timeout)


class Busy(Exception):
    """All connections were in use, which the server cannot help."""


class Server(typing.NamedTuple):
    """A memcached server.

    :param host: its name or address
    :param port: its port
    :param family: the family of its address, if that matters
    """

    host: str
    port: int
    family: socket.AddressFamily = socket.AF_UNSPEC

    def __str__(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{host}:{self.port}'


class Socket:
    """What clients know of a socket.

    :param sock: the socket, connected
    :param deadline: when time.monotonic() says so it times out
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self.deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(_left(self.deadline))
            view = view[self._sock.send(view):]

    def recv(self, size: int) -> bytes:
        """Receive something.

        :raises ConnectionError: if the server has closed the connection
        """
        try:
            self._sock.settimeout(_left(self.deadline))
            received = self._sock.recv(size)
        except TIMEOUTS:
            received = self._arrived(size)
        if not received:
            raise ConnectionResetError('it has closed the connection')
        return received

    def _arrived(self, size: int) -> bytes:
        """Receive what came in time, while other threads kept this busy."""
        self._sock.settimeout(0)
        try:
            return self._sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError):
            raise socket.timeout('timed out') from None

    def close(self) -> None:
        """Close it; that never fails."""
        with contextlib.suppress(OSError):
            self._sock.close()


class Client(typing.Protocol):
    """What is asked of a connection; the methods are pymemcache's."""

    def gets(self, key: str) -> tuple[bytes | None, typing.Any]:
        """Return a value and its number, Nones if there is none."""

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        """Return those of some values that there are."""

    def add(self, key: str, value: bytes, expire: int) -> bool:
        """Add a value, and tell whether there was none."""

    def cas(
        self, key: str, value: bytes, cas: typing.Any, expire: int,
    ) -> bool | None:
        """Replace the value that has a number, and tell whether it had."""


class Pool:
    """The connections of one process to one server.

    :param server: the server
    :param tls: how to talk TLS, None to do without
    :param begin: makes a client of a socket; may talk to the server
    """

    def __init__(
        self, server: Server, tls: ssl.SSLContext | None,
        begin: Callable[[Socket], Client],
    ) -> None:
        self._server = server
        self._tls = tls
        self._begin = begin
        self._places = threading.Semaphore(_MOST)
        # The one last used is at the end. To append and to pop are atomic.
        self._idle: list[tuple[Socket, Client, float]] = []

    @contextlib.contextmanager
    def client(self, deadline: float) -> Iterator[Client]:
        """Lend a client.

        :param deadline: when time.monotonic() says so everything times out
        :raises Busy: if there is none until then
        """
        if not self._places.acquire(
                timeout=max(0, deadline - time.monotonic())):
            raise Busy(f'all {_MOST} connections to it are in use')
        try:
            sock, client = self._take(deadline) or self._connect(deadline)
            try:
                yield client
            except BaseException:
                # A killed green thread leaves half an answer as well.
                sock.close()
                self.close()
                raise
            self._idle.append((sock, client, time.monotonic()))
        finally:
            self._places.release()

    def close(self) -> None:
        """Close the connections that are idle."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[0].close()

    def _take(self, deadline: float) -> tuple[Socket, Client] | None:
        with contextlib.suppress(IndexError):
            while True:
                sock, client, since = self._idle.pop()
                if time.monotonic() < since + _IDLE:
                    sock.deadline = deadline
                    return sock, client
                sock.close()
        return None

    def _connect(self, deadline: float) -> tuple[Socket, Client]:
        error: OSError = ConnectionError('it has no address')
        for family, kind, protocol, _, address in socket.getaddrinfo(
                self._server.host, self._server.port, self._server.family,
                socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left(deadline))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
                if self._tls is not None:
                    sock.settimeout(_left(deadline))
                    sock = self._tls.wrap_socket(
                        sock, server_hostname=self._server.host)
                limited = Socket(sock, deadline)
                return limited, self._begin(limited)
            except OSError as failed:
                sock.close()
                error = failed
            except BaseException:
                sock.close()
                raise
        raise error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout('timed out')
    return left
