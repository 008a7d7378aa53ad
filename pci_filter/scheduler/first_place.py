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

"""Whether a claim finds a place for a guest on the NUMA nodes of a host.

Nova's own nova-compute looks for one as if no device excluded another, takes
the first that it finds, and claims the devices there, which a physical
function and its functions can make fail. NUMATopologyFilter minds those from
the start, so it may pass the host for the sake of another place, or of one
that nova-compute does not find. Refused: to remember in the pools that a place
has failed, so that they deny the next ones. Then the verdict would depend on
who asked before.
"""

from __future__ import annotations

from collections.abc import Sequence
import typing

from nova import objects as nova_objects
from nova.virt import hardware

from pci_filter import matching
from pci_filter import objects
from pci_filter.scheduler import request_specs

#: Why it need not help that the host has another place.
_NOTE: typing.Final = (
    'nova-compute places the guest as if no device excluded another')


def looks_for_place(host_state: typing.Any, spec_obj: typing.Any) -> bool:
    """Tell whether a claim looks for a place at all.

    :param host_state: a HostState
    :param spec_obj: nova.objects.RequestSpec that asks for devices
    """
    return bool(request_specs.has_numa_guest(spec_obj)
                and host_state.numa_topology)


def matters(host_state: typing.Any, spec_obj: typing.Any) -> bool:
    """Tell whether it matters for a guest where the claim places it.

    :param host_state: a HostState
    :param spec_obj: nova.objects.RequestSpec
    """
    requests = spec_obj.pci_requests and spec_obj.pci_requests.requests
    if not (requests and request_specs.has_numa_guest(spec_obj)):
        # Nobody has looked at the host's summary, and nobody need.
        return False
    pools = host_state.pci_stats
    return bool(
        isinstance(pools, objects.PciDevicePoolList)
        and host_state.numa_topology and pools.place_matters(requests))


def can_be_claimed(
    host_state: typing.Any, spec_obj: typing.Any, mapping: typing.Any,
) -> bool:
    """Tell whether a claim finds a place, and its devices there.

    :param host_state: a HostState for which the place matters
    :param spec_obj: nova.objects.RequestSpec
    :param mapping: the providers of one of the host's allocation candidates
    :returns: also true if there is no place at all: that is for
        NUMATopologyFilter to say
    """
    pools = host_state.pci_stats
    requests = spec_obj.pci_requests.requests
    cells = first_cells(host_state, spec_obj, mapping)
    if cells is None:
        fits = place(host_state, spec_obj, mapping, pools) is None
    else:
        fits = bool(pools.support_requests(
            requests, provider_mapping=mapping, numa_cells=cells))
    if host_state.pci_stats is not pools:
        # Something went wrong with them, and others decide since.
        return bool(host_state.pci_stats.support_requests(
            requests, provider_mapping=mapping))
    return fits


def first_cells(
    host_state: typing.Any, spec_obj: typing.Any, mapping: typing.Any,
) -> Sequence[typing.Any] | None:
    """Return the guest's cells where a claim is going to place them.

    The parameters are those of :func:`can_be_claimed`.

    :returns: None if the claim finds no place
    """
    return place(host_state, spec_obj, mapping,
                 host_state.pci_stats.without_relatives())


def explain(
    host_state: typing.Any, spec_obj: typing.Any, mapping: typing.Any,
) -> matching.Explanation:
    """Return why a claim does not succeed where it places the guest.

    The parameters are those of :func:`can_be_claimed`. If the claim finds no
    place, that is explained where NUMATopologyFilter would place the guest.
    """
    pools = host_state.pci_stats
    cells = first_cells(host_state, spec_obj, mapping)
    if cells is None:
        cells = place(host_state, spec_obj, mapping, pools)
        pools = pools.without_relatives()
    explained: matching.Explanation = pools.explain_requests(
        spec_obj.pci_requests.requests, mapping, cells)
    return explained._replace(note=', '.join(
        filter(None, (explained.note, _NOTE))))


def place(
    host_state: typing.Any, spec_obj: typing.Any, mapping: typing.Any,
    pools: objects.PciDevicePoolList,
) -> Sequence[typing.Any] | None:
    """Return the first place for which these pools suffice, if any."""
    fitted = hardware.numa_fit_instance_to_host(
        host_state.numa_topology,
        # Nova writes into the guest's topology what it finds.
        spec_obj.numa_topology.obj_clone(),
        provider_mapping=mapping, limits=_limits(host_state, spec_obj),
        pci_requests=spec_obj.pci_requests.requests, pci_stats=pools)
    return fitted.cells if fitted else None


def _limits(host_state: typing.Any, spec_obj: typing.Any) -> typing.Any:
    """Return the limits that NUMATopologyFilter hands on to the claim.

    Where that filter is off, Nova gives the claim none.
    """
    limits = nova_objects.NUMATopologyLimits(
        cpu_allocation_ratio=host_state.cpu_allocation_ratio,
        ram_allocation_ratio=host_state.ram_allocation_ratio)
    if 'network_metadata' in spec_obj and spec_obj.network_metadata:
        limits.network_metadata = spec_obj.network_metadata
    return limits
