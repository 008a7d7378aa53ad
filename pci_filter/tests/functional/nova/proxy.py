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

"""A TCP proxy in front of a database, which can be told to misbehave."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import typing

import fixtures

#: What no database says.
NONSENSE: typing.Final = b'HTTP/1.1 400 Bad Request\r\n\r\n' * 20

_Befall = typing.Callable[[socket.socket], bool]


class Proxy(fixtures.Fixture):
    """Hands on what a client and a server tell each other.

    :param host: of the server
    :param port: of the server
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._released = threading.Event()
        self._befall: _Befall | None = None
        self._at = b''
        self.port = 0

    def _setUp(self) -> None:
        self.addCleanup(self.refuse)
        self.addCleanup(self.behave)
        self.listen()

    def listen(self) -> None:
        """Accept connections, on the same port as before."""
        if self._listening:
            return
        listening = socket.create_server(('127.0.0.1', self.port))
        self.port = listening.getsockname()[1]
        self._listening = listening
        self._accepting = threading.Thread(
            target=self._accept, args=(listening,), daemon=True)
        self._accepting.start()

    def refuse(self) -> None:
        """Hang up on everybody, and let nobody connect any more."""
        listening, self._listening = self._listening, None
        if listening:
            # To close it alone would not wake who waits for connections, and
            # eventlet would take what is opened next for what was closed.
            _hang_up(listening)
            self._accepting.join()
            listening.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            _hang_up(connection)

    def drop(self, at: bytes) -> None:
        """Hang up on each client that sends a text."""
        self._set(lambda client: False, at)

    def hold(self, at: bytes) -> None:
        """Keep back what clients send from a text on, until it behaves."""
        self._released.clear()
        self._set(lambda client: self._released.wait(600), at)

    def come_back(self) -> None:
        """Be a proxy like others again, but keep what is kept back."""
        self._befall = None

    def garble(self, at: bytes = b'') -> None:
        """Answer nonsense to a text, or to whoever connects."""
        def say(client: socket.socket) -> bool:
            client.sendall(NONSENSE)
            return False

        self._set(say, at)

    def behave(self) -> None:
        """Be a proxy like others again."""
        self._befall = None
        self._released.set()

    def _set(self, befall: _Befall, at: bytes) -> None:
        self._at = at
        self._befall = befall

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        try:
            befall = self._befall
            if befall and not self._at and not befall(client):
                return
            with client, socket.create_connection(self._server) as server:
                self._hand_on(client, server)
        except OSError:
            pass
        finally:
            _hang_up(client)
            client.close()
            with self._lock:
                self._open.discard(client)

    def _hand_on(
        self, client: socket.socket, server: socket.socket,
    ) -> None:
        other = {client: server, server: client}
        for end in other:
            # Small packets must not wait for each other.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                befall = self._befall
                if (befall and ready is client and self._at
                        and self._at in data and not befall(client)):
                    return
                other[ready].sendall(data)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
