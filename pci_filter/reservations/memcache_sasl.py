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

"""Talk to a memcached server that wants a user name and a password.

Such a server speaks nothing but the binary protocol, and pymemcache the other
one. python-binary-memcached, which oslo.cache takes for this, was refused:
when a server is lost it answers that there is no record, it unpickles what it
finds, and it has a connection for each thread that ever asked. What is needed
of the protocol is four commands, without pipelining but for one of them.

See doc/protocol-binary.xml of memcached, before 1.6.
"""

from __future__ import annotations

import struct
import typing

from pci_filter.reservations import memcache_connections

#: Magic, operation, length of the key, length of the extras, data type,
#: status, length of the body, opaque, number of the value.
_HEADER: typing.Final = struct.Struct('!BBHBBHLLQ')
_REQUEST: typing.Final = 0x80
_ANSWER: typing.Final = 0x81

_GET: typing.Final = 0x00
_SET: typing.Final = 0x01
_ADD: typing.Final = 0x02
_NOOP: typing.Final = 0x0a
_GETKQ: typing.Final = 0x0d
_AUTHENTICATE: typing.Final = 0x21

_DONE: typing.Final = 0x00
_NOT_FOUND: typing.Final = 0x01
_EXISTS: typing.Final = 0x02
_REFUSED: typing.Final = 0x20
_UNKNOWN: typing.Final = 0x81

#: Bytes; what claims to be longer is not memcached.
_LONGEST: typing.Final = 1 << 21


class _Answer(typing.NamedTuple):
    operation: int
    status: int
    key: str
    value: bytes
    number: int


class SaslClient:
    """As :class:`memcache_connections.Client`.

    :param sock: the connection
    :param username: the user name
    :param password: the password; nothing but the server gets it
    :raises PermissionError: if the server refuses them
    """

    def __init__(
        self, sock: memcache_connections.Socket, username: str, password: str,
    ) -> None:
        self._sock = sock
        # A server that wants no password does not know the command, and
        # oslo.cache uses it nevertheless.
        self._ask(_AUTHENTICATE, 'PLAIN',
                  value=f'\0{username}\0{password}'.encode(),
                  expected=(_DONE, _UNKNOWN))

    def gets(self, key: str) -> tuple[bytes | None, typing.Any]:
        """Return a value and its number, Nones if there is none."""
        answer = self._ask(_GET, key, expected=(_DONE, _NOT_FOUND))
        if answer.status == _NOT_FOUND:
            return None, None
        return answer.value, answer.number

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        """Return those of some values that there are."""
        # Of these only what is there is answered, so the last one is another.
        self._sock.sendall(
            b''.join(_request(_GETKQ, key) for key in keys) + _request(_NOOP))
        values: dict[str, bytes] = {}
        while True:
            answer = self._receive((_DONE,))
            if answer.operation == _NOOP:
                return values
            values[answer.key] = answer.value

    def add(self, key: str, value: bytes, expire: int) -> bool:
        """Add a value, and tell whether there was none."""
        answer = self._ask(
            _ADD, key, struct.pack('!LL', 0, expire), value,
            expected=(_DONE, _EXISTS))
        return answer.status == _DONE

    def cas(
        self, key: str, value: bytes, cas: typing.Any, expire: int,
    ) -> bool | None:
        """Replace the value that has a number, and tell whether it had."""
        answer = self._ask(
            _SET, key, struct.pack('!LL', 0, expire), value, cas,
            expected=(_DONE, _NOT_FOUND, _EXISTS))
        return answer.status == _DONE

    def _ask(
        self, operation: int, key: str, extras: bytes = b'',
        value: bytes = b'', number: int = 0, *, expected: tuple[int, ...],
    ) -> _Answer:
        self._sock.sendall(_request(operation, key, extras, value, number))
        answer = self._receive(expected)
        if answer.operation != operation:
            raise ValueError('it answers what it was not asked')
        return answer

    def _receive(self, expected: tuple[int, ...]) -> _Answer:
        (magic, operation, key_length, extras_length, _, status, length, _,
         number) = _HEADER.unpack(self._read(_HEADER.size))
        if magic != _ANSWER or length > _LONGEST:
            raise ValueError('it does not speak the binary protocol')
        body = self._read(length)
        if status == _REFUSED:
            raise PermissionError(
                'it refuses the user name or the password of [cache]')
        if status not in expected:
            raise ValueError(
                f'it answers with the status {status:#04x} {body[:64]!r}')
        key_end = extras_length + key_length
        return _Answer(
            operation, status, body[extras_length:key_end].decode(),
            body[key_end:], number)

    def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            read += self._sock.recv(size - len(read))
        return bytes(read)


def _request(
    operation: int, key: str = '', extras: bytes = b'', value: bytes = b'',
    number: int = 0,
) -> bytes:
    name = key.encode()
    return _HEADER.pack(
        _REQUEST, operation, len(name), len(extras), 0, 0,
        len(extras) + len(name) + len(value), 0, number
    ) + extras + name + value
