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

"""Build the objects that Nova's scheduler works on, and ask it."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from nova import context as nova_context
from nova.db.main import api as main_db
from nova import objects
from nova.scheduler import host_manager as nova_host_manager
from oslo_utils import uuidutils

from pci_filter.cli.demo import databases

#: Where Nova finds its own filters.
IN_TREE_FILTERS: typing.Final = ('nova.scheduler.filters.all_filters',)
#: The same, with this package's filters taking the place of their namesakes.
OUR_FILTERS: typing.Final = (
    *IN_TREE_FILTERS, 'pci_filter.scheduler.filters.all_filters')
PCI_FILTER: typing.Final = ('PciPassthroughFilter',)


def create_compute_node(
    context: typing.Any, hostname: str, numa_topology: typing.Any,
) -> typing.Any:
    """Create the rows of a nova-compute service and its only node.

    :param context: context of the cell
    :param hostname: name of host and node
    :param numa_topology: NUMATopology object or None
    :returns: the ComputeNode
    """
    # Not Service.create(): it notifies by RPC, and there is none here.
    service = main_db.service_create(context, {
        'uuid': uuidutils.generate_uuid(), 'host': hostname,
        'binary': 'nova-compute', 'topic': 'compute', 'report_count': 1,
        'version': objects.Service().version})
    node = objects.ComputeNode(
        context, uuid=uuidutils.generate_uuid(), service_id=service.id,
        host=hostname, hypervisor_hostname=hostname, host_ip='192.0.2.1',
        hypervisor_type='QEMU', hypervisor_version=8002000, cpu_info='{}',
        vcpus=64, vcpus_used=0, memory_mb=262144, memory_mb_used=0,
        free_ram_mb=262144, local_gb=2048, local_gb_used=0,
        free_disk_gb=2048, disk_available_least=2048, running_vms=0,
        current_workload=0, metrics='[]', stats={}, mapped=1,
        cpu_allocation_ratio=4.0, ram_allocation_ratio=1.0,
        disk_allocation_ratio=1.0,
        numa_topology=numa_topology._to_json() if numa_topology else None,
        supported_hv_specs=[
            objects.HVSpec.from_list(['x86_64', 'kvm', 'hvm'])])
    node.create()
    return node


def host_numa_topology(sockets: Sequence[int | None]) -> typing.Any:
    """Describe the NUMA nodes of a host.

    :param sockets: the socket that each NUMA node is in, None if unknown
    :returns: NUMATopology
    """
    cells = [
        objects.NUMACell(
            id=node, socket=socket, memory=131072, memory_usage=0,
            cpuset=set(range(node * 32, node * 32 + 32)), pcpuset=set(),
            cpu_usage=0, siblings=[], pinned_cpus=set(),
            network_metadata=objects.NetworkMetadata(
                physnets=set(), tunneled=False),
            mempages=[objects.NUMAPagesTopology(
                size_kb=4, total=33554432, used=0)])
        for node, socket in enumerate(sockets)]
    return objects.NUMATopology(cells=cells)


def instance_numa_topology(node_ids: Iterable[int]) -> typing.Any:
    """Describe an instance that was fitted to NUMA nodes of a host.

    :param node_ids: the host's NUMA nodes, one per cell of the instance
    :returns: InstanceNUMATopology
    """
    return objects.InstanceNUMATopology(cells=[
        objects.InstanceNUMACell(
            id=node, cpuset={cell}, pcpuset=set(), memory=512)
        for cell, node in enumerate(node_ids)])


def pci_request(
    spec: Mapping[str, str] | Sequence[Mapping[str, str]],
    count: int = 1,
    **fields: typing.Any,
) -> typing.Any:
    """Build one InstancePCIRequest.

    :param spec: what to match, or several to choose from
    :param count: number of devices
    :param fields: any other field of InstancePCIRequest
    """
    specs = [spec] if isinstance(spec, Mapping) else spec
    fields.setdefault('request_id', uuidutils.generate_uuid())
    fields.setdefault('alias_name', None)
    return objects.InstancePCIRequest(
        count=count, spec=[dict(one) for one in specs], **fields)


def request_spec(
    requests: Sequence[typing.Any],
    numa_topology: typing.Any = None,
    **fields: typing.Any,
) -> typing.Any:
    """Build the RequestSpec of a small instance with PCI requests.

    :param requests: InstancePCIRequest objects
    :param numa_topology: InstanceNUMATopology, if the flavor asks for one
    :param fields: any other field of RequestSpec
    """
    uuid = uuidutils.generate_uuid()
    values: dict[str, typing.Any] = {
        'instance_uuid': uuid,
        'num_instances': 1,
        'flavor': objects.Flavor(
            name='demo', flavorid='demo', vcpus=1, memory_mb=512, root_gb=1,
            ephemeral_gb=0, swap=0, extra_specs={}),
        'image': objects.ImageMeta(properties=objects.ImageMetaProps()),
        'numa_topology': numa_topology,
        'pci_requests': objects.InstancePCIRequests(
            instance_uuid=uuid, requests=list(requests)),
        'scheduler_hints': {},
        'requested_resources': [],
    }
    values.update(fields)
    spec = objects.RequestSpec(nova_context.get_admin_context(), **values)
    spec.obj_set_defaults()
    for field in ('project_id', 'user_id', 'availability_zone',
                  'ignore_hosts', 'force_hosts', 'force_nodes',
                  'requested_destination', 'retry', 'limits',
                  'instance_group'):
        if field not in spec:
            setattr(spec, field, None)
    return spec


def host_manager(
    enabled_filters: Sequence[str], available_filters: Sequence[str],
) -> typing.Any:
    """Build a HostManager under the given [filter_scheduler] options.

    :param enabled_filters: names of filters
    :param available_filters: where to find filters
    """
    with databases.overriding(
            'filter_scheduler', enabled_filters=list(enabled_filters),
            available_filters=list(available_filters),
            track_instance_changes=False):
        return nova_host_manager.HostManager()


def host_states(
    manager: typing.Any,
    spec: typing.Any,
    node_uuids: Sequence[str] | None = None,
) -> list[typing.Any]:
    """Load HostStates as the scheduler's manager does for a request.

    :param manager: HostManager
    :param spec: RequestSpec
    :param node_uuids: compute nodes to ask for, all by default
    :returns: HostStates sorted by host, each with one allocation candidate
        that says nothing about PCI
    """
    states = sorted(
        manager.get_host_states_by_uuids(
            nova_context.get_admin_context(), node_uuids, spec),
        key=lambda state: str(state.host))
    for state in states:
        state.allocation_candidates = [{'mappings': {}, 'allocations': {}}]
    return states


def passing_hosts(
    manager: typing.Any, states: Sequence[typing.Any], spec: typing.Any,
) -> set[str]:
    """Return the names of the hosts that pass the enabled filters.

    :param manager: HostManager
    :param states: what :func:`host_states` gave
    :param spec: RequestSpec
    """
    passed = manager.get_filtered_hosts(list(states), spec)
    return {state.host for state in passed}
