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

"""A process that does what conductor and nova-compute do for an instance.

It reads lines of JSON, each an instance and the host that was selected for
it. It makes the row of the instance, and after a random delay lets Nova's
tracker of the host claim the devices, writing what nova-compute writes in the
order of nova-compute. Whether that succeeded is a line of JSON. A line without
a host has all instances deleted.

It is started with the directory of nova.conf and of the hosts, the longest
delay in seconds, and a seed.
"""

import concurrent.futures
import json
import logging
import pathlib
import random
import sys
import threading
import time

from nova import objects

from pci_filter.fixture import compute_host
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import burst_scheduling_process
from pci_filter.tests.functional.nova import processes

#: Claims at a time.
AT_ONCE = 64


class Compute:
    """The tracker of a host, and the instances there."""

    def __init__(self, host):
        self._host = host
        # As COMPUTE_RESOURCE_SEMAPHORE does in nova-compute.
        self._lock = threading.Lock()
        self._instances = []
        with processes.target(host.cell) as context:
            self._tracker = compute_host.new_tracker(context, host)
            self._node_name = host.load_node(context).hypervisor_hostname

    def boot(self, uuid, delay):
        """Make an instance; tell whether it could claim its devices."""
        with processes.target(self._host.cell) as context:
            instance = objects.Instance(
                context, uuid=uuid, project_id='burst', user_id='burst',
                vm_state='building', task_state='scheduling', hidden=False)
            instance.create()
            time.sleep(delay)
            instance.task_state = None
            instance.save()
            with self._lock:
                return self._claim(context, instance)

    def _claim(self, context, instance):
        requests = [scheduling.pci_request(burst_scheduling_process.WANTED)]
        self._instances.append(instance)
        if not self._tracker.stats.support_requests(
                requests, provider_mapping=None):
            return False
        # ResourceTracker.instance_claim() sets it before it saves devices.
        instance.host, instance.node = self._host.name, self._node_name
        instance.launched_on = self._host.name
        instance.compute_id = self._host.node_id
        instance.save()
        compute_host.claim(
            context, self._host, self._tracker, requests,
            instance_uuid=instance.uuid)
        instance.pci_devices = objects.PciDeviceList(objects=[])
        self._tracker.allocate_instance(instance)
        compute_host.save(context, self._host, self._tracker)
        instance.task_state = 'spawning'
        instance.save()
        instance.vm_state, instance.task_state = 'active', None
        instance.save()
        return True

    def delete_all(self):
        """Delete the instances, and free their devices."""
        while self._instances:
            instance = self._instances.pop()
            with processes.target(self._host.cell) as context, self._lock:
                for device in list(self._tracker.pci_devs):
                    if device.instance_uuid == instance.uuid:
                        self._tracker.free_device(device, instance)
                compute_host.save(context, self._host, self._tracker)
                instance.destroy()


def main(directory, longest, seed):
    cells = processes.configure(directory)
    logging.basicConfig(level=logging.WARNING, force=True)
    computes = {host.name: Compute(host)
                for host in processes.load_hosts(directory, cells)}
    chance = random.Random(seed)
    lock = threading.Lock()

    def boot(uuid, host, delay):
        error, claimed = None, False
        try:
            claimed = computes[host].boot(uuid, delay)
        except Exception as caught:
            error = f'{type(caught).__name__}: {caught}'
        with lock:
            processes.say(json.dumps(
                {'uuid': uuid, 'claimed': claimed, 'error': error}))

    processes.say('ready')
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as executor:
        for line in sys.stdin:
            job = json.loads(line)
            if job['host']:
                executor.submit(boot, job['uuid'], job['host'],
                                chance.uniform(0, longest))
                continue
            for compute in computes.values():
                compute.delete_all()
            processes.say(json.dumps({'deleted': True}))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
