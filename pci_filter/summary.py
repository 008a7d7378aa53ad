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

"""The summary that nova-compute stores: ``compute_nodes.pci_stats``.

Who wants its tags leaves out what is no pool; the audit tells of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import json
import typing

Pool = dict[str, object]

#: What makes a serialized object one, and where its fields are.
_NAMESPACE: typing.Final = 'nova_object.namespace'
_DATA: typing.Final = 'nova_object.data'

#: Fields of nova.objects.PciDevicePool. What versions to come have beside
#: them are no tags.
_FIELDS: typing.Final = ('vendor_id', 'product_id', 'numa_node', 'count')

#: What a pool has beside the tags that the operator gave its devices.
NO_TAGS: typing.Final = frozenset((
    'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address', 'count',
    'devices', 'parent_ifname', 'rp_uuid'))

#: What placement alone matches; nova-compute leaves it out of its pools.
_PLACEMENT_TAGS: typing.Final = frozenset(('resource_class', 'traits'))


def pool(stored: object) -> Pool | None:
    """Return the properties of a pool.

    :param stored: an object primitive, or a dict of old
    :returns: None if Nova can make no pool of it
    """
    if not isinstance(stored, dict):
        return None
    if _DATA not in stored:
        return _as_nova_has_it(stored)
    data = stored[_DATA]
    if not isinstance(data, dict):
        return None
    tags = data.get('tags')
    return _as_nova_has_it({
        **{key: data[key] for key in _FIELDS if key in data},
        **(tags if isinstance(tags, dict) else {})})


def _as_nova_has_it(
    pool: Mapping[str, object],
) -> Pool | None:
    """Return a pool with the types of values that Nova's object has.

    Those make a number of the NUMA node and texts of all else, and take
    nothing that has parts. Of no importance is the count.
    """
    found = dict(pool)
    for key, value in pool.items():
        if value is None or key == 'count':
            continue
        if not isinstance(value, (str, int, float)):
            return None
        try:
            found[key] = int(value) if key == 'numa_node' else str(value)
        except (ValueError, OverflowError):
            return None
    return found


def entries(text: str) -> list[object]:
    """Return what is stored for each pool.

    :param text: a serialized PciDevicePoolList of any version, or the list of
        dicts (or single dict) that preceded it
    :raises ValueError: in a few words, why it is no summary. What is not JSON
        Nova takes for an empty one, on the rest it fails
        (nova.objects.pci_device_pool, from_pci_stats)
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('is not JSON')
    if not stored:
        return []
    if isinstance(stored, dict) and _NAMESPACE in stored:
        data = stored.get(_DATA)
        stored = data.get('objects') if isinstance(data, dict) else None
    elif isinstance(stored, dict):
        stored = [stored]
    if not isinstance(stored, list):
        raise ValueError('is no list of pools')
    return stored


def parse(text: str | None) -> list[Pool] | None:
    """Return the pools in ``compute_nodes.pci_stats``.

    :param text: see :func:`entries`
    :returns: the properties of each pool; None if there is no summary or
        nothing can be made of it. Entries that are no pools are left out.
    """
    try:
        stored = entries(text or '')
    except ValueError:
        return None
    return [found for found in map(pool, stored) if found is not None]


def contradicts(
    pools: Sequence[Mapping[str, object]],
    stored: Iterable[Mapping[str, object]],
) -> bool:
    """Tell whether the summary denies the tags that are stored in rows.

    The nova-compute of this package writes the same tags into both. When
    Nova's own takes its place it reads device_spec anew, and writes what that
    says into the summary only: the rows keep what was there before.

    :param pools: the pools of one kind of devices
    :param stored: the tags that are stored with these devices
    :returns: whether the pools have the same tags and something is stored,
        but nothing that equals these. Where they differ one may be missing
        because the summary has drifted, so they deny nothing.
    """
    said = [*map(_compared, pools)]
    found = [*map(_compared, stored)]
    return bool(
        found and said and said.count(said[0]) == len(said)
        and said[0] not in found)


def _compared(tags: Mapping[str, object]) -> dict[str, str]:
    """Return the tags as texts, which is what Nova makes of them here.

    One that is null serves whatever a missing one serves, and so does a
    remote_managed that is false, which Nova adds to all network devices.
    """
    found = {
        key: str(value) for key, value in tags.items()
        if value is not None
        and key not in NO_TAGS and key not in _PLACEMENT_TAGS}
    if found.get('remote_managed', '').lower() == 'false':
        del found['remote_managed']
    return found
