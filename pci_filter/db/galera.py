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
"""Reads of Galera that see all that was committed before them.

A node applies what was committed on another one some moments later, and a read
there may not see it yet. Where ``wsrep_sync_wait`` has the bit for reads the
node first applies all that was committed before. It does so once for each
transaction, at its first statement.

That is a ``START TRANSACTION`` here, which reads nothing. If the node takes
too long the server says "Lock wait timeout exceeded" (MDEV-6832), and this
statement is none that could wait for a lock.

Only a server that says that it is a node is told to wait, and only in the
sessions of engines that are given here. Refused: ``SET STATEMENT
wsrep_sync_wait = 1 FOR SELECT``, which MySQL does not know and ProxySQL takes
for a reason to keep a connection to one server (its issue 5686), and a comment
that only some servers execute, which would be part of each statement. ProxySQL
has learned of the session's variable by its issue 2476.
"""

from __future__ import annotations

import contextlib
import typing

import sqlalchemy as sa
from sqlalchemy import event

from pci_filter import exception

#: The bit of wsrep_sync_wait for SELECT, SHOW and START TRANSACTION. The
#: others are for statements that write.
_READS: typing.Final = 1

_SHOW: typing.Final = (
    'SHOW SESSION VARIABLES WHERE Variable_name IN '
    "('wsrep_on', 'wsrep_sync_wait')")

_SET: typing.Final = 'SET SESSION wsrep_sync_wait = %s'

_BEGIN: typing.Final = sa.text('START TRANSACTION')

#: ER_LOCK_WAIT_TIMEOUT
_TIMEOUT: typing.Final = 1205

#: In the ``info`` of a connection: whether its transactions wait.
_WAITS: typing.Final = 'pci_filter_waits'


def attach(engine: sa.engine.Engine) -> None:
    """Let the transactions of an engine see what was committed before them.

    Where the server is no node of Galera, or what stands between does not
    take it, they are as they were. Otherwise a transaction begins with
    :class:`pci_filter.exception.NodeBehind` if the node takes too long, and
    with any other error if it cannot be asked.

    :param engine: for MariaDB or MySQL; one that only reads
    """
    event.listen(engine, 'connect', _connected)
    event.listen(engine, 'begin', _begin)


def wait_in_session(connection: typing.Any) -> bool:
    """Let a session of a node wait for what was committed before a read.

    Bits that it has already stay: somebody wants other statements to wait too.

    :param connection: of the driver
    :returns: whether it is the session of a node
    :raises Exception: what the driver raises
    """
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(_SHOW)
        found = dict(cursor.fetchall())
        if found.get('wsrep_on') != 'ON':
            return False
        bits = int(found['wsrep_sync_wait'])
        if not bits & _READS:
            cursor.execute(_SET, (bits | _READS,))
    return True


def _connected(connection: typing.Any, record: typing.Any) -> None:
    with contextlib.suppress(Exception):
        record.info[_WAITS] = wait_in_session(connection)


def _begin(connection: sa.engine.Connection) -> None:
    if not connection.info.get(_WAITS):
        return
    try:
        connection.execute(_BEGIN)
    except Exception as error:
        if _code(error) == _TIMEOUT:
            raise exception.NodeBehind() from error
        raise


def _code(error: BaseException | None) -> object:
    """Return the number of an error of the server, None if it has none."""
    while error is not None:
        if error.args and isinstance(error.args[0], int):
            return error.args[0]
        # oslo.db wraps what SQLAlchemy wraps.
        error = (getattr(error, 'inner_exception', None)
                 or getattr(error, 'orig', None))
    return None
