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

"""Tags that our tracker stored in the rows of a host that left it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import json
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import rows
from pci_filter.audit import summaries
from pci_filter import model
from pci_filter import summary

_Devices = Sequence[facts_module.Device]
_Pools = Sequence[Mapping[str, object]]

_NEVER: typing.Final = datetime.datetime.min


def check(
    facts: facts_module.NodeFacts, pending: summaries.Pending | None = None,
) -> Iterator[finding.Finding]:
    """Look for stored tags that the summary denies.

    If those of some devices are stale, so are all of the host: its
    nova-compute writes none any more.

    :param pending: when what is written to the rows may be in the summary or
        not; None for never
    """
    denied = list(_denied(facts, pending))
    if not denied:
        return
    stored = [device for device in facts.devices
              if facts_module.stored_tags(device) is not None]
    devices, pool = denied[0]
    first = min(device.address for device in devices)
    more = f', and of {len(denied) - 1} more pools' if denied[1:] else ''
    yield finding.Finding(
        'tags-stale', facts.node.host or '', facts.node.id, 'pci_devices',
        f'{len(stored)} rows of pci_devices have tags in extra_info; '
        f'compute_nodes.pci_stats denies those of {first}{more}',
        finding.evidence(
            *((device.id, device.extra_info) for device in stored),
            *((key, str(value)) for key, value in sorted(pool.items())
              if key not in summary.NO_TAGS)),
        tuple(rows.row_repair(device, {'extra_info': _without_tags(device)})
              for device in stored))


def _denied(
    facts: facts_module.NodeFacts, pending: summaries.Pending | None,
) -> Iterator[tuple[_Devices, Mapping[str, object]]]:
    """Yield devices whose tags the summary denies, and the pool that does."""
    try:
        pools = summaries.parse(facts.node.pci_stats) or []
    except ValueError:
        return
    in_summary: dict[facts_module.PoolKey, list[Mapping[str, object]]] = {}
    for pool in pools:
        in_summary.setdefault(summaries.pool_key(pool), []).append(pool)
    in_rows: dict[facts_module.PoolKey, list[facts_module.Device]] = {}
    # The scheduler does not read what is gone either.
    for device in facts.present:
        in_rows.setdefault(device.pool, []).append(device)
    for key, devices in in_rows.items():
        found = in_summary.get(key, [])
        stored = [tags for device in devices if (
            tags := facts_module.stored_tags(device)) is not None]
        newest = max(device.updated or _NEVER for device in devices)
        if summary.contradicts(found, stored) and not (
                pending and summaries.is_late(facts.node, newest, pending)):
            yield devices, found[0]


def _without_tags(device: facts_module.Device) -> str:
    extra_info = facts_module.parse_extra_info(device.extra_info) or {}
    return json.dumps({
        key: value for key, value in extra_info.items()
        if key != model.STORED_TAGS_KEY})
