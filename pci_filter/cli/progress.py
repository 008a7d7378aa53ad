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

"""Progress of long work, for who waits at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import logging
import os
import sys
import time
import typing

from pci_filter import printable

#: How many there are, or what counts them if somebody wants to know.
Steps = typing.Union[int, Callable[[], int]]

#: Starts a task, and returns what to call after each step of it.
Start = Callable[[str, Steps], Callable[[], None]]

#: Seconds between two drawings of the same task.
_PAUSE: typing.Final = 0.1

#: Columns of a terminal that does not tell how many it has.
_COLUMNS: typing.Final = 80

#: Removes what is right of the cursor.
_ERASE: typing.Final = '\x1b[K'


@contextlib.contextmanager
def on_terminal(
    visible: bool = True,
) -> Iterator[Start]:
    """Show progress on stderr if that is a terminal.

    :param visible: whether to show it at all

    Yields what to call with the title of a task and its number of steps, or
    what counts them; it returns what to call after each step.
    """
    if not (visible and sys.stderr.isatty()):
        yield lambda title, steps: lambda: None
        return
    line = _Line(sys.stderr)
    try:
        with line.kept_out_of_log():
            yield line.start
    finally:
        line.erase()


class _Line:
    """The last line of a terminal, on which the latest task is drawn.

    The cursor stays at its start, so that whatever is written next, such as
    what is logged, takes the place of the task.

    :param stderr: the terminal
    """

    def __init__(self, stderr: typing.TextIO) -> None:
        self._stderr = stderr

    def start(self, title: str, steps: Steps) -> Callable[[], None]:
        """Draw a task, and return what to call after each step of it."""
        title = printable.printable(title)
        total = steps if isinstance(steps, int) else steps()
        done = 0
        drawn = time.monotonic()

        def advance() -> None:
            nonlocal done, drawn
            done += 1
            if done >= total or time.monotonic() >= drawn + _PAUSE:
                self._draw(f'{title} {done}/{total}')
                drawn = time.monotonic()

        self._draw(f'{title} 0/{total}')
        return advance

    def _draw(self, text: str) -> None:
        # A line that is full would move the cursor to the next.
        columns = os.get_terminal_size(self._stderr.fileno()).columns
        self._write(f'{text[:(columns or _COLUMNS) - 1]}{_ERASE}\r')

    def erase(self) -> None:
        """Leave nothing of the task on the terminal."""
        self._write(_ERASE)

    def _write(self, text: str) -> None:
        self._stderr.write(text)
        self._stderr.flush()

    @contextlib.contextmanager
    def kept_out_of_log(self) -> Iterator[None]:
        """Erase the task whenever something is to be logged here."""
        def erase(record: logging.LogRecord) -> bool:
            self.erase()
            return True

        handlers = [
            handler for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler)
            and handler.stream is self._stderr]
        for handler in handlers:
            handler.addFilter(erase)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(erase)
