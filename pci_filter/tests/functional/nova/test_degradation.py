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

"""What the scheduler does when device rows cannot be read, or make no sense.

In each test the trouble starts after Nova has loaded its hosts: before that,
Nova itself leaves out the hosts of a cell that does not answer.
"""

import functools
import logging
import os
import re
import threading
import time

import fixtures
from nova import context as nova_context
from nova.pci import stats
import sqlalchemy as sa
from sqlalchemy import event

from pci_filter.fixture import scheduling
from pci_filter import objects
from pci_filter.scheduler import cell_databases as connections
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import guarded_pools
from pci_filter.tags import base as tags_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented

FAILURES = 'pci_filter.scheduler.failures'
PASSWORD = 's3cret'

#: What each database says of a column that is not there, or a table. The type
#: of the exception depends on oslo.db.
UNKNOWN_COLUMN = {
    'sqlite': 'no such column: ', 'mysql': '"Unknown column ',
    'postgresql': 'column pci_devices.status does not exist'}
UNKNOWN_TABLE = {
    'sqlite': 'no such table: ', 'mysql': "pci_devices' doesn't exist",
    'postgresql': 'relation "pci_devices" does not exist'}


class DegradationTestCase(base.NovaTestCase):
    """Two cells with two hosts each; what fails, fails in the first."""

    def setUp(self):
        super().setUp()
        for number in range(4):
            self.add_host(f'host{number}', cell=number % 2)
        self.cell = self.cloud.cells[0]
        self.spec = scheduling.request_spec([base.vf_request()])

    def execute(self, statement):
        self.cloud.execute(self.cell, statement)

    def dialect(self):
        return self.cloud.engine(self.cell).dialect.name

    def ask(self, manager, trouble=None):
        """Return the HostStates and who passes.

        :param trouble: called once Nova has loaded its HostStates
        """
        loaded = manager._get_host_states

        def then_trouble(*args):
            states = list(loaded(*args))
            if trouble:
                trouble()
            return iter(states)

        manager._get_host_states = then_trouble
        try:
            states = {state.host: state for state in
                      scheduling.host_states(manager, self.spec)}
        finally:
            manager._get_host_states = loaded
        return states, scheduling.passing_hosts(
            manager, list(states.values()), self.spec)

    def warnings(self):
        return self.log_lines(f'WARNING {FAILURES} ')

    def assertDegraded(self, states, passing):
        """The first cell's summary decides, the other's rows do."""
        self.assertEqual(
            {'host0': stats.PciDeviceStats, 'host2': stats.PciDeviceStats,
             'host1': guarded_pools.GuardedPools,
             'host3': guarded_pools.GuardedPools},
            {host: type(state.pci_stats) for host, state in states.items()})
        self.assertEqual({'host0', 'host1', 'host2', 'host3'}, passing)

    def check_failure(self, trouble, failure, **options):
        """See that one cell is down, told once, and then rejected.

        :returns: the HostManager that knows that the cell is down
        """
        manager = self.our_manager(**options)
        self.assertDegraded(*self.ask(manager, trouble))
        self.assertDegraded(*self.ask(manager, trouble))
        warning, = self.warnings()
        self.assertRegex(
            warning, f'of cell {self.cell.uuid} could not be read: .*'
            + re.escape(failure))
        self.assertIn("Nova's summary (compute_nodes.pci_stats) decides "
                      'there. Hosts of it in this request: 2.', warning)

        strict = self.our_manager(on_load_failure='reject', **options)
        _states, passing = self.ask(strict, trouble)
        self.assertEqual({'host1', 'host3'}, passing)
        _first, warning = self.warnings()
        self.assertIn('no PCI request is sent there', warning)
        self.assertNotIn(PASSWORD, self.log.output)
        return manager


class TestCellDown(DegradationTestCase):

    def test_table_gone_and_back(self):
        manager = self.check_failure(
            functools.cache(lambda: self.execute(
                'ALTER TABLE pci_devices RENAME TO away')),
            UNKNOWN_TABLE[self.dialect()])
        self.execute('ALTER TABLE away RENAME TO pci_devices')
        warnings = self.warnings()
        for _ in range(2):
            states, passing = self.ask(manager)
            self.assertEqual({guarded_pools.GuardedPools}, {
                type(state.pci_stats) for state in states.values()})
            self.assertEqual(set(self.cloud.hosts), passing)
        again = self.log_lines('can be read again')
        self.assertEqual(1, len(again), again)
        self.assertIn(
            f'INFO {FAILURES} The PCI devices of cell {self.cell.uuid}',
            again[0])
        self.assertEqual(warnings, self.warnings())

    def test_column_gone(self):
        self.check_failure(
            functools.cache(lambda: self.execute(
                'ALTER TABLE pci_devices RENAME COLUMN status TO state')),
            UNKNOWN_COLUMN[self.dialect()])
        self.execute('ALTER TABLE pci_devices RENAME COLUMN state TO status')

    def test_file_gone(self):
        if self.dialect() != 'sqlite':
            self.skipTest('a server has no file')
        path = self.cell.database_connection.removeprefix('sqlite:///')

        def remove():
            if os.path.isfile(path):
                self.cloud.engine(self.cell).dispose()
                os.rename(path, f'{path}.gone')
                os.mkdir(path)

        self.assertDegraded(*self.ask(self.our_manager(), remove))
        warning, = self.warnings()
        self.assertIn('unable to open database file', warning)

    def point_to(self, manager, url):
        """Let the cell's database be elsewhere from now on."""
        mapping = manager.cells[self.cell.uuid].obj_clone()
        mapping.database_connection = url
        manager.cells[self.cell.uuid] = mapping
        nova_context.CELL_CACHE.clear()

    def test_no_server(self):
        for url in (f'mysql+pymysql://nova:{PASSWORD}@127.0.0.1:1/nova',
                    f'postgresql://nova:{PASSWORD}@127.0.0.1:1/nova',
                    f'no+such://nova:{PASSWORD}@127.0.0.1:1/nova',
                    # Colon forgotten, and at sign not quoted.
                    f'mysql+pymysql//nova:{PASSWORD}@127.0.0.1:1/nova',
                    f'mysql+pymysql://nova:a@{PASSWORD}@127.0.0.1:1/nova'):
            self.override('database', max_retries=0)
            manager = self.our_manager()
            self.assertDegraded(*self.ask(
                manager, functools.partial(self.point_to, manager, url)))
            self.assertIn('could not be read', self.warnings()[-1])
            self.assertNotIn(PASSWORD, self.log.output)
            nova_context.CELL_CACHE.clear()
        self.assertEqual(5, len(self.warnings()))

    def test_refused_on_connect(self):
        url = self.cloud.engine(self.cell).url

        def refuse(dialect, record, *args):
            if url.database not in str(args):
                return
            raise sa.exc.OperationalError(
                'connect', {}, Exception(
                    f'no route to mysql://nova:{PASSWORD}@db/nova\nline 2'))

        def trouble():
            connections.forget()
            event.listen(sa.engine.Engine, 'do_connect', refuse)
            self.addCleanup(
                event.remove, sa.engine.Engine, 'do_connect', refuse)

        manager = self.our_manager()
        self.assertDegraded(*self.ask(manager, trouble))
        warning, = self.warnings()
        self.assertIn('no route to ', warning)
        self.assertIn('***@db/nova', warning)
        self.assertNotIn('line 2', self.log.output)
        self.assertNotIn(PASSWORD, self.log.output)

    def test_no_answer_in_time(self):
        done = threading.Event()
        self.addCleanup(done.set)
        path = self.cloud.engine(self.cell).url.database

        def wait(connection, cursor, statement, *args):
            if ('pci_devices' in statement and 'GROUP BY' in statement
                    and connection.engine.url.database == path):
                done.wait(20)

        event.listen(sa.engine.Engine, 'before_cursor_execute', wait)
        self.addCleanup(event.remove, sa.engine.Engine,
                        'before_cursor_execute', wait)
        self.check_failure(
            lambda: None, 'it did not answer in time', load_timeout=1)

    def test_time_that_nova_takes(self):
        """It does not count, however long that was."""
        deadlines = []

        class Reader(cell_reader.CellReader):
            def answers(self, cells, deadline=None):
                deadlines.append(deadline)
                return super().answers(cells, deadline)

        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.scheduler.cell_reader.CellReader', Reader))
        manager = self.our_manager(load_timeout=20)
        load = manager._get_host_states

        def slow(_, *args):
            time.sleep(0.2)
            return load(*args)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.host_manager.HostManager._get_host_states', slow))
        before = time.monotonic()
        list(scheduling.host_states(manager, self.spec, [
            host.node_uuid for host in self.cloud.hosts.values()]))
        self.assertTrue(
            before + 20.2 <= deadlines[0] <= time.monotonic() + 20)

    def test_cell_unknown(self):
        def forget(manager):
            manager.cells = {
                uuid: cell for uuid, cell in manager.cells.items()
                if uuid != self.cell.uuid}

        manager = self.our_manager()
        for _ in range(2):
            self.assertDegraded(*self.ask(manager, lambda: forget(manager)))
        warning, = self.warnings()
        self.assertIn('the scheduler does not know this cell', warning)

    def test_failure_changes(self):
        manager = self.our_manager()
        self.execute('ALTER TABLE pci_devices RENAME TO away')
        self.ask(manager)
        self.execute('ALTER TABLE away RENAME TO pci_devices')
        self.execute('ALTER TABLE pci_devices RENAME COLUMN status TO state')
        self.ask(manager)
        self.ask(manager)
        # oslo.db has one type for both where it is PostgreSQL that complains.
        self.assertEqual(
            1 if self.dialect() == 'postgresql' else 2, len(self.warnings()))
        self.execute('ALTER TABLE pci_devices RENAME COLUMN state TO status')
        states, passing = self.ask(manager)
        self.assertEqual({guarded_pools.GuardedPools}, {
            type(state.pci_stats) for state in states.values()})
        self.assertEqual(1, len(self.log_lines('can be read again')))

    def test_all_cells_down(self):
        def trouble(*args, **kwargs):
            raise RuntimeError('no threads left')

        manager = self.our_manager()

        def patch():
            self.useFixture(fixtures.MonkeyPatch(
                'pci_filter.scheduler.cell_reader.CellReader', trouble))

        states, passing = self.ask(manager, patch)
        self.assertEqual({stats.PciDeviceStats}, {
            type(state.pci_stats) for state in states.values()})
        self.assertEqual(4, len(passing))
        self.assertEqual(2, len(self.warnings()))
        self.assertIn('RuntimeError: no threads left', self.warnings()[0])

    def test_request_fails(self):
        manager = self.our_manager()
        cells = manager.cells

        def forget():
            manager.cells = None

        for _ in range(2):
            states, _passing = self.ask(manager, forget)
            self.assertEqual({stats.PciDeviceStats}, {
                type(state.pci_stats) for state in states.values()})
            manager.cells = cells
        for _ in range(2):
            self.assertEqual(4, len(self.ask(manager)[1]))
        failed, *_traceback = self.log_lines(f'ERROR {FAILURES} ')
        self.assertRegex(failed, documented.pattern('request-not-made'))
        again, = self.log_lines(f'INFO {FAILURES} ')
        self.assertRegex(again, documented.pattern('request-made-again'))


class BrokenForSome(tags_base.TagSource):
    """A tag source that fails for some hosts until told not to."""

    def __init__(self, hosts=('host0',)):
        self.hosts = hosts
        self.broken = True

    def for_node(self, node):
        if node.host in self.hosts and self.broken:
            raise LookupError(f'mysql://me:{PASSWORD}@tags has no {node.host}')
        return lambda group: {}


class HostFailsTestCase(DegradationTestCase):

    def manager(self, *hosts, **options):
        manager = self.our_manager(**options)
        mapper = manager.enabled_filters[0].pool_mapper
        self.source = BrokenForSome(hosts or ('host0',))
        mapper.tag_sources = [self.source]
        return manager


class TestHostFails(HostFailsTestCase):

    def test_summary(self):
        manager = self.manager()
        for _ in range(2):
            states, passing = self.ask(manager)
            self.assertEqual(
                ['host0'], [host for host, state in states.items()
                            if type(state.pci_stats) is stats.PciDeviceStats])
            self.assertEqual(4, len(passing))
        warning, = self.warnings()
        self.assertIn('host host0, node host0 in cell '
                      f'{self.cell.uuid} could not be made: LookupError: ',
                      warning)
        self.assertNotIn(PASSWORD, self.log.output)
        self.source.broken = False
        states, _passing = self.ask(manager)
        self.assertIsInstance(
            states['host0'].pci_stats, objects.PciDevicePoolList)
        self.source.broken = True
        self.ask(manager)
        self.assertEqual(2, len(self.warnings()))

    def test_reject(self):
        _states, passing = self.ask(self.manager(on_load_failure='reject'))
        self.assertEqual({'host1', 'host2', 'host3'}, passing)


class TestAllHostsFail(HostFailsTestCase):
    """One fault that all hosts meet is told of a few of them."""

    def setUp(self):
        super().setUp()
        for number in range(4, 8):
            self.add_host(f'host{number}', cell=number % 2)

    def check_told(self, one, many):
        """See that 5 hosts are told of, and that there are others."""
        *few, more = self.warnings()
        self.assertEqual(5, len({
            host for host in self.cloud.hosts for line in few
            if documented.pattern(one).fullmatch(line)
            and f'host {host}, node {host} in cell '
            f'{self.cloud.hosts[host].cell.uuid} ' in line}), few)
        self.assertEqual(5, len(few), few)
        self.assertRegex(more, documented.pattern(many))

    def test_request(self):
        for one in self.spec.pci_requests.requests[0].spec:
            # Nova's field would refuse it.
            dict.__setitem__(one, 'vendor_id', ['8086'])
        manager = self.our_manager()
        for _ in range(2):
            self.ask(manager)
        self.check_told('undecided', 'many-undecided')

    def test_tag_source(self):
        manager = self.manager(*self.cloud.hosts)
        for _ in range(2):
            self.ask(manager)
            self.check_told('host-not-made', 'many-not-made')
        self.source.broken = False
        for _ in range(2):
            self.ask(manager)
            again = self.log_lines('can be made again')
            self.assertEqual(5, len(again))
            for line in again:
                self.assertRegex(line, documented.pattern('host-made-again'))
        self.check_told('host-not-made', 'many-not-made')
        # They are well, so another one is told of.
        self.source.broken = True
        self.source.hosts = ('host7',)
        self.ask(manager)
        self.assertIn('host host7, ', self.warnings()[-1])

    def test_told_at_debug(self):
        with fixtures.FakeLogger(
                FAILURES, logging.DEBUG, format='%(levelname)s %(message)s',
                nuke_handlers=False) as log:
            self.ask(self.manager(*self.cloud.hosts))
        told = [line.split()[0] for line in log.output.splitlines()
                if 'could not be made: LookupError: ' in line]
        self.assertEqual(['WARNING'] * 5 + ['DEBUG'] * 3, sorted(
            told, reverse=True))
