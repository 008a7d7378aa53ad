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

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
import functools
import re
import typing

from pci_filter import model
from pci_filter import summary
from pci_filter.tags import base

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
        return _summary_of(node)

    def denies_stored_tags(
        self, node: model.ComputeNode, stored: base.StoredTags,
    ) -> bool:
        """Tell whether the summary denies what is stored with some devices."""
        return denied(node, stored) > 0

    def rp_uuid(
        self, node: model.ComputeNode, kind: model.DeviceKind,
    ) -> str | None:
        """Return the provider that all pools of these devices agree on.

        Those of another netdev do not count unless it takes them: one of them
        may be used up, and such a pool keeps the provider that it had when
        nova-compute makes new ones.
        """
        key = _kind_key(kind)
        if isinstance(node.summary, str):
            pools = _parsed(node.summary).get(key, [])
        else:
            # Asked for each kind of devices: few pools have its address.
            pools = [pool for pool in node.summary or ()
                     if isinstance(pool, Mapping)
                     and pool.get('address') == kind.address
                     and _summary_key(pool) == key]
        return _provider([
            pool for pool in pools
            if pool.get('parent_ifname') == kind.parent_ifname
        ]) or _provider(pools)


# Asked for one kind of devices of a node after the other.
@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> dict[_Key, _Pools]:
    return _by_key(summary.parse(text) or ())


def _provider(pools: _Pools) -> str | None:
    return model.agreed_provider(
        rp_uuid for pool in pools
        if isinstance(rp_uuid := pool.get('rp_uuid'), str))


def denied(node: model.ComputeNode, stored: base.StoredTags) -> int:
    """Return of how many kinds of devices the summary denies all tags.

    If it denies some, Nova's own nova-compute has taken the place of the one
    that stored them. Devices that differ in their netdev alone are one kind
    to the summary.

    :param node: the compute node
    :param stored: what is stored with its devices
    """
    by_key: dict[_Key, list[model.Tags]] = {}
    for kind, tags in stored:
        by_key.setdefault(_kind_key(kind), []).append(tags)
    said = _summary_of(node) if by_key else None
    return sum(summary.contradicts(said.pools(key), tags)
               for key, tags in by_key.items()) if said else 0


class _Summary:
    """The tags in a summary, by what the rows know too.

    :param pools: all of them
    """

    def __init__(self, pools: Iterable[Mapping[str, object]]) -> None:
        self._pools = _by_key(pools)
        self._tags = {key: _common(found)
                      for key, found in self._pools.items()}

    def __call__(self, kind: model.DeviceKind) -> model.Tags | None:
        """Return the tags of devices; a look-up of the base module."""
        return self._tags.get(_kind_key(kind))

    def pools(self, key: _Key) -> _Pools:
        """Return the pools of such devices."""
        return self._pools.get(key, [])


def _summary_of(node: model.ComputeNode) -> _Summary:
    text = node.summary
    if not isinstance(text, str):
        return _Summary(text or ())
    if '\\' not in text:
        text = _DIFFERENCE.sub(_NO_DIFFERENCE, text)
    return _summary_in_text(text)


@functools.lru_cache(maxsize=_KEPT)
def _summary_in_text(text: str) -> _Summary:
    """Return what is in a text, the same object for the same text.

    Never stale: the text itself is what it is kept under.
    """
    return _Summary(summary.parse(text) or ())


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
            if key not in summary.NO_TAGS}


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
