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

"""A worker of nova-scheduler: Nova's SchedulerManager, without a queue.

It is started as Nova's commands are: what they do about eventlet comes first.
Each line that it reads is the number of servers to select destinations for, at
once; it answers with a line of JSON.
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

import nova.conf
from nova import context as nova_context
from nova import exception as nova_exception
from nova import rpc
from nova.scheduler import manager as scheduler_manager

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import processes

#: Nova's configuration of a worker; placement is at {placement}.
CONF = processes.CONF + '''
[DEFAULT]
transport_url = fake:/
[oslo_messaging_notifications]
driver = noop
[placement]
auth_type = none
endpoint_override = {placement}
[pci_filter]
reservation_file = {directory}/reservations.sqlite
reservation_timeout = {timeout}
'''


class Lines(logging.Handler):
    """Keeps what our package has to say of trouble."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def request():
    """Return what each server asks for."""
    return scheduling.pci_request({
        'vendor_id': hardware.INTEL_X710.vendor_id,
        'product_id': hardware.INTEL_X710.vf_product_id})


def select(manager):
    """Return the UUID of a new server and its host, None if there is none."""
    spec = scheduling.request_spec(
        [request()], project_id='project', user_id='user')
    try:
        ((selection, *_),) = manager.select_destinations(
            nova_context.get_admin_context(), spec_obj=spec,
            instance_uuids=[spec.instance_uuid], return_objects=True,
            return_alternates=True)
    except Exception as error:
        # oslo.messaging wraps what a caller is to be told.
        error = getattr(error, 'exc_info', (None, error))[1]
        return [spec.instance_uuid, None if isinstance(
            error, nova_exception.NoValidHost) else repr(error)]
    return [spec.instance_uuid, selection.service_host]


def main(directory):
    processes.configure(directory)
    warnings = Lines()
    logging.getLogger('pci_filter').addHandler(warnings)
    rpc.init(nova.conf.CONF)
    manager = scheduler_manager.SchedulerManager()
    processes.say('ready')
    for line in sys.stdin:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(select(manager)))
            for _ in range(int(line))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        processes.say(json.dumps(
            {'found': found, 'warnings': warnings.lines}))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
