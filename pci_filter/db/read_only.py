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

"""Connections to Nova's databases that can only read."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import typing
from urllib import parse

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy import exc
from sqlalchemy import pool

from pci_filter.db import credentials
from pci_filter.db import galera
from pci_filter.db import timeouts
from pci_filter import exception

#: What makes every transaction of a connection read-only.
_READ_ONLY: typing.Final = {
    'sqlite': 'PRAGMA query_only = ON',
    'mysql': 'SET SESSION TRANSACTION READ ONLY',
    'mariadb': 'SET SESSION TRANSACTION READ ONLY',
    # What MySQL does by default: all statements see the same moment.
    'postgresql': 'SET SESSION CHARACTERISTICS AS TRANSACTION '
                  'ISOLATION LEVEL REPEATABLE READ, READ ONLY',
}

_MYSQL: typing.Final = ('mysql', 'mariadb')

#: Seconds that a server has to let us connect, and as many to answer, where
#: the driver can be told and the URL does not say.
TIMEOUT: typing.Final = 10


@contextlib.contextmanager
def connect(
    url: str, expected: Iterable[sa.Table] = (), timeout: int = TIMEOUT,
) -> Iterator[sa.engine.Connection]:
    """Connect to a database for the length of a ``with`` block.

    Every transaction is read-only, so an account that may only read is
    enough. But on SQLite, what is read within a transaction is of one moment;
    ``rollback()`` ends it. On a node of Galera that has all that was committed
    before.

    :param url: as in nova.conf; nothing secret in it ever gets out
    :param expected: tables that have to be there
    :param timeout: seconds that it may take to connect, and each statement to
        be answered
    :raises pci_filter.exception.DatabaseUnreadable: if it cannot be connected
        to or lacks a table, and in the block for every database error, and
        every ValueError: what is stored there is nothing of Nova's
    """
    with _unreadable(url, Exception):
        # A driver can raise anything about what it finds in the URL.
        engine = _engine(url, timeout)
    try:
        with _unreadable(url, Exception):
            connection = engine.connect()
        with _unreadable(
                url, (exc.SQLAlchemyError, exception.NodeBehind,
                      ValueError)), connection:
            require_tables(connection, expected)
            yield connection
    finally:
        engine.dispose()


def require_tables(
    connection: sa.engine.Connection, expected: Iterable[sa.Table],
) -> None:
    """See that tables are there before anything is read.

    :param connection: to the database
    :param expected: the tables
    :raises pci_filter.exception.DatabaseUnreadable: if one is not
    """
    inspector = sa.inspect(connection)
    missing = [table.name for table in expected
               if not inspector.has_table(table.name)]
    if missing:
        raise exception.DatabaseUnreadable(
            f'it has no table {" or ".join(missing)}, so it is another '
            'database or was not set up by Nova yet')


def _engine(url: str, timeout: int) -> sa.engine.Engine:
    try:
        parsed = sa.engine.make_url(url)
    except ValueError:
        # The port is no number.
        raise exc.ArgumentError('malformed') from None
    dialect = parsed.get_backend_name()
    if dialect not in _READ_ONLY:
        raise exception.DatabaseUnreadable(
            f'pci_filter knows no {dialect} databases; it reads '
            + ', '.join(sorted(_READ_ONLY)))
    if dialect == 'sqlite':
        parsed = _existing_file(parsed)
    arguments = timeouts.arguments(parsed, timeout, timeout)
    if dialect == 'postgresql' and timeouts.are_taken(parsed) and (
            'options' not in parsed.query):
        arguments['options'] = f'-c statement_timeout={timeout}s'
    engine = sa.create_engine(
        parsed, poolclass=pool.NullPool, connect_args=arguments, future=True,
        hide_parameters=True)

    def make_read_only(connection: typing.Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(_READ_ONLY[dialect])
        cursor.close()
        # PostgreSQL would take it back with the transaction.
        connection.commit()

    event.listen(engine, 'connect', make_read_only)
    if dialect in _MYSQL:
        galera.attach(engine)
    return engine


def _existing_file(url: sa.engine.URL) -> sa.engine.URL:
    """Return a URL that SQLite does not make a new file for."""
    path = url.database
    if not path or path == ':memory:' or path.startswith('file:'):
        return url
    return url.set(
        database=f'file:{parse.quote(path)}',
        query={**url.query, 'mode': 'ro', 'uri': 'true'})


@contextlib.contextmanager
def _unreadable(
    url: str, errors: type[Exception] | tuple[type[Exception], ...],
) -> Iterator[None]:
    """Turn these errors into one that can be shown."""
    try:
        yield
    except exception.DatabaseUnreadable:
        raise
    except errors as error:
        # The original could be shown with what it was raised from.
        raise exception.DatabaseUnreadable(
            _first_line(error, url)) from None


def _first_line(error: BaseException, url: str) -> str:
    """Return what a driver says, without the statement and credentials."""
    if isinstance(error, ImportError):
        return f'its driver is not installed ({error})'
    if isinstance(error, exc.NoSuchModuleError):
        return 'its URL names an unknown driver'
    if isinstance(error, exc.ArgumentError):
        return 'its URL is malformed'
    original = getattr(error, 'orig', None) or error
    if len(original.args) == 2 and isinstance(original.args[0], int):
        # That is how those for MySQL say it.
        text = f'{original.args[1]} ({original.args[0]})'
    else:
        text = str(original)
    lines = text.strip().splitlines()
    return credentials.mask(
        lines[0] if lines else type(original).__name__, url)
