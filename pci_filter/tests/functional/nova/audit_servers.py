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

"""Compute hosts with servers: what the audit holds the devices against.

Beside the devices, which Nova's own tracker keeps, there are the rows of the
servers, of what they asked for, and of their moves.
"""

from nova.db.main import api as main_db
from nova.db.main import models
from nova import objects
from oslo_utils import uuidutils
import sqlalchemy as sa

from pci_filter.tests.functional.nova import computes

#: Tables with rows of servers, children before their parents.
_TABLES = (
    models.Migration, models.InstanceExtra, models.InstanceInfoCache,
    models.InstanceIdMapping, models.InstanceSystemMetadata,
    models.InstanceMetadata, models.Instance)


class Compute(computes.Compute):
    """A nova-compute that stores everything as the real one does.

    The summary first, then the rows, each in a transaction of its own.
    """

    #: Called between the two.
    between = None
    #: Whether the summary waits for the next periodic update.
    is_late = False

    def _save(self, context):
        with self._cloud.target(self.host.cell) as own:
            self._node.pci_device_pools = (
                self.tracker.stats.to_device_pools_obj())
            with self._node.obj_alternate_context(own):
                if not self.is_late:
                    self._node.save()
            if self.between:
                self.between()
            self.tracker.save(own)

    def create_server(self, requests=(), **values):
        """Create the row of a server that is here.

        :param requests: InstancePCIRequest objects
        :param values: columns that are to be different
        :returns: its UUID
        """
        instance_uuid = values.pop('uuid', uuidutils.generate_uuid())
        with self.transaction() as context:
            main_db.instance_create(context, {
                'uuid': instance_uuid, 'host': self.host.name,
                'node': self.host.name, 'vm_state': 'active',
                'extra': {'pci_requests': objects.InstancePCIRequests(
                    instance_uuid=instance_uuid,
                    requests=list(requests)).to_json()}, **values})
        return instance_uuid

    def boot(self, *requests):
        """Create a server here, and give it its devices.

        :returns: its UUID
        """
        instance_uuid = self.create_server(
            requests, vm_state='building', task_state='spawning')
        self.claim(requests, instance_uuid=instance_uuid, allocate=True)
        self.change_server(
            instance_uuid, vm_state='active', task_state=None)
        return instance_uuid

    def delete(self, instance_uuid):
        """Delete a server as nova-compute does: the row first."""
        instance = self.instance(instance_uuid)
        with self.transaction() as context:
            main_db.instance_destroy(context, instance_uuid)
        self.free(instance_uuid, instance)

    def migrate(self, instance_uuid, target, requests, status,
                migration_type='migration'):
        """Begin to move a server to another host.

        :param target: the other Compute
        :param requests: what it asks for there
        :param status: of the migration
        """
        with self.transaction() as context:
            main_db.migration_create(context, {
                'instance_uuid': instance_uuid, 'status': status,
                'migration_type': migration_type,
                'source_compute': self.host.name,
                'source_node': self.host.name,
                'dest_compute': target.host.name,
                'dest_node': target.host.name})
        target.claim(requests, instance_uuid=instance_uuid)

    def change_server(self, instance_uuid, **values):
        """Change the row of a server."""
        with self.transaction() as context:
            context.session.execute(
                sa.update(models.Instance.__table__).where(
                    models.Instance.uuid == instance_uuid).values(**values))

    def devices_of(self, instance_uuid):
        """Return the addresses of the devices that a server has here."""
        return sorted(
            address for address, row in self.rows().items()
            if row['instance_uuid'] == instance_uuid)


def age(cloud):
    """Let all rows of devices be written long ago."""
    for cell in cloud.cells:
        cloud.execute(
            cell, "UPDATE pci_devices SET updated_at = '2001-01-01 00:00:00'")


def remove_all(cloud):
    """Remove all servers, and what belongs to them."""
    for cell in cloud.cells:
        with cloud.target(cell) as context:
            writer = main_db.get_context_manager(context).writer
            with writer.using(context):
                for table in _TABLES:
                    context.session.execute(sa.delete(table))
