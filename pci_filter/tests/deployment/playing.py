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

"""A cloud to play with, until Ctrl-C."""

import json
import shlex
import signal
import time

from pci_filter.tests.deployment import configuration
from pci_filter.tests.deployment import hosts
from pci_filter.tests.deployment import running

_HELP = '''
The cloud runs until Ctrl-C. What ends before that is started again.

  All servers    curl -sK {operator} {api}/servers/detail
  A new server   curl -sK {operator} {api}/servers -d @{body}
                 Flavors, to be put into that file: {flavors}
  nova-manage    {manage} cell_v2 list_hosts
  Scheduler      {scheduler}; kill -TERM {pid} lets it read that again
  Databases      {database}
  Placement      {placement}, with the header X-Auth-Token: admin
  Logs           {logs}

Processes:
{processes}
'''


def main():
    """Start a cloud, say how to talk to it, and keep it up."""
    cloud = running.start()
    try:
        _write_files(cloud)
        print(_describe(cloud), flush=True)
        while True:
            time.sleep(1)
            _restart_ended(cloud)
    except KeyboardInterrupt:
        running.say('the cloud is removed')
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        running.stop(cloud)


def _write_files(cloud):
    """Write what curl needs: who asks, and what for."""
    headers = {**configuration.IDENTITY, 'Content-Type': 'application/json',
               'OpenStack-API-Version': 'compute latest'}
    (cloud.directory / 'operator').write_text(''.join(
        f'header = "{name}: {value}"\n' for name, value in headers.items()))
    for kind in hosts.TYPES:
        cloud.client.create_flavor(
            kind, {'pci_passthrough:alias': f'{kind}:1'}, flavor=kind)
    (cloud.directory / 'server.json').write_text(json.dumps(
        cloud.client.server_body('example', 'gpu'), indent=2))


def _describe(cloud):
    return _HELP.format(
        operator=cloud.directory / 'operator',
        body=cloud.directory / 'server.json',
        flavors=', '.join(hosts.TYPES), api=cloud.api_url,
        placement=cloud.placement_url,
        manage=shlex.join(map(str, cloud.manage_command())),
        scheduler=cloud.scheduler_conf, pid=cloud.scheduler.pid,
        database=shlex.join(cloud.mariadb.client_command('nova_cell1')),
        logs=cloud.logs,
        processes='\n'.join(f'  {process.pid:>7}  {process.name}'
                            for process in cloud.processes))


def _restart_ended(cloud):
    for process in cloud.processes:
        if not process.is_running():
            running.say(f'{process.name} has ended, and is started again')
            process.kill()
            process.start()
