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

"""What a host must have for requests to fit there, whatever else is true.

A request needs so many available devices whose ids and type meet one of its
alternatives. That is less than the decision asks: it knows nothing of tags,
NUMA, relatives and placement. But it can be counted in the rows of all hosts
at once, and no host that lacks it passes.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from collections.abc import Mapping
import typing

from pci_filter.matching import pool as pool_module
from pci_filter.matching import request as request_module

#: What a row says of a device in a column of its own.
_COLUMNS: typing.Final = ('vendor_id', 'product_id', 'dev_type')

#: How Nova spells the types.
_SPELLED: typing.Final = {
    dev_type.lower(): dev_type for dev_type in (
        pool_module.PF, pool_module.VF, pool_module.VDPA)}


class Kinds(typing.NamedTuple):
    """Devices that meet an alternative, as far as a row tells.

    :param values: columns and what they must equal, in lower case
    :param excluded_types: values of dev_type that are not taken unless asked
        for
    """

    values: tuple[tuple[str, str], ...]
    excluded_types: tuple[str, ...]

    @property
    def text(self) -> str:
        """The devices, for people."""
        values = dict(self.values)
        dev_type = values.pop('dev_type', '')
        ids = ':'.join(values.values()) if len(values) == 2 else ', '.join(
            f'{column}={value}' for column, value in values.items())
        found = ' '.join(filter(None, (
            ids, _SPELLED.get(dev_type, dev_type))))
        if found:
            return found
        return 'PCI devices' + ''.join(
            f'{word} {dev_type}' for word, dev_type in zip(
                (' other than', ' and'), self.excluded_types))


class Need(typing.NamedTuple):
    """So many available devices of some kinds.

    :param kinds: alternatives
    :param number: how many
    """

    kinds: tuple[Kinds, ...]
    number: int

    @property
    def text(self) -> str:
        """The devices, for people."""
        return ' or '.join(dict.fromkeys(kinds.text for kinds in self.kinds))


def needs(
    requests: Iterable[request_module.DeviceRequest],
) -> tuple[Need, ...]:
    """Return what a host needs to have to serve requests.

    Requests that a row cannot tell apart are served from the same devices, so
    their counts are added up.

    :param requests: those of one instance
    """
    counts: collections.Counter[tuple[Kinds, ...]] = collections.Counter()
    for request in requests:
        # What has no alternative fits nowhere; that is left to the decision.
        if request.specs:
            counts[tuple(sorted({
                _kinds(alternative, request)
                for alternative in request.specs}))] += request.count
    return tuple(Need(kinds, number)
                 for kinds, number in counts.items() if number > 0)


def _kinds(
    alternative: Mapping[str, object], request: request_module.DeviceRequest,
) -> Kinds:
    """Return what rows tell of the devices that meet an alternative.

    Databases differ in what they take for the lower case of letters that are
    not ASCII, and of an I, which is not an i in Turkish. No id has any, so
    values that do are left to the decision. In whatever else they differ is
    nothing that Nova writes into these columns.
    """
    excluded = [] if request.wants_pf else [pool_module.PF]
    if not request.wants_vdpa:
        excluded.append(pool_module.VDPA)
    values = [(column, alternative[column]) for column in _COLUMNS
              if column in alternative]
    return Kinds(
        tuple((column, value) for column, value in values
              if isinstance(value, str) and value.isascii()
              and 'i' not in value),
        tuple(excluded))
