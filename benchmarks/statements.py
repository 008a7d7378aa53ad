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

"""Watch the statements that reach a database, and repeat them without us."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import time
import typing

import sqlalchemy as sa

_EVENT: typing.Final = 'before_cursor_execute'

Rows = list[tuple[typing.Any, ...]]


class Statement(typing.NamedTuple):
    """What a driver's cursor was given.

    :param text: SQL with the driver's placeholders
    :param parameters: what goes there
    """

    text: str
    parameters: typing.Any


class BareRun(typing.NamedTuple):
    """What statements cost without us.

    :param rows: what they gave
    :param executing: seconds until the cursor was ready to be fetched from
    :param fetching: seconds to fetch
    """

    rows: Rows
    executing: float
    fetching: float


@contextlib.contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Yield a list that gets every statement of this process."""
    seen: list[Statement] = []

    def note(
        connection: object, cursor: object, text: str,
        parameters: typing.Any, context: object, executemany: bool,
    ) -> None:
        seen.append(Statement(text, parameters))

    sa.event.listen(sa.Engine, _EVENT, note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, _EVENT, note)


def run_bare(
    connection: sa.Connection, statements: Sequence[Statement],
) -> BareRun:
    """Execute statements on a cursor of the driver's.

    :param connection: its driver's connection is used
    :param statements: what was recorded on such a connection
    """
    rows: Rows = []
    executing = fetching = 0.0
    for statement in statements:
        start = time.perf_counter()
        cursor = connection.connection.cursor()
        cursor.execute(statement.text, statement.parameters)
        executed = time.perf_counter()
        rows += cursor.fetchall()
        cursor.close()
        executing += executed - start
        fetching += time.perf_counter() - executed
    return BareRun(rows, executing, fetching)


def explained(
    connection: sa.Connection, statement: Statement,
) -> list[str]:
    """Return what the database says about how it executes a statement."""
    sqlite = connection.dialect.name == 'sqlite'
    prefix = 'EXPLAIN QUERY PLAN ' if sqlite else 'EXPLAIN '
    rows = run_bare(connection, [
        Statement(prefix + statement.text, statement.parameters)]).rows
    if sqlite:
        return [str(row[-1]) for row in rows]
    return [' '.join('-' if value is None else str(value) for value in row)
            for row in rows]
