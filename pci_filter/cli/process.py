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

"""How the process of a command ends when somebody ends it."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import signal
import sys
import typing

_EXIT_INTERRUPTED: typing.Final = 128 + signal.SIGINT
_EXIT_CLOSED_PIPE: typing.Final = 128 + signal.SIGPIPE
_EXIT_TERMINATED: typing.Final = 128 + signal.SIGTERM


def run(name: str, command: Callable[[], int]) -> int:
    """Run a command, and let Ctrl-C or a closed pipe cost a line at most.

    :param name: what the program is called
    :param command: returns the exit code
    :returns: exit code; that of a shell if a signal ended the command
    """
    try:
        with _exit_on_sigterm():
            result = command()
            sys.stdout.flush()
    except KeyboardInterrupt:
        result = _EXIT_INTERRUPTED
    except BrokenPipeError:
        result = _EXIT_CLOSED_PIPE
    if result == _EXIT_INTERRUPTED:
        print(f'{name}: interrupted', file=sys.stderr)
    elif result == _EXIT_CLOSED_PIPE:
        # Python would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return result


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Unwind on SIGTERM, so that temporary files are removed."""
    def leave(*_: object) -> None:
        sys.exit(_EXIT_TERMINATED)
    earlier = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
