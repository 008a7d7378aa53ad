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

"""A nova-scheduler that is traced, for test_tracing.

Nova looks whether OSprofiler is enabled when its managers are imported, so the
configuration comes first, as in Nova's commands. In the end it says what was
traced, as a line of JSON.
"""

if __name__ == '__main__':
    from nova import monkey_patch

    # Older releases of Nova do it when that is imported.
    getattr(monkey_patch, 'patch', bool)()

import json
import pathlib
import sys

import nova.conf
from nova import config
from nova import objects
from nova import rpc
from osprofiler import notifier
from osprofiler import profiler

#: Behind Nova's configuration of selecting_process.
CONF = '''
[profiler]
enabled = {enabled}
trace_sqlalchemy = true
hmac_keys = key
'''


def main(directory, breaks):
    config.parse_args(
        ['nova', '--config-file', str(directory / 'nova.conf')],
        default_config_files=[], init_rpc=False)
    from pci_filter.tests.functional.nova import processes
    from pci_filter.tests.functional.nova import selecting_process

    objects.register_all()
    rpc.init(nova.conf.CONF)
    manager = selecting_process.scheduler_manager.SchedulerManager()
    told = []

    def note(info):
        told.append(info)
        if breaks and info['name'].startswith('pci_filter.'):
            raise OSError('the collector is gone')

    notifier.set(note)
    if nova.conf.CONF.profiler.enabled:
        # As the RPC server does if whoever sent the request asked for it.
        profiler.init('key')
    found = selecting_process.select(manager)
    processes.say(json.dumps({'found': found, 'told': told}))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]), sys.argv[2] == 'breaks')
