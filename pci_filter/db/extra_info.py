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

"""Read one value out of ``pci_devices.extra_info`` inside the database.

The column holds a JSON object of strings, as ``oslo_serialization`` writes it.
It is read as text, not as JSON: that takes a fraction of the time, which adds
up over a hundred thousand rows, and a row in which the JSON is malformed never
fails the statement.
"""

from __future__ import annotations

import typing

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

if typing.TYPE_CHECKING:
    _StringFunction = functions.FunctionElement[str]
else:  # SQLAlchemy 1.4 has no generic classes
    _StringFunction = functions.FunctionElement


class extra_info_value(_StringFunction):
    """``extra_info_value(column, key)``: the string under ``key`` or NULL.

    The text from behind ``"key": "`` up to the next quote; what Nova writes
    there has no escapes. Keys of the JSON within the JSON are not found:
    their quotes are escaped.

    :param column: the JSON text
    :param key: a literal key, letters and underscores only
    """

    name = 'extra_info_value'
    type = sa.String()
    inherit_cache = True

    def __init__(
        self, column: sa.ColumnElement[typing.Any], key: str,
    ) -> None:
        if not key.replace('_', '').isalpha():
            raise ValueError(f'not a plain key: {key!r}')
        marker = f"""'"{key}": "'"""
        super().__init__(column, sa.literal_column(marker))


def has_card_serial(
    column: sa.ColumnElement[typing.Any],
) -> sa.ColumnElement[bool]:
    """Tell whether the device knows the serial number of its card.

    ``column LIKE '%card_serial_number": "%'`` and not empty. It is in JSON
    within the JSON, so its quotes are escaped; Nova writes both.
    """
    key = r'card_serial_number\": \"'
    return sa.and_(
        column.contains(key, autoescape=True),
        sa.not_(column.contains(key + r'\"', autoescape=True)))


def _operands(
    element: extra_info_value, compiled: typing.Any, **kwargs: typing.Any,
) -> tuple[str, str]:
    column, key = element.clauses
    return compiled.process(column, **kwargs), compiled.process(key)


@compiler.compiles(extra_info_value, 'sqlite')
def _sqlite(
    element: extra_info_value, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    column, key = _operands(element, compiled, **kwargs)
    rest = f'substr({column}, instr({column}, {key}) + length({key}))'
    return (f'CASE WHEN instr({column}, {key}) '
            f"THEN substr({rest}, 1, instr({rest}, '\"') - 1) END")


@compiler.compiles(extra_info_value, 'mysql')
@compiler.compiles(extra_info_value, 'mariadb')
def _mysql(
    element: extra_info_value, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    column, key = _operands(element, compiled, **kwargs)
    return (f'CASE WHEN LOCATE({key}, {column}) '
            f'THEN SUBSTRING_INDEX(SUBSTRING_INDEX('
            f"{column}, {key}, -1), '\"', 1) END")


@compiler.compiles(extra_info_value, 'postgresql')
def _postgresql(
    element: extra_info_value, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    column, key = _operands(element, compiled, **kwargs)
    return (f'CASE WHEN strpos({column}, {key}) > 0 '
            f"THEN split_part(split_part({column}, {key}, 2), '\"', 1) END")
