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

"""How long the servers of databases may take, as their drivers are told."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Container
from collections.abc import Mapping
import contextlib
import typing

import sqlalchemy as sa

#: What a driver is told; a part of a URL's query could say the same.
Arguments = dict[str, typing.Union[int, str]]


def _mysql(connect: int, answer: int) -> Arguments:
    return {'connect_timeout': connect, 'read_timeout': answer,
            'write_timeout': answer}


def _postgresql(connect: int, answer: int) -> Arguments:
    # libpq waits for an answer for ever: a machine that vanished is noticed
    # by the kernel only, with these.
    return {'connect_timeout': connect, 'keepalives_idle': answer,
            'keepalives_interval': max(1, answer // 4),
            'keepalives_count': 4}


_BY_DRIVER: typing.Final[
    Mapping[str, Callable[[int, int], Arguments]]] = {
    'pymysql': _mysql,
    'mysqldb': _mysql,
    'psycopg2': _postgresql,
    'psycopg': _postgresql,
}

#: What the server limits statements to; MariaDB has the one and MySQL the
#: other. Refused: to say both in one statement, with comments that only one of
#: them reads, or to compute the limit there. ProxySQL does not understand
#: that, and keeps a connection to one server then.
_SHOW: typing.Final = (
    'SHOW SESSION VARIABLES WHERE Variable_name IN '
    "('max_statement_time', 'max_execution_time')")

#: What changes it, and how much it takes for a second.
_SET: typing.Final = {
    'max_statement_time': ('SET SESSION max_statement_time = %s', 1),
    'max_execution_time': ('SET SESSION max_execution_time = %s', 1000),
}

#: The same in PostgreSQL, for one transaction only: what is said as a
#: connection begins is refused by some that hand connections on. With 0 there
#: is no limit.
_LIMIT_TRANSACTION: typing.Final = sa.text(
    "SELECT set_config('statement_timeout', :limit, true) "
    "WHERE CAST(current_setting('statement_timeout') AS interval) "
    "NOT BETWEEN interval '1 ms' AND CAST(:limit AS interval)")


def are_taken(url: sa.engine.URL) -> bool:
    """Tell whether the driver of a URL takes any.

    :param url: of the database
    """
    return url.get_driver_name() in _BY_DRIVER


def arguments(
    url: sa.engine.URL, connect: int, answer: int,
    given: Container[str] = (),
) -> Arguments:
    """Return what to tell the driver, but for what somebody has told it.

    :param url: of the database
    :param connect: seconds that it may take to connect
    :param answer: seconds that an answer may take
    :param given: what the driver is told besides what the URL says
    """
    by_driver = _BY_DRIVER.get(url.get_driver_name())
    return {name: value
            for name, value in (
                by_driver(connect, answer) if by_driver else {}).items()
            if name not in url.query and name not in given}


def limit_session(connection: typing.Any, seconds: int) -> None:
    """Let a MariaDB or MySQL end statements that take longer.

    A lower limit stays: somebody has set it for this account or server.

    :param connection: of the driver
    :param seconds: how long a statement may take
    :raises Exception: what the driver raises
    """
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(_SHOW)
        for name, value in cursor.fetchall():
            statement, second = _SET[name]
            if not 0 < float(value) <= seconds * second:
                cursor.execute(statement, (seconds * second,))


def limit_transaction(
    connection: sa.engine.Connection, seconds: int,
) -> None:
    """Let a PostgreSQL end statements of a transaction that take longer.

    :param connection: at the begin of the transaction
    :param seconds: how long a statement may take, unless there is a lower
        limit
    :raises sqlalchemy.exc.SQLAlchemyError: or what oslo.db makes of it, when
        the database cannot answer
    """
    connection.execute(_LIMIT_TRANSACTION, {'limit': f'{seconds}s'})
