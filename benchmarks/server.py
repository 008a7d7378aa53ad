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

"""What the database server of a cell pays for requests.

Its processor time is what the kernel says of its processes, so the server has
to be on this machine. The rest is what it counts itself. Whatever cannot be
known is None, and :attr:`Server.why` says why: to measure less is no failure.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib
import platform
import time
import typing

import sqlalchemy as sa

from benchmarks import processes

_MARIADB: typing.Final = ('mariadbd', 'mysqld')

#: Rows that are read, by the word that MariaDB has for them, temporary tables
#: left out. MySQL has none and adds them up by how they are read.
_ROWS: typing.Final = 'Rows_read'
_HANDLER: typing.Final = 'Handler_read'
_STATUS: typing.Final = sa.text(
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Rows_read', 'Questions', "
    "'Bytes_received', 'Bytes_sent') OR Variable_name LIKE 'Handler_read%'")

#: Rows of tables, and entries of indexes. Not tup_returned of
#: pg_stat_database: that has the catalogs in it, which each new connection
#: reads.
_TUPLES: typing.Final = sa.text(
    'SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables) '
    '+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)')
#: Seconds that a backend of PostgreSQL keeps to itself what it counts: it
#: tells when it ends a transaction, but not again so soon.
_TOLD_EVERY: typing.Final = 1.1

#: Seconds between the start in postmaster.pid and that the server tells.
_SAME_START: typing.Final = 10

#: Seconds in which a server that has nothing to do may use a tick.
_QUIET: typing.Final = 0.5


class Counts(typing.NamedTuple):
    """What a server did.

    :param rows: that it read
    :param statements: that it was sent, COMMIT and the like among them
    :param bytes: that it received and sent
    """

    rows: float | None = None
    statements: float | None = None
    bytes: float | None = None

    def less(self, other: Counts) -> Counts:
        """Return what came after another reading."""
        return Counts(*(
            None if mine is None or its is None else mine - its
            for mine, its in zip(self, other)))

    def each(self, number: int) -> Counts:
        """Return the mean of a number of requests."""
        return Counts(*(
            None if value is None else value / number for value in self))


class Tally:
    """What was counted in a ``with`` block; there once it is left."""

    counts = Counts()


class Server:
    """A database server of which nothing can be known, such as SQLite."""

    def __init__(self) -> None:
        #: Why something is not measured, by what.
        self.why = {
            what: 'the database is in the process of the scheduler'
            for what in ('cpu', *Counts._fields)}

    def cpu_seconds(self) -> float | None:
        """Return the processor time that the server has taken by now."""
        return None

    @contextlib.contextmanager
    def counting(self) -> Iterator[Tally]:
        """Count what the server does in a ``with`` block.

        Nobody else should ask it for anything.
        """
        yield Tally()

    def wait_until_quiet(self, patience: float) -> float | None:
        """Wait until the server has done what it had put off.

        :param patience: seconds
        :returns: the share of a processor that it takes doing nothing
        """
        until = time.monotonic() + patience
        while (used := self._used_meanwhile()) is not None:
            if used <= 0.01 or time.monotonic() >= until:
                return used / _QUIET
        return None

    def _used_meanwhile(self) -> float | None:
        before = self.cpu_seconds()
        if before is None:
            return None
        time.sleep(_QUIET)
        after = self.cpu_seconds()
        return None if after is None else after - before


class _Remote(Server):
    """A server that is asked about itself.

    :param connection: of its own, in autocommit
    """

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__()
        self.why.clear()
        self._connection = connection
        self._pid = self._ask('cpu', self._find)
        self._ask('rows', self._read)

    def _ask(self, what: str, find: Callable[[], typing.Any]) -> typing.Any:
        """Return what is found, or note why it is not."""
        try:
            return find()
        except (OSError, ValueError, sa.exc.SQLAlchemyError) as error:
            self.why[what] = str(error).partition('\n')[0]
            return None

    def cpu_seconds(self) -> float | None:
        return None if self._pid is None else self._ask('cpu', self._seconds)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Tally]:
        tally = Tally()
        first, before = self._counts(), self._counts()
        yield tally
        # To be asked is something that the server counts, too.
        tally.counts = self._counts().less(before).less(before.less(first))

    def _counts(self) -> Counts:
        found = self._ask('rows', self._read)
        return Counts() if found is None else found

    def _find(self) -> int:
        """Return the id of the server's first process.

        :raises OSError: if a file cannot be read
        :raises ValueError: if the server is not on this machine
        """
        raise NotImplementedError

    def _seconds(self) -> float:
        raise NotImplementedError

    def _read(self) -> Counts:
        raise NotImplementedError


class _MariaDB(_Remote):
    """MariaDB or MySQL: one process with many threads."""

    def _find(self) -> int:
        host, folder, path = self._connection.execute(sa.text(
            'SELECT @@hostname, @@datadir, @@pid_file')).one()
        if host != platform.node():
            raise ValueError(f'the server is on {host}')
        pid = int(pathlib.Path(folder, path).read_text(encoding='utf-8'))
        _require(pid, _MARIADB)
        return pid

    def _seconds(self) -> float:
        return processes.find(self._pid).seconds

    def _read(self) -> Counts:
        found = {name: int(value) for name, value
                 in self._connection.execute(_STATUS)}
        rows = found.get(_ROWS)
        if rows is None:
            rows = sum(value for name, value in found.items()
                       if name.startswith(_HANDLER))
        return Counts(rows, found['Questions'],
                      found['Bytes_received'] + found['Bytes_sent'])


class _PostgreSQL(_Remote):
    """PostgreSQL: one process for each connection, and a parent of all.

    Each tells what it read with a delay, unless somebody uses its connection.

    :param connection: of its own, in autocommit
    :param others: the driver's connections of schedulers; more may come
    """

    def __init__(
        self, connection: sa.Connection, others: list[typing.Any],
    ) -> None:
        self._others = others
        super().__init__(connection)
        self.why['statements'] = self.why['bytes'] = (
            'PostgreSQL does not count them')

    def _find(self) -> int:
        folder = self._connection.execute(
            sa.text('SHOW data_directory')).scalar_one()
        lines = pathlib.Path(folder, 'postmaster.pid').read_text(
            encoding='utf-8').splitlines()
        started = self._connection.execute(sa.text(
            'SELECT extract(epoch FROM pg_postmaster_start_time())'
        )).scalar_one()
        if abs(float(started) - int(lines[2])) > _SAME_START:
            raise ValueError('the server is on another machine')
        pid = int(lines[0])
        _require(pid, ('postgres',))
        return pid

    def _seconds(self) -> float:
        parent = processes.find(self._pid)
        return parent.seconds + parent.ended + sum(
            child.seconds + child.ended
            for child in processes.children(parent.pid))

    def _read(self) -> Counts:
        time.sleep(_TOLD_EVERY)
        for other in self._others:
            # One that is closed, or broken, has told already.
            with contextlib.suppress(Exception):
                other.cursor().execute('SELECT 1')
                other.rollback()
        found = self._connection.execute(_TUPLES).scalar_one()
        return Counts(int(found or 0))

    @contextlib.contextmanager
    def counting(self) -> Iterator[Tally]:
        # No table is read to read the counts.
        tally = Tally()
        before = self._counts()
        yield tally
        tally.counts = self._counts().less(before)


def _require(pid: int, names: tuple[str, ...]) -> None:
    """See that a process is the one that is meant.

    :raises ValueError: if it is another one
    """
    name = processes.find(pid).name
    if name not in names:
        raise ValueError(f'process {pid} is {name}')


@contextlib.contextmanager
def watched(url: str | None) -> Iterator[Server]:
    """Yield what measures the server of a database.

    :param url: of the database, None for SQLite. Nobody is connected yet.
    """
    if url is None:
        yield Server()
        return
    engine = sa.create_engine(
        url, isolation_level='AUTOCOMMIT', poolclass=sa.pool.NullPool)
    others: list[typing.Any] = []
    with engine.connect() as connection:
        if engine.dialect.name != 'postgresql':
            yield _MariaDB(connection)
            return

        def note(opened: typing.Any, record: object) -> None:
            others.append(opened)

        sa.event.listen(sa.pool.Pool, 'connect', note)
        try:
            yield _PostgreSQL(connection, others)
        finally:
            sa.event.remove(sa.pool.Pool, 'connect', note)
