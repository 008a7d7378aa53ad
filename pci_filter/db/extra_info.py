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
fails the statement. What is read has a fixed length, for the same reason;
:func:`cut` finds the end of the value.
"""

from __future__ import annotations

import functools
import typing

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from pci_filter import model

if typing.TYPE_CHECKING:
    _StringFunction = functions.FunctionElement[str]
else:  # SQLAlchemy 1.4 has no generic classes
    _StringFunction = functions.FunctionElement


class extra_info_text(_StringFunction):
    """``extra_info_text(column, key, length)``: text behind a key, or NULL.

    As many bytes as asked for from behind ``"key": "``, the value in front.
    Keys of the JSON within the JSON are not found: their quotes are escaped.

    :param column: the JSON text
    :param key: a literal key, letters and underscores only
    :param length: how many bytes, those of the longest value, and of its
        closing quote where there are shorter ones
    """

    name = 'extra_info_text'
    type = sa.String()
    inherit_cache = True

    def __init__(
        self, column: sa.ColumnElement[typing.Any], key: str, length: int,
    ) -> None:
        if not key.replace('_', '').isalpha():
            raise ValueError(f'not a plain key: {key!r}')
        marker = f"""'"{key}": "'"""
        super().__init__(
            column, sa.literal_column(marker),
            sa.literal_column(str(len(marker) - 2)),
            sa.literal_column(str(length)))


def cut(text: str | bytes | None) -> str | None:
    """Return the value in front of a text that was read, None if empty.

    Also None if it has escapes or line breaks: nothing that Nova writes there
    has, and a line break tells that it is from within the tags.

    :param text: what :class:`extra_info_text` gave; MariaDB gives bytes
    """
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode('utf-8', 'replace')
    value = text.partition('"')[0]
    return None if '\\' in value or '\n' in value else value or None


class stored_tags(_StringFunction):
    """``stored_tags(column)``: the tags of a device, or an empty text.

    They are the first value of the JSON object, and JSON themselves, so all
    quotes in them are escaped and the first that is not ends them.

    :param column: the JSON text
    """

    name = 'stored_tags'
    type = sa.String()
    inherit_cache = True

    def __init__(self, column: sa.ColumnElement[typing.Any]) -> None:
        super().__init__(column)


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


def _text_behind(
    element: extra_info_text, compiled: typing.Any, position: str,
    column_format: str, **kwargs: typing.Any,
) -> str:
    column, marker, skip, length = (
        compiled.process(clause, **kwargs) for clause in element.clauses)
    column = column_format.format(column)
    found = position.format(column=column, marker=marker)
    return f'substr({column}, NULLIF({found}, 0) + {skip}, {length})'


_BEFORE_TAGS: typing.Final = f"""'{{"{model.STORED_TAGS_KEY}": "'"""
_BEHIND_TAGS: typing.Final = """'}"'"""


def _tags_text(
    element: stored_tags, compiled: typing.Any, position: str,
    column_format: str, **kwargs: typing.Any,
) -> str:
    column, = (
        compiled.process(clause, **kwargs) for clause in element.clauses)
    column = column_format.format(column)
    skip = len(_BEFORE_TAGS) - 2
    text = f'substr({column}, {skip + 1}, {model.STORED_TAGS_LENGTH})'
    end = position.format(column=text, marker=_BEHIND_TAGS)
    # A row without tags is told by its beginning alone.
    return (f"CASE WHEN substr({column}, 1, {skip}) = {_BEFORE_TAGS} "
            f"THEN substr({text}, 1, {end}) ELSE '' END")


#: How a database finds a text in a column, and what the column is taken as.
#: To compare bytes is quicker than to compare by a collation.
_MYSQL: typing.Final = 'LOCATE({marker}, {column})', 'CAST({} AS BINARY)'
_DIALECTS: typing.Final = {
    'sqlite': ('instr({column}, {marker})', '{}'),
    'mysql': _MYSQL,
    'mariadb': _MYSQL,
    'postgresql': ('strpos({column}, {marker})', '{}'),
}

for _dialect, (_position, _column_format) in _DIALECTS.items():
    for _function, _compile in (
            (extra_info_text, _text_behind), (stored_tags, _tags_text)):
        compiler.compiles(_function, _dialect)(functools.partial(
            _compile, position=_position, column_format=_column_format))
