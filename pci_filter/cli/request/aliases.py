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

"""PCI requests from the texts in which operators write them.

The rules are those of nova.pci.request, so what is wrong here stops Nova too.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import difflib
import json
import re
import typing

from oslo_utils import strutils

from pci_filter.cli import base
from pci_filter.cli.request import fault
from pci_filter import printable

ALIAS_OPTION: typing.Final = '[pci]alias'

NUMA_POLICIES: typing.Final = ('required', 'legacy', 'preferred', 'socket')

_DEVICE_TYPES: typing.Final = ('type-PCI', 'type-PF', 'type-VF')
_ID: typing.Final = re.compile(r'^[\da-fA-F]{4}$')
_LONGEST_NAME: typing.Final = 256

#: Tells what is wrong with a value, None if it is right.
_Check = Callable[[typing.Any], 'str | None']
_Object = dict[str, typing.Any]


class Alias(typing.NamedTuple):
    """What ``[pci]alias`` says of one name.

    :param numa_policy: how near the devices have to be
    :param specs: alternatives, as in nova.objects.InstancePCIRequest
    """

    numa_policy: str
    specs: list[dict[str, str]]


def _one_of(*choices: str) -> _Check:
    return lambda value: None if value in choices else (
        f'is not one of {", ".join(choices)}')


def _id(value: typing.Any) -> str | None:
    if isinstance(value, str) and _ID.search(value):
        return None
    return 'is not a text of four hexadecimal digits'


def _name(value: typing.Any) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME:
        return None
    return f'is not a text of 1 to {_LONGEST_NAME} characters'


def _text(value: typing.Any) -> str | None:
    return None if isinstance(value, str) else 'is not a text'


def _tag(value: typing.Any) -> str | None:
    return None if value is None else _text(value)


def _boolean(value: typing.Any) -> str | None:
    if isinstance(value, str):
        try:
            strutils.bool_from_string(value, strict=True)
            return None
        except ValueError:
            pass
    return 'is not a text that means true or false'


def _count(value: typing.Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return None
    return 'is not a whole number above 0'


_ALIAS_KEYS: typing.Final[Mapping[str, _Check]] = {
    'name': _name,
    'capability_type': _one_of('pci'),
    'product_id': _id,
    'vendor_id': _id,
    'device_type': _one_of(*_DEVICE_TYPES),
    'numa_policy': _one_of(*NUMA_POLICIES),
    'resource_class': _text,
    'traits': _text,
    'live_migratable': _boolean,
}

#: Those of a request, which can also be that of a port.
_REQUEST_KEYS: typing.Final[Mapping[str, _Check]] = {
    **_ALIAS_KEYS,
    'count': _count,
    'device_type': _one_of(*_DEVICE_TYPES, 'vdpa'),
}


#: What somebody may write who thinks of a port (nova.network.neutron,
#: create_resource_requests).
_NOT_KEYS: typing.Final[Mapping[str, str]] = {
    'vnic_type': 'a port asks for its physical_network and for '
                 'remote_managed, which is "true" with vnic_type '
                 'remote-managed and "false" with others; and for a '
                 'device_type, type-PF with direct-physical and vdpa with '
                 'vdpa',
}


def parse_aliases(
    values: Iterable[str], pci_in_placement: bool = False,
) -> dict[str, Alias]:
    """Parse ``[pci]alias``.

    :param values: the values of the option
    :param pci_in_placement: ``[filter_scheduler]pci_in_placement``
    :returns: the aliases by name
    :raises pci_filter.cli.base.CommandError: quotes what is wrong. Nova uses
        no alias then, right or wrong
    """
    aliases: dict[str, Alias] = {}
    for text in values:
        spec = _parse_object(ALIAS_OPTION, text)
        _check(ALIAS_OPTION, text, spec, _ALIAS_KEYS, tags=False)
        if 'name' not in spec:
            raise fault.at(ALIAS_OPTION, text, 0, 'it has no name')
        name = spec.pop('name').strip()
        alias = Alias(*_policy_and_spec(spec))
        earlier = aliases.setdefault(name, alias)
        if earlier is not alias:
            _check_alike(text, earlier, alias)
            earlier.specs.extend(alias.specs)
        _check_ids(text, spec, pci_in_placement)
    if pci_in_placement:
        for name, alias in aliases.items():
            if len(alias.specs) > 1:
                raise base.CommandError(
                    f'{ALIAS_OPTION}: {printable.printable(name)} is there '
                    'more than once, which cannot be with '
                    '[filter_scheduler]pci_in_placement')
    return aliases


def parse_request(source: str, text: str) -> tuple[str | None, int, Alias]:
    """Parse one request: an alias with a count, and tags if it is of a port.

    :param source: the option that it comes from
    :param text: a JSON object
    :returns: its name if it has one, the count, and the rest
    :raises pci_filter.cli.base.CommandError: quotes what is wrong
    """
    spec = _parse_object(source, text)
    _check(source, text, spec, _REQUEST_KEYS, tags=True)
    name = spec.pop('name', None)
    count = spec.pop('count', 1)
    return name, count, Alias(*_policy_and_spec(spec))


def _parse_object(source: str, text: str) -> _Object:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise fault.at(
            source, text, error.pos, f'not JSON: {error.msg}') from None
    except RecursionError:
        raise fault.at(source, text, 0, 'not JSON') from None
    if not isinstance(value, dict):
        raise fault.at(source, text, 0, 'not a JSON object')
    return value


def _check(
    source: str, text: str, spec: _Object, keys: Mapping[str, _Check],
    tags: bool,
) -> None:
    """Check keys and values.

    :param tags: whether keys that are not known are tags; but not if they
        look like a known one
    """
    for key, value in spec.items():
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
        hint = _NOT_KEYS.get(key)
        if key not in keys and (near or hint or not tags):
            hint = hint or (f'did you mean {near[0]}?' if near else
                            f'there is: {", ".join(keys)}')
            raise fault.at(source, text, fault.position_of(text, key),
                           f'{key} is not known; {hint}')
        wrong = keys.get(key, _tag)(value)
        if wrong:
            raise fault.at(source, text, fault.position_of(text, key, True),
                           f'{key} {wrong}')


def _policy_and_spec(spec: _Object) -> tuple[str, list[dict[str, str]]]:
    """Return what Nova makes of the keys of an alias."""
    numa_policy = spec.pop('numa_policy', 'legacy')
    device_type = spec.pop('device_type', None)
    if device_type:
        spec['dev_type'] = device_type
    if 'live_migratable' in spec:
        spec['live_migratable'] = 'true' if strutils.bool_from_string(
            spec['live_migratable']) else 'false'
    return numa_policy, [spec]


def _check_alike(text: str, one: Alias, other: Alias) -> None:
    """Check that two values with the same name can be alternatives."""
    if one.numa_policy != other.numa_policy:
        raise fault.at(
            ALIAS_OPTION, text,
            fault.position_of(text, 'numa_policy', True),
            'numa_policy differs from an earlier alias with this name')
    types = [alias.specs[0].get('dev_type') for alias in (one, other)]
    if types[0] != types[1] or None in types:
        raise fault.at(
            ALIAS_OPTION, text,
            fault.position_of(text, 'device_type', True),
            'device_type has to be the same in all aliases with this name')


def _check_ids(text: str, spec: _Object, pci_in_placement: bool) -> None:
    """Check that it is said which devices are meant."""
    if 'vendor_id' in spec and 'product_id' in spec:
        return
    if pci_in_placement and 'resource_class' in spec:
        return
    missing = ' and '.join(
        key for key in ('vendor_id', 'product_id') if key not in spec)
    raise fault.at(ALIAS_OPTION, text, 0, f'it has no {missing}')
