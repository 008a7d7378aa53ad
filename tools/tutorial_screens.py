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

"""Write the screens of the tutorial: what the installed commands say."""

import pathlib
import shlex
import subprocess
import sys
import tempfile
import textwrap

GENERATED = (pathlib.Path(__file__).resolve().parent.parent / 'doc' / 'source'
             / '_generated')
COMMAND = pathlib.Path(sys.executable).with_name('pci-filter')

# Where a reader is supposed to have the demo.
SHOWN = '/tmp/demo'

SCREENS = {
    'pools': "pool list --host 'gpu-*1'",
    'explain': 'explain --alias gpu:2',
    'explain-one': "explain --host gpu-11 --request '{\"count\": 2, "
                   '"physical_network": "physnet1", '
                   '"remote_managed": "false"}\'',
    'explain-typo': "explain --alias gpu-typo --host 'gpu-*'",
    'capacity': "capacity --alias gpu:2 --host 'gpu-*'",
    'audit': 'audit --cell cell2 --grace 0',
}


def screen(command, directory):
    """Return what a terminal shows when a command is run on the demo."""
    line = f'{command} --config-file {SHOWN}/nova.conf'
    run = subprocess.run(
        # A terminal has 80 columns; here some are the margin.
        [COMMAND, *shlex.split(line.replace(SHOWN, directory)),
         '--max-width', '75'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    shown = run.stdout.replace(directory, SHOWN)
    return f'$ pci-filter {line}\n{shown}$ echo $?\n{run.returncode}\n'


def main():
    """Write the files."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [COMMAND, 'demo', '--hosts', '12', '--keep', directory],
            stdout=subprocess.DEVNULL, check=True)
        for name, command in SCREENS.items():
            GENERATED.joinpath(f'tutorial-{name}.inc').write_text(
                '.. Written by tools/tutorial_screens.py\n\n'
                '.. code-block:: console\n\n'
                + textwrap.indent(screen(command, directory), '   '))


if __name__ == '__main__':
    main()
