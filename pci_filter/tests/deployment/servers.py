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

"""MariaDB and RabbitMQ, each in a directory of its own."""

import json
import os
import pathlib
import pwd
import signal
import subprocess

import kombu
import pymysql

from pci_filter.tests.deployment import processes
from pci_filter.tests import installed

USER = PASSWORD = 'deployment'

# MariaDB, started by root, has to be told that this is meant.
_USER = pwd.getpwuid(os.getuid()).pw_name

# Debian's rabbitmq-server in the PATH insists on being root or rabbitmq.
_RABBITMQ = '/usr/lib/rabbitmq/bin'

PROGRAMS = ('mariadbd', 'mariadb-install-db', 'rabbitmq-server', 'epmd',
            'setpriv')


def find_program(name):
    """Return the path of a program, or None if it is not installed."""
    return installed.find_program(name, first=(_RABBITMQ,))


class MariaDB:
    """A MariaDB whose committed data outlives being killed."""

    def __init__(self, directory, logs):
        self.port, = processes.free_ports(1)
        self._directory = pathlib.Path(directory)
        self._directory.mkdir()
        self._socket = self._directory / 'socket'
        self.process = processes.Process('mariadb', [
            find_program('mariadbd'), '--no-defaults',
            f'--user={_USER}',
            f'--datadir={self._directory / "data"}',
            # Another one that starts would remove what it has in /tmp.
            f'--tmpdir={self._directory / "data"}',
            '--bind-address=127.0.0.1', f'--port={self.port}',
            f'--socket={self._socket}',
            f'--pid-file={self._directory / "pid"}',
            '--skip-name-resolve', '--character-set-server=utf8mb3',
            '--max-connections=1000',
            # The system keeps what was committed; no need to wait for disks.
            '--innodb-flush-log-at-trx-commit=2'], logs)

    def create(self, databases):
        """Start it for the first time, with databases in it."""
        subprocess.run(
            [find_program('mariadb-install-db'), '--no-defaults',
             f'--user={_USER}',
             f'--datadir={self._directory / "data"}',
             '--auth-root-authentication-method=normal', '--skip-test-db'],
            check=True, capture_output=True)
        self.start()
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute('CREATE USER %s@%s IDENTIFIED BY %s',
                           (USER, '127.0.0.1', PASSWORD))
            cursor.execute('GRANT ALL ON *.* TO %s@%s', (USER, '127.0.0.1'))
            for name in databases:
                cursor.execute(f'CREATE DATABASE `{name}`')

    def start(self):
        self.process.start()
        self.process.wait_until('answers', self._answers)

    def restart(self, number=signal.SIGTERM):
        """End it with a signal and start it again."""
        self.end(number)
        self.start()

    def end(self, number=signal.SIGTERM):
        self.process.signal(number)
        processes.wait_for(
            'the end of mariadb', lambda: not self.process.is_running())

    def url(self, database):
        return (f'mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}'
                f'/{database}')

    def client_command(self, database):
        """Return the command line of its client."""
        return ['mariadb', '--no-defaults', '--user=root',
                f'--socket={self._socket}', database]

    def _connect(self):
        return pymysql.connect(user='root', unix_socket=str(self._socket))

    def _answers(self):
        try:
            self._connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


class RabbitMQ:
    """A RabbitMQ of one node, and the epmd that its Erlang wants."""

    def __init__(self, directory, logs, virtual_hosts):
        self._directory = pathlib.Path(directory)
        self._directory.mkdir()
        self._virtual_hosts = virtual_hosts
        self.port, distribution, epmd = processes.free_ports(3)
        self._write_definitions()
        environment = {
            'HOME': str(self._directory),
            'ERL_EPMD_PORT': str(epmd), 'ERL_EPMD_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODENAME': 'deployment@localhost',
            'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(self.port),
            'RABBITMQ_DIST_PORT': str(distribution),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                '-kernel inet_dist_use_interface {127,0,0,1}',
            'RABBITMQ_CONF_ENV_FILE': str(self._directory / 'none'),
            'RABBITMQ_CONFIG_FILE': str(self._directory / 'rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self._directory / 'plugins'),
            'RABBITMQ_MNESIA_BASE': str(self._directory / 'mnesia'),
            'RABBITMQ_PID_FILE': str(self._directory / 'pid'),
            'RABBITMQ_LOG_BASE': str(self._directory),
            'RABBITMQ_LOGS': '-',
        }
        self.epmd = processes.Process(
            'epmd', [find_program('epmd'), '-port', epmd,
                     '-address', '127.0.0.1'], logs, environment)
        self.process = processes.Process(
            'rabbitmq', [find_program('rabbitmq-server')], logs, environment)

    def _write_definitions(self):
        definitions = self._directory / 'definitions.json'
        definitions.write_text(json.dumps({
            'users': [{'name': USER, 'password': PASSWORD, 'tags': []}],
            'vhosts': [{'name': name} for name in self._virtual_hosts],
            'permissions': [
                {'user': USER, 'vhost': name,
                 'configure': '.*', 'write': '.*', 'read': '.*'}
                for name in self._virtual_hosts]}))
        (self._directory / 'rabbitmq.conf').write_text(
            f'load_definitions = {definitions}\n'
            'disk_free_limit.absolute = 10MB\n'
            'log.console.level = warning\n')

    def launch(self):
        """Start it, without waiting."""
        self.epmd.start()
        self.process.start()

    def wait(self):
        """Wait until all its virtual hosts can be used."""
        self.process.wait_until('answers', lambda: all(
            self._answers(name) for name in self._virtual_hosts))

    def url(self, virtual_host):
        return (f'rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}'
                f'/{virtual_host}')

    def _answers(self, virtual_host):
        url = self.url(virtual_host).replace('rabbit', 'amqp', 1)
        try:
            with kombu.Connection(url) as connection:
                connection.connect()
        except kombu.exceptions.OperationalError:
            return False
        return True
