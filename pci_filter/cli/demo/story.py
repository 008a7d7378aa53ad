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

"""What happens in the demo.

A fleet, its use, summaries that drift, and servers that boot at once.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses
import pathlib
import random
import typing

from pci_filter.cli.demo import burst
from pci_filter.cli.demo import comparison
from pci_filter.fixture import cloud as embedded_cloud
from pci_filter.fixture import compute_host
from pci_filter.fixture import fleet
from pci_filter.fixture import keepsake
from pci_filter.fixture import scheduling

CELLS: typing.Final = 2

#: What befalls a summary, and on which share of the hosts.
STALE: typing.Final = 'stale'
LOST: typing.Final = 'lost'
_STALE_SHARE: typing.Final = 0.35
_LOST_SHARE: typing.Final = 0.25


@dataclasses.dataclass
class Outcome:
    """All that the demo found out.

    :param hosts: number of hosts
    :param seed: what the fleet was made from
    :param devices: number of PCI devices
    :param claims: claims that took devices before anything was compared
    :param drift: what was done to a host's summary, by host name
    :param before: verdicts while summaries are true
    :param after: verdicts after summaries drifted
    :param in_tree_burst: servers that boot at once with the in-tree filter
    :param our_burst: with ours
    """

    hosts: int
    seed: int
    devices: int = 0
    claims: int = 0
    drift: dict[str, str] = dataclasses.field(default_factory=dict)
    before: list[comparison.OrderResult] = dataclasses.field(
        default_factory=list)
    after: list[comparison.OrderResult] = dataclasses.field(
        default_factory=list)
    in_tree_burst: burst.Burst = burst.Burst(0, 0)
    our_burst: burst.Burst = burst.Burst(0, 0)

    def decisions(self) -> list[comparison.Decision]:
        """Return all decisions, of both phases."""
        return [decision
                for result in (*self.before, *self.after)
                for decision in result.decisions]

    @property
    def in_tree_wrong(self) -> int:
        """How often the in-tree filter was wrong."""
        return sum(d.in_tree_wrong for d in self.decisions())

    @property
    def ours_wrong(self) -> int:
        """How often our filter was wrong."""
        return sum(d.ours_wrong for d in self.decisions())

    @property
    def is_as_promised(self) -> bool:
        """Whether our filter was never wrong, and its burst landed whole."""
        return not self.ours_wrong and self.our_burst.landed == burst.SIZE


class Story:
    """The demo from start to end.

    :param hosts: how many hosts to make up
    :param seed: what to make them from
    :param report: called with what is being done and the number of steps
        it takes; returns what to call after each step
    :param keep: empty folder for the cloud, to be left there; None for one
        that is removed in the end
    """

    def __init__(
        self,
        hosts: int,
        seed: int,
        report: Callable[[str, int], Callable[[], None]],
        keep: pathlib.Path | None = None,
    ) -> None:
        self._keep = keep
        self._rng = random.Random(seed)
        self._report = report
        self._outcome = Outcome(hosts, seed)

    def play(self) -> Outcome:
        """Build a cloud, compare, let summaries drift, compare again.

        Then many servers boot at once, in a cloud that is never kept.
        """
        step = self._report('Migrating databases', 1)
        with embedded_cloud.EmbeddedCloud(CELLS, self._keep) as cloud:
            step()
            self._build(cloud)
            schedulers = comparison.Comparison(cloud)
            self._outcome.before = self._compare(
                schedulers, 'Comparing, summaries true')
            self._drift(cloud)
            self._outcome.after = self._compare(
                schedulers, 'Comparing, summaries drifted')
            if self._keep:
                keepsake.leave(cloud, self._keep)
        step = self._report('Booting many at once', 2 * burst.SIZE)
        with embedded_cloud.EmbeddedCloud(CELLS) as cloud:
            self._outcome.in_tree_burst = burst.in_tree(cloud, step)
            self._outcome.our_burst = burst.ours(cloud, step)
        return self._outcome

    def _compare(
        self, schedulers: comparison.Comparison, title: str,
    ) -> list[comparison.OrderResult]:
        steps = len(fleet.ORDERS) * self._outcome.hosts
        return schedulers.run(
            fleet.ORDERS, self._outcome.drift, self._report(title, steps))

    def _build(self, cloud: embedded_cloud.EmbeddedCloud) -> None:
        """Add the hosts, and instances that use some of their devices."""
        step = self._report('Starting compute hosts', self._outcome.hosts)
        for machine in fleet.machines(self._rng, self._outcome.hosts):
            host = cloud.add_host(
                self._rng.randrange(CELLS), machine.name, machine.devices,
                machine.device_spec,
                scheduling.host_numa_topology(machine.sockets))
            self._outcome.devices += len(machine.devices)
            for want in fleet.small_orders(self._rng, machine):
                self._outcome.claims += _try_claim(cloud, host, want)
            step()

    def _drift(self, cloud: embedded_cloud.EmbeddedCloud) -> None:
        """Make some summaries untrue, as lost updates would."""
        step = self._report('Losing updates', self._outcome.hosts)
        for host in cloud.hosts.values():
            luck = self._rng.random()
            if luck < _STALE_SHARE:
                summary = cloud.summary(host)
                if self._fill(cloud, host):
                    cloud.store_summary(host, summary)
                    self._outcome.drift[host.name] = STALE
            elif luck < _STALE_SHARE + _LOST_SHARE:
                cloud.falsify_counts(host, lambda count: 0)
                self._outcome.drift[host.name] = LOST
            step()

    @staticmethod
    def _fill(
        cloud: embedded_cloud.EmbeddedCloud, host: compute_host.Host,
    ) -> bool:
        """Take about all devices that are left.

        :returns: whether there was anything left to take
        """
        taken = 0
        for want in (fleet.port('physnet1'), fleet.gpus(1),
                     fleet.ORDERS[-1].wants[0]):
            for count in (8, 4, 2, 1):
                taken += _try_claim(
                    cloud, host, dataclasses.replace(want, count=count))
        return taken > 0


def _try_claim(
    cloud: embedded_cloud.EmbeddedCloud, host: compute_host.Host,
    want: fleet.Want,
) -> int:
    """Claim, and return 1 if that succeeded."""
    with contextlib.suppress(compute_host.ClaimFailed):
        cloud.claim(host, comparison.pci_requests([want]))
        return 1
    return 0
