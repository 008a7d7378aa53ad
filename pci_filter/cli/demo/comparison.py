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

"""Ask the in-tree filter, ours, and a real claim about the same hosts."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing

from pci_filter.fixture import cloud as embedded_cloud
from pci_filter.fixture import compute_host
from pci_filter.fixture import fleet
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling

#: Hosts that the schedulers are asked about at a time.
_BATCH: typing.Final = 50

#: Devices that Nova gives only to requests that name their type.
_ON_REQUEST: typing.Final = (hardware.PF, hardware.VDPA)


@dataclasses.dataclass(frozen=True)
class Decision:
    """What each side says about one host and one order.

    :param host: name of the host
    :param cell: name of its cell
    :param summary: what was done to its summary: '', 'stale' or 'lost'
    :param summary_devices: devices that the summary counts, by dev_type;
        only those that could serve the order
    :param row_devices: the same from the rows
    :param in_tree: whether the in-tree filter passes the host
    :param ours: whether our filter passes it
    :param claim: whether a claim succeeds there
    :param reason: why ours decided so
    """

    host: str
    cell: str
    summary: str
    summary_devices: dict[str, int]
    row_devices: dict[str, int]
    in_tree: bool
    ours: bool
    claim: bool
    reason: str

    @property
    def in_tree_wrong(self) -> bool:
        """Whether the in-tree verdict differs from what a claim does."""
        return self.in_tree != self.claim

    @property
    def ours_wrong(self) -> bool:
        """Whether our verdict differs from what a claim does."""
        return self.ours != self.claim

    def as_dict(self) -> dict[str, typing.Any]:
        """Return all there is to know, for JSON."""
        return dataclasses.asdict(self) | {
            'in_tree_wrong': self.in_tree_wrong,
            'ours_wrong': self.ours_wrong}


@dataclasses.dataclass
class OrderResult:
    """The decisions about one order.

    :param order: what was asked for
    :param decisions: one per host, in the order of the hosts
    """

    order: fleet.Order
    decisions: list[Decision]


class Comparison:
    """Schedulers with either filter, over one cloud.

    :param cloud: whose hosts to ask about
    """

    def __init__(self, cloud: embedded_cloud.EmbeddedCloud) -> None:
        self._cloud = cloud
        self._in_tree = cloud.host_manager()
        self._ours = cloud.host_manager(
            available_filters=scheduling.OUR_FILTERS)

    def run(
        self,
        orders: Iterable[fleet.Order],
        summaries: Mapping[str, str],
        advance: Callable[[], None],
    ) -> list[OrderResult]:
        """Collect all verdicts and what claims do.

        :param orders: what to ask for
        :param summaries: what was done to a host's summary, by host name
        :param advance: called after each decision
        """
        results = [OrderResult(order, []) for order in orders]
        for hosts in _batches(list(self._cloud.hosts.values())):
            row_pools = {
                host.name: self._cloud.tracker(host).stats.pools
                for host in hosts}
            for result in results:
                for decision in self._decide(
                        result.order, hosts, summaries, row_pools):
                    result.decisions.append(decision)
                    advance()
        return results

    def _decide(
        self,
        order: fleet.Order,
        hosts: Sequence[compute_host.Host],
        summaries: Mapping[str, str],
        row_pools: Mapping[str, Iterable[Mapping[str, typing.Any]]],
    ) -> Iterator[Decision]:
        requests = pci_requests(order.wants)
        nova_states, nova_passed = self._ask(self._in_tree, requests, hosts)
        our_states, our_passed = self._ask(self._ours, requests, hosts)
        for host in hosts:
            name = host.name
            yield Decision(
                host=name,
                cell=host.cell.name,
                summary=summaries.get(name, ''),
                summary_devices=_count(
                    nova_states[name].pci_stats.pools, order),
                row_devices=_count(row_pools[name], order),
                in_tree=name in nova_passed,
                ours=name in our_passed,
                claim=self._cloud.claim_error(host, requests) is None,
                reason=_reason(our_states[name], order, requests))

    @staticmethod
    def _ask(
        manager: typing.Any,
        requests: Sequence[typing.Any],
        hosts: Sequence[compute_host.Host],
    ) -> tuple[dict[str, typing.Any], set[str]]:
        """Return HostStates by host name, and names of those that pass."""
        spec = scheduling.request_spec(requests)
        states = scheduling.host_states(
            manager, spec, [host.node_uuid for host in hosts])
        passed = scheduling.passing_hosts(manager, states, spec)
        return {state.host: state for state in states}, passed


def _batches(
    hosts: Sequence[compute_host.Host],
) -> Iterator[Sequence[compute_host.Host]]:
    for start in range(0, len(hosts), _BATCH):
        yield hosts[start:start + _BATCH]


def pci_requests(wants: Sequence[fleet.Want]) -> list[typing.Any]:
    """Build the InstancePCIRequest objects of an order."""
    return [
        scheduling.pci_request(want.spec, want.count, alias_name=want.alias)
        for want in wants]


def _reason(
    state: typing.Any, order: fleet.Order, requests: Sequence[typing.Any],
) -> str:
    reason = str(state.pci_stats.explain_requests(requests, {}).reason)
    # The request of a port has no name, only a UUID that nobody knows here.
    for want, request in zip(order.wants, requests):
        reason = reason.replace(request.request_id, want.label)
    return reason


def _count(
    pools: Iterable[Mapping[str, typing.Any]], order: fleet.Order,
) -> dict[str, int]:
    """Count the devices that could serve any want of an order."""
    counts: collections.Counter[str] = collections.Counter()
    for pool in pools:
        if pool['count'] and any(
                _could_serve(pool, want.spec) for want in order.wants):
            counts[pool['dev_type']] += pool['count']
    return dict(sorted(counts.items()))


def _could_serve(
    pool: Mapping[str, typing.Any], spec: Mapping[str, str],
) -> bool:
    dev_type = pool['dev_type']
    if dev_type in _ON_REQUEST and spec.get('dev_type') != dev_type:
        return False
    return all(
        str(pool.get(key)).lower() == value.lower()
        for key, value in spec.items())
