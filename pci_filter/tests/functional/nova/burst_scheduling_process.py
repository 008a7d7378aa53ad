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

"""A process that selects destinations as a worker of nova-scheduler does.

It reads lines of JSON, each the UUIDs of instances, and asks Nova's
SchedulerManager for a host for each, all at once. What comes of each is a line
of JSON. It is started with the directory of nova.conf and of the hosts.
"""

if __name__ == '__main__':
    from nova import monkey_patch

    # Older releases of Nova do it when that is imported.
    getattr(monkey_patch, 'patch', bool)()

import json
import logging
import pathlib
import sys
import threading
import time
import traceback

import nova.conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import rpc
from nova.scheduler import manager as scheduler_manager
import oslo_messaging

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import processes

#: What each instance asks for: a function, as a port of Neutron's does.
WANTED = {
    'vendor_id': hardware.INTEL_X710.vendor_id, 'dev_type': hardware.VF,
    'physical_network': 'physnet1'}


class Worker:
    """Serves requests, each in a thread.

    :param hosts: names of the compute hosts
    """

    def __init__(self, hosts):
        self._manager = scheduler_manager.SchedulerManager()
        # As if all nova-computes had reported that they have no instances.
        # Else Nova asks for those of each host, in a statement each.
        self._manager.host_manager._instance_info.update({
            host: {'instances': {}, 'updated': True} for host in hosts})
        self._lock = threading.Lock()

    def serve(self, uuids):
        """Select a destination for each instance, and say which."""
        threads = [threading.Thread(target=self._select, args=(uuid,))
                   for uuid in uuids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _select(self, uuid):
        began = time.monotonic()
        found = {'uuid': uuid, 'host': None, 'error': None}
        try:
            found['host'] = self._ask(uuid)
        except Exception as error:
            if isinstance(error, oslo_messaging.ExpectedException):
                # What the conductor gets.
                error = error.exc_info[1]
            found['error'] = f'{type(error).__name__}: {error}'
            if not isinstance(error, nova_exception.NoValidHost):
                found['error'] += '\n' + traceback.format_exc()
        found['seconds'] = time.monotonic() - began
        with self._lock:
            processes.say(json.dumps(found))

    def _ask(self, uuid):
        request = scheduling.pci_request(WANTED)
        spec = scheduling.request_spec(
            [request], instance_uuid=uuid, project_id='burst',
            user_id='burst')
        spec.pci_requests.instance_uuid = uuid
        selections = self._manager.select_destinations(
            nova_context.get_admin_context(), spec_obj=spec,
            instance_uuids=[uuid], return_objects=True,
            return_alternates=True)
        return selections[0][0].service_host


def main(directory):
    cells = processes.configure(directory)
    rpc.init(nova.conf.CONF)
    logging.basicConfig(level=logging.WARNING, force=True)
    hosts = processes.load_hosts(directory, cells)
    worker = Worker([host.name for host in hosts])
    processes.say('ready')
    for line in sys.stdin:
        worker.serve(json.loads(line))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
