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

"""memcached servers of a test's own, to be frozen and killed."""

from __future__ import annotations

import datetime
import getpass
import ipaddress
import os
import pathlib
import signal
import socket
import subprocess
import time
import typing
import unittest

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography import x509
from cryptography.x509 import oid
import fixtures

from pci_filter.tests.functional.db import mariadb
from pci_filter.tests import installed

#: The longest that a server may take to start, in seconds.
_PATIENCE: typing.Final = 60


def require_tls() -> None:
    """Skip the test where memcached was built without TLS.

    :raises unittest.SkipTest: if it was
    :raises AssertionError: if it was although it is promised
    """
    program, = installed.MEMCACHED.require()
    told = subprocess.run(
        [program, '-h'], check=True, capture_output=True, text=True).stdout
    if '--enable-ssl' not in told:
        reason = 'memcached was built without TLS'
        if installed.MEMCACHED.name in installed.promised():
            raise AssertionError(reason)
        raise unittest.SkipTest(reason)


class Memcached(fixtures.Fixture):
    """A server on loopback, started.

    Whoever makes one skips the test where memcached is not installed.

    :param options: of memcached
    :param environment: what else is in its environment
    """

    def __init__(
        self, *options: str, environment: dict[str, str] | None = None,
    ) -> None:
        self._program, = installed.MEMCACHED.require()
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def _setUp(self) -> None:
        self._log = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path) / 'log'
        self.port = mariadb.free_port()
        self.addCleanup(self.kill)
        self.start()

    @property
    def address(self) -> str:
        """What configuration calls it."""
        return f'127.0.0.1:{self.port}'

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(errors='replace')

    def start(self) -> None:
        """Start the server, empty, and wait until it listens."""
        with open(self._log, 'ab') as log:
            self._process = subprocess.Popen(
                [self._program, '-l', '127.0.0.1', '-p', str(self.port),
                 '-U', '0', '-u', getpass.getuser(), '-t', '2',
                 *self._options], stdout=log, stderr=log,
                env=self._environment)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
                return
            except OSError:
                if (self._process.poll() is not None
                        or time.monotonic() > deadline):
                    raise RuntimeError(self.log) from None
                time.sleep(0.01)

    def kill(self) -> None:
        """Kill the server, with everything that it has."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let the server be silent; its kernel still takes connections."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        # Until then it may answer once more.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let the server answer what it was asked meanwhile."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


class Certificate(fixtures.Fixture):
    """A certificate for 127.0.0.1 that is its own authority."""

    def _setUp(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.path, self.key_path = folder / 'certificate', folder / 'key'
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(
            oid.NameOID.COMMON_NAME, 'pci_filter test')])
        # Naive, and long ago enough for any time zone.
        today = datetime.datetime(2020, 1, 1)
        certificate = x509.CertificateBuilder(
        ).subject_name(name).issuer_name(name).public_key(
            key.public_key()
        ).serial_number(
            x509.random_serial_number()
        ).not_valid_before(today).not_valid_after(
            today.replace(year=2100)
        ).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=False,
                content_commitment=False, key_encipherment=False,
                data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False), critical=True
        ).add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            critical=False
        ).add_extension(
            x509.SubjectAlternativeName([
                x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]),
            critical=False
        ).sign(key, hashes.SHA256())
        self.path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM))
        self.key_path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))

    @property
    def options(self) -> list[str]:
        """The options of a server that has it."""
        return ['-Z', '-o',
                f'ssl_chain_cert={self.path},ssl_key={self.key_path}']


class Passwords(fixtures.Fixture):
    """User names and passwords of memcached, in Cyrus SASL's database.

    Whoever makes one skips the test where that is not installed.
    """

    def __init__(self) -> None:
        _, self._program, _, _ = installed.SASL.require()

    def _setUp(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self._database = folder / 'sasldb'
        (folder / 'memcached.conf').write_text(
            'mech_list: plain\n'
            'pwcheck_method: auxprop\n'
            'auxprop_plugin: sasldb\n'
            f'sasldb_path: {self._database}\n')
        self._folder = folder

    def add(self, username: str, password: str) -> None:
        """Add a user."""
        subprocess.run(
            [self._program, '-p', '-c', '-f', str(self._database),
             '-a', 'memcached', '-u', socket.gethostname(), username],
            input=password.encode(), check=True)

    def memcached(self, *options: str) -> Memcached:
        """Return a server that asks for them, not started."""
        return Memcached('-S', '-v', *options, environment={
            'SASL_CONF_PATH': str(self._folder)})
