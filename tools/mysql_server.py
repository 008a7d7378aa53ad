#!/usr/bin/env python3
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

"""Run a command with a MySQL that lives as long as the command does.

The server is that of Debian unstable, on a fresh machine in memory (see
tools/debian_tree.py), and listens on loopback. PCI_FILTER_TEST_MYSQL_URL names
it to the command, and PCI_FILTER_TEST_CELLS_URL does so, too, with --cells.

  tools/mysql_server.py stestr run MySQL

The exit code is that of the command. It is 75 if there is no server: some days
nobody can install Debian unstable.
"""

from __future__ import annotations

import argparse
import collections.abc
import contextlib
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pymysql

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent

#: What /usr/include/sysexits.h has for a failure that may be gone tomorrow.
EX_TEMPFAIL = 75

#: The longest that it may take to make the machine and to start the server,
#: in seconds.
PATIENCE = 600

NAME = 'pci_filter'

#: What makes a server of the machine, as that of a user who may do nothing
#: else. Who connects needs no TLS: nothing leaves this machine. %(password)s
#: is of letters and digits.
START = '''
install -d -o nobody /srv/mysql &&
cat >/srv/mysql/init.sql <<'END' &&
CREATE USER %(name)s@'127.0.0.1' IDENTIFIED BY '%(password)s';
GRANT ALL ON *.* TO %(name)s@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE %(name)s;
END
mysqld --no-defaults --user=nobody --initialize-insecure \\
    --datadir=/srv/mysql/data &&
exec mysqld --no-defaults --user=nobody --datadir=/srv/mysql/data \\
    --init-file=/srv/mysql/init.sql --bind-address=127.0.0.1 --port=%(port)d \\
    --socket=/srv/mysql/socket --mysqlx=OFF --skip-name-resolve \\
    --secure-file-priv=NULL --disable-log-bin \\
    --innodb-flush-log-at-trx-commit=0
'''


class NoServer(Exception):
    """There is none; the text says why."""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port: int = found.getsockname()[1]
    return port


def _version(port: int, password: str) -> str | None:
    """Return what the server calls itself, None if there is none yet."""
    try:
        connection = pymysql.connect(
            host='127.0.0.1', port=port, user=NAME, password=password,
            database=NAME)
    except pymysql.err.OperationalError:
        return None
    with contextlib.closing(connection):
        return str(connection.get_server_info())


@contextlib.contextmanager
def running(port: int, password: str) -> collections.abc.Iterator[str]:
    """Yield the version of a server that runs in a ``with`` block.

    :param port: where it listens
    :param password: of its user
    :raises NoServer: if there is none
    """
    values = {'name': NAME, 'password': password, 'port': port}
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen(
            [sys.executable, str(CHECKOUT / 'tools' / 'debian_tree.py'),
             '--package', 'mysql-server-core', 'sid', START % values],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while not (version := _version(port, password)):
                ended = process.poll() is not None
                if ended or time.monotonic() > deadline:
                    log.seek(0)
                    raise NoServer(log.read().replace(password, '***'))
                time.sleep(0.5)
            yield version
        finally:
            process.terminate()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--cells', action='store_true',
        help="have the cells of the tests with Nova's objects there")
    parser.add_argument('command', nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error('what is to be run?')
    # So that the server ends then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port, password = _free_port(), secrets.token_hex(16)
    url = f'mysql+pymysql://{NAME}:{password}@127.0.0.1:{port}/{NAME}'
    variables = ['PCI_FILTER_TEST_MYSQL_URL'] + [
        'PCI_FILTER_TEST_CELLS_URL'] * arguments.cells
    try:
        with running(port, password) as version:
            print(f'MySQL {version}', flush=True)
            return subprocess.run(
                arguments.command, check=False,
                env={**os.environ, **dict.fromkeys(variables, url)},
            ).returncode
    except NoServer as error:
        print(f'{error}\nNot run: there is no MySQL', flush=True)
        return EX_TEMPFAIL


if __name__ == '__main__':
    sys.exit(main())
