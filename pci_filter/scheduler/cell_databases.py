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

"""Connections of our own to the databases of the cells.

Nova's have no timeouts, and are few: a database that accepts and says nothing
would keep one for each request that asks it, and in the end Nova could not
ask it any more. Of ours there are few as well, but each of them ends, and
those of Nova are left to Nova.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import socket
import threading
import typing
from urllib import parse

import nova.conf
from nova import context as nova_context
from nova.db.api import api as api_db
from nova.db.main import api as main_db
from oslo_db.sqlalchemy import enginefacade
from oslo_log import log as logging
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy import exc

from pci_filter.db import galera
from pci_filter.db import timeouts
from pci_filter.scheduler import shared_reads

LOG = logging.getLogger(__name__)

#: Connections to a cell's database for reads that requests share: one of each
#: kind goes on at a time, however many requests want it.
SHARED: typing.Final = 4

#: Connections for reads that nobody else can use, as a reservation's. They
#: have a pool of their own: a worker of Nova reserves for up to 64 requests at
#: once, and those would keep the others waiting.
UNSHARED: typing.Final = 12

#: Connections of each pool that stay open while nobody uses them.
_KEPT: typing.Final = 4

#: Seconds after load_timeout until a server is told to stop, or a driver or
#: pool not to wait any more. Whoever waited has given up before, and has said
#: so: what hangs is told in the same words wherever it hangs.
_GRACE: typing.Final = 1

_MYSQL: typing.Final = ('mysql', 'mariadb')
_SERVERS: typing.Final = (*_MYSQL, 'postgresql')


class CellDatabase:
    """Where a cell is read.

    :param identity: what it is replaced with when the cell has another
    :param manager: oslo.db's transaction context manager
    """

    def __init__(self, identity: object, manager: typing.Any) -> None:
        self.identity = identity
        self._manager = manager
        #: What is read there.
        self.reads = shared_reads.SharedReads(self)

    @contextlib.contextmanager
    def connect(self) -> Iterator[typing.Any]:
        """Yield a connection, in a transaction that has not begun to read.

        As Nova's own readers get one, but for a session that nobody needs.
        """
        engine = self._manager.writer.get_engine()
        with engine.connect() as connection:
            try:
                with connection.begin():
                    yield connection
            finally:
                # Not before: the end of a transaction is waited for as well.
                shared_reads.note_connection(None)

    def abandon(self) -> None:
        """Use no connection again that there is."""

    def line(self, connection: typing.Any) -> int | None:
        """Return a descriptor of a connection of the driver, to be closed."""
        return None

    def hang_up(self, line: int) -> None:
        """End what somebody waits for at the other end of a descriptor."""


class _Ours(CellDatabase):
    """With timeouts, in a pool that nobody else uses.

    :param url: of the database, with a driver that takes timeouts
    :param seconds: ``[pci_filter]load_timeout``
    :param section: Nova's options for such a database
    :param connections: how many there may be
    :param causal: whether reads of Galera see all that was committed before
    """

    def __init__(
        self, url: sa.engine.URL, seconds: int, section: typing.Any,
        connections: int, causal: bool,
    ) -> None:
        super().__init__(
            (url, seconds, causal),
            _manager(url, seconds, section, connections, causal))
        self._limit = (
            seconds + _GRACE if url.get_backend_name() == 'postgresql'
            else None)

    @contextlib.contextmanager
    def connect(self) -> Iterator[typing.Any]:
        with super().connect() as connection:
            if self._limit:
                timeouts.limit_transaction(connection, self._limit)
            yield connection

    def abandon(self) -> None:
        # Who uses one goes on, and does not give it back to the new pool. If
        # there is no driver there is nothing to close either.
        with contextlib.suppress(Exception):
            self._manager.writer.get_engine().dispose()

    def line(self, connection: typing.Any) -> int | None:
        # libpq has no timeout for an answer. PyMySQL has, and does not tell
        # its socket.
        try:
            return os.dup(connection.fileno())
        except Exception:
            return None

    def hang_up(self, line: int) -> None:
        with contextlib.suppress(Exception), socket.socket(
                fileno=os.dup(line)) as its_socket:
            its_socket.shutdown(socket.SHUT_RDWR)


def _manager(
    url: sa.engine.URL, seconds: int, section: typing.Any, connections: int,
    causal: bool,
) -> typing.Any:
    """Return one that is configured as Nova's are, [database] and all."""
    # The same name twice would be a list, which no driver takes.
    given = dict(parse.parse_qsl(
        section.connection_parameters or ''))
    limit = seconds + _GRACE
    arguments = timeouts.arguments(url, limit, limit, given)
    manager = enginefacade.transaction_context()
    manager.configure(**{
        **dict(section.items()), 'connection': url.update_query_dict({
            name: str(value) for name, value in arguments.items()})})
    # Nobody may wait while it is tried again for minutes.
    manager.configure(max_retries=0, slave_connection=None)
    if url.get_backend_name() in _SERVERS:
        manager.configure(
            max_pool_size=_KEPT, max_overflow=connections - _KEPT,
            pool_timeout=limit)
    manager.append_on_engine_create(
        lambda engine: _prepare(engine, limit, causal))
    return manager


def _prepare(engine: typing.Any, seconds: int, causal: bool) -> None:
    """Let an engine tell which connections are used, and limit statements.

    A connection that was in the pool is tried before anything else, which may
    hang as well, and no event tells of that.
    """
    ping = engine.dialect.do_ping
    engine.dialect.do_ping = lambda connection: ping(
        shared_reads.note_connection(connection))

    def connect(
        dialect: typing.Any, record: object, args: typing.Any,
        kwargs: typing.Any,
    ) -> typing.Any:
        return shared_reads.note_connection(dialect.connect(*args, **kwargs))

    def tell_limit(connection: typing.Any, record: object) -> None:
        # What stands between may not take it, and does without.
        with contextlib.suppress(Exception):
            timeouts.limit_session(connection, seconds)

    def checked_out(
        connection: typing.Any, record: object, proxy: object,
    ) -> None:
        shared_reads.note_connection(connection)

    event.listen(engine, 'do_connect', connect)
    # With SQLAlchemy before 2.0.5 oslo.db tries it itself, after this.
    event.listen(engine, 'checkout', checked_out)
    if engine.dialect.name in _MYSQL:
        event.listen(engine, 'connect', tell_limit)
        if causal:
            galera.attach(engine)


def _parsed(url: str) -> sa.engine.URL | None:
    """Return the URL of a database that a second pool can connect to.

    What is in memory is in that of the connection alone. A driver that takes
    no timeouts would keep each connection that was abandoned, and there would
    be more of them as long as the database hangs: of Nova's there are only so
    many.
    """
    try:
        parsed = sa.engine.make_url(url)
        parsed.get_driver_name()
    except (exc.ArgumentError, exc.NoSuchModuleError, ImportError,
            ValueError):
        # Nova is asked to connect there, and whatever it says is told.
        return None
    backend, path = parsed.get_backend_name(), parsed.database or ''
    is_file = backend == 'sqlite' and path and path != ':memory:' and (
        not path.startswith('file:'))
    is_bounded = backend in _SERVERS and timeouts.are_taken(parsed)
    return parsed if is_file or is_bounded else None


#: By the UUID of the cell, and how many connections there may be.
_known: dict[tuple[str, int], CellDatabase] = {}
_lock = threading.Lock()

#: Those of the parent, in a child. Some drivers would say goodbye to the
#: server for the parent if they were forgotten.
_inherited: list[dict[tuple[str, int], CellDatabase]] = []


def _forked() -> None:
    global _known, _lock
    _inherited.append(_known)
    _known = {}
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)


def of_cell(
    context: typing.Any, cell: typing.Any, seconds: int,
    connections: int = SHARED,
) -> CellDatabase:
    """Return the database of a cell.

    At SIGHUP a cell may get another one. Who reads the former one goes on.

    :param context: the request context
    :param cell: its CellMapping
    :param seconds: ``[pci_filter]load_timeout``
    :param connections: SHARED or UNSHARED
    """
    url = _parsed(cell.database_connection)
    causal: bool = nova.conf.CONF.pci_filter.causal_reads
    key = cell.uuid, connections
    with _lock:
        former = _known.get(key)
    if url is not None:
        if former and former.identity == (url, seconds, causal):
            return former
        database: CellDatabase = _Ours(
            url, seconds, nova.conf.CONF.database, connections, causal)
    else:
        with nova_context.target_cell(context, cell) as cell_context:
            manager = main_db.get_context_manager(cell_context)
        if former and former.identity is manager:
            return former
        database = CellDatabase(manager, manager)
        if causal and connections == SHARED:
            _say_not_causal(cell)
    with _lock:
        found = _known.get(key)
        if found is not former and found is not None:
            # Another request has just done the same.
            return found
        _known[key] = database
    if former:
        former.abandon()
    return database


def _say_not_causal(cell: typing.Any) -> None:
    """Log that reads of a cell are as Nova's are, if it could be a Galera.

    How Nova's connections read is for Nova to say.
    """
    if str(cell.database_connection).startswith(_MYSQL):
        LOG.info(
            'The PCI devices of cell %s are read on connections of Nova, '
            'whose driver takes no timeouts. [pci_filter]causal_reads has no '
            'effect there; [database]mysql_wsrep_sync_wait has.', cell.uuid)


def of_api(seconds: int) -> CellDatabase:
    """Return Nova's API database.

    On a node of Galera that lags it may be out of date, which does not matter
    for what is asked there (pci_filter.reservations.sight).

    :param seconds: that an answer may take
    """
    section = nova.conf.CONF.api_database
    url = _parsed(section.connection or '')
    if url is None:
        return CellDatabase(api_db.context_manager, api_db.context_manager)
    return _Ours(url, seconds, section, SHARED, causal=False)


def forget() -> None:
    """Close all connections that nobody uses; for tests."""
    with _lock:
        found = list(_known.values())
        _known.clear()
    for database in found:
        database.abandon()
