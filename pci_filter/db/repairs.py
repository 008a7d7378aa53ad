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

"""Statements that an operator can run to mend what the audit found.

They are printed, never run.
"""

from __future__ import annotations

from collections.abc import Mapping
import copy
import datetime
import typing

import sqlalchemy as sa

from pci_filter.audit import finding
from pci_filter.db import tables

#: Characters of a value that nobody would compare by eye any more.
_LONGEST: typing.Final = 1000


def statement(repair: finding.Repair, dialect: sa.engine.Dialect) -> str:
    """Return a repair as one SQL statement, values quoted for the database.

    It does nothing to a row that does not have what was found any more, as
    far as that can be shown.

    :param repair: what to change
    :param dialect: of a connection to the database that it is meant for
    """
    table = tables.metadata.tables[repair.table]
    skipped = not_compared(repair)
    update = sa.update(table).where(
        table.c.id == repair.id, *(
            table.c[name].is_(None) if value is None
            else table.c[name] == value
            for name, value in sorted(repair.found.items())
            if name not in skipped)
    ).values(_values(table, repair.change))
    compiled = update.compile(
        dialect=_plain(dialect), compile_kwargs={'literal_binds': True})
    return f'{compiled};'


def not_compared(repair: finding.Repair) -> list[str]:
    """Return the columns whose values the statement does not compare.

    What is not printable can do harm on a terminal, or end the line.
    """
    return [name for name, value in sorted(repair.found.items())
            if not str(value).isprintable() or len(str(value)) > _LONGEST]


def _values(
    table: sa.Table, change: finding.Values,
) -> Mapping[str, typing.Any]:
    values: dict[str, typing.Any] = {}
    for name, value in change.items():
        if value is finding.Sql.OWN_ID:
            value = table.c.id
        elif value is finding.Sql.NOW:
            # In UTC, as Nova does. SQLAlchemy 1.4 cannot quote a time.
            value = sa.literal(
                datetime.datetime.now(datetime.timezone.utc).strftime(
                    '%Y-%m-%d %H:%M:%S'), sa.String())
        elif value is None:
            value = sa.null()
        values[name] = value
    return values


def _plain(dialect: sa.engine.Dialect) -> sa.engine.Dialect:
    """Return a dialect that doubles no percent sign for a driver."""
    plain = copy.copy(dialect)
    plain.paramstyle = 'named'
    plain.positional = False
    plain.identifier_preparer = plain.preparer(plain)
    return plain
