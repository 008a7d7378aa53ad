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

"""What nova-compute does to its PCI devices, with Nova's tracker and ours.

A claim is what ``nova.compute.claims`` and the resource tracker ask of the
tracker for one instance, from the check to the summary, and again when it is
deleted. Nothing is stored in between. A start reads the rows, compares them
with what the virt driver reports, and stores what has changed, in one
transaction. Both trackers have a host of their own with like rows.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import functools
import gc
import json
import statistics
import time
import tracemalloc
import typing

from nova.db.main import api as main_db
from nova import objects
from nova.pci import manager
from nova.virt import hardware
from oslo_utils import uuidutils

from benchmarks import contenders
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing
from pci_filter.compute import tracker
from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import databases
from pci_filter.fixture import scheduling

NAME: typing.Final = 'claim'

#: No slower than Nova's; a start give or take what two of them differ by.
_CLAIM: typing.Final = results.Target(1)
_START: typing.Final = results.Target(1.05)

#: A host: 8 network cards, 2 on each of its 4 NUMA nodes.
_CARDS: typing.Final = 8
_FUNCTIONS: typing.Final = 256
_FUNCTIONS_QUICK: typing.Final = 8
_SOCKETS: typing.Final = (0, 0, 1, 1)

_FUNCTION: typing.Final = {
    'vendor_id': '8086', 'product_id': '154c', 'physical_network': 'physnet1'}
_CARD: typing.Final = {**_FUNCTION, 'product_id': '1572'}

#: What device_spec has, by what the table calls it.
_SPECS: typing.Final[Mapping[str, list[Mapping[str, str]]]] = {
    'VFs': [_FUNCTION], 'PFs and VFs': [_FUNCTION, _CARD]}

Kind = contenders.Kind

_TRACKERS: typing.Final = {
    Kind.IN_TREE: manager.PciDevTracker, Kind.OURS: tracker.PciDevTracker}

#: Seconds of each step.
_Steps = dict[str, float]


def run(plan: plan_module.Plan, book: results.Book) -> None:
    """Measure hosts that offer their functions, then also their cards."""
    functions = _FUNCTIONS_QUICK if plan.quick else _FUNCTIONS
    for offered, device_spec in _SPECS.items():
        with contextlib.ExitStack() as stack:
            cloud = stack.enter_context(embedded.EmbeddedCloud(1))
            stack.enter_context(databases.overriding(
                'pci', device_spec=list(map(json.dumps, device_spec))))
            computes = {
                kind: stack.enter_context(_compute(cloud, kind, functions))
                for kind in _TRACKERS}
            what = f'{_CARDS * functions:,} {offered}'
            _judge_claims(what, computes, plan, book)
            _judge_starts(what, computes, plan, book)


def _reported(functions: int) -> Iterator[Mapping[str, typing.Any]]:
    """Yield what the virt driver reports about each device of a host."""
    for card in range(_CARDS):
        parent = f'0000:{0x40 + 2 * card:02x}:00.0'
        common = {'vendor_id': '8086', 'numa_node': card // 2,
                  'capabilities': {'network': ['rx', 'tx', 'sg', 'tso']}}
        yield {
            **common, 'address': parent, 'product_id': '1572',
            'dev_type': 'type-PF', 'dev_id': f'pci_{card}',
            'label': 'label_8086_1572',
            'mac_address': f'52:54:00:00:00:{card:02x}'}
        for number in range(functions):
            yield {
                **common, 'product_id': '154c', 'dev_type': 'type-VF',
                'address': f'0000:{0x41 + 2 * card:02x}:{number // 8:02x}'
                           f'.{number % 8}',
                'parent_addr': parent, 'dev_id': f'pci_{card}_{number}',
                'label': 'label_8086_154c', 'vf_num': number,
                'parent_ifname': f'ens{card}f0'}


class _Compute:
    """A host in a database, and the tracker of its nova-compute.

    :param context: context of the host's cell
    :param kind: whose tracker
    :param functions: virtual functions of each card
    """

    def __init__(
        self, context: typing.Any, kind: Kind, functions: int,
    ) -> None:
        self._class = _TRACKERS[kind]
        self._context = context
        self._topology = scheduling.host_numa_topology(_SOCKETS)
        self._node = scheduling.create_compute_node(
            context, f'compute-{kind.value}', self._topology)
        self._devices = json.dumps(list(_reported(functions)))
        self.start()
        self._occupy(functions // 2)

    def start(self) -> None:
        """Start as nova-compute does: read, compare, store."""
        with self._writing():
            self.tracker = self._class(self._context, self._node)
            self.tracker.update_devices_from_hypervisor_resources(
                self._devices)
            self._node.pci_device_pools = (
                self.tracker.stats.to_device_pools_obj())
            self._node.save()
            self.tracker.save(self._context)

    def _writing(self) -> typing.Any:
        """Return a context in which all that is written is one commit."""
        manager = main_db.get_context_manager(self._context)
        return manager.writer.using(self._context)

    def _occupy(self, functions: int) -> None:
        """Let an instance have so many functions of each card."""
        for card in range(_CARDS):
            self._take(_Order(functions, parent_ifname=f'ens{card}f0'))
        with self._writing():
            self.tracker.save(self._context)

    def claim(self, numa: bool) -> _Steps:
        """Claim devices for an instance, and free them.

        :param numa: whether the guest has two NUMA cells
        :returns: seconds of each step
        """
        steps: _Steps = {}
        order = _Order(1)
        placed = None
        if numa:
            place = functools.partial(
                hardware.numa_fit_instance_to_host, self._topology,
                scheduling.instance_numa_topology([0, 1]), None,
                pci_requests=order.requests.requests,
                pci_stats=self.tracker.stats)
            placed = _timed(steps, 'place', place)
        self._take(order, steps, placed)
        _timed(steps, 'free', functools.partial(
            self.tracker.free_instance, self._context, order.instance))
        _timed(steps, 'summary', self.tracker.stats.to_device_pools_obj)
        return steps

    def _take(
        self, order: '_Order', steps: _Steps | None = None,
        placed: typing.Any = None,
    ) -> None:
        steps = {} if steps is None else steps
        requests = order.requests
        fits = _timed(steps, 'check', functools.partial(
            self.tracker.stats.support_requests, requests.requests,
            provider_mapping=None))
        devices = _timed(steps, 'claim', functools.partial(
            self.tracker.claim_instance, self._context, requests, placed))
        _timed(steps, 'allocate', functools.partial(
            self.tracker.allocate_instance, order.instance))
        _timed(steps, 'summary', self.tracker.stats.to_device_pools_obj)
        if not fits or len(devices) != order.count:
            raise RuntimeError(f'claimed {len(devices)} of {order.count}')


class _Order:
    """An instance and what it asks for.

    :param count: virtual functions
    :param tags: what they are to have beyond what all have
    """

    def __init__(self, count: int, **tags: str) -> None:
        uuid = uuidutils.generate_uuid()
        self.count = count
        self.instance = objects.Instance(
            uuid=uuid, pci_devices=objects.PciDeviceList(objects=[]))
        self.requests = objects.InstancePCIRequests(
            instance_uuid=uuid, requests=[scheduling.pci_request(
                {**_FUNCTION, **tags}, count, alias_name='vf')])


def _timed(
    steps: _Steps, name: str, function: Callable[[], typing.Any],
) -> typing.Any:
    """Call a function, and add the seconds that it takes to a step."""
    start = time.perf_counter()
    result = function()
    steps[name] = steps.get(name, 0.0) + time.perf_counter() - start
    return result


@contextlib.contextmanager
def _compute(
    cloud: embedded.EmbeddedCloud, kind: Kind, functions: int,
) -> Iterator[_Compute]:
    """Yield a host of the cloud, while its cell can be reached."""
    with cloud.target(cloud.cells[0]) as context:
        yield _Compute(context, kind, functions)


def _judge_claims(
    what: str, computes: Mapping[Kind, _Compute], plan: plan_module.Plan,
    book: results.Book,
) -> None:
    """Measure claims without and with NUMA cells, by time and memory."""
    for numa, guest in ((False, ''), (True, ', NUMA guest')):
        def measure(kind: Kind, numa: bool = numa) -> _Steps:
            gc.collect()
            return computes[kind].claim(numa)

        samples = timing.interleaved(
            {kind: functools.partial(measure, kind) for kind in computes},
            plan.rounds)
        steps = {kind: {
            step: statistics.median(sample[step] for sample in samples[kind])
            for step in samples[kind][0]} for kind in computes}
        book.rows.append(_row(
            f'claim and free, {what}{guest}',
            {kind: sum(steps[kind].values()) * 1e3 for kind in computes},
            'ms', _CLAIM, plan, {'steps_ms': {
                kind.value: {step: timing.ms(took)
                             for step, took in steps[kind].items()}
                for kind in computes}}))
    book.rows.append(_row(
        f'peak memory of a claim, {what}',
        {kind: _peak(functools.partial(compute.claim, False))
         for kind, compute in computes.items()}, 'MB', _CLAIM, plan))


def _judge_starts(
    what: str, computes: Mapping[Kind, _Compute], plan: plan_module.Plan,
    book: results.Book,
) -> None:
    """Measure the starts with rows that are there already."""
    samples = timing.interleaved(
        {kind: timing.stopwatch(compute.start)
         for kind, compute in computes.items()}, plan.rounds)
    book.rows.append(_row(
        f'start of the tracker, {what}',
        {kind: statistics.median(samples[kind]) * 1e3 for kind in computes},
        'ms', _START, plan))
    book.rows.append(_row(
        f'peak memory of that start, {what}',
        {kind: _peak(compute.start) for kind, compute in computes.items()},
        'MB', _START, plan))


def _peak(function: Callable[[], object]) -> float:
    """Return the megabytes that a call takes at its peak."""
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _row(
    what: str, found: Mapping[Kind, float], unit: str,
    target: results.Target, plan: plan_module.Plan,
    numbers: Mapping[str, typing.Any] | None = None,
) -> results.Row:
    theirs, ours = (found[kind] for kind in (Kind.IN_TREE, Kind.OURS))
    return results.Row(
        NAME, 'SQLite', what, f'{theirs:.4g} {unit}', f'{ours:.4g} {unit}',
        ours / theirs, f'{ours / theirs:.3f}x', target, not plan.quick,
        {f'in_tree_{unit.lower()}': round(theirs, 3),
         f'ours_{unit.lower()}': round(ours, 3), **(numbers or {})})
