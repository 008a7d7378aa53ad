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

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from concurrent import futures
import math
import time
import typing

from nova import context as nova_context
from nova.db.main import api as main_db

from pci_filter.scheduler import threads
from pci_filter.scheduler import turns

#: What a cell answered, or why it did not: an exception or Nova's sentinel.
Answers = dict[str, typing.Any]

#: Of a thread that asks no cell, and of the one that starts the service until
#: it has another.
_NOBODY: typing.Final = nova_context.RequestContext(
    is_admin=False, overwrite=False)


class CellReader:
    """Runs a function in many cells at once, in the background.

    Not in the threads that Nova asks cells with: those are few, and a cell
    that hangs must not take twice as many of them as with Nova alone.

    :param context: the request context
    :param cells: CellMappings to ask
    :param read: called with a context of each cell; returns its answer
    :param wait_for_turn: whether a cell that is asked by many already is
        asked later; otherwise it is not asked
    :param deadline: until when the cells may answer, by time.monotonic();
        unless told, CELL_TIMEOUT from now
    """

    def __init__(
        self, context: typing.Any, cells: Iterable[typing.Any],
        read: Callable[[typing.Any], typing.Any], wait_for_turn: bool = True,
        deadline: float | None = None,
    ) -> None:
        self._read = read
        self._asked: dict[str, futures.Future[typing.Any]] = {}
        self._deadline = deadline if deadline is not None else (
            time.monotonic() + nova_context.CELL_TIMEOUT)
        for cell in cells:
            with nova_context.target_cell(context, cell) as cell_context:
                self._start(cell_context, wait_for_turn)

    def _start(self, cell_context: typing.Any, wait_for_turn: bool) -> None:
        its_turns = turns.of_database(cell_context.db_connection)
        if wait_for_turn or its_turns.take(self._deadline, wait=False):
            self._asked[cell_context.cell_uuid] = ask(
                cell_context, its_turns, self._read, self._deadline,
                has_turn=not wait_for_turn)

    def answers(
        self, cell_uuids: Iterable[str], until: float = math.inf,
    ) -> Answers:
        """Wait for some cells, until the deadline.

        :param cell_uuids: the cells; those that were not asked are left out
        :param until: until when to wait if the deadline is later; a cell that
            is given up then is not overdue yet
        :returns: what was read, or what failed, by the cell's UUID
        """
        until = min(until, self._deadline)
        return {cell_uuid: wait_for(self._asked[cell_uuid], until)
                for cell_uuid in cell_uuids if cell_uuid in self._asked}

    def answers_so_far(self) -> Answers:
        """Return what there is by now, without waiting for any cell.

        :returns: as :meth:`answers`, of the cells that have answered and of
            those whose time is up
        """
        late = time.monotonic() >= self._deadline
        return self.answers([
            cell_uuid for cell_uuid, answer in self._asked.items()
            if late or answer.done()])


def ask(
    context: typing.Any, its_turns: turns.Turns,
    read: Callable[[typing.Any], typing.Any], deadline: float,
    has_turn: bool = False,
) -> futures.Future[typing.Any]:
    """Run a function that reads a database, in the background.

    :param context: what it is called with; nobody else may use it
    :param its_turns: those of the database
    :param read: the function
    :param deadline: until when it may take, by time.monotonic()
    :param has_turn: whether a turn was taken for it, with this deadline
    :returns: what its answer is going to be in
    """
    answer: futures.Future[typing.Any] = futures.Future()

    def run() -> None:
        answer.set_result(
            _read(context, its_turns, read, deadline)
            if has_turn or its_turns.take(deadline, wait=True)
            else nova_context.did_not_respond_sentinel)

    try:
        threads.run(run)
    except BaseException:
        if has_turn:
            its_turns.give_back(deadline)
        raise
    return answer


def _read(
    context: typing.Any, its_turns: turns.Turns,
    read: Callable[[typing.Any], typing.Any], deadline: float,
) -> typing.Any:
    try:
        # So that what is logged here names the request.
        context.update_store()
        return read(context)
    except BaseException as error:
        # The thread goes on.
        return error
    finally:
        its_turns.give_back(deadline)
        # The thread is kept, which must not keep a cell's connections.
        _NOBODY.update_store()


def wait_for(
    answer: futures.Future[typing.Any], deadline: float,
) -> typing.Any:
    """Return what a database answered, or why it did not; see Answers."""
    try:
        return answer.result(max(0.0, deadline - time.monotonic()))
    except futures.TimeoutError:
        return nova_context.did_not_respond_sentinel


def read_databases(
    context: typing.Any, cells: Sequence[typing.Any],
    read: Callable[[typing.Any], typing.Any], seconds: float,
    wait_for_turn: bool = True,
) -> Answers:
    """Ask the databases of cells, and wait no longer than some seconds.

    A statement that takes longer goes on: to give up waiting for it does not
    mean that the database is gone.

    :param context: the request context
    :param cells: CellMappings
    :param read: called with a connection to each
    :param seconds: how long to wait
    :param wait_for_turn: as of :class:`CellReader`
    :returns: what there is of each cell; None of one that was not asked
    """
    def read_cell(cell_context: typing.Any) -> typing.Any:
        database = main_db.get_context_manager(cell_context).reader
        with database.connection.using(cell_context) as connection:
            return read(connection)

    reader = CellReader(context, cells, read_cell, wait_for_turn)
    answers = reader.answers(
        [cell.uuid for cell in cells], time.monotonic() + seconds)
    return {cell.uuid: answers.get(cell.uuid) for cell in cells}
