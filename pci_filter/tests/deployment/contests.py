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

"""The bursts that ``tools/burst.py`` compares, and how it makes them.

A case is what is asked for of which hosts, a way is how nova-scheduler keeps
servers apart that are asked for at once.
"""

import contextlib
import importlib.util
import shutil
import typing

from pci_filter.tests.deployment import bursts
from pci_filter.tests.deployment import configuration
from pci_filter.tests.deployment import hosts
from pci_filter.tests.deployment import processes
from pci_filter.tests import installed

MANY = 10

# In both cells, with the command that Nova has and with ours.
_TEN_HOSTS = {host.name: host for host in (
    hosts.Host(
        f'host{number}', hosts.CELLS[number % 2],
        hosts.NOVA if number % 4 < 2 else hosts.OURS,
        gpus=1, nics=1, functions=1)
    for number in range(MANY))}

_ONE_HOST = {'host': hosts.Host('host', 'cell1', hosts.NOVA, gpus=MANY)}


class Case(typing.NamedTuple):
    """What is asked for.

    :param title: for the table
    :param fleet: the hosts that there are
    :param alias: the devices of each server
    :param boots: how many servers
    :param devices: how many of them can land
    """

    title: str
    fleet: hosts.Fleet
    alias: str
    boots: int
    devices: int = MANY


class Way(typing.NamedTuple):
    """How nova-scheduler runs.

    :param title: for the table
    :param reservations: of [pci_filter]; None is Nova's own filter
    :param services: how many, with the workers divided among them
    """

    title: str
    reservations: typing.Optional[str]
    services: int = 1


# No alias of any of them is in placement, which is Nova's default.
CASES = {
    'gpus': Case(
        '10 hosts with one GPU, 10 boots', _TEN_HOSTS, 'gpu:1', MANY),
    'functions': Case(
        '10 hosts with one SR-IOV function, 10 boots', _TEN_HOSTS,
        'function:1', MANY),
    'too-many': Case(
        '10 hosts with one GPU, 12 boots', _TEN_HOSTS, 'gpu:1', MANY + 2),
    'one-host': Case(
        'One host with 10 GPUs, 10 boots', _ONE_HOST, 'gpu:1', MANY),
}

WAYS = {
    'in-tree': Way("Nova's filter", None),
    'none': Way('ours, ``none``', 'none'),
    'local': Way('ours, ``local``', 'local'),
    'memcached': Way('ours, ``memcached``, two services', 'memcached', 2),
}


def missing(way):
    """Return what a way needs and this machine lacks, None if nothing."""
    if way != 'memcached':
        return None
    if not importlib.util.find_spec('pci_filter.reservations.memcached'):
        return 'this pci_filter has no store "memcached"'
    if not importlib.util.find_spec('pymemcache'):
        return 'pymemcache is not installed'
    if not installed.find_program('memcached'):
        return 'memcached is not installed'
    return None


class Runner:
    """Makes bursts in one cloud.

    :param cloud: a running Cloud
    """

    def __init__(self, cloud):
        self._cloud = cloud
        self._flavors = {}
        self._schedulers = [cloud.scheduler]
        self._memcached = None
        self._way = None

    def start(self, way):
        """Let nova-scheduler run in one way from now on."""
        if way == self._way:
            return
        self._way = way
        for process in self._schedulers:
            process.stop()
        self._schedulers = [
            self._scheduler(WAYS[way], number)
            for number in range(WAYS[way].services)]
        workers = configuration.SCHEDULER_WORKERS // WAYS[way].services
        for process in self._schedulers:
            offset = process.log_size()
            process.start()
            process.wait_until(
                'each worker listens', lambda process=process, offset=offset:
                process.read_log(offset).count('Starting scheduler node')
                == workers)

    def _scheduler(self, way, number):
        """Return a process of nova-scheduler with its configuration."""
        host = 'controller' if number == 0 else f'controller{number + 1}'
        lines = configuration.OUR_LINES
        conf = self._cloud.configuration.write_scheduler(
            lines if way.reservations else lines[:1], self._section(way),
            host, configuration.SCHEDULER_WORKERS // way.services)
        # What an earlier way has kept is not to be known to this one.
        for path in self._cloud.configuration.state(host).glob(
                'pci_filter-reservations*'):
            path.unlink()
        if number == 0:
            return self._cloud.scheduler
        process = self._cloud.new_scheduler(conf, f'nova-scheduler-{host}')
        self._cloud.add(process)
        return process

    def _section(self, way):
        if not way.reservations:
            return ''
        text = f'\n[pci_filter]\nreservations = {way.reservations}\n'
        if way.reservations == 'memcached':
            text += f'reservation_servers = 127.0.0.1:{self._serve()}\n'
        return text

    def _serve(self):
        """Return the port of a memcached, which is started if need be."""
        if self._memcached is None:
            self._memcached, = processes.free_ports(1)
            process = processes.Process('memcached', [
                installed.find_program('memcached'), '-l', '127.0.0.1',
                '-p', self._memcached, '-U', '0', '-m', '16',
                '-u', 'nobody'], self._cloud.logs)
            self._cloud.add(process)
            process.start()
        return self._memcached

    def run(self, case):
        """Make one burst, and leave the cloud empty.

        :param case: a Case
        :returns: a bursts.Outcome
        """
        if case.alias not in self._flavors:
            self._flavors[case.alias] = self._cloud.client.create_flavor(
                case.alias, {'pci_passthrough:alias': case.alias})
        try:
            return bursts.run(
                self._cloud, self._flavors[case.alias], case.boots)
        finally:
            bursts.clear(self._cloud)

    def keep_logs(self, directory):
        """Copy the logs of all processes."""
        with contextlib.suppress(OSError):
            shutil.copytree(self._cloud.logs, directory, dirs_exist_ok=True)
