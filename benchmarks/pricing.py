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

"""Measure what whole requests cost the scheduler and the database server.

They are made one after the other, and by several threads of one process at a
time, as the RPC workers of a nova-scheduler with native threads do.

The processor time of a server comes in ticks of some ten milliseconds, so it
is added up over all rounds. Rows, statements and bytes are the same each time
and are counted in requests of their own, which are not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import functools
import gc
import statistics
import time
import typing

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import fleet
from benchmarks import plan as plan_module
from benchmarks import server
from benchmarks import timing
from pci_filter import objects

Kind = contenders.Kind

#: Whose filters are compared.
KINDS: typing.Final = (Kind.IN_TREE, Kind.OURS)

#: Requests at a time, and how many each of the threads makes.
AT_ONCE: typing.Final = (1, 4, 8)
_EACH: typing.Final = 3

#: Requests whose rows, statements and bytes are counted.
_COUNTED: typing.Final = 2

#: Seconds that a server gets for what it has put off.
_PATIENCE: typing.Final = 120
_PATIENCE_QUICK: typing.Final = 0

Numbers = dict[str, typing.Any]


class _Cost(typing.NamedTuple):
    """Seconds that one or more requests took.

    :param wall: from begin to end
    :param scheduler: of processor time of this process
    :param server: the same of the database server, None if not known
    """

    wall: float
    scheduler: float
    server: float | None

    def each(self, number: int) -> _Cost:
        """Return the mean of a number of requests."""
        return _Cost(
            self.wall / number, self.scheduler / number,
            None if self.server is None else self.server / number)


def measured(
    bed: bed_module.Bed, plan: plan_module.Plan,
    hosts: Sequence[fleet.Host], wish: contenders.Wish, rounds: int,
) -> Numbers:
    """Return what one request costs with either filter.

    :param bed: where the hosts are
    :param plan: how long to wait for the server
    :param hosts: who is asked for
    :param wish: what is asked for
    :param rounds: how often
    :raises RuntimeError: if the filters let other hosts pass than fit, or
        ours did not decide
    """
    fit = _require_agreement(bed, hosts, wish)
    idle = bed.server.wait_until_quiet(
        _PATIENCE_QUICK if plan.quick else _PATIENCE)
    samples = timing.interleaved(
        {kind: functools.partial(_one, bed, kind, hosts, wish)
         for kind in KINDS}, rounds, warm_up=0)
    point: Numbers = {
        'hosts': len(hosts), 'fit': fit, 'rounds': rounds,
        'server_idle': idle}
    for kind in KINDS:
        costs = samples[kind]
        known = [cost.server for cost in costs if cost.server is not None]
        cost = _Cost(
            statistics.median(cost.wall for cost in costs),
            statistics.fmean(cost.scheduler for cost in costs),
            statistics.fmean(known) if known else None)
        point[kind.value] = {
            **_in_ms(cost),
            **_counted(bed, kind, hosts, wish)._asdict()}
    return point


def _require_agreement(
    bed: bed_module.Bed, hosts: Sequence[fleet.Host], wish: contenders.Wish,
) -> int:
    """Return how many hosts fit, if both filters let exactly them pass.

    :raises RuntimeError: if not, or if ours did not decide
    """
    fitting = {host.name for host in hosts
               if host.accelerated or not wish.accelerator}
    for kind in KINDS:
        scheduler = bed.scheduler(kind)
        with scheduler.attached():
            passed = scheduler.serve(hosts, wish)
        if {state.host for state in passed} != fitting:
            raise RuntimeError(
                f'{wish}: {len(fitting)} hosts fit, {len(passed)} pass the '
                f'filter that is {kind.value}')
    if not all(isinstance(state.pci_stats, objects.PciDevicePoolList)
               for state in passed):
        raise RuntimeError(
            f"{wish}: hosts were decided from Nova's summary, not by ours")
    return len(fitting)


def _one(
    bed: bed_module.Bed, kind: Kind, hosts: Sequence[fleet.Host],
    wish: contenders.Wish,
) -> _Cost:
    scheduler = bed.scheduler(kind)
    with scheduler.attached():
        return _clocked(bed.server, lambda: scheduler.serve(hosts, wish))


def _clocked(of: server.Server, serve: Callable[[], object]) -> _Cost:
    """Serve requests, with the garbage of others out of the way."""
    gc.collect()
    before = of.cpu_seconds()
    worked, start = time.process_time(), time.perf_counter()
    serve()
    wall = time.perf_counter() - start
    worked = time.process_time() - worked
    after = of.cpu_seconds()
    return _Cost(
        wall, worked,
        None if before is None or after is None else after - before)


def _counted(
    bed: bed_module.Bed, kind: Kind, hosts: Sequence[fleet.Host],
    wish: contenders.Wish,
) -> server.Counts:
    """Return what a request lets the server do."""
    scheduler = bed.scheduler(kind)
    with scheduler.attached(), bed.server.counting() as tally:
        for _ in range(_COUNTED):
            scheduler.serve(hosts, wish)
    return tally.counts.each(_COUNTED)


def concurrent(
    bed: bed_module.Bed, plan: plan_module.Plan,
    hosts: Sequence[fleet.Host], wish: contenders.Wish,
) -> dict[str, list[Numbers]]:
    """Return what a request costs, by how many are made at a time.

    :param bed: where the hosts are
    :param plan: whether to make few
    :param hosts: who is asked for
    :param wish: what is asked for
    """
    return {kind.value: [
        _at_once(bed, kind, hosts, wish, threads,
                 threads * (1 if plan.quick else _EACH))
        for threads in AT_ONCE] for kind in KINDS}


def _at_once(
    bed: bed_module.Bed, kind: Kind, hosts: Sequence[fleet.Host],
    wish: contenders.Wish, threads: int, requests: int,
) -> Numbers:
    """Let each of some threads make one request after the other."""
    scheduler = bed.scheduler(kind)

    def serve_all() -> None:
        serving = [pool.submit(scheduler.serve, hosts, wish)
                   for _ in range(requests)]
        for one in serving:
            one.result()

    with futures.ThreadPoolExecutor(threads) as pool, scheduler.attached():
        # Threads and connections are there then, as in a scheduler that runs.
        list(pool.map(lambda _: scheduler.serve(hosts[:1], wish),
                      range(threads)))
        cost = _clocked(bed.server, serve_all)
    return {'at_once': threads, 'requests': requests,
            'per_second': round(requests / cost.wall, 3),
            **_in_ms(cost.each(requests))}


def _in_ms(cost: _Cost) -> Numbers:
    return {
        'wall_ms': timing.ms(cost.wall),
        'scheduler_cpu_ms': timing.ms(cost.scheduler),
        'server_cpu_ms':
            None if cost.server is None else timing.ms(cost.server)}
