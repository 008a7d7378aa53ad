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

"""Write the screen that the documentation of the audit shows.

It is what the installed command says of a fleet that Nova's own tracker keeps
and in which some things were made wrong.
"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import textwrap

from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.tests.functional.nova import audit_fleet
from pci_filter.tests.functional.nova import base

TARGET = (pathlib.Path(__file__).resolve().parent.parent / 'doc' / 'source'
          / '_generated' / 'audit-screen.inc')
COMMAND = pathlib.Path(sys.executable).with_name('pci-filter')
PLANTED = ('owner_missing', 'parent_child', 'rp_split', 'summary_count')


class Bed:
    """What a fleet needs: a cloud, and options of nova.conf.

    :param cloud: an open cloud
    :param closing: takes what is to be undone in the end
    """

    def __init__(self, cloud, closing):
        self.cloud = cloud
        self._closing = closing

    def override(self, group, **options):
        self._closing.enter_context(databases.overriding(group, **options))


def screen(directory):
    """Return what the command shows.

    :param directory: folder for the databases
    """
    with contextlib.ExitStack() as closing:
        cloud = closing.enter_context(
            base.Cloud(cells=1, directory=directory))
        conf.register_opts(databases.CONF)
        fleet = audit_fleet.Fleet(Bed(cloud, closing))
        for kind in PLANTED:
            getattr(fleet, f'plant_{kind}')()
        configuration = pathlib.Path(directory, 'nova.conf')
        configuration.write_text(
            f'[api_database]\nconnection = sqlite:///{directory}/api.db\n')
        # A terminal has 80 columns; here some are the margin.
        return subprocess.run(
            [COMMAND, 'audit', '--grace', '1', '--config-file',
             configuration, '--max-width', '75'],
            stdout=subprocess.PIPE, text=True, check=False).stdout


def main():
    """Write the file."""
    with tempfile.TemporaryDirectory() as directory:
        shown = screen(directory)
    TARGET.write_text(
        '.. Written by tools/audit_screen.py\n\n'
        '.. code-block:: console\n\n'
        + textwrap.indent(f'$ pci-filter audit\n{shown}', '   '))


if __name__ == '__main__':
    main()
