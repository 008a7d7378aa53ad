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

"""Start a Nova deployment on loopback and test it, or play with it.

Run it with the Python of an environment that has Nova, openstack-placement
and this package installed: ``tox -e deployment`` prepares one. MariaDB and
RabbitMQ have to be installed, and need not run.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from pci_filter.tests.deployment import playing
from pci_filter.tests.deployment import servers

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
SUITE = CHECKOUT / 'pci_filter' / 'tests' / 'deployment'


def _parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--keep', action='store_true',
        help='run no test, and keep the cloud up until Ctrl-C')
    parser.add_argument(
        'filters', nargs='*', metavar='regex',
        help='run only the tests whose ids match one of these')
    return parser.parse_args()


def _run_tests(filters):
    environment = dict(os.environ, PCI_FILTER_DEPLOYMENT='1')
    with tempfile.TemporaryDirectory() as repository:
        try:
            # One process, so that there is one cloud.
            return subprocess.run(
                [sys.executable, '-m', 'stestr', '--test-path', str(SUITE),
                 '--top-dir', str(CHECKOUT), '--repo-url', repository,
                 'run', '--serial', *filters],
                cwd=CHECKOUT, env=environment).returncode
        except KeyboardInterrupt:
            return 130


def main():
    arguments = _parse_arguments()
    missing = [name for name in servers.PROGRAMS
               if not servers.find_program(name)]
    if missing:
        sys.exit(f'Not installed: {", ".join(missing)}. On Debian they are in '
                 'mariadb-server, rabbitmq-server and util-linux.')
    if not arguments.keep:
        return _run_tests(arguments.filters)
    return playing.main()


if __name__ == '__main__':
    sys.exit(main())
