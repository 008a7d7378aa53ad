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

"""A process that schedules as nova-scheduler does, many requests at a time.

It is started as Nova's commands are: what they do about eventlet comes first.
The environment says which of the two it is to be.
"""

if __name__ == '__main__':
    from nova import monkey_patch

    # Older releases of Nova do it when that is imported.
    getattr(monkey_patch, 'patch', bool)()

import gc
import logging
import os
import pathlib
import random
import sys
import threading
import time
import traceback

import nova.conf
from nova.db.main import api as main_db
from nova.scheduler import host_manager
import sqlalchemy as sa

from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import cell_databases
from pci_filter.tests.functional.nova import processes

#: Calls at a time, and how often each of them is made anew.
AT_ONCE = 32
CALLS = 1

#: Requests for the memory, and the hosts that each of them asks for.
REQUESTS = int(os.environ.get('PCI_FILTER_MEMORY_REQUESTS') or 500)
FEW_HOSTS = 2
THREADS = 4

#: Counts the connections to a database of a server.
COUNT_CONNECTIONS = {
    'mysql': 'SELECT COUNT(*) FROM information_schema.processlist '
             'WHERE db = :name',
    'postgresql': 'SELECT COUNT(*) FROM pg_stat_activity '
                  'WHERE datname = :name'}


class Warnings(logging.Handler):
    """Keeps what our package has to say of trouble."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Scheduler:
    """The part of nova-scheduler that knows nothing of placement."""

    def __init__(self, node_uuids):
        self._manager = host_manager.HostManager()
        self._node_uuids = node_uuids
        self.calls = []
        self.errors = []

    def select(self, wanted, number_of_hosts=None):
        """Do what select_destinations does; return what it has seen."""
        dev_type, count = wanted
        spec = scheduling.request_spec([scheduling.pci_request({
            'vendor_id': hardware.INTEL_X710.vendor_id, 'dev_type': dev_type,
            'physical_network': 'physnet1'}, count)])
        states = scheduling.host_states(
            self._manager, spec, self._node_uuids[:number_of_hosts])
        seen = {state.host: self._pools(state) for state in states}
        passed = scheduling.passing_hosts(self._manager, states, spec)
        for state in states:
            if state.host in passed:
                state.limits = {}
                state.consume_from_request(spec)
                break
        return seen, sorted(passed)

    @staticmethod
    def _pools(state):
        """Return how many functions and ports a host has, if told by rows."""
        if not isinstance(state.pci_stats, objects.PciDevicePoolList):
            return None
        counts = {hardware.VF: 0, hardware.PF: 0}
        for pool in state.pci_stats.pools:
            counts[pool['dev_type']] += pool['count']
        return [counts[hardware.VF], counts[hardware.PF]]

    def call(self, chance, times):
        """Call so many times, and note what came of it, and when."""
        for _ in range(times):
            wanted = chance.choice((
                (hardware.VF, 1), (hardware.VF, 3), (hardware.PF, 1)))
            before = time.monotonic()
            try:
                seen, passed = self.select(wanted)
            except Exception:
                self.errors.append(traceback.format_exc())
            else:
                self.calls.append([
                    before, time.monotonic(), wanted, seen, passed])

    def call_for_few(self, times):
        for _ in range(times):
            try:
                seen, _passed = self.select((hardware.VF, 1), FEW_HOSTS)
                assert None not in seen.values(), seen
            except Exception:
                self.errors.append(traceback.format_exc())


def at_once(functions):
    """Call functions in threads of their own; green ones on eventlet."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def memory(scheduler):
    """Return the blocks in use after a fifth of the requests, and all.

    Python counts its blocks anyway; each object is one or more of them.
    """
    found = []
    for part in (REQUESTS // 5, REQUESTS - REQUESTS // 5):
        at_once([lambda: scheduler.call_for_few(part // THREADS)] * THREADS)
        gc.collect()
        found.append(sys.getallocatedblocks())
    return found


class Connections:
    """The connections of this process to the databases of the cells.

    Nova's, and ours.
    """

    def __init__(self, cells):
        self._engines = []
        for cell in cells:
            with processes.target(cell) as context:
                ours = cell_databases.of_cell(
                    context, cell, nova.conf.CONF.pci_filter.load_timeout)
                for manager in main_db.get_context_manager(
                        context), ours._manager:
                    self._engines.append(manager.writer.get_engine())

    def pooled(self):
        """Return how many the pools have lent, and how many they keep."""
        pools = [engine.pool for engine in self._engines]
        return [
            sum(getattr(pool, name, int)() for pool in pools)
            for name in ('checkedout', 'checkedin')]

    def count_until(self, expected):
        """Count them as the server or the kernel does.

        Until there are as many as expected: others may be about to close.
        """
        databases = {engine.url.database: engine for engine in self._engines}
        for _ in range(100):
            counted = sum(map(self._count, databases.values()))
            if counted == expected:
                break
            time.sleep(0.1)
        return counted

    @staticmethod
    def _count(engine):
        url = engine.url
        if url.get_backend_name() == 'sqlite':
            return len([
                number for number in os.listdir('/proc/self/fd')
                if os.path.realpath(f'/proc/self/fd/{number}')
                == os.path.realpath(url.database)])
        asking = sa.create_engine(
            os.environ['PCI_FILTER_TEST_SERVER_URL'],
            poolclass=sa.pool.NullPool)
        with asking.connect() as connection:
            return connection.execute(
                sa.text(COUNT_CONNECTIONS[url.get_backend_name()]),
                {'name': url.database}).scalar_one()

    def close(self):
        """Close the pools; return how many connections are left then."""
        for engine in self._engines:
            engine.dispose()
        return self.count_until(0)


def main(directory):
    cells = processes.configure(directory)
    warnings = Warnings()
    logging.getLogger('pci_filter').addHandler(warnings)
    hosts = processes.load_hosts(directory, cells)
    scheduler = Scheduler([host.node_uuid for host in hosts])
    at_once([
        lambda seed=seed: scheduler.call(random.Random(seed), CALLS)
        for seed in range(AT_ONCE)])
    used = memory(scheduler)
    # A server counts the connections of all processes.
    processes.say('idle')
    processes.wait_to_go_on()
    connections = Connections(cells)
    lent, kept = connections.pooled()
    counted = connections.count_until(kept)
    processes.store(directory / processes.CALLS, {
        'calls': scheduler.calls, 'errors': scheduler.errors,
        'warnings': warnings.lines, 'memory': used, 'lent': lent,
        'kept': kept, 'counted': counted, 'left': connections.close(),
        'green': is_green()})


def is_green():
    """Tell whether the threads here are those of eventlet."""
    return 'eventlet' in sys.modules and sys.modules[
        'eventlet'].patcher.is_monkey_patched('thread')


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
