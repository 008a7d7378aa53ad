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

"""A MariaDB of a test's own, to be killed."""

from __future__ import annotations

import getpass
import pathlib
import shutil
import socket
import subprocess
import time
import typing

import fixtures
import sqlalchemy as sa

from pci_filter.tests import installed

#: The longest that a server may take to answer, in seconds.
_PATIENCE: typing.Final = 60


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port: int = found.getsockname()[1]
    return port


class MariaDB(fixtures.Fixture):
    """A server in a temporary directory, without passwords.

    Whoever makes one skips the test where MariaDB is not installed. That is
    not done while the fixture is set up, which would be an error.

    :param options: of mariadbd
    """

    def __init__(self, *options: str) -> None:
        self._install, self._program = installed.MARIADB.require()
        self._options = options
        #: Whom the server runs as.
        self._user = getpass.getuser()
        self._process: subprocess.Popen[bytes] | None = None

    def _setUp(self) -> None:
        self._directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        if self._user != getpass.getuser():
            shutil.chown(self._directory, self._user)
        self.port = free_port()
        subprocess.run(
            [self._install, '--no-defaults', f'--user={self._user}',
             f'--datadir={self._directory / "data"}',
             '--auth-root-authentication-method=normal', '--skip-test-db'],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.kill)
        self.start()

    def url(self, database: str | None = None) -> sa.engine.URL:
        """Return the URL of the server, or of a database on it."""
        return sa.engine.URL.create(
            'mysql+pymysql', 'root', host='127.0.0.1', port=self.port,
            database=database)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with open(self._directory / 'log', 'ab') as log:
            self._process = subprocess.Popen(
                [self._program, '--no-defaults',
                 f'--user={self._user}',
                 f'--datadir={self._directory / "data"}',
                 f'--socket={self._directory / "socket"}',
                 f'--pid-file={self._directory / "pid"}',
                 '--bind-address=127.0.0.1', f'--port={self.port}',
                 '--skip-name-resolve', '--innodb-flush-log-at-trx-commit=2',
                 *self._options],
                stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.administer('SELECT 1')
                return
            except sa.exc.OperationalError:
                if (self._process.poll() is not None
                        or time.monotonic() > deadline):
                    raise RuntimeError(
                        (self._directory / 'log').read_text()) from None
                time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, as a machine that loses its power does."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def administer(self, statement: str) -> None:
        """Execute a statement as root."""
        with self.connect() as connection:
            connection.exec_driver_sql(statement)

    def connect(self) -> typing.Any:
        """Return a connection as root, which the caller closes."""
        return sa.create_engine(
            self.url(), isolation_level='AUTOCOMMIT',
            poolclass=sa.pool.NullPool).connect()
