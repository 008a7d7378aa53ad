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

"""Read the device rows of hosts and make the pools of HostStates of them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import functools
import typing

from pci_filter.db import device_groups
from pci_filter import model
from pci_filter import objects
from pci_filter.objects import device_requests
from pci_filter.objects import pool_load
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_states as host_states_module
from pci_filter.scheduler import request_specs
from pci_filter.tags import base

HostState = typing.Any
Host = tuple[HostState, model.ComputeNode]
Make = Callable[
    [Host, device_groups.Groups], objects.PciDevicePoolList]


def reader(
    tag_sources: Sequence[base.TagSource],
    context: typing.Any,
    wanted: Mapping[str, tuple[typing.Any, Sequence[str]]],
    spec_obj: typing.Any,
    timeout: int,
    if_idle: bool = False,
) -> cell_reader.CellReader:
    """Start to read the rows of compute nodes.

    :param tag_sources: what the pools are made with
    :param context: the request context
    :param wanted: each CellMapping, by UUID, with the UUIDs of the compute
        nodes to ask it for
    :param spec_obj: nova.objects.RequestSpec
    :param timeout: as of :class:`cell_reader.CellReader`
    :param if_idle: whether devices that are in use count as free
    """
    needs = base.needs(tag_sources)
    question = (
        needs.by_device, request_specs.is_tracked(spec_obj),
        needs.stored_tags, if_idle)

    def read(
        connection: typing.Any, node_uuids: Sequence[str],
    ) -> dict[str, device_groups.Groups]:
        return device_groups.load(connection, node_uuids, *question)

    return cell_reader.CellReader(
        context, wanted.values(), read, timeout, question)


def what_was_read(
    reader: cell_reader.CellReader,
) -> dict[str, Callable[[], int]]:
    """Return what is to be told of a read, for :mod:`stages`.

    :param reader: what :func:`reader` returned, when it has been waited for
    :returns: functions by what they find out: how many requests were served
        by the read, and how many devices, in how many groups, were counted
        for all of them
    """
    @functools.cache
    def groups() -> list[model.DeviceGroup]:
        return [group for answer in reader.answers_so_far().values()
                if isinstance(answer, dict)
                for of_node in answer.values() for group in of_node.values()]

    return {
        'shared': reader.most_requests,
        'groups': lambda: len(groups()),
        'devices': lambda: sum(
            group.available + group.in_use for group in groups())}


def maker(
    tag_sources: Sequence[base.TagSource],
    guard: guarded_pools.Guard | None, spec_obj: typing.Any,
) -> Make:
    """Return what makes the pools of each host of a request.

    The hosts share what is found out about kinds of devices and about the
    instance's requests.

    :param tag_sources: where tags come from
    :param guard: what to do when the pools cannot decide; None if whoever
        asks them sees to that
    :param spec_obj: nova.objects.RequestSpec
    """
    demands = device_requests.Demands()
    pool_maker = pool_load.PoolMaker(
        tag_sources, request_specs.is_tracked(spec_obj))
    numa_guest = request_specs.has_numa_guest(spec_obj)

    def make(
        host: Host, groups: device_groups.Groups,
    ) -> objects.PciDevicePoolList:
        host_state, node = host
        made = pool_maker.make(node, groups)
        args = (made.pools, host_state.numa_topology, made.unknown,
                numa_guest, demands, made.stored_tags)
        return guarded_pools.GuardedPools(
            host_state, guard, *args) if guard else (
            objects.PciDevicePoolList(*args))
    return make


def compute_node(host_state: HostState) -> model.ComputeNode:
    """Return what is known of a compute node without its rows."""
    if isinstance(host_state, host_states_module.HostState):
        summary = host_state.stored_summary
    else:
        # Our pools may have taken their place.
        stats = host_states_module.nova_stats(
            host_state) or host_state.pci_stats
        summary = None if stats is None else stats.pools
    return model.ComputeNode(
        host_state.uuid, host_state.host, host_state.nodename, summary)
