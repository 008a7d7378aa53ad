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

"""A virt driver with PCI devices, whose guests outlive nova-compute.

Nova's fake driver, with two additions. The devices of the host are those that
``hardware.json`` in Nova's ``state_path`` lists, in the form that the libvirt
driver reports. Each guest is a file in ``guests`` with the addresses of the
devices that it was given, as it would be a process on a hypervisor.
"""

import json
import pathlib

from nova.compute import power_state
import nova.conf
from nova.virt import fake
from nova.virt import node

CONF = nova.conf.CONF


class DeploymentDriver(fake.FakeDriver):
    """Nova's fake driver, with PCI devices."""

    def init_host(self, host):
        super().init_host(host)
        self._state = pathlib.Path(CONF.state_path)
        self._guests = self._state / 'guests'
        self._guests.mkdir(exist_ok=True)
        for path in self._guests.iterdir():
            self.instances[path.name] = fake.FakeInstance(
                path.name, power_state.RUNNING, path.name)

    def spawn(self, context, instance, *args, **kwargs):
        super().spawn(context, instance, *args, **kwargs)
        (self._guests / instance.uuid).write_text(json.dumps(sorted(
            device.address for device in instance.get_pci_devices())))

    def destroy(self, context, instance, *args, **kwargs):
        super().destroy(context, instance, *args, **kwargs)
        (self._guests / instance.uuid).unlink(missing_ok=True)

    def get_available_resource(self, nodename):
        resources = super().get_available_resource(nodename)
        if resources:
            resources['uuid'] = node.get_local_node_uuid()
            resources['pci_passthrough_devices'] = (
                self._state / 'hardware.json').read_text()
        return resources

    def get_nodenames_by_uuid(self, refresh=False):
        return {node.get_local_node_uuid(): self._host}
