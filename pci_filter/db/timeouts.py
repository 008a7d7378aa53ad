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

#: What lets a server end a statement, by the kind of database. MariaDB takes
#: what MySQL knows for a comment, and the other way round.
_LIMIT: typing.Final = {
    'mysql': 'SET SESSION /*M!100101 max_statement_time = {seconds} */'
             '/*!50708 max_execution_time = {seconds}000 */',
    'postgresql': 'SET LOCAL statement_timeout = {seconds}000',
}


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


def limit_statement(dialect: str, seconds: int) -> str | None:
    """Return SQL that lets the server end statements that take longer.

    In PostgreSQL it is for one transaction only: what is said as a connection
    begins is refused by some that hand connections on.

    :param dialect: of the database
    :param seconds: how long a statement may take
    :returns: None if there is no such thing
    """
    sql = _LIMIT.get('mysql' if dialect == 'mariadb' else dialect)
    return sql.format(seconds=seconds) if sql else None
