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

"""Keep reservations in a file that the workers of one machine share.

SQLite because its locks are the kernel's: whoever is killed, at whatever
instruction, has none any more, and what it had not finished is undone. The
standard library has it. In WAL mode readers and the writer do not wait for
each other, so that only writers meet.

Refused: one connection for each thread, which would be hundreds of open files,
and SQLite's own waiting, which would stop all green threads of a worker.

Invariants. A connection is used by the process that opened it and, under
``_lock``, by one thread at a time; while it is held the file is read and
written, and nothing else is waited for. A connection that a parent has opened
is neither used nor closed by its children: to close it would give up their own
locks on the file. A reader who only wants to see reservations has a connection
for the moment, which makes and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import errno
import os
import pwd
import random
import sqlite3
import threading
import time
import typing
from urllib import parse
import weakref

from oslo_config import cfg

from pci_filter.reservations import store

#: Of the file unless it is configured.
_NAME: typing.Final = 'pci_filter-reservations.sqlite'

#: Refuses a file of another version: it has another number there.
_APPLICATION: typing.Final = 0x70636966

_SCHEMA: typing.Final = '''
    CREATE TABLE IF NOT EXISTS reservations (
        node_uuid TEXT PRIMARY KEY,
        token INTEGER NOT NULL,
        text TEXT NOT NULL,
        expires REAL NOT NULL
    ) WITHOUT ROWID'''

#: Seconds until a busy file is tried again.
_AGAIN: typing.Final = 0.002


class LocalStore(store.Store):
    """Keeps reservations in ``[pci_filter]reservation_file``.

    :param conf: nova.conf, with Nova's ``state_path``
    """

    remote = False

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._path: str = conf.pci_filter.reservation_file or os.path.join(
            conf.state_path, _NAME)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # Of the file, which somebody may remove.
        self._inode = (0, 0)
        # Of the parent, and never closed.
        self._inherited: list[sqlite3.Connection] = []
        after_fork = weakref.WeakMethod(self._after_fork)

        def forget() -> None:
            method = after_fork()
            if method is not None:
                method()

        os.register_at_fork(after_in_child=forget)

    def read(self, node_uuid: str, seconds: float) -> store.Record:
        """Return what there is of a compute node."""
        found = self._run(lambda: self._execute(
            'SELECT token, text, expires FROM reservations '
            'WHERE node_uuid = ?', node_uuid).fetchone(), seconds)
        if found is None:
            return store.NO_RECORD
        token, text, expires = found
        return store.Record(token, text if time.time() < expires else None)

    def write(
        self, node_uuid: str, token: typing.Any, text: str, lifetime: float,
        seconds: float,
    ) -> bool:
        """Replace the record of a compute node, unless others have."""
        # Not a number that is counted up: once a record is removed it would
        # begin anew, and somebody slow could take another for his.
        new = random.getrandbits(62)
        expires = time.time() + lifetime
        values = [new, text, expires, node_uuid]
        if token is None:
            statement = (
                'INSERT INTO reservations (token, text, expires, node_uuid) '
                'VALUES (?, ?, ?, ?) ON CONFLICT (node_uuid) DO NOTHING')
        else:
            statement = (
                'UPDATE reservations SET token = ?, text = ?, expires = ? '
                'WHERE node_uuid = ? AND token = ?')
            values.append(token)
        replaced: bool = self._run(lambda: self._execute(
            statement, *values).rowcount == 1, seconds)
        return replaced

    def read_many(
        self, node_uuids: Sequence[str], seconds: float,
    ) -> Mapping[str, str]:
        """Return the texts of those of some nodes that have a record."""
        if self.nothing_kept():
            return {}
        # All of them: there are few, and most of the nodes have none.
        found = self._run(lambda: self._seen(
            'SELECT node_uuid, text FROM reservations WHERE expires > ?',
            (time.time(),)), seconds)
        wanted = frozenset(node_uuids)
        return {node_uuid: text for node_uuid, text in found
                if node_uuid in wanted}

    def nothing_kept(self) -> str:
        """Return that there is no file, if there is none."""
        try:
            os.stat(self._path)
        except FileNotFoundError:
            return f'there is no file {self._path}'
        except OSError as error:
            raise self._error(error) from error
        return ''

    def probe(self, seconds: float) -> str:
        """Find out whether the file can be written, or made."""
        folder = os.path.dirname(self._path) or '.'
        if not os.path.isdir(folder):
            raise store.StoreError(
                f'{self._path}: there is no folder {folder}')
        if not os.access(folder, os.W_OK | os.X_OK):
            raise store.StoreError(
                f'{self._path}: {_user()} may not make files in {folder}')
        if self.nothing_kept():
            return f'{_user()} may make {self._path}, which is not there yet'
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise store.StoreError(
                f'{self._path}: {_user()} may not write to it')
        self.read_many((), seconds)
        return f'{_user()} may write to {self._path}'

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Execute a statement, in a transaction of its own."""
        return self._connect().execute(statement, values)

    def _seen(
        self, statement: str, values: Sequence[object],
    ) -> list[typing.Any]:
        """Return what is read in a file that is there, and write nothing.

        To read a file in WAL mode SQLite makes two more, unless they are
        there, and removes them in the end. Without a log nobody is writing,
        and the file is all there is to be read.
        """
        if not os.access(self._path, os.R_OK):
            raise PermissionError(errno.EACCES, f'{_user()} may not read it')
        how = ('readonly_shm=1' if os.path.exists(f'{self._path}-wal')
               else 'immutable=1')
        connection = sqlite3.connect(
            f'file:{parse.quote(self._path)}?mode=ro&{how}', uri=True,
            timeout=0, isolation_level=None)
        with contextlib.closing(connection):
            # One that is just being made has no table yet.
            return connection.execute(statement, values).fetchall() if (
                _has_table(connection)) else []

    def _run(
        self, execute: Callable[[], typing.Any], seconds: float,
    ) -> typing.Any:
        """Call something with the lock held, again while the file is busy.

        :raises StoreError: if that is not done in so many seconds
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self._alone(deadline):
                    return execute()
            except sqlite3.Error as error:
                busy = isinstance(error, sqlite3.OperationalError) and (
                    'locked' in str(error))
                if busy and time.monotonic() + _AGAIN < deadline:
                    time.sleep(_AGAIN)
                    continue
                self._forget_connection(busy)
                raise store.StoreError(f'{self._path}: {error}') from error
            except OSError as error:
                raise self._error(error) from error

    @contextlib.contextmanager
    def _alone(self, deadline: float) -> Iterator[None]:
        """Hold the lock.

        :raises StoreError: if another thread has it until the deadline, as
            one may whose file system hangs
        """
        lock = self._lock
        if not lock.acquire(timeout=max(0, deadline - time.monotonic())):
            raise store.StoreError(
                f'{self._path}: other threads of this process keep it busy')
        try:
            yield
        finally:
            lock.release()

    def _connect(self) -> sqlite3.Connection:
        """Return the connection of this process; the lock is held."""
        if self._connection is not None and self._inode != self._found():
            # The file was removed: workers started since use another one.
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._open()
            self._inode = self._found()
        return self._connection

    def _after_fork(self) -> None:
        """Begin anew in a child: a thread may have held the lock."""
        self._lock = threading.Lock()
        if self._connection is not None:
            self._inherited.append(self._connection)
            self._connection = None

    def _found(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        # Nobody else is to read or write what SQLite is about to make. One
        # that is there already must not be opened like this: to close it
        # would give up the locks that another store of this process has on
        # it, and whoever closes it last would remove the log in use.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None,
            check_same_thread=False)
        try:
            if not _has_table(connection):
                connection.execute('PRAGMA journal_mode = WAL')
                connection.execute(f'PRAGMA application_id = {_APPLICATION}')
                connection.execute(_SCHEMA)
            # The last ones may be lost with the machine, the file must not.
            connection.execute('PRAGMA synchronous = NORMAL')
            connection.execute(
                'DELETE FROM reservations WHERE expires < ?', (time.time(),))
        except BaseException:
            connection.close()
            raise
        return connection

    def _error(self, error: OSError) -> store.StoreError:
        return store.StoreError(f'{self._path}: {error.strerror}')

    def _forget_connection(self, busy: bool) -> None:
        """Open the file anew next time: it may be another one by then."""
        if busy:
            return
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _has_table(connection: sqlite3.Connection) -> bool:
    """Tell whether a file has reservations; an empty one has none.

    :raises sqlite3.DatabaseError: if it has something else
    """
    # Others may be making the file: the number comes before the table.
    tables = connection.execute(
        'SELECT COUNT(*) FROM sqlite_master').fetchone()[0]
    found = connection.execute('PRAGMA application_id').fetchone()[0]
    if tables and found != _APPLICATION:
        raise sqlite3.DatabaseError(
            'it is not a file of reservations, or of another version of '
            'pci_filter; remove it')
    return bool(tables)


def _user() -> str:
    """Return the name of whoever runs this."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f'user {number}'
