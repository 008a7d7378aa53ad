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

"""Read the summary that nova-compute stores: ``compute_nodes.pci_stats``."""

import json
import typing

_Pools = list[dict[str, object]]


def _pool(stored: typing.Any) -> dict[str, object] | None:
    """Flatten a stored pool: an object primitive, or a dict of old."""
    data = stored.get('nova_object.data', stored) if isinstance(
        stored, dict) else None
    if not isinstance(data, dict):
        return None
    pool = dict(data)
    tags = pool.pop('tags', None)
    return {**pool, **tags} if isinstance(tags, dict) else pool


def parse(text: str | None) -> _Pools | None:
    """Return the pools in ``compute_nodes.pci_stats``.

    :param text: a serialized PciDevicePoolList of any version, or the list of
        dicts (or single dict) that preceded it
    :returns: a dict of properties for each pool; None if there is no summary
        or nothing can be made of it. Entries that are no pools are left out.
    """
    try:
        stored = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if isinstance(stored, dict) and 'nova_object.data' in stored:
        data = stored['nova_object.data']
        stored = data.get('objects') if isinstance(data, dict) else None
    if isinstance(stored, dict):
        stored = [stored]
    if not isinstance(stored, list):
        return None
    return [pool for pool in map(_pool, stored) if pool is not None]
