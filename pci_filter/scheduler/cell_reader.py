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

"""Ask cells while something else goes on.

Nova takes about a millisecond of Python for each host of a request; in that
time the databases can count the devices.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
import threading
import time
import typing

from nova import context as nova_context

#: What a cell answered, or why it did not: an exception or Nova's sentinel.
Answers = dict[str, typing.Any]

#: Connections to a cell that are used at a time. A cell that hangs must leave
#: enough of them to Nova, which has 55 by default.
_AT_ONCE: typing.Final = 16

_turns: dict[str, threading.Semaphore] = collections.defaultdict(
    lambda: threading.Semaphore(_AT_ONCE))


class CellReader:
    """Runs a function in many cells at once, in the background.

    Not in the threads that Nova asks cells with: those are few, and a cell
    that hangs must not take twice as many of them as with Nova alone.

    :param context: the request context
    :param cells: CellMappings to ask
    :param read: called with a context of each cell; returns its answer
    :param wait_for_turn: whether a cell that is asked by many already is
        asked later; otherwise it is not asked
    """

    def __init__(
        self, context: typing.Any, cells: Iterable[typing.Any],
        read: Callable[[typing.Any], typing.Any], wait_for_turn: bool = True,
    ) -> None:
        self._read = read
        self._answers: Answers = {}
        self._threads: dict[str, threading.Thread] = {}
        self._deadline = time.monotonic() + nova_context.CELL_TIMEOUT
        for cell in cells:
            turn = _turns[cell.uuid]
            if wait_for_turn or turn.acquire(blocking=False):
                self._start(context, cell, turn, has_turn=not wait_for_turn)

    def _start(
        self, context: typing.Any, cell: typing.Any,
        turn: threading.Semaphore, has_turn: bool,
    ) -> None:
        try:
            with nova_context.target_cell(context, cell) as cell_context:
                # A green thread where Nova runs on those.
                thread = threading.Thread(
                    target=self._ask,
                    args=(cell.uuid, cell_context, turn, has_turn),
                    name=f'pci_filter cell {cell.uuid}', daemon=True)
                thread.start()
        except BaseException:
            if has_turn:
                turn.release()
            raise
        self._threads[cell.uuid] = thread

    def _ask(
        self, cell_uuid: str, cell_context: typing.Any,
        turn: threading.Semaphore, has_turn: bool,
    ) -> None:
        if not has_turn and not turn.acquire(timeout=max(
                0.0, self._deadline - time.monotonic())):
            return
        try:
            # So that what is logged here names the request.
            cell_context.update_store()
            self._answers[cell_uuid] = self._read(cell_context)
        except Exception as error:
            self._answers[cell_uuid] = error
        finally:
            turn.release()

    def answers(self, cell_uuids: Iterable[str]) -> Answers:
        """Wait for some cells, until CELL_TIMEOUT after they were asked.

        :param cell_uuids: the cells; those that were not asked are left out
        :returns: what was read, or what failed, by the cell's UUID
        """
        asked = [uuid for uuid in cell_uuids if uuid in self._threads]
        for cell_uuid in asked:
            self._threads[cell_uuid].join(
                max(0.0, self._deadline - time.monotonic()))
        return {
            cell_uuid: self._answers.get(
                cell_uuid, nova_context.did_not_respond_sentinel)
            for cell_uuid in asked}

    def answers_so_far(self) -> Answers:
        """Return what there is by now, without waiting for any cell.

        :returns: as :meth:`answers`, of the cells that have answered and of
            those whose time is up
        """
        late = time.monotonic() >= self._deadline
        return self.answers([
            cell_uuid for cell_uuid in self._threads
            if late or cell_uuid in self._answers])
