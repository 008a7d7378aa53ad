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


"""Write the screen that the documentation of pci-filter-status shows.

It is what the installed command says of two cells whose rows and summaries
Nova's own tracker and ours wrote. One host has lost its summary, and the line
that makes the filter available was forgotten.
"""

import pathlib
import subprocess
import sys
import tempfile
import textwrap

from pci_filter.compute import tracker
from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import hardware

TARGET = (pathlib.Path(__file__).resolve().parent.parent / 'doc' / 'source'
          / '_generated' / 'status-screen.inc')
COMMAND = pathlib.Path(sys.executable).with_name('pci-filter-status')
SPEC = ['{"address": "*:81:*.*", "physical_network": "physnet1"}']


def screen(directory):
    """Return what the command shows.

    :param directory: folder for the databases
    """
    with embedded.EmbeddedCloud(cells=2, directory=directory) as cloud:
        for cell, name, ours in (
                (0, 'compute-01', False), (0, 'compute-02', False),
                (1, 'compute-03', True), (1, 'compute-04', True)):
            cloud.add_host(
                cell, name, hardware.network_card(
                    hardware.INTEL_X710, 0x81, 0, ports=1, vfs=8), SPEC,
                tracker=tracker.PciDevTracker if ours else None)
        cloud.store_summary(cloud.hosts['compute-02'], None)
        configuration = pathlib.Path(directory, 'nova.conf')
        configuration.write_text(
            f'[api_database]\nconnection = sqlite:///{directory}/api.db\n'
            # What is said of a store names a folder and a user.
            '[pci_filter]\nreservations = none\n'
            '[filter_scheduler]\n'
            'enabled_filters = ComputeFilter,PciPassthroughFilter\n')
        return subprocess.run(
            [COMMAND, '--config-file', configuration, 'upgrade', 'check'],
            stdout=subprocess.PIPE, text=True, check=False).stdout


def main():
    """Write the file."""
    with tempfile.TemporaryDirectory() as directory:
        shown = screen(directory)
    TARGET.write_text(
        '.. Written by tools/status_screen.py\n\n'
        '.. code-block:: console\n\n'
        + textwrap.indent(
            f'$ pci-filter-status upgrade check\n{shown}', '   '))


if __name__ == '__main__':
    main()
