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

"""A process that claims and frees devices through Nova's tracker.

It does so on all hosts, each in a transaction of its own as nova-compute
does, until it is told to stop. Then it stores what the rows of each host were
from when to when.
"""

import pathlib
import random
import sys
import threading
import time

from nova.db.main import api as main_db
from nova import objects
from oslo_utils import uuidutils

from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import processes

#: Seconds between two changes, and how many go to the same few hosts. A call
#: takes seconds: there must be hosts that nobody touches meanwhile.
PAUSE = 0.05
CHANGES_OF_GROUP = 100
GROUP = 10

#: What instances ask for.
WANTED = (
    (hardware.VF, 1), (hardware.VF, 1), (hardware.VF, 2), (hardware.VF, 4),
    (hardware.PF, 1))


class Compute:
    """The tracker of a host, and the instances there."""

    def __init__(self, host, changes):
        self._host = host
        self._changes = changes
        self._instances = []
        with processes.target(host.cell) as context:
            self._tracker = compute_host.new_tracker(context, host)
        now = time.monotonic()
        self._note(now, now)

    def change(self, chance):
        """Free an instance's devices, or claim some for a new one."""
        dev_type, count = chance.choice(WANTED)
        if self._instances and chance.random() < 0.5:
            self.free(chance.randrange(len(self._instances)))
            return
        request = scheduling.pci_request({
            'vendor_id': hardware.INTEL_X710.vendor_id, 'dev_type': dev_type,
            'physical_network': 'physnet1'}, count)
        # A tracker that fails half-way would have to be made anew, and know
        # nothing any more of pools that have no devices now.
        if self._tracker.stats.support_requests(
                [request], provider_mapping=None):
            uuid = uuidutils.generate_uuid()
            self._commit(lambda context: compute_host.claim(
                context, self._host, self._tracker, [request],
                instance_uuid=uuid))
            self._instances.append(uuid)

    def free(self, number=0):
        """Free the devices of one instance."""
        instance = objects.Instance(uuid=self._instances.pop(number))
        self._commit(lambda context: [
            self._tracker.free_device(device, instance)
            for device in list(self._tracker.pci_devs)
            if device.instance_uuid == instance.uuid])

    def free_all(self):
        while self._instances:
            self.free()

    def _commit(self, work):
        before = time.monotonic()
        with processes.target(self._host.cell) as context:
            with main_db.get_context_manager(context).writer.using(context):
                work(context)
                compute_host.save(context, self._host, self._tracker)
        self._note(before, time.monotonic())

    def _note(self, before, after):
        """Note that the rows became what they are between these times."""
        free = [device.dev_type for device in self._tracker.pci_devs
                if device.status == 'available']
        self._changes.append([
            self._host.name, before, after, free.count(hardware.VF),
            free.count(hardware.PF)])


def main(directory):
    cells = processes.configure(directory)
    changes = []
    computes = [Compute(host, changes)
                for host in processes.load_hosts(directory, cells)]
    stop = threading.Event()

    def wait():
        processes.wait_to_go_on()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    chance = random.Random(20261122)
    # So that there are hosts with too little that nobody touches.
    for compute in computes[::4]:
        compute.change(chance)
    processes.say('ready')
    while not stop.is_set():
        group = chance.sample(computes, GROUP)
        for _ in range(CHANGES_OF_GROUP):
            if stop.wait(PAUSE):
                break
            chance.choice(group).change(chance)
    for compute in computes:
        compute.free_all()
    processes.store(directory / processes.CHANGES, changes)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
