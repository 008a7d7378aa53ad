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

"""What a RequestSpec tells about the devices and cells of a request."""

import typing

from nova import context as nova_context
from nova.scheduler import utils as scheduler_utils

from pci_filter.objects import device_requests


def asks_for_devices(spec_obj: typing.Any) -> bool:
    """Tell whether a request needs pools.

    A rebuild stays on its host with the devices it has: Nova runs no filter
    for it that looks at pools.

    :param spec_obj: nova.objects.RequestSpec or None
    """
    try:
        if not spec_obj or 'pci_requests' not in spec_obj:
            return False
        return bool(
            spec_obj.pci_requests and spec_obj.pci_requests.requests
            and not scheduler_utils.request_is_rebuild(spec_obj))
    except Exception:
        # Whoever takes it for one that does reads it again, and reports that.
        return True


def is_forced(spec_obj: typing.Any) -> bool:
    """Tell whether a request names its hosts, so that no filter is asked.

    :param spec_obj: nova.objects.RequestSpec
    """
    return any(field in spec_obj and getattr(spec_obj, field)
               for field in ('force_hosts', 'force_nodes'))


def names_hosts(spec_obj: typing.Any) -> bool:
    """Tell whether a request is about a host or node that it names.

    :param spec_obj: nova.objects.RequestSpec
    """
    destination = 'requested_destination' in spec_obj and (
        spec_obj.requested_destination)
    return is_forced(spec_obj) or bool(destination and any(
        field in destination and getattr(destination, field)
        for field in ('host', 'node')))


def has_numa_guest(spec_obj: typing.Any) -> bool:
    """Tell whether a request is of a guest with NUMA nodes.

    :param spec_obj: nova.objects.RequestSpec or None
    """
    return bool(spec_obj and 'numa_topology' in spec_obj
                and spec_obj.numa_topology)


def context(spec_obj: typing.Any) -> typing.Any:
    """Return the context of a request, so that what is logged names it.

    :param spec_obj: nova.objects.RequestSpec or None
    :returns: a context of nobody's request if it has none
    """
    return getattr(
        spec_obj, '_context', None) or nova_context.get_admin_context()


def is_tracked(spec_obj: typing.Any) -> bool:
    """Tell whether placement may have allocated some of the devices.

    :param spec_obj: nova.objects.RequestSpec or None
    """
    if not asks_for_devices(spec_obj):
        return False
    groups = 'requested_resources' in spec_obj and (
        spec_obj.requested_resources) or ()
    return device_requests.is_tracked(
        spec_obj.pci_requests.requests,
        [group.requester_id for group in groups])


def _destination_cell(spec_obj: typing.Any) -> typing.Any:
    """Return the cell that a request brings along, if any."""
    if spec_obj and 'requested_destination' in spec_obj:
        destination = spec_obj.requested_destination
        if destination and 'cell' in destination:
            return destination.cell
    return None


def cells_to_ask(
    manager: typing.Any, spec_obj: typing.Any,
) -> list[typing.Any]:
    """Return the cells in which Nova is going to look for hosts.

    :param manager: the HostManager
    :param spec_obj: nova.objects.RequestSpec or None
    """
    cell = _destination_cell(spec_obj)
    if cell and not spec_obj.requested_destination.allow_cross_cell_move:
        return [manager.cells.get(cell.uuid, cell)]
    return list(manager.enabled_cells)


def cells_by_uuid(
    manager: typing.Any, spec_obj: typing.Any,
) -> dict[str, typing.Any]:
    """Return the cells that hosts can be in, keyed by UUID.

    A request can bring a cell that the HostManager does not know before it
    is told to refresh, and Nova asks the cell as it is given there.

    :param manager: the HostManager
    :param spec_obj: nova.objects.RequestSpec or None
    """
    cells = dict(manager.cells)
    cell = _destination_cell(spec_obj)
    if cell:
        cells.setdefault(cell.uuid, cell)
    return cells
