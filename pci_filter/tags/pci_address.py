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

"""PCI addresses in the two syntaxes of ``[pci]device_spec``.

A string gives each field in full or leaves it to any value, a dictionary
gives a regular expression for each field (nova.pci.devspec).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import re
import typing

from pci_filter import model

_ANY: typing.Final = '*'
_ANY_REGEX: typing.Final = '.*'

#: Fields in their order, each with its width in hex digits and highest value.
_FIELDS: typing.Final = (
    ('domain', 4, 0xffff), ('bus', 2, 0xff), ('slot', 2, 0x1f),
    ('function', 1, 0x7))

_ADDRESS: typing.Final = re.compile(
    r'([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])')

_FieldMatch = Callable[[str], object]


@dataclasses.dataclass(frozen=True, **model.SLOTS)
class AddressPattern:
    """Which PCI addresses are meant.

    :param fields: tells of each field of an address whether it matches
    :param single: whether every field is given in full. Such an address may
        be that of a physical function and then stands for its functions too.
    """

    fields: tuple[_FieldMatch, ...]
    single: bool

    def matches(self, address: str | None) -> bool:
        """Tell whether a device's address is meant; of no address, no."""
        found = _ADDRESS.fullmatch((address or '').lower())
        return found is not None and all(
            match(field) for match, field in zip(self.fields, found.groups()))


def parse(where: object) -> AddressPattern:
    """Parse the ``address`` of a device spec.

    :param where: ``[[[[domain]:]bus]:][slot][.[function]]`` with ``*`` or
        nothing for any value, or a dictionary of regular expressions
    :raises ValueError: what is wrong with it
    """
    if isinstance(where, str):
        return _parse_glob(where)
    if isinstance(where, Mapping):
        return _parse_regex(where)
    raise ValueError(
        f'address is neither a string nor a dictionary: {where!r}')


def _parse_glob(where: str) -> AddressPattern:
    rest, _, function = where.partition('.')
    given = rest.split(':')
    if len(given) > 3:
        raise ValueError(f'address has too many fields: {where!r}')
    # What is left out at the front may have any value.
    given = [_ANY] * (3 - len(given)) + given + [function]
    fields = [
        _glob_field(name, width, highest, field.strip() or _ANY)
        for (name, width, highest), field in zip(_FIELDS, given)]
    return AddressPattern(
        tuple((lambda _: True) if field == _ANY else field.__eq__
              for field in fields),
        single=_ANY not in fields)


def _glob_field(name: str, width: int, highest: int, field: str) -> str:
    if field == _ANY:
        return field
    try:
        value = int(field, 16)
    except ValueError:
        raise ValueError(
            f'{name} of address is not a hexadecimal number: {field!r}')
    if not 0 <= value <= highest:
        raise ValueError(
            f'{name} of address is not between 0 and {highest:X}: {field!r}')
    return f'{value:0{width}x}'


def _parse_regex(where: Mapping[str, object]) -> AddressPattern:
    given = [where.get(name, _ANY_REGEX) for name, _, _ in _FIELDS]
    # Nova asks its host whether the expressions, taken as they stand, are
    # the address of a physical function.
    return AddressPattern(
        tuple(_regex_field(name, field)
              for (name, _, _), field in zip(_FIELDS, given)),
        single=_ADDRESS.fullmatch('{}:{}:{}.{}'.format(*given)) is not None)


def _regex_field(name: str, field: object) -> _FieldMatch:
    """Return what matches a field; Nova matches at the start of it only."""
    if not isinstance(field, str):
        raise ValueError(f'{name} of address is not a string: {field!r}')
    try:
        return re.compile(field).match
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f'{name} of address is no regular expression: {field!r} '
            f'({error})')
