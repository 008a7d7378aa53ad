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

"""A PostgreSQL of a test's own, to be frozen."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import signal
import subprocess
import time
import typing

import fixtures
import sqlalchemy as sa

from pci_filter.tests.functional.db import mariadb
from pci_filter.tests import installed

#: The longest that a server may take to answer, in seconds.
_PATIENCE: typing.Final = 60


def _children(parent: int) -> list[int]:
    """Return the processes that another one has started."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        # One may end meanwhile.
        with contextlib.suppress(OSError):
            # What stands in brackets is its name.
            if int(path.read_text().rpartition(')')[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


class PostgreSQL(fixtures.Fixture):
    """A server in a temporary directory, without passwords.

    Whoever makes one skips the test where PostgreSQL is not installed.
    """

    def __init__(self) -> None:
        self._initdb, self._program = installed.POSTGRESQL.require()
        # It refuses to run as root.
        self._user = 'postgres' if not os.getuid() else None

    def _setUp(self) -> None:
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        if self._user:
            os.chown(directory, pwd.getpwnam(self._user).pw_uid, -1)
        self.port = mariadb.free_port()
        subprocess.run(
            [self._initdb, '-D', directory / 'data', '-A', 'trust', '-U',
             'postgres', '--no-sync'], user=self._user, cwd=directory,
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [self._program, '-D', directory / 'data', '-p', str(self.port),
             '-k', directory, '-F', '-c', 'listen_addresses=127.0.0.1'],
            user=self._user, cwd=directory,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.administer('SELECT 1')
                return
            except sa.exc.OperationalError:
                if (self._process.poll() is not None
                        or time.monotonic() > deadline):
                    raise
                time.sleep(0.05)

    def url(self, database: str = 'postgres') -> sa.engine.URL:
        """Return the URL of a database on the server."""
        return sa.engine.URL.create(
            'postgresql+psycopg2', 'postgres', host='127.0.0.1',
            port=self.port, database=database)

    def administer(self, statement: str) -> None:
        """Execute a statement."""
        with sa.create_engine(
                self.url(), isolation_level='AUTOCOMMIT',
                poolclass=sa.pool.NullPool).connect() as connection:
            connection.exec_driver_sql(statement)

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the server."""
        self._process.send_signal(number)
        for pid in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Let it end at once."""
        self.signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
