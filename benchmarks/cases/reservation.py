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

"""What a reservation costs, beside the whole request with Nova's filter.

It is measured where Nova's scheduler calls what makes it, with placement left
out: nova.scheduler.utils.claim_resources() does nothing here. The store is
``local``, a file in a temporary directory. The hosts are asked for one after
the other, so that there is no other reservation on them; then one that has as
many as a burst leaves there, which are read, decided upon and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import pathlib
import statistics
import tempfile
import time
import typing

import nova.conf
from oslo_utils import uuidutils

from benchmarks import bed as bed_module
from benchmarks import contenders
from benchmarks import ours
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import statements
from benchmarks import timing
from pci_filter.fixture import databases
from pci_filter.scheduler import failures
from pci_filter.scheduler import reserver
from pci_filter.scheduler import reserving

NAME: typing.Final = 'reservation'

#: On an idle machine. On SQLite a reservation reads the same file that the
#: benchmark has just written, so it is told and not judged.
_MEDIAN: typing.Final = results.Target(5, unit=' ms')
_P99: typing.Final = results.Target(25, unit=' ms')
_NOTHING: typing.Final = results.Target(0, unit=' more')

#: A percentile of few is chance.
_SAMPLES: typing.Final = 1000
_SAMPLES_QUICK: typing.Final = 20
_REQUESTS: typing.Final = 5

#: Others that have reserved devices of the same host.
_OTHERS: typing.Final = 10

_WISH: typing.Final = contenders.Wish()
_NO_PCI: typing.Final = contenders.Wish(devices=0)

Kind = contenders.Kind


class _Desk:
    """Where reservations are made.

    :param bed: where the hosts are
    :param reserver: what makes them
    :param hosts: of which
    """

    def __init__(
        self, bed: bed_module.Bed, reserver: reserver.Reserver,
        hosts: Sequence[typing.Any],
    ) -> None:
        self._scheduler = bed.scheduler(Kind.OURS)
        self._reserver = reserver
        self._failures = failures.Failures(nova.conf.CONF.pci_filter)
        self._cells = {cell.uuid: cell for cell in bed.cloud.cells}
        self._states = {
            wish: self._load(hosts, wish) for wish in (_WISH, _NO_PCI)}

    def _load(
        self, hosts: Sequence[typing.Any], wish: contenders.Wish,
    ) -> list[contenders.HostState]:
        """Return the HostStates that have what is asked for."""
        spec = self._scheduler.request_spec(wish)
        states, *_ = self._scheduler.load(hosts, spec)
        contenders.give_candidates(states, hosts, spec, wish)
        return list(self._scheduler.manager.get_filtered_hosts(states, spec))

    def reserve(
        self, number: int, wish: contenders.Wish = _WISH, keep: bool = True,
    ) -> float:
        """Let a request choose a host; return the seconds that it takes.

        :param number: of the host
        :param wish: what is asked for
        :param keep: whether the reservation is still there afterwards
        :raises RuntimeError: if nothing was reserved that was asked for
        """
        states = self._states[wish]
        state = states[number % len(states)]
        spec = self._scheduler.request_spec(wish)
        request = reserving.Request(self._reserver, self._failures)
        request.note_hosts([state], lambda: self._cells)
        placement: dict[str, typing.Any] = {
            'allocations': {state.uuid: {}}, 'mappings': {}}
        start = time.perf_counter()
        chosen = request.claim(
            lambda: True, spec._context, spec, uuidutils.generate_uuid(),
            placement)
        took = time.perf_counter() - start
        if not chosen or bool(request._made) != bool(wish.devices):
            raise RuntimeError(f'{wish}: reserved {request._made}')
        if not keep:
            request.failed()
        return took


@contextlib.contextmanager
def _desk(
    bed: bed_module.Bed, hosts: Sequence[typing.Any],
) -> Iterator[_Desk]:
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'reservations.sqlite'
        sources = ours.tag_sources()
        with databases.overriding(
                'pci_filter', reservations='local',
                reservation_file=str(path)):
            yield _Desk(
                bed, reserver.Reserver(nova.conf.CONF, sources), hosts)


def run(
    bed: bed_module.Bed, plan: plan_module.Plan, book: results.Book,
) -> None:
    """Measure requests with Nova's filter, then reservations."""
    hosts = bed.ask_for(plan.main_size)
    rounds = min(plan.rounds, _REQUESTS)
    whole = statistics.median(
        bed.scheduler(Kind.IN_TREE).ask(hosts, _WISH)[0].weighed
        for _ in range(rounds))
    in_tree = (f'{timing.ms(whole):.4g} ms, the whole request for '
               f'{len(hosts):,} hosts')
    samples = _SAMPLES_QUICK if plan.quick else _SAMPLES
    judged = plan.judges(len(hosts)) and bed.database != 'SQLite'
    with _desk(bed, hosts) as desk:
        _judge(bed, book, 'a reservation', in_tree, judged, [
            desk.reserve(number) for number in range(samples)])
    with _desk(bed, hosts) as desk:
        for _ in range(_OTHERS):
            desk.reserve(0)
        _judge(bed, book, f'a reservation beside {_OTHERS} others', in_tree,
               False, [desk.reserve(0, keep=False) for _ in range(samples)])
    with _desk(bed, hosts) as desk:
        with statements.recorded() as recorded:
            took = [desk.reserve(number, _NO_PCI)
                    for number in range(samples)]
    book.rows.append(results.Row(
        NAME, bed.database, 'statements of a request without PCI devices for '
        'its reservation', '0', str(len(recorded)), len(recorded),
        f'{len(recorded):+d}; {timing.us(statistics.median(took)):.3g} us',
        _NOTHING, numbers={'median_us': timing.us(statistics.median(took))}))


def _judge(
    bed: bed_module.Bed, book: results.Book, what: str, in_tree: str,
    judged: bool, took: Sequence[float],
) -> None:
    """Add a row for the median and one for the 99th percentile."""
    for name, seconds, target in (
            ('median', statistics.median(took), _MEDIAN),
            ('p99', statistics.quantiles(took, n=100)[-1], _P99)):
        found = timing.ms(seconds)
        book.rows.append(results.Row(
            NAME, bed.database, f'{what}, {name}', in_tree, f'{found:.4g} ms',
            found, f'{found:.4g} ms', target, judged,
            {'samples': len(took), f'{name}_ms': found}))
