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

"""Tags from the summary that nova-compute stores: ``pci_stats``."""

from collections.abc import Iterable
from collections.abc import Mapping
import functools
import re
import typing

from pci_filter import model
from pci_filter import summary
from pci_filter.tags import base

#: What a summary pool has beside its tags. The netdev of the parent is told
#: by the rows themselves.
_NO_TAGS = frozenset((
    'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address', 'count',
    'devices', 'parent_ifname', 'rp_uuid'))

#: What summaries of like hosts differ in, and something equal for it. Neither
#: key is a tag, and where nothing is escaped neither is in a string.
_DIFFERENCE: typing.Final = re.compile(
    r'"count": -?[0-9]+|"rp_uuid": "[^"]*"')
_NO_DIFFERENCE: typing.Final = '"count": 0'

#: Distinct summaries that are kept, some 10 KB each. Of more, each is parsed
#: for each request.
_KEPT: typing.Final = 1024

_Key = tuple[object, ...]
_Pools = list[Mapping[str, object]]


class PciStatsTags(base.TagSource):
    """The summary still knows the tags where its counts have drifted.

    nova-compute keeps pools in it after their last device is claimed, until it
    is restarted. Those that a relative in use makes unavailable go, and come
    back with them. It is stored before the rows are. What those offer is in
    there, then, unless Nova read the summary before and we the rows after
    they were stored.
    """

    def for_node(self, node: model.ComputeNode) -> base.Lookup:
        """Return a look-up in the node's summary; see the base class."""
        text = node.summary
        if not isinstance(text, str):
            return _lookup(text or ())
        if '\\' not in text:
            text = _DIFFERENCE.sub(_NO_DIFFERENCE, text)
        return _lookup_in_text(text)

    def rp_uuid(
        self, node: model.ComputeNode, kind: model.DeviceKind,
    ) -> str | None:
        """Return the provider that all pools of these devices agree on."""
        pools = _parsed(node.summary) if isinstance(
            node.summary, str) else _by_key(node.summary or ())
        return model.agreed_provider(
            rp_uuid for pool in pools.get(_kind_key(kind), ())
            if isinstance(rp_uuid := pool.get('rp_uuid'), str))


# Asked for one kind of devices of a node after the other.
@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> dict[_Key, _Pools]:
    return _by_key(summary.parse(text) or ())


@functools.lru_cache(maxsize=_KEPT)
def _lookup_in_text(text: str) -> base.Lookup:
    """Return a look-up in a summary, the same one for the same text.

    Never stale: the text itself is what it is kept under.
    """
    return _lookup(summary.parse(text) or ())


def _lookup(pools: Iterable[Mapping[str, object]]) -> base.Lookup:
    tags = {key: _common(found) for key, found in _by_key(pools).items()}

    def lookup(kind: model.DeviceKind) -> model.Tags | None:
        return tags.get(_kind_key(kind))
    return lookup


def _by_key(pools: Iterable[Mapping[str, object]]) -> dict[_Key, _Pools]:
    found: dict[_Key, _Pools] = {}
    for pool in pools:
        key = _summary_key(pool)
        if key is not None:
            found.setdefault(key, []).append(pool)
    return found


def _kind_key(kind: model.DeviceKind) -> _Key:
    return (kind.vendor_id, kind.product_id, kind.numa_node, kind.dev_type,
            kind.address)


def _tags(pool: Mapping[str, object]) -> dict[str, object]:
    return {str(key): value for key, value in pool.items()
            if key not in _NO_TAGS}


def _summary_key(pool: object) -> _Key | None:
    """Return what the rows know too, None if this is no pool at all."""
    if not isinstance(pool, Mapping):
        return None
    key = tuple(map(pool.get, (
        'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address')))
    plain = all(value is None or isinstance(value, (str, int))
                for value in key)
    return key if plain else None


def _common(pools: _Pools) -> model.Tags:
    """Return the tags that all the pools agree on, the rest as UNKNOWN.

    Functions of one physical function with different tags are pools of their
    own in the summary. The rows do not tell which device is in which.
    """
    first, *others = map(_tags, pools)
    if all(tags == first for tags in others):
        return first
    return {
        key: first.get(key) if all(
            key in tags and key in first and tags[key] == first[key]
            for tags in others) else model.UNKNOWN
        for key in set(first).union(*others)}
