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

"""A nova-compute of which only the PCI tracker is there."""

import contextlib
import json
import uuid

from nova.db.main import api as main_db
from nova.db.main import models
from nova import exception as nova_exception
from nova import objects
from nova.pci import manager as pci_manager
from oslo_utils import uuidutils
import sqlalchemy as sa

from pci_filter.fixture import databases

#: What ends a claim. Only the first one is meant; PciDeviceStats raises the
#: built-in ones when it takes a device that an earlier pick has ruled out.
_CLAIM_ERRORS = (nova_exception.NovaException, LookupError, ValueError)


class Refused(Exception):
    """The tracker did not give an instance all of its devices.

    :param reason: what it did instead
    :param clean: whether it said so in the way that nova-compute expects
    """

    def __init__(self, reason, clean):
        self.reason = reason
        self.clean = clean
        super().__init__(reason)


class Compute:
    """A compute node, its hypervisor, and the tracker that keeps its rows.

    All methods save as nova-compute does after each of these events, in one
    transaction. ``tracker`` can be any tracker: it is Nova's own interface
    that is used here.

    :param cloud: an open cloud
    :param tracker_class: Nova's PciDevTracker or a subclass
    :param cell: number of the cell
    :param name: name of host and node
    :param topology: NUMATopology of the host, if any
    :param in_placement: give devices resource providers, the same ones for
        the same addresses everywhere
    """

    def __init__(self, cloud, tracker_class=pci_manager.PciDevTracker, cell=0,
                 name='compute', topology=None, in_placement=False):
        self._cloud = cloud
        self._tracker_class = tracker_class
        self._in_placement = in_placement
        self.host = cloud.add_host(cell, name, [], [], topology)
        with self.transaction() as context:
            self._node = self.host.load_node(context)
        self.device_spec = []
        self.devices = []
        self.tracker = None

    @contextlib.contextmanager
    def _saving(self):
        with self.transaction() as context:
            yield context
            self._save(context)

    @contextlib.contextmanager
    def transaction(self):
        """Yield a context; what is written with it is one commit."""
        with self._cloud.target(self.host.cell) as context:
            writer = main_db.get_context_manager(context).writer
            with writer.using(context):
                yield context

    def _save(self, context):
        # What nova-compute asks for each time. Nobody reads it here.
        self.tracker.stats.to_device_pools_obj()
        self.tracker.save(context)

    def new_tracker(self, tracker_class=None):
        """Build a tracker from the rows, and nothing else."""
        with self.transaction() as context, databases.overriding(
                'pci', device_spec=[
                    json.dumps(spec) for spec in self.device_spec]):
            tracker = (tracker_class or self._tracker_class)(
                context, self._node)
        tracker.stats.populate_pools_metadata_from_assigned_devices()
        return tracker

    def replace(self, tracker_class):
        """Install another nova-compute; :meth:`start` starts it."""
        self._tracker_class = tracker_class

    def start(self, device_spec=None, devices=None):
        """Start nova-compute, for the first time or anew.

        :param device_spec: the values of [pci]device_spec, decoded; None for
            the ones from before
        :param devices: what the hypervisor has; None for the same as before
        """
        if device_spec is not None:
            self.device_spec = list(device_spec)
        self.tracker = self.new_tracker()
        self.report(devices)

    def report(self, devices=None):
        """Update the available resource, as a periodic task does."""
        if devices is not None:
            self.devices = list(devices)
        with self._saving():
            self.tracker.update_devices_from_hypervisor_resources(
                json.dumps(self.devices))
            if self._in_placement:
                self._assign_providers()
            self.tracker.stats.populate_pools_metadata_from_assigned_devices()

    def _assign_providers(self):
        """Do what nova.compute.pci_placement_translator does to devices."""
        for device in self.tracker.pci_devs:
            spec = self.tracker.dev_filter.get_devspec(device)
            if spec and 'physical_network' not in spec.get_tags():
                device.extra_info = {
                    **device.extra_info,
                    'rp_uuid': provider(device.parent_addr or device.address)}

    def claim(self, requests, numa=None, instance_uuid=None,
              allocate=False):
        """Claim devices for an instance as nova.compute.claims does.

        :param requests: InstancePCIRequest objects
        :param numa: InstanceNUMATopology, placed on the host's nodes
        :param instance_uuid: the instance, a new one by default
        :param allocate: go on to 'allocated', in a transaction of its own
        :returns: the instance, and the addresses of its new devices
        :raises Refused: if the tracker refuses, or gives too little; nothing
            is saved then
        """
        instance_uuid = instance_uuid or uuidutils.generate_uuid()
        wanted = objects.InstancePCIRequests(
            instance_uuid=instance_uuid, requests=list(requests))
        with self.transaction() as context:
            # Claim._test_pci, which does not know the guest's place.
            if not self.tracker.stats.support_requests(
                    wanted.requests, provider_mapping=None):
                raise Refused('Claim pci failed', True)
            try:
                devices = self.tracker.claim_instance(context, wanted, numa)
            except _CLAIM_ERRORS as error:
                raise Refused(type(error).__name__, isinstance(
                    error, nova_exception.PciDeviceRequestFailed)) from error
            asked = sum(request.count for request in requests)
            if len(devices) != asked:
                raise Refused(
                    f'got {len(devices)} of {asked} devices', False)
            addresses = [device.address for device in devices]
            self._save(context)
        if allocate:
            self.allocate(instance_uuid)
        return instance_uuid, addresses

    def instance(self, instance_uuid):
        """Load an instance's devices, as nova-compute has them."""
        with self.transaction() as context:
            devices = objects.PciDeviceList.get_by_instance_uuid(
                context, instance_uuid)
        return objects.Instance(uuid=instance_uuid, pci_devices=devices)

    def allocate(self, instance_uuid, instance=None):
        """Finish a build: nova-compute allocates what it claimed.

        :param instance_uuid: the instance
        :param instance: the Instance if it was loaded before
        """
        instance = instance or self.instance(instance_uuid)
        with self._saving() as context:
            self.tracker.update_pci_for_instance(context, instance, sign=1)

    def free(self, instance_uuid, instance=None):
        """Delete an instance, or abort its claim.

        :param instance_uuid: the instance
        :param instance: the Instance if it was loaded before
        """
        instance = instance or self.instance(instance_uuid)
        with self._saving() as context:
            self.tracker.update_pci_for_instance(context, instance, sign=-1)

    def free_claims(self, instance_uuid):
        """Revert a resize: only the claims of an instance go."""
        instance = self.instance(instance_uuid)
        with self._saving() as context:
            self.tracker.free_instance_claims(context, instance)

    def free_allocations(self, instance_uuid):
        """Confirm a resize: only the allocations of an instance go."""
        instance = self.instance(instance_uuid)
        with self._saving() as context:
            self.tracker.free_instance_allocations(context, instance)

    def detach(self, instance_uuid, address):
        """Detach one device from an instance."""
        instance = self.instance(instance_uuid)
        device = next(device for device in instance.pci_devices
                      if device.address == address)
        with self._saving():
            self.tracker.free_device(device, instance)

    def clean_usage(self, uuids):
        """Free what is used by other instances than these."""
        with self._saving():
            self.tracker.clean_usage(
                [objects.Instance(uuid=uuid) for uuid in uuids], [])

    def pools(self, tracker=None):
        """Return the pools that have devices, as their dicts, in order."""
        return [
            {key: value for key, value in pool.items() if key != 'devices'}
            for pool in (tracker or self.tracker).stats.pools if pool['count']]

    def fresh_pools(self):
        """Return the pools of Nova's tracker when it starts with these rows.

        Nothing is reported to it, and nothing saved.
        """
        return self.pools(self.new_tracker(pci_manager.PciDevTracker))

    def rows(self):
        """Return the columns of all rows that are there, by address.

        Without the times: reports touch rows that they do not change.
        """
        with self.transaction() as context:
            return {row['address']: {
                column.name: row[column.name]
                for column in models.PciDevice.__table__.columns
                if not column.name.endswith('_at')}
                for row in main_db.pci_device_get_all_by_node(
                    context, self.host.node_id)}

    def statuses(self):
        """Return the statuses of the rows by address."""
        return {address: row['status']
                for address, row in sorted(self.rows().items())}

    def change(self, addresses, **values):
        """Change rows behind the back of nova-compute."""
        table = models.PciDevice.__table__
        with self.transaction() as context:
            context.session.execute(
                sa.update(table).values(**values).where(
                    table.c.compute_node_id == self.host.node_id,
                    table.c.deleted == 0, table.c.address.in_(addresses)))

    def remove_rows(self, addresses):
        """Remove rows behind the back of nova-compute."""
        table = models.PciDevice.__table__
        with self.transaction() as context:
            context.session.execute(sa.delete(table).where(
                table.c.compute_node_id == self.host.node_id,
                table.c.deleted == 0, table.c.address.in_(addresses)))

    def copy_rows(self, other):
        """Take over the rows of another compute node."""
        self.remove_rows(self.rows())
        with self.transaction() as context:
            for row in other.rows().values():
                del row['id']
                context.session.execute(
                    sa.insert(models.PciDevice.__table__).values(
                        {**row, 'compute_node_id': self.host.node_id}))


def provider(address):
    """Return the UUID of the resource provider of a parent address."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, address))
