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

"""Servers that are asked for at once, and what becomes of them."""

import concurrent.futures
import re
import time
import typing

from pci_filter.tests.deployment import processes

# What nova-compute logs of a claim that fails: Claim._claim_test, and what the
# tracker raises after that has passed.
_FAILED_CLAIM = re.compile(
    r' Failed to claim: |Unexpected build failure, not rescheduling build')

_REFUSED = 'No valid host'
_RETRIES_EXCEEDED = 'Exceeded maximum number of retries'


class Outcome(typing.NamedTuple):
    """What became of one burst.

    :param landed: servers that are active
    :param refused: those that were told that there is no valid host
    :param retries_exceeded: those of which all attempts failed
    :param failed_claims: in the logs of all nova-computes
    :param other_faults: what the rest was told
    :param seconds: from the first request until each server was one of these
    """

    landed: int
    refused: int
    retries_exceeded: int
    failed_claims: int
    other_faults: list
    seconds: float

    def __str__(self):
        return (f'{self.landed} land, {self.refused} are refused, '
                f'{self.retries_exceeded} have no attempt left, '
                f'{self.failed_claims} claims fail, {self.seconds:.1f} s')


def run(cloud, flavor, number):
    """Ask for servers at once, and wait until all have been dealt with.

    :param cloud: a Cloud that has no servers
    :param flavor: the id of what to ask for
    :param number: how many servers
    :returns: an Outcome; the servers are still there
    """
    offsets = {compute: compute.log_size()
               for compute in cloud.computes.values()}
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(number) as executor:
        # All are asked for before any answer is waited for.
        requested = [
            executor.submit(cloud.client.create_server, f'burst-{n}', flavor)
            for n in range(number)]
        uuids = {future.result() for future in requested}
    servers = processes.wait_for(
        f'{number} boots', lambda: _settled(cloud, uuids))
    seconds = time.monotonic() - began
    faults = [server['fault']['message'] for server in servers
              if server['status'] != 'ACTIVE']
    return Outcome(
        len(servers) - len(faults),
        sum(_REFUSED in fault for fault in faults),
        sum(_RETRIES_EXCEEDED in fault for fault in faults),
        sum(len(_FAILED_CLAIM.findall(compute.read_log(offset)))
            for compute, offset in offsets.items()),
        [fault for fault in faults
         if _REFUSED not in fault and _RETRIES_EXCEEDED not in fault],
        seconds)


def _settled(cloud, uuids):
    """Return the servers if none is being built any more, else None."""
    servers = [server for server in cloud.client.list_servers()
               if server['id'] in uuids]
    # For a moment Nova may be moving one to its cell.
    done = len(servers) == len(uuids) and all(
        server['status'] != 'BUILD' for server in servers)
    return servers if done else None


def clear(cloud):
    """Delete all servers, and wait until their devices are free."""
    for server in cloud.client.list_servers():
        cloud.client.delete_server(server['id'])
    processes.wait_for(
        'the end of all servers', lambda: not cloud.client.list_servers())
    # nova-compute frees devices after the API has forgotten the server.
    processes.wait_for('free devices', lambda: all(
        device.status == 'available' for device in cloud.books.devices()))
