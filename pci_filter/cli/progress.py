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

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import logging
import sys
import typing

from rich import console as rich_console
from rich import progress as rich_progress

from pci_filter import printable

#: How many there are, or what counts them if somebody wants to know.
Steps = typing.Union[int, Callable[[], int]]

#: Starts a task, and returns what to call after each step of it.
Start = Callable[[str, Steps], Callable[[], None]]


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
        # Before 15.0, rich ends a progress that it does not show with a line.
        yield lambda title, steps: lambda: None
        return
    progress = rich_progress.Progress(
        rich_progress.TextColumn('{task.description}', markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        console=rich_console.Console(stderr=True),
        transient=True)

    def start(title: str, steps: Steps) -> Callable[[], None]:
        task = progress.add_task(
            printable.printable(title),
            total=steps if isinstance(steps, int) else steps())
        return lambda: progress.advance(task)

    stderr = sys.stderr
    with progress, _logging_instead_of(stderr):
        yield start


@contextlib.contextmanager
def _logging_instead_of(stderr: typing.TextIO) -> Iterator[None]:
    """Send log lines to what rich has put in the place of stderr.

    It prints them above the bars; they would be written into those.
    """
    handlers = [
        handler for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler)
        and handler.stream is stderr]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(stderr)
