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

"""A process that is told what to do in lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import typing


class Worker:
    """A process that reads and writes lines of JSON.

    :param module: what it runs
    :param arguments: of the process
    :param log: where to write what it has to say besides
    :param said: a queue that gets what it writes
    """

    def __init__(
        self, module: typing.Any, arguments: Sequence[object],
        log: pathlib.Path, said: queue.Queue[typing.Any],
    ) -> None:
        with log.open('ab') as errors:
            self._process = subprocess.Popen(
                [sys.executable, '-W', 'ignore', '-m', module.__name__,
                 *map(str, arguments)], text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ,
                     'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'})
        if self._output.readline() != 'ready\n':
            raise RuntimeError(log.read_text()[-2000:])
        self._said = said
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def _output(self) -> typing.IO[str]:
        assert self._process.stdout
        return self._process.stdout

    def _read(self) -> None:
        for line in self._output:
            self._said.put(json.loads(line))

    def tell(self, message: object) -> None:
        """Write a line."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + '\n')
        self._process.stdin.flush()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
