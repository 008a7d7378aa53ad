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

"""What the machine that runs the tests has installed, or lacks.

A test that starts a program of the machine asks here for it, and is skipped
where it is not installed. Whoever has installed it says so in
``PCI_FILTER_TEST_INSTALLED``, such as ``MariaDB,memcached``: where one of
these is missing the test fails.

The skip has to leave the test's own ``setUp`` or ``setUpClass``: one that is
raised in the ``setUp`` of a fixture arrives as an error.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import typing
import unittest

from oslo_config import cfg

VARIABLE: typing.Final = 'PCI_FILTER_TEST_INSTALLED'

#: Where programs are besides the PATH, which need not have those of root, and
#: has not what Debian has several versions of.
_DIRECTORIES: typing.Final = (
    '/usr/local/sbin', '/usr/sbin', '/sbin', *map(
        str, sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin'))))

_LIBRARIES: typing.Final = ('/usr/lib', '/usr/lib64')


def find_program(
    name: str, first: typing.Sequence[str] = (),
) -> str | None:
    """Return the path of a program, or None if it is not installed.

    :param first: directories that are looked into before the PATH
    """
    path = os.environ.get('PATH', os.defpath)
    return shutil.which(
        name, path=os.pathsep.join((*first, path, *_DIRECTORIES)))


def _find_library(pattern: str) -> str | None:
    return next((str(path) for directory in _LIBRARIES
                 for path in pathlib.Path(directory).glob(pattern)), None)


class Software(typing.NamedTuple):
    """What is installed as a whole.

    :param name: what :data:`VARIABLE` and the reason of a skip call it
    :param programs: names of its programs
    :param libraries: patterns below the folder of libraries
    """

    name: str
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def require(self) -> list[str]:
        """Return the paths of its programs and libraries.

        :raises unittest.SkipTest: if one is not installed
        :raises AssertionError: if it is not although the variable names it
        """
        found = {name: find_program(name) for name in self.programs}
        found.update({name: _find_library(name) for name in self.libraries})
        missing = [name for name, path in found.items() if not path]
        if not missing:
            return [str(path) for path in found.values()]
        reason = (f'{self.name} is not installed: '
                  f'there is no {", no ".join(missing)}')
        if self.name in promised():
            raise AssertionError(f'{reason}, but {VARIABLE} names it')
        raise unittest.SkipTest(reason)


MARIADB: typing.Final = Software(
    'MariaDB', programs=('mariadb-install-db', 'mariadbd'))
GALERA: typing.Final = Software(
    'Galera', libraries=('galera*/libgalera_smm.so',))
#: With what a node of Galera gets all from another one.
RSYNC: typing.Final = Software('rsync', programs=('rsync', 'wsrep_sst_rsync'))
HAPROXY: typing.Final = Software('HAProxy', programs=('haproxy',))
POSTGRESQL: typing.Final = Software(
    'PostgreSQL', programs=('initdb', 'postgres'))
MEMCACHED: typing.Final = Software('memcached', programs=('memcached',))
#: memcached with passwords.
SASL: typing.Final = Software(
    'SASL', programs=('memcached', 'saslpasswd2'),
    libraries=('*/sasl2/libplain.so', '*/sasl2/libsasldb.so'))

_ALL: typing.Final = (
    MARIADB, POSTGRESQL, GALERA, RSYNC, HAPROXY, MEMCACHED, SASL)


def promised() -> frozenset[str]:
    """Return the names of what must be installed.

    :raises ValueError: if the variable names what no test looks for
    """
    names = frozenset(
        filter(None, os.environ.get(VARIABLE, '').split(',')))
    known = [software.name for software in _ALL]
    unknown = names.difference(known)
    if unknown:
        raise ValueError(
            f'{VARIABLE} names {", ".join(sorted(unknown))}, which no test '
            f'looks for; it can be {", ".join(known)}')
    return names


def require_no_nova_conf() -> None:
    """Skip the test where an installed Nova has its configuration.

    :raises unittest.SkipTest: if a service of Nova would find one
    """
    found = [*cfg.find_config_files('nova', 'nova-scheduler'),
             *cfg.find_config_dirs('nova', 'nova-scheduler')]
    if found:
        raise unittest.SkipTest(f'{found[0]} is here')
