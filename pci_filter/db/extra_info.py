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


#: What the tags begin and end with, as a literal.
_BEFORE_TAGS: typing.Final = f"""'{{"{model.STORED_TAGS_KEY}": "'"""
_BEHIND_TAGS: typing.Final = """'}"'"""
_SKIP: typing.Final = len(_BEFORE_TAGS) - 2


def _parts(
    element: _StringFunction, compiled: typing.Any,
    kwargs: dict[str, typing.Any],
) -> list[str]:
    return [compiled.process(clause, **kwargs) for clause in element.clauses]


def _text_behind(
    element: extra_info_text, compiled: typing.Any, find: str = '',
    **kwargs: typing.Any,
) -> str:
    column, marker, skip, length = _parts(element, compiled, kwargs)
    return (f'substr({column}, NULLIF({find}({column}, {marker}), 0) + {skip},'
            f' {length})')


def _text_behind_in_mysql(
    element: extra_info_text, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    """Return the same for MySQL and MariaDB.

    The column has to be one of bytes for both: SUBSTR is to count what LOCATE
    counts, and to compare bytes is quicker than to compare by a collation. In
    MariaDB a marker of bytes would do, in MySQL the collation of the column
    would come before it, and letters would be counted. What begins at 0 is
    empty; NULLIF would look for the marker twice.
    """
    column, marker, skip, length = _parts(element, compiled, kwargs)
    octets = f'CONVERT({column} USING binary)'
    return (f'SUBSTR(SUBSTR({octets}, LOCATE({marker}, {octets})), '
            f'{skip} + 1, {length})')


def _tags_text(
    element: stored_tags, compiled: typing.Any, find: str = '',
    **kwargs: typing.Any,
) -> str:
    column, = _parts(element, compiled, kwargs)
    text = f'substr({column}, {_SKIP + 1}, {model.STORED_TAGS_LENGTH})'
    # A row without tags is told by its beginning alone.
    return (f'CASE WHEN substr({column}, 1, {_SKIP}) = {_BEFORE_TAGS} '
            f'THEN substr({text}, 1, {find}({text}, {_BEHIND_TAGS})) '
            f"ELSE '' END")


def _tags_text_in_mysql(
    element: stored_tags, compiled: typing.Any, **kwargs: typing.Any,
) -> str:
    """Return the same for MySQL and MariaDB: how is told above."""
    column, = _parts(element, compiled, kwargs)
    text = (f'SUBSTR(CAST({column} AS BINARY), {_SKIP + 1}, '
            f'{model.STORED_TAGS_LENGTH})')
    # Rows without tags are told by LIKE, which is the quickest but takes
    # other letters for the same. A percent sign may have to be escaped.
    like = compiled.process(
        sa.literal_column(f"{_BEFORE_TAGS[:-1]}%'"), **kwargs)
    return (f'CASE WHEN {column} LIKE {like} '
            f'AND LEFT({column}, {_SKIP}) = CAST({_BEFORE_TAGS} AS BINARY) '
            f'THEN SUBSTR({text}, 1, LOCATE({_BEHIND_TAGS}, {text})) '
            f"ELSE '' END")


for _dialect, _find in (('sqlite', 'instr'), ('postgresql', 'strpos')):
    compiler.compiles(extra_info_text, _dialect)(
        functools.partial(_text_behind, find=_find))
    compiler.compiles(stored_tags, _dialect)(
        functools.partial(_tags_text, find=_find))
for _dialect in ('mysql', 'mariadb'):
    compiler.compiles(extra_info_text, _dialect)(_text_behind_in_mysql)
    compiler.compiles(stored_tags, _dialect)(_tags_text_in_mysql)
