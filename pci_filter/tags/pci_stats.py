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

from collections.abc import Mapping

from pci_filter import model
from pci_filter.tags import base

#: What a summary pool has beside its tags. The netdev of the parent is told
#: by the rows themselves.
_NO_TAGS = frozenset((
    'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address', 'count',
    'devices', 'parent_ifname', 'rp_uuid'))

_Key = tuple[object, ...]
_Pools = list[Mapping[str, object]]


class PciStatsTags(base.TagSource):
    """The summary still knows the tags where its counts have drifted.

    nova-compute keeps pools in it after their last device is gone, until it is
    restarted, and stores it before it stores the rows. What the rows offer is
    in there, then, but for the moment between Nova's reading of the summary
    and ours of the rows.
    """

    def for_node(self, node: model.ComputeNode) -> base.Lookup:
        """Return a look-up in the node's summary; see the base class."""
        pools: dict[_Key, _Pools] = {}
        for pool in node.summary or ():
            key = _summary_key(pool)
            if key is not None:
                pools.setdefault(key, []).append(pool)

        def lookup(group: model.DeviceGroup) -> model.Tags | None:
            found = pools.get((
                group.vendor_id, group.product_id, group.numa_node,
                group.dev_type, group.address))
            return _common(found) if found else None
        return lookup


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
    common = first
    if any(tags != first for tags in others):
        common = {
            key: first.get(key) if all(
                key in tags and key in first and tags[key] == first[key]
                for tags in others) else model.UNKNOWN
            for key in set(first).union(*others)}
    rp_uuids = {
        rp_uuid for pool in pools
        if isinstance(rp_uuid := pool.get('rp_uuid'), str)}
    if len(rp_uuids) == 1:
        return {**common, 'rp_uuid': rp_uuids.pop()}
    return common
