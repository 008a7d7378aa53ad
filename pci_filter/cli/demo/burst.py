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

"""Let many servers boot at once, by either filter."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import concurrent.futures
import contextlib
import os
import tempfile
import typing

from pci_filter import conf
from pci_filter.fixture import cloud as embedded_cloud
from pci_filter.fixture import compute_host
from pci_filter.fixture import databases
from pci_filter.fixture import destinations
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling

#: As many servers as hosts, each of which has one GPU.
SIZE: typing.Final = 8

#: Requests that are served at a time.
WORKERS: typing.Final = 4


class Burst(typing.NamedTuple):
    """What became of servers that were asked for at once.

    :param hosts: how many hosts they were sent to
    :param landed: how many claims succeeded at the first attempt
    """

    hosts: int
    landed: int


def in_tree(
    cloud: embedded_cloud.EmbeddedCloud, step: Callable[[], None],
) -> Burst:
    """Let Nova's filter serve a burst.

    :param cloud: one that is open; its hosts are replaced
    :param step: called after each claim
    """
    _add_hosts(cloud)
    return _burst(cloud, cloud.host_manager(), step)


def ours(
    cloud: embedded_cloud.EmbeddedCloud, step: Callable[[], None],
) -> Burst:
    """Let our filter serve one, with reservations in a file for the moment.

    The parameters are those of :func:`in_tree`.
    """
    _add_hosts(cloud)
    conf.register_opts(databases.CONF)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='pci-filter-'))
        stack.enter_context(databases.overriding(
            'pci_filter', reservations='local', reservation_file=os.path.join(
                directory, 'reservations.sqlite')))
        return _burst(cloud, cloud.host_manager(
            available_filters=scheduling.OUR_FILTERS), step)


def _add_hosts(cloud: embedded_cloud.EmbeddedCloud) -> None:
    cloud.reset()
    for number in range(SIZE):
        cloud.add_host(
            number % len(cloud.cells), f'gpu-{number}',
            [hardware.gpu(0x3b, None)], ['{"vendor_id": "10de"}'])


def _burst(
    cloud: embedded_cloud.EmbeddedCloud, manager: typing.Any,
    step: Callable[[], None],
) -> Burst:
    """Ask for all servers, and claim for them where they are sent."""
    scheduler = destinations.Scheduler(
        manager, [host.node_uuid for host in cloud.hosts.values()])
    requests = [[scheduling.pci_request(
        {'vendor_id': hardware.TESLA_V100.vendor_id,
         'product_id': hardware.TESLA_V100.product_id}, alias_name='gpu')]
        for _ in range(SIZE)]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
        chosen = list(workers.map(
            lambda wanted: _choose(scheduler, wanted), requests))
    landed = 0
    for name, wanted in zip(chosen, requests):
        if name is not None:
            with contextlib.suppress(compute_host.ClaimFailed):
                cloud.claim(cloud.hosts[name], wanted)
                landed += 1
        step()
    return Burst(len(set(filter(None, chosen))), landed)


def _choose(
    scheduler: destinations.Scheduler, requests: Sequence[typing.Any],
) -> str | None:
    """Return the host that a server is sent to, None if there is none."""
    try:
        return scheduler.choose(scheduling.request_spec(requests))
    except destinations.NoValidHost:
        return None
