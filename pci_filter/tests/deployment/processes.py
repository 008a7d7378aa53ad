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

"""Server processes: started, watched, signalled and ended by their id."""

import os
import pathlib
import signal
import socket
import subprocess
import time

# How long anything may take, in seconds. Only failures last that long.
PATIENCE = 180


class NotInTime(Exception):
    """What was waited for has not come about."""


def wait_for(what, condition, seconds=PATIENCE):
    """Poll until the condition is true, and return what it returned.

    :param what: what is waited for, in words
    :param condition: a callable; an OSError is a "not yet"
    :raises NotInTime: it was not true in time
    """
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = condition()
        except OSError as error:
            last = None
            reason = error
        else:
            reason = last
        if last:
            return last
        time.sleep(0.3)
    raise NotInTime(f'{what}: not after {seconds} s ({reason})')


def free_ports(count):
    """Return ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    try:
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


class Process:
    """A server, in a process group of its own.

    :param name: also of its log
    :param command: with its arguments
    :param directory: where its log goes
    :param environment: variables to set besides those of this process
    """

    def __init__(self, name, command, directory, environment=None):
        self.name = name
        self.command = [str(part) for part in command]
        self.log = pathlib.Path(directory) / f'{name}.log'
        self._environment = environment or {}
        self._popen = None

    @property
    def pid(self):
        return self._popen.pid if self._popen else None

    def start(self, **environment):
        """Start it, with more variables this time."""
        with self.log.open('ab') as log:
            # If this process is killed its servers end too.
            self._popen = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'TERM', '--', *self.command],
                stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **self._environment, **environment})

    def is_running(self):
        return self._popen is not None and self._popen.poll() is None

    def wait_until(self, what, condition):
        """Wait for a condition for as long as the process runs."""
        def check():
            if not self.is_running():
                raise NotInTime(f'{self.name} ended before {what}')
            return condition()

        return wait_for(f'{self.name}: {what}', check)

    def signal(self, number):
        self._popen.send_signal(number)

    def stop(self):
        """Ask it to end, as an init system does."""
        if self.is_running():
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(60)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """Kill it and what it has started."""
        if self._popen is None:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()

    def read_log(self, offset=0):
        """Return the log from a byte on."""
        if not self.log.exists():
            return ''
        return self.log.read_bytes()[offset:].decode(errors='replace')

    def log_size(self):
        return self.log.stat().st_size if self.log.exists() else 0
