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

"""A pyperf benchmark of one decision about one host.

``python -m benchmarks.decision`` takes the options of every pyperf benchmark.
The host is asked the same again and again, so this is what a decision costs
when all that can be remembered is. The table has the first decision about
each of many hosts.
"""

from collections.abc import Callable
import contextlib
import functools
import time
import typing

import pyperf

from benchmarks import bed as bed_module
from benchmarks import contenders

KINDS: typing.Final = (contenders.Kind.IN_TREE, contenders.Kind.OURS)

#: Each process makes a database first, so few of them.
_PROCESSES: typing.Final = 3


def name(kind: contenders.Kind) -> str:
    """Return what pyperf calls the benchmark of a kind."""
    return f'decision-{kind.value}'


def main() -> None:
    """Run the benchmark of each kind in processes of its own."""
    runner = pyperf.Runner(
        processes=_PROCESSES, program_args=('-m', 'benchmarks.decision'))
    with contextlib.ExitStack() as stack:
        # Not before a process knows that it is to measure something.
        bed = functools.lru_cache(functools.partial(_one_host, stack))
        for kind in KINDS:
            runner.bench_time_func(name(kind), _time, bed, kind)


def _one_host(stack: contextlib.ExitStack) -> bed_module.Bed:
    bed = stack.enter_context(bed_module.Bed('SQLite'))
    bed.grow(1)
    return bed


def _time(
    loops: int, open_bed: Callable[[], bed_module.Bed],
    kind: contenders.Kind,
) -> float:
    """Return the seconds that so many decisions take."""
    bed = open_bed()
    scheduler = bed.scheduler(kind)
    spec = scheduler.request_spec(contenders.Wish())
    [state], _, _ = scheduler.load(bed.hosts, spec)
    ask = state.pci_stats.support_requests
    requests = spec.pci_requests.requests
    start = time.perf_counter()
    for _ in range(loops):
        ask(requests, provider_mapping={})
    took = time.perf_counter() - start
    contenders.detach()
    return took


if __name__ == '__main__':
    main()
