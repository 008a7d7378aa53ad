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

"""What nova-compute does to PCI devices, without a nova-compute."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import typing

from nova import exception as nova_exception
from nova import objects
from nova.pci import manager as pci_manager
from oslo_utils import uuidutils

from pci_filter.cli.demo import databases

#: What ends a claim in nova-compute. PciDeviceStats raises the two built-in
#: ones when it takes a device that an earlier pick has just ruled out.
_CLAIM_ERRORS: typing.Final = (
    nova_exception.NovaException, LookupError, ValueError)


class ClaimFailed(Exception):
    """Nova's PCI tracker could not give an instance its devices.

    :param host: name of the host
    :param reason: what the tracker said
    """

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        self.reason = reason
        super().__init__(f'claim on {host} failed: {reason}')


@dataclasses.dataclass(frozen=True, eq=False)
class Host:
    """A compute host.

    :param name: host and hypervisor name
    :param cell: its CellMapping
    :param node_id: id of its compute_nodes row
    :param node_uuid: uuid of its compute_nodes row
    :param device_spec: its [pci]device_spec values
    :param tracker: the class of its PCI tracker, None for Nova's
    """

    name: str
    cell: typing.Any
    node_id: int
    node_uuid: str
    device_spec: tuple[str, ...]
    tracker: Callable[..., typing.Any] | None = None

    def load_node(self, context: typing.Any) -> typing.Any:
        """Read the host's ComputeNode.

        :param context: context of the host's cell
        """
        return objects.ComputeNode.get_by_uuid(context, self.node_uuid)


def new_tracker(
    context: typing.Any, host: Host, node: typing.Any = None,
) -> typing.Any:
    """Build the PciDevTracker of a host from its rows.

    :param context: context of the host's cell
    :param host: which host
    :param node: its ComputeNode, read when missing
    :raises nova.exception.PciConfigInvalidSpec: if device_spec is faulty
    """
    with databases.overriding('pci', device_spec=list(host.device_spec)):
        tracker = (host.tracker or pci_manager.PciDevTracker)(
            context, node or host.load_node(context))
    tracker.stats.populate_pools_metadata_from_assigned_devices()
    return tracker


def save(
    context: typing.Any, host: Host, tracker: typing.Any,
    node: typing.Any = None,
) -> None:
    """Store the summary and the rows, in the order of nova-compute.

    :param context: context of the host's cell
    :param host: which host
    :param tracker: its PciDevTracker
    :param node: its ComputeNode, read when missing
    """
    node = node or host.load_node(context)
    node.pci_device_pools = tracker.stats.to_device_pools_obj()
    node.save()
    tracker.save(context)


def claim(
    context: typing.Any,
    host: Host,
    tracker: typing.Any,
    requests: Sequence[typing.Any],
    numa: typing.Any = None,
    instance_uuid: str | None = None,
) -> list[typing.Any]:
    """Claim devices in a tracker, which is in disorder when that fails.

    As in nova-compute the tracker's pools are asked first, without regard to
    NUMA cells (nova.compute.claims, Claim._test_pci).

    :param context: context of the host's cell
    :param host: which host
    :param tracker: its PciDevTracker
    :param requests: InstancePCIRequest objects
    :param numa: InstanceNUMATopology fitted to the host, if any
    :param instance_uuid: for whom, a new instance by default
    :returns: the PciDevice objects
    :raises ClaimFailed: if Nova gives fewer devices than were asked for
    """
    wanted = objects.InstancePCIRequests(
        instance_uuid=instance_uuid or uuidutils.generate_uuid(),
        requests=list(requests))
    try:
        if not tracker.stats.support_requests(
                wanted.requests, provider_mapping=None):
            raise ClaimFailed(host.name, 'Claim pci failed')
        devices = tracker.claim_instance(context, wanted, numa)
    except _CLAIM_ERRORS as error:
        # Its text repeats all requests, over many lines.
        raise ClaimFailed(host.name, type(error).__name__) from error
    asked = sum(request.count for request in requests)
    if len(devices) < asked:
        raise ClaimFailed(
            host.name, f'got {len(devices)} of {asked} devices')
    return typing.cast('list[typing.Any]', devices)


def assign_providers(tracker: typing.Any) -> None:
    """Do what the translation to placement does to the devices.

    A device and its siblings below one parent share a resource provider.
    """
    providers: dict[str, str] = {}
    for device in tracker.pci_devs:
        address = device.parent_addr or device.address
        uuid = providers.setdefault(address, uuidutils.generate_uuid())
        device.extra_info = {**device.extra_info, 'rp_uuid': uuid}
    tracker.stats.populate_pools_metadata_from_assigned_devices()
