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

"""The summary ``compute_nodes.pci_stats`` beside the rows."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import datetime
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter import summary

#: What the rows know too, in the order of ``facts.PoolKey``.
_KEYS: typing.Final = (
    'vendor_id', 'product_id', 'numa_node', 'dev_type', 'address')

_Pools = list[summary.Pool]

_RESTART: typing.Final = (
    'nova-compute makes the summary anew when it is restarted')


class Pending(typing.NamedTuple):
    """When rows are written that the summary does not have to have yet.

    :param since: what was written before is in there, in UTC
    :param until: nobody can have written later, but with a clock that is wrong
    """

    since: datetime.datetime
    until: datetime.datetime


@dataclasses.dataclass
class _Rows:
    """The devices of one pool, by their rows."""

    certain: int = 0
    doubtful: int = 0
    newest: datetime.datetime = datetime.datetime.min
    total: int = 0


def check(
    facts: facts_module.NodeFacts, doubtful: Collection[int],
    summary_expected: bool, pending: Pending | None = None,
    tags_stale: bool = False,
) -> Iterator[finding.Finding]:
    """Compare what the summary offers with what is available.

    Pools that are empty are no pools: Nova keeps them or drops them as it
    happens. Tags and names of network devices are not compared: the rows do
    not have them, or newer ones.

    :param doubtful: ids of rows with findings of their own: they may count
        or not
    :param summary_expected: whether a summary that is NULL is a fault
    :param pending: when what is written to the rows may be in there or not;
        None for never
    :param tags_stale: whether the tags in the rows are of no use
    """
    try:
        pools = parse(facts.node.pci_stats)
    except ValueError as error:
        yield _unreadable(facts, str(error))
        return
    rows = _count_rows(facts, doubtful)
    if pools is None:
        if summary_expected and not _stored_tags(facts, any):
            yield from _no_summary(facts, rows)
        return
    if pools and facts.present and not tags_stale and (
            _stored_tags(facts, all)):
        yield _finding(
            'summary-deprecated', facts, 'pci_stats',
            f'compute_nodes.pci_stats has {len(pools)} pools; the rows have '
            'the tags too', len(pools), 'nothing is wrong')
    counts = _count_pools(pools)
    for key in sorted({*rows, *counts}, key=str):
        found = rows.get(key)
        if not (found and pending
                and is_late(facts.node, found.newest, pending)):
            yield from _compare(facts, key, counts.get(key), found)


def is_late(
    node: facts_module.Node, newest: datetime.datetime, pending: Pending,
) -> bool:
    """Tell whether the summary may be right as soon as it is written.

    A live migration that claims and a port that comes or goes are written to
    the rows at once, and to the summary with the next periodic update
    (nova.compute.resource_tracker, claim_pci_devices).

    :param newest: when a row of the devices in question was written last
    """
    return pending.since < newest < pending.until and not (
        node.updated and node.updated > newest)


def _compare(
    facts: facts_module.NodeFacts, key: facts_module.PoolKey,
    count: int | None, rows: _Rows | None,
) -> Iterator[finding.Finding]:
    """Compare one pool.

    :param count: devices by the summary, None if it has no such pool
    :param rows: devices by the rows, None if there are none of that pool
    """
    if rows is None:
        if count:
            yield _finding(
                'summary-extra', facts, pool_text(key),
                f'compute_nodes.pci_stats has {count}, pci_devices has no '
                'such device', count)
        return
    if rows.certain <= (count or 0) <= rows.certain + rows.doubtful:
        return
    kind = 'summary-missing' if count is None else 'summary-count'
    offered = 'no such pool' if count is None else str(count)
    available = str(rows.certain) if not rows.doubtful else (
        f'{rows.certain} to {rows.certain + rows.doubtful}')
    yield _finding(
        kind, facts, pool_text(key),
        f'compute_nodes.pci_stats has {offered}, pci_devices has '
        f'{available} of {rows.total} available',
        (count, dataclasses.astuple(rows)))


def _no_summary(
    facts: facts_module.NodeFacts, rows: Mapping[facts_module.PoolKey, _Rows],
) -> Iterator[finding.Finding]:
    available = sum(pool.certain for pool in rows.values())
    if available:
        yield _finding(
            'summary-missing', facts, 'pci_stats',
            f'compute_nodes.pci_stats is NULL, pci_devices has {available} '
            'available', tuple(map(dataclasses.astuple, rows.values())))


def _unreadable(
    facts: facts_module.NodeFacts, reason: str,
) -> finding.Finding:
    text = facts.node.pci_stats
    return dataclasses.replace(
        _finding('summary-unreadable', facts, 'pci_stats',
                 f'compute_nodes.pci_stats {reason}: '
                 f"'{finding.one_line(text, 40)}'", text),
        repairs=(finding.Repair(
            'compute_nodes', facts.node.id,
            {'deleted': 0, 'pci_stats': text}, {'pci_stats': None}),),
        no_repair='')


def _finding(
    kind: str, facts: facts_module.NodeFacts, subject: str, stored: str,
    rests_on: typing.Hashable, no_repair: str = _RESTART,
) -> finding.Finding:
    return finding.Finding(
        kind, facts.node.host or '', facts.node.id, subject, stored,
        finding.evidence(rests_on), no_repair=no_repair)


def _stored_tags(
    facts: facts_module.NodeFacts,
    quantifier: Callable[[Iterable[bool]], bool],
) -> bool:
    """Tell whether our tracker keeps the tags of any, or all, in the rows."""
    return quantifier(
        facts_module.stored_tags(device) is not None
        for device in facts.present)


def _count_rows(
    facts: facts_module.NodeFacts, doubtful: Collection[int],
) -> dict[facts_module.PoolKey, _Rows]:
    counted: dict[facts_module.PoolKey, _Rows] = {}
    for device in facts.devices:
        rows = counted.setdefault(device.pool, _Rows())
        rows.total += 1
        if device.updated:
            rows.newest = max(rows.newest, device.updated)
        if device.id in doubtful:
            rows.doubtful += 1
        elif device.status == facts_module.AVAILABLE:
            rows.certain += 1
    return counted


def _count_pools(pools: _Pools) -> dict[facts_module.PoolKey, int]:
    counts: dict[facts_module.PoolKey, int] = {}
    for pool in pools:
        key = pool_key(pool)
        counts[key] = counts.get(key, 0) + typing.cast(int, pool['count'])
    return counts


def pool_key(pool: Mapping[str, object]) -> facts_module.PoolKey:
    """Return what the rows know too of a pool of the summary."""
    return tuple(
        value if isinstance(value, (str, int)) else None
        for value in map(pool.get, _KEYS))


def pool_text(key: facts_module.PoolKey) -> str:
    """Return what an operator knows a pool by."""
    vendor_id, product_id, _, _, address = key
    return finding.one_line(f'{address} {vendor_id}:{product_id}')


def parse(text: str | None) -> _Pools | None:
    """Return the pools of a summary as Nova reads it.

    :returns: None if there is no summary
    :raises ValueError: in a few words, why Nova cannot read it
    """
    if text is None:
        return None
    return [_parse_pool(stored) for stored in summary.entries(text)]


def _parse_pool(stored: object) -> summary.Pool:
    pool = summary.pool(stored)
    if pool is None:
        raise ValueError('has something that is no pool')
    for key in ('vendor_id', 'product_id'):
        if not isinstance(pool.get(key), str):
            raise ValueError(f'has a pool without a {key}')
    try:
        pool['count'] = int(typing.cast(int, pool.get('count')))
    except (TypeError, ValueError, OverflowError):
        raise ValueError('has a pool without a count')
    return pool
