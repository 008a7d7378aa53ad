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

"""What the kernel knows about processes of this machine."""

from collections.abc import Iterator
import os
import pathlib
import typing

_PROC: typing.Final = pathlib.Path('/proc')


class Process(typing.NamedTuple):
    """A process as it is now.

    :param pid: its id
    :param name: of its program, as far as the kernel keeps it
    :param parent: id of the process that started it
    :param seconds: processor time of all its threads, ended ones included
    :param ended: the same of its children that have ended
    """

    pid: int
    name: str
    parent: int
    seconds: float
    ended: float


def find(pid: int) -> Process:
    """Look a process up.

    :raises OSError: if there is none, or no ``/proc``
    """
    text = (_PROC / str(pid) / 'stat').read_text(encoding='utf-8')
    # The name may have blanks and parentheses in it.
    head, _, tail = text.rpartition(')')
    fields = tail.split()
    user, system, of_ended, system_of_ended = map(int, fields[11:15])
    tick = 1 / os.sysconf('SC_CLK_TCK')
    return Process(
        pid, head.partition('(')[2], int(fields[1]), (user + system) * tick,
        (of_ended + system_of_ended) * tick)


def children(pid: int) -> Iterator[Process]:
    """Yield the children of a process that have not ended."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                process = find(int(entry.name))
            except OSError:
                # It has ended since.
                continue
            if process.parent == pid:
                yield process
