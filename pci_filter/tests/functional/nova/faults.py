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

"""What the tests of failing databases have in common."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import typing

from nova import context as nova_context
import sqlalchemy as sa

from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import proxy
from pci_filter.tests.functional.nova import servers

LOGGER = 'pci_filter.scheduler.failures'

#: Who passes if all rows are read: there is something left on these hosts.
HEALTHY = {'host2', 'host3'}

#: Who passes if those of the first cell are not, by on_load_failure.
FALLBACK = {'summary': {'host0', 'host2', 'host3'}, 'reject': {'host3'}}

#: Who passes if Nova cannot read it either, and leaves its hosts out.
WITHOUT_CELL = {'host3'}

#: What our statement has in it, and none that Nova's scheduler executes.
OURS = b'pci_devices'

#: What keeps a driver from encrypting what a proxy is to read, by database. By
#: default they encrypt if the server can, PyMySQL from 1.2 on.
_PLAIN: typing.Final = {
    'mysql': {'ssl_disabled': 'true'}, 'postgresql': {'sslmode': 'disable'}}

#: What happens around a request: the first part before it, the rest, in a
#: thread of its own, at the same time.
Meanwhile = typing.Callable[[], typing.Iterator[None]]


def unpromised(count: int) -> int:
    """Return a false count, for summaries."""
    return 50


class FaultTestCase(base.NovaTestCase):
    """Two cells with two hosts each; what fails, fails in the first.

    One host of each cell is full by its rows, but not by its summary.
    """

    def setUp(self) -> None:
        # Or Nova would try for 100 seconds to connect.
        self.override('database', max_retries=0)
        super().setUp()
        for number in range(4):
            host = self.add_host(f'host{number}', cell=number % 2)
            if number < 2:
                self.cloud.claim(host, [base.vf_request(4)])
            self.cloud.falsify_counts(host, unpromised)
        self.cell = self.cloud.cells[0]
        self.spec = scheduling.request_spec([base.vf_request()])
        self._seen = 0
        #: Set when a request that something happens to is over.
        self.answered = threading.Event()

    def ask(self, manager: typing.Any, ahead: bool = True) -> set[str]:
        """Return which hosts pass.

        :param manager: HostManager
        :param ahead: whether the rows are read while Nova reads its hosts,
            or afterwards
        """
        uuids = [host.node_uuid for host in self.cloud.hosts.values()]
        return scheduling.passing_hosts(
            manager, scheduling.host_states(
                manager, self.spec, uuids if ahead else None), self.spec)

    def ask_while(
        self, meanwhile: Meanwhile, manager: typing.Any, ahead: bool = True,
    ) -> set[str]:
        """Return which hosts pass while something else happens."""
        steps = meanwhile()
        next(steps)
        self.answered.clear()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            happening = executor.submit(collections.deque, steps)
            try:
                passing = self.ask(manager, ahead)
            finally:
                self.answered.set()
            # What did not happen cannot have done anything to the request.
            happening.result()
            return passing

    def news(self) -> list[str]:
        """Return our lines since the last call."""
        lines = self.log.output.splitlines()
        news, self._seen = lines[self._seen:], len(lines)
        return [line for line in news if LOGGER in line]

    def check(
        self, name: str, trouble: typing.Callable[[], object] = lambda: None,
        recover: typing.Callable[[], object] = lambda: None,
        meanwhile: Meanwhile | None = None,
        ahead: typing.Sequence[bool] = (True, False, True),
        expected: typing.Mapping[str, set[str]] = FALLBACK,
        **options: typing.Any,
    ) -> None:
        """See what becomes of requests before, in and after trouble.

        :param name: of the documented line
        :param trouble: lets the first cell fail
        :param recover: lets it be well again
        :param meanwhile: what happens during each request in between
        :param ahead: when each of those reads the rows
        :param expected: who passes then, by on_load_failure
        :param options: of the [pci_filter] section
        """
        for on_load_failure, passing in expected.items():
            manager = self.our_manager(
                on_load_failure=on_load_failure, **options)
            self.assertEqual(HEALTHY, self.ask(manager))
            self.assertEqual([], self.news())
            trouble()
            try:
                for early in ahead:
                    self.assertEqual(passing, self.ask_while(
                        meanwhile, manager, early)
                        if meanwhile else self.ask(manager, early))
            finally:
                recover()
            self.check_recovered(manager, name, on_load_failure)

    def ask_until_told(self, manager: typing.Any) -> list[str]:
        """Ask for a cell that Nova cannot read, and return what is told.

        Our failure may come later than Nova's; the next request tells then.
        """
        told: list[str] = []
        while not told:
            self.assertEqual(WITHOUT_CELL, self.ask(manager))
            told = self.news()
        return told

    def check_recovered(
        self, manager: typing.Any, name: str, on_load_failure: str,
        told: typing.Sequence[str] = (),
    ) -> None:
        """See that all is well without a restart, and what was told.

        :param told: what was told so far
        """
        for ahead in (True, False):
            self.assertEqual(HEALTHY, self.ask(manager, ahead))
        failed, recovered = [*told, *self.news()]
        self.assertDocumented(name, failed, on_load_failure)
        self.assertDocumented('readable-again', recovered)
        password = sa.engine.make_url(self.cell.database_connection).password
        if password:
            self.assertNotIn(f':{password}@', self.log.output)

    def assertDocumented(
        self, name: str, line: str, on_load_failure: str = 'summary',
    ) -> None:
        """Assert that a line is what the documentation says."""
        expected = documented.pattern(name, on_load_failure == 'reject')
        if not expected.fullmatch(line):
            self.fail(f'not log-{name} of what-happens-when.rst:\n{line}\n'
                      f'{documented.lines()[name]}')
        self.assertIn(self.cell.uuid, line)


class ProxiesMixin(servers.ServerMixin):
    """Puts a proxy in front of each cell's database."""

    proxies: typing.ClassVar[list[proxy.Proxy]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.proxies, urls = [], []
        for url in map(sa.engine.make_url, cls.cell_urls or ()):
            front = proxy.Proxy(
                str(url.host), int(url.port or cls.server.default_port))
            front.setUp()
            cls.addClassCleanup(front.cleanUp)
            cls.proxies.append(front)
            urls.append(url.set(host='127.0.0.1', port=front.port)
                        .update_query_dict(_PLAIN[url.get_backend_name()])
                        .render_as_string(hide_password=False))
        cls.cell_urls = urls


class OnServerMixin(ProxiesMixin, FaultTestCase):
    """The same with cells on a server."""

    #: In the names of documented lines.
    dialect: typing.ClassVar[str]
    #: Keeps everybody else from pci_devices, and no longer.
    lock: typing.ClassVar[str]
    unlock: typing.ClassVar[str]
    #: Which sessions wait with a statement of ours, and how to end one.
    waiting: str
    kill: typing.ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        self.proxy = self.proxies[0]
        self.session = self.new_session()

    def new_session(self) -> typing.Any:
        """Return a connection of an administrator to the first cell."""
        engine = sa.create_engine(
            self.server.url(self.url(0).database),
            isolation_level='AUTOCOMMIT', poolclass=sa.pool.NullPool,
            # Or SQLAlchemy 1.4 would commit each change.
            future=True)
        connection = engine.connect()
        self.addCleanup(connection.close)
        return connection

    def execute(self, *statements: str) -> None:
        """Change the first cell's database behind Nova's back."""
        for statement in statements:
            self.session.exec_driver_sql(statement)

    def connect_as(self, user: str, password: str) -> None:
        """Let Nova connect to the first cell as another user."""
        before = self.cell.database_connection
        self._connect(self.url(0).set(username=user, password=password)
                      .render_as_string(hide_password=False))
        self.addCleanup(self._connect, before)

    def _connect(self, url: str) -> None:
        self.cloud.engine(self.cell).dispose()
        self.cell.database_connection = url
        self.cell.save()
        nova_context.CELL_CACHE.clear()

    def told(self, name: str) -> str:
        """Return the name of a documented line on this database."""
        return f'{name}-{self.dialect}'

    def wait_for_ours(self) -> int:
        """Wait until our statement waits, and return its session's id."""
        with self.new_session() as session:
            while not self.answered.is_set():
                found = list(session.exec_driver_sql(self.waiting).scalars())
                if found:
                    return int(found[0])
        raise AssertionError('our statement did not have to wait')


class MySQLMixin(OnServerMixin, servers.MySQLMixin):

    dialect = 'mysql'
    lock = 'LOCK TABLES pci_devices WRITE'
    unlock = 'UNLOCK TABLES'
    # Not innodb_trx, which remembers for a while who waited before.
    waiting = (
        "SELECT id FROM information_schema.processlist "
        "JOIN information_schema.global_status "
        "ON variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS' "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID() "
        "AND info LIKE '%%pci_devices%%' "
        "AND (state LIKE 'Waiting for%%lock' OR variable_value > 0)")
    kill = 'KILL CONNECTION {}'

    def setUp(self) -> None:
        super().setUp()
        if not self.server.is_mariadb():
            self.waiting = self.waiting.replace(
                'information_schema.global', 'performance_schema.global')


class PostgreSQLMixin(OnServerMixin, servers.PostgreSQLMixin):

    dialect = 'postgresql'
    lock = 'BEGIN; LOCK TABLE pci_devices IN ACCESS EXCLUSIVE MODE'
    unlock = 'ROLLBACK'
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE '%%pci_devices%%'")
    kill = 'SELECT pg_terminate_backend({})'
