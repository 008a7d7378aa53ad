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
"""Three nodes of Galera on loopback, and HAProxy in front of them.

HAProxy is configured as installers of OpenStack do it, on two ports: round
robin over all nodes, and one node that is written to, with the others as its
backups.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import typing

import fixtures
import sqlalchemy as sa

from pci_filter.tests.deployment import processes
from pci_filter.tests.functional.db import mariadb
from pci_filter.tests import installed

NODES: typing.Final = 3

#: The longest that a node may take to be one of all again, in seconds.
_PATIENCE: typing.Final = 120

_HAPROXY: typing.Final = '''
global
    maxconn 2000
defaults
    mode tcp
    retries 3
    option redispatch
    timeout connect 2s
    timeout check 1s
    timeout client 1h
    timeout server 1h
    default-server inter 300 fall 2 rise 1 on-marked-down shutdown-sessions
listen any
    bind 127.0.0.1:{any_port}
    balance roundrobin
    option tcp-check
    tcp-check connect
    tcp-check expect string mysql_native_password
{any_servers}
listen writer
    bind 127.0.0.1:{writer_port}
    option tcp-check
    tcp-check connect
    tcp-check expect string mysql_native_password
{writer_servers}
'''


class Node(mariadb.MariaDB):
    """A node, of which the whole fixture is the cluster.

    :param number: from 0 on
    :param group: the ports at which the nodes find each other
    """

    def __init__(self, number: int, group: typing.Sequence[int]) -> None:
        provider, = installed.GALERA.require()
        installed.RSYNC.require()
        transfer, increments = processes.free_ports(2)
        members = ','.join(f'127.0.0.1:{port}' for port in group)
        super().__init__(
            '--wsrep-on=ON', f'--wsrep-provider={provider}',
            '--wsrep-cluster-name=pci_filter',
            f'--wsrep-cluster-address=gcomm://{members}',
            f'--wsrep-node-name=node{number}',
            '--wsrep-node-address=127.0.0.1',
            '--wsrep-sst-method=rsync',
            # Which node is the donor is known; another one if that is away.
            f'--wsrep-sst-donor=node{(number + 2) % NODES},',
            f'--wsrep-sst-receive-address=127.0.0.1:{transfer}',
            '--wsrep-provider-options='
            f'gmcast.listen_addr=tcp://127.0.0.1:{group[number]};'
            f'ist.recv_addr=127.0.0.1:{increments};gcache.size=16M',
            '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2',
            '--innodb-buffer-pool-size=64M', '--max-connections=500')
        if not os.geteuid():
            # The rsync that receives is nobody's if root starts it.
            self._user = 'mysql'
        self.number = number
        #: Whether it makes a cluster when it starts, and joins none.
        self.is_new_cluster = False

    def start(self) -> None:
        options = self._options
        # Another one that starts would remove what it has in /tmp.
        self._options += (f'--tmpdir={self._directory}',)
        if self.is_new_cluster:
            self._options += ('--wsrep-new-cluster',)
        try:
            super().start()
        finally:
            self._options = options

    @property
    def name(self) -> str:
        """What the others call it."""
        return f'node{self.number}'

    def is_alive(self) -> bool:
        """Tell whether it is a process."""
        return self._process is not None and self._process.poll() is None

    def end(self, signal_number: int) -> None:
        """Let it end by a signal, and wait until it has."""
        self.signal(signal_number)
        if self._process:
            self._process.wait(_PATIENCE)

    def status(self, name: str) -> str:
        """Return one of its ``wsrep_`` status variables, or an empty text."""
        with self.connect() as connection:
            row = connection.exec_driver_sql(
                'SHOW GLOBAL STATUS LIKE %s', (name,)).one_or_none()
        return str(row[1]) if row else ''

    def is_synced(self, nodes: int = NODES) -> bool:
        """Tell whether it is one of so many nodes, and keeps up with them."""
        try:
            return (self.status('wsrep_local_state_comment') == 'Synced'
                    and self.status('wsrep_cluster_size') == str(nodes))
        except sa.exc.DBAPIError:
            return False

    def forget_state(self) -> None:
        """Let it need all that there is when it starts, not what is new."""
        (self._directory / 'data' / 'grastate.dat').unlink()

    def set_option(self, option: str) -> None:
        """Set one of its ``wsrep_provider_options``."""
        with self.connect() as connection:
            connection.exec_driver_sql(
                'SET GLOBAL wsrep_provider_options = %s', (option,))


class Cluster(fixtures.Fixture):
    """The nodes and HAProxy.

    Whoever makes one skips the test where something is not installed.
    """

    def __init__(self) -> None:
        self._haproxy, = installed.HAPROXY.require()
        group = processes.free_ports(NODES)
        self.nodes = [Node(number, group) for number in range(NODES)]

    def _setUp(self) -> None:
        first = self.nodes[0]
        first.is_new_cluster = True
        for node in self.nodes:
            self.useFixture(node)
        first.is_new_cluster = False
        self.wait_until_whole()
        self._start_haproxy()

    def _start_haproxy(self) -> None:
        self._any_port, self._writer_port = processes.free_ports(2)
        servers = [f'    server {node.name} 127.0.0.1:{node.port} check'
                   for node in self.nodes]
        path = f'{self.useFixture(fixtures.TempDir()).path}/haproxy.cfg'
        with open(path, 'w') as configuration:
            configuration.write(_HAPROXY.format(
                any_port=self._any_port, writer_port=self._writer_port,
                any_servers='\n'.join(servers), writer_servers='\n'.join((
                    servers[0], *(f'{one} backup' for one in servers[1:])))))
        process = subprocess.Popen(
            [self._haproxy, '-db', '-f', path], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for url in self.any_url(), self.writer_url():
            processes.wait_for('HAProxy', lambda url=url: answers(url), 60)

    def any_url(self, database: str | None = None) -> sa.engine.URL:
        """Return the URL that leads to one node after the other."""
        return self.nodes[0].url(database).set(port=self._any_port)

    def writer_url(self, database: str | None = None) -> sa.engine.URL:
        """Return the URL that leads to the first node while it is well."""
        return self.nodes[0].url(database).set(port=self._writer_port)

    def wait_until_whole(self, seconds: float = _PATIENCE) -> None:
        """Wait until each node keeps up with all others."""
        processes.wait_for('a whole cluster', lambda: all(
            node.is_synced() for node in self.nodes), seconds)

    def heal(self) -> None:
        """Start what does not run, and wait until all is well."""
        for node in self.nodes:
            if not node.is_alive():
                node.start()
        self.wait_until_whole()


def answers(url: sa.engine.URL) -> bool:
    """Tell whether there is a server that can be asked for something."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with contextlib.suppress(sa.exc.DBAPIError), engine.connect() as found:
        return bool(found.exec_driver_sql('SELECT 1').scalar())
    return False


_shared: list[Cluster] = []


def shared() -> Cluster:
    """Return the cluster of this process, whole, starting it if need be.

    :raises unittest.SkipTest: if something is not installed
    """
    if not _shared:
        cluster = Cluster()
        cluster.setUp()
        atexit.register(cluster.cleanUp)
        _shared.append(cluster)
    _shared[0].heal()
    return _shared[0]
