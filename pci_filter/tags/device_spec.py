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

"""Tags from ``[pci_filter]device_spec``: Nova's syntax, plus ``host``."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import fnmatch
import functools
import json
import re
import typing

from oslo_config import cfg
from oslo_utils import strutils

from pci_filter import exception
from pci_filter import model
from pci_filter.tags import base
from pci_filter.tags import pci_address

#: Tags that Nova stores as 'true' or 'false' however they were written.
_BOOLEAN_TAGS: typing.Final = ('managed', 'live_migratable', 'one_time_use')

#: What identifies the devices of a spec.
_IDENTITY: typing.Final = (
    'host', 'vendor_id', 'product_id', 'address', 'devname')

#: What only the rows can tell of a device.
_PROPERTIES: typing.Final = ('numa_node', 'dev_type', 'count', 'rp_uuid')

_ANY: typing.Final = '*'
_HIGHEST_ID: typing.Final = 0xffff


@dataclasses.dataclass(frozen=True, eq=False, **model.SLOTS)
class DeviceSpec:
    """One value: which devices of which hosts have which tags.

    :param host: pattern of compute host names
    :param vendor_id: four hex digits or ``*``
    :param product_id: four hex digits or ``*``
    :param address: which PCI addresses are meant; None for any
    :param tags: what the devices are tagged with
    :param remote_managed: only devices with a serial number of the card in
        their VPD are meant: without it the remote side cannot be found
    """

    host: str
    vendor_id: str
    product_id: str
    address: pci_address.AddressPattern | None
    tags: model.Tags
    remote_managed: bool

    def matches(self, kind: model.DeviceKind) -> bool:
        """Tell whether the device is meant.

        The full address of a physical function stands for the functions
        carved out of it too (nova.pci.devspec, WhitelistPciAddress.match).
        """
        if self.vendor_id not in (_ANY, kind.vendor_id):
            return False
        if self.product_id not in (_ANY, kind.product_id):
            return False
        if self.remote_managed and not kind.has_card_serial:
            return False
        if self.address is None:
            return True
        if self.address.matches(kind.device_address):
            return True
        return self.address.single and self.address.matches(kind.address)


class DeviceSpecTags(base.TagSource):
    """Tags as the operator repeats them for the scheduler.

    :param options: the ``[pci_filter]`` section
    :raises pci_filter.exception.InvalidDeviceSpec: quotes the faulty value
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        super().__init__(options)
        self._specs = [
            spec for value in options.device_spec for spec in parse(value)]
        self.by_device = any(
            spec.address or spec.remote_managed for spec in self._specs)
        self._lookups: dict[tuple[DeviceSpec, ...], base.Lookup] = {}

    def for_node(self, node: model.ComputeNode) -> base.Lookup:
        """Return a look-up in the specs for the node's host."""
        specs = tuple(spec for spec in self._specs
                      if fnmatch.fnmatchcase(node.host, spec.host))
        return self._lookups.setdefault(
            specs, functools.partial(_first_match, specs))


def _first_match(
    specs: Iterable[DeviceSpec], kind: model.DeviceKind,
) -> model.Tags | None:
    for spec in specs:
        if spec.matches(kind):
            return spec.tags
    return None


def parse(value: str) -> list[DeviceSpec]:
    """Parse one value of the option.

    :param value: JSON: a dictionary or a list of such
    :raises pci_filter.exception.InvalidDeviceSpec: if it is anything else or
        a dictionary is not in Nova's syntax
    """
    try:
        specs = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise exception.InvalidDeviceSpec(value, f'not JSON: {error}')
    if isinstance(specs, dict):
        specs = [specs]
    if not isinstance(specs, list) or not all(
            isinstance(spec, dict) for spec in specs):
        raise exception.InvalidDeviceSpec(
            value, 'neither a JSON dictionary nor a list of such')
    try:
        return [_parse_spec(spec) for spec in specs]
    except ValueError as error:
        raise exception.InvalidDeviceSpec(value, str(error))


def _parse_spec(spec: Mapping[str, typing.Any]) -> DeviceSpec:
    """Parse one dictionary; a ValueError says what is wrong with it."""
    if spec.get('devname'):
        raise ValueError('devname can only be resolved on the compute host; '
                         'use address instead')
    host = spec.get('host', _ANY)
    if not isinstance(host, str) or not host:
        raise ValueError(f'host is no pattern: {host!r}')
    where = spec.get('address')
    tags = _tags(spec)
    return DeviceSpec(
        host=host,
        vendor_id=_hex_id('vendor_id', spec.get('vendor_id', _ANY)),
        product_id=_hex_id('product_id', spec.get('product_id', _ANY)),
        address=pci_address.parse(where) if where else None,
        tags=tags,
        remote_managed=strutils.bool_from_string(tags.get('remote_managed')))


def _hex_id(name: str, value: object) -> str:
    """Return a vendor or product id as the rows have it, or ``*``."""
    text = str(value).strip() if isinstance(value, str) else ''
    if text == _ANY:
        return _ANY
    if not re.fullmatch(r'(0[xX])?[0-9a-fA-F]+', text) or (
            int(text, 16) > _HIGHEST_ID):
        raise ValueError(
            f'{name} is not a hexadecimal number of up to 4 digits: {value!r}')
    return f'{int(text, 16):04x}'


def _tags(spec: Mapping[str, typing.Any]) -> model.Tags:
    """Return everything that does not identify the device."""
    tags = {key: value for key, value in spec.items()
            if key not in _IDENTITY}
    for name in _BOOLEAN_TAGS:
        if tags.get(name) is not None:
            try:
                flag = strutils.bool_from_string(tags[name], strict=True)
            except ValueError:
                raise ValueError(
                    f'{name} is neither true nor false: {tags[name]!r}')
            tags[name] = 'true' if flag else 'false'
    for name, tag in tags.items():
        if name in _PROPERTIES:
            raise ValueError(f'{name} is told by the device, it is no tag')
        if isinstance(tag, (dict, list)):
            raise ValueError(f'{name} is not a string: {tag!r}')
    return tags
