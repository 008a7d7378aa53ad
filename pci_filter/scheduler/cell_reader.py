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

from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
import time
import typing

from nova import context as nova_context

from pci_filter.scheduler import cell_databases
from pci_filter.scheduler import shared_reads

#: What a cell answered, or why it did not: an exception or Nova's sentinel.
Answers = dict[str, typing.Any]


class CellReader:
    """Reads something in many cells at once, in the background.

    Not in the threads that Nova asks cells with: those are few, and a cell
    that hangs must not take twice as many of them as with Nova alone.

    Who asks the same at the same time gets the same answers, and must not
    change them.

    :param context: the request context
    :param wanted: the CellMappings to ask, each with the UUIDs of the compute
        nodes that it is asked for
    :param read: called with a connection to the cell and the compute nodes,
        maybe with others among them
    :param timeout: ``[pci_filter]load_timeout``
    :param question: tells it from what else is read of these nodes; None if
        the answer is for nobody else
    """

    def __init__(
        self, context: typing.Any,
        wanted: Iterable[tuple[typing.Any, Sequence[str]]],
        read: shared_reads.Read, timeout: int,
        question: Hashable | None = None,
    ) -> None:
        self._asked: dict[
            str, tuple[shared_reads.SharedReads, shared_reads.Batch]] = {}
        self.deadline = time.monotonic() + timeout
        connections = (cell_databases.UNSHARED if question is None
                       else cell_databases.SHARED)
        for cell, nodes in wanted:
            reads = cell_databases.of_cell(
                context, cell, timeout, connections).reads
            self._asked[cell.uuid] = reads, reads.join(
                object() if question is None else question, read, nodes,
                self.deadline, context)

    def answers(
        self, cell_uuids: Iterable[str], deadline: float | None = None,
    ) -> Answers:
        """Wait for some cells.

        :param cell_uuids: the cells; those that were not asked are left out
        :param deadline: how long, by time.monotonic(); unless told, for the
            timeout from when they were asked
        :returns: what was read, or what failed, by the cell's UUID. A failure
            that came after the timeout is told as no answer: drivers and
            servers, which end what hangs, have many words for it.
        """
        deadline = self.deadline if deadline is None else deadline
        found: Answers = {}
        for cell_uuid in cell_uuids:
            if cell_uuid in self._asked:
                reads, batch = self._asked[cell_uuid]
                answer = reads.wait(batch, deadline)
                if isinstance(answer, BaseException) and (
                        batch.ended > self.deadline):
                    answer = nova_context.did_not_respond_sentinel
                found[cell_uuid] = answer
        return found

    def answers_so_far(self) -> Answers:
        """Return what there is by now, without waiting for any cell.

        :returns: as :meth:`answers`, of the cells that have answered and of
            those whose time is up
        """
        late = time.monotonic() >= self.deadline
        return self.answers([
            cell_uuid for cell_uuid, (_, batch) in self._asked.items()
            if late or batch.answer.done()])

    def most_requests(self) -> int:
        """Return how many requests share the read that most of them share."""
        return max(
            (batch.requests for _, batch in self._asked.values()), default=0)


def read_databases(
    context: typing.Any, cells: Sequence[typing.Any],
    nodes: Sequence[str], read: shared_reads.Read, timeout: int,
    seconds: float, question: Hashable | None = None,
) -> Answers:
    """Ask the databases of cells, and wait no longer than some seconds.

    A statement that takes longer goes on: to give up waiting for it does not
    mean that the database is gone.

    :param context: the request context
    :param cells: CellMappings
    :param nodes: UUIDs of compute nodes that all of them are asked for
    :param read: as of :class:`CellReader`
    :param timeout: ``[pci_filter]load_timeout``
    :param seconds: how long to wait, at most so long
    :param question: as of :class:`CellReader`
    :returns: what there is of each cell
    """
    reader = CellReader(
        context, [(cell, nodes) for cell in cells], read, timeout, question)
    return reader.answers(
        [cell.uuid for cell in cells],
        min(reader.deadline, time.monotonic() + seconds))
