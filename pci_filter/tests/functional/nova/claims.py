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

"""What a claim on a compute host does, by the tracker that runs there.

All of it is Nova's: nova.compute.claims.Claim places the guest on the host's
NUMA nodes and asks the pools, then the PCI tracker takes the devices. To claim
many times on the same devices costs little: what a claim changes is put back.
"""

import copy
import types

from nova.compute import claims
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova.virt import hardware

#: What ends a claim in nova-compute: see pci_filter.fixture.compute_host.
_CLAIM_ERRORS = (nova_exception.NovaException, LookupError, ValueError)

_CHANGED = ('status', 'instance_uuid', 'request_id')


def guest(cells):
    """Return the topology of a flavor that nobody has placed yet.

    :param cells: number of its NUMA cells
    :returns: InstanceNUMATopology, None if there are none
    """
    return objects.InstanceNUMATopology(cells=[
        objects.InstanceNUMACell(
            id=number, cpuset={number}, pcpuset=set(), memory=512,
            pagesize=None, cpu_pinning_raw=None, cpu_policy=None,
            cpu_thread_policy=None) for number in range(cells)]
    ) if cells else None


def limits():
    """Return what the scheduler lets the NUMA nodes of a host be used for."""
    return objects.NUMATopologyLimits(
        cpu_allocation_ratio=4.0, ram_allocation_ratio=1.0)


class Claims:
    """Claims on one host, each as if it were the first.

    :param tracker: its PciDevTracker, which nobody else uses. A tracker of
        Nova's must just have been started, for the order of its pools
        depends on all that has happened to it.
    :param node: its ComputeNode
    """

    def __init__(self, tracker, node):
        self.tracker = tracker
        self._node = node
        self._topology = node.numa_topology
        self._context = nova_context.get_admin_context()
        self._devices = [
            (device, [getattr(device, name) for name in _CHANGED])
            for device in tracker.pci_devs]
        self._stats = tracker.stats
        # Ours has no pools that a claim could change.
        self._pools = isinstance(vars(tracker.stats).get('pools'), list) and [
            {**pool, 'devices': list(pool['devices'])}
            for pool in tracker.stats.pools]
        if self._pools is not False:
            _share(tracker.stats.numa_topology)
            _share(tracker.stats.dev_filter)

    def error(self, requests, guest, limits):
        """Return why a claim fails, None if it succeeds.

        :param requests: InstancePCIRequest objects that carry the providers
        :param guest: InstanceNUMATopology of the flavor, None if it has none
        :param limits: NUMATopologyLimits of the scheduler
        """
        return self.first_error([(requests, guest)], limits)

    def first_error(self, instances, limits):
        """Return why the first claim fails that does, None if none does.

        :param instances: requests and guest of each, as for :meth:`error`, in
            the order of their claims
        :param limits: as for :meth:`error`
        """
        try:
            for number, (requests, guest) in enumerate(instances):
                error = self._error(
                    f'a5d7e1b5-3a8c-4f0e-8a5b-0d5b3a4a6f2{number:x}',
                    requests, guest, limits)
                if error is not None:
                    return error
        finally:
            self._put_back()
        return None

    def _error(self, uuid, requests, guest, limits):
        wanted = objects.InstancePCIRequests(
            instance_uuid=uuid,
            requests=[request.obj_clone() for request in requests])
        instance = objects.Instance(
            uuid=uuid, numa_topology=guest.obj_clone() if guest else None)
        try:
            claim = claims.Claim(
                self._context, instance, self._node.hypervisor_hostname,
                types.SimpleNamespace(pci_tracker=self.tracker), self._node,
                wanted, limits={'numa_topology': limits})
            devices = self.tracker.claim_instance(
                self._context, wanted, claim.claimed_numa_topology)
        except _CLAIM_ERRORS as error:
            return f'{type(error).__name__}: {error}'
        asked = sum(request.count for request in requests)
        if len(devices) != asked:
            return f'got {len(devices)} of {asked} devices'
        if claim.claimed_numa_topology:
            # As nova.compute.resource_tracker does (_update_usage).
            self._node.numa_topology = hardware.numa_usage_from_instance_numa(
                objects.NUMATopology.obj_from_db_obj(self._node.numa_topology),
                claim.claimed_numa_topology)._to_json()
        return None

    def _put_back(self):
        self._node.numa_topology = self._topology
        for device, before in self._devices:
            for name, value in zip(_CHANGED, before):
                if getattr(device, name) != value:
                    setattr(device, name, value)
        self.tracker.claims.clear()
        if self._pools is not False:
            stats = copy.copy(self._stats)
            stats.pools = [{**pool, 'devices': list(pool['devices'])}
                           for pool in self._pools]
            self.tracker.stats = stats


def _share(part):
    """Let copies of Nova's stats have the same part.

    Nova copies them for each question (nova.pci.stats, support_requests), and
    changes only the pools. To copy the rest takes as long as all else.

    :param part: a part of the stats, None if they do not have it
    """
    if part is not None:
        part.__deepcopy__ = lambda memo: part
