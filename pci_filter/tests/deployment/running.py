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

"""A cloud that runs until this process ends, however that comes about."""

import atexit
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from pci_filter.tests.deployment import cloud
from pci_filter.tests.deployment import hosts

_STARTED = time.monotonic()


def say(text):
    """Print what happens now, also where standard output is captured."""
    print(f'[{time.monotonic() - _STARTED:4.0f} s] {text}',
          file=sys.__stderr__, flush=True)


def start(fleet=hosts.HOSTS):
    """Start a cloud in a temporary directory, and return it.

    Call stop() when it is not needed any more.

    :param fleet: its compute hosts
    """
    # So that the clean-up runs then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = pathlib.Path(tempfile.mkdtemp(prefix='pci-filter-deployment-'))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    started = cloud.Cloud(directory, say, fleet)
    atexit.register(started.kill)
    try:
        started.start()
    except Exception:
        for name, tail in started.log_tails().items():
            say(f'The end of the log of {name}:\n{tail}')
        raise
    return started


def stop(running):
    """Kill the servers of a cloud and remove what they wrote."""
    atexit.unregister(running.kill)
    running.kill()
    shutil.rmtree(running.directory)
