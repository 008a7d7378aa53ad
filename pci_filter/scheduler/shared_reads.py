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

"""Let one read of a database serve all requests that ask the same of it.

It costs a database as much to count the devices of a thousand compute nodes
for one request as for ten. So those that come while it counts wait for the
next time, and that serves all of them.

Nothing is kept for later: what a request gets was read after it asked.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
from concurrent import futures
import contextvars
import functools
import math
import os
import threading
import time
import typing

from nova import context as nova_context

from pci_filter.scheduler import threads

#: Reads something of some compute nodes, by a connection. Of others it may
#: tell something, too.
Read = Callable[[typing.Any, Sequence[str]], typing.Any]

#: Seconds from when all have given up on a read to when it is ended: some of
#: them may be late because Nova is busy, and could use it yet.
_PATIENCE: typing.Final = 5

#: Reads of a database that may hang until its connections are not abandoned
#: any more. What cannot be hung up would keep another connection for each time
#: that all have given up; then the pool bounds them.
_MOST_HANGING: typing.Final = 16

#: Of a thread that reads nothing.
_NOBODY: typing.Final = nova_context.RequestContext(
    is_admin=False, overwrite=False)


#: What the thread that reads is to call with the driver's connection.
_use: contextvars.ContextVar[Callable[[typing.Any], None]] = (
    contextvars.ContextVar('pci_filter_use'))


def note_connection(connection: typing.Any) -> typing.Any:
    """Note what this thread is going to wait for; return that.

    :param connection: of the driver
    """
    use = _use.get(None)
    if use is not None:
        use(connection)
    return connection


class Database(typing.Protocol):
    """What is needed of a cell's database."""

    def connect(self) -> typing.ContextManager[typing.Any]:
        """Yield a connection whose transaction has not begun to read."""

    def abandon(self) -> None:
        """Use no connection again that there is."""

    def line(self, connection: typing.Any) -> int | None:
        """Return a descriptor of a connection of the driver, to be closed.

        :returns: None if it has no socket that can be hung up
        """

    def hang_up(self, line: int) -> None:
        """End what somebody waits for at the other end of a descriptor."""


class Batch:
    """What is read at once, for one request or several.

    The lock of SharedReads guards it. Without it may be read: ``nodes`` once
    the batch has begun, for they do not change any more; ``ended``, which is
    written before there is an answer, once there is one; and ``requests`` for
    the log.

    :param question: what tells it from other reads but for the nodes
    :param read: what reads it
    :param context: of a request, for the log
    """

    def __init__(
        self, question: Hashable, read: Read, context: typing.Any,
    ) -> None:
        self.question = question
        self.read = read
        self.context = context
        self.answer: futures.Future[typing.Any] = futures.Future()
        #: The compute nodes of all requests, in the order of a dict.
        self.nodes: dict[str, None] = {}
        #: How many requests there are.
        self.requests = 0
        #: When the last of them gives up, by time.monotonic().
        self.deadline = 0.0
        #: When there was an answer, by time.monotonic().
        self.ended = math.inf
        #: Whether the connections were abandoned for it.
        self.is_given_up = False
        #: A descriptor of the connection while something is waited for there.
        #: It is nobody else's: the driver may close its own at any time, and
        #: the number would be something else's then.
        self.line: int | None = None
        self.is_hung_up = False


class SharedReads:
    """The reads of one database.

    Of each question there are at most one batch that everybody waits for, the
    current one, and one that is open for whoever comes, the next one. The
    next one becomes the current one when that ends, or when all its requests
    have given up on it: a database that vanished without a word may keep it
    for long, and may be back long before.

    What has to be so, of requests A and B:

    * The lock guards which batches there are, and what is in them. Nobody
      connects, reads, waits or starts a thread while he has it: the threads
      of all requests need it, and would stand still with him.
    * A batch is closed before its transaction begins. Were it the other way
      round, A's read may have begun when somebody takes the last device and
      B comes: B would join it, and be sent where the device has been.
    * Nobody joins the current batch, for the same reason, not even for nodes
      that it asks for anyway.
    * A connection leaves its batch, under the lock, before the pool has it
      back. Were it the other way round, it could be B's when A's batch is
      found to hang and is hung up on.

    :param database: where it is read
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._next: dict[Hashable, Batch] = {}
        self._current: dict[Hashable, Batch] = {}
        # All that have begun and not ended.
        self._busy: list[Batch] = []

    def join(
        self, question: Hashable, read: Read, nodes: Iterable[str],
        deadline: float, context: typing.Any,
    ) -> Batch:
        """Ask for something that is read after this call has begun.

        :param question: what is asked but for the nodes; who asks the same
            gets the same answer
        :param read: what reads it
        :param nodes: UUIDs of compute nodes; there may be others in the answer
        :param deadline: how long the asker is likely to wait, by
            time.monotonic()
        :param context: the request context
        """
        with self._lock:
            batch = self._next.get(question)
            if batch is None:
                batch = self._next[question] = Batch(question, read, context)
            batch.nodes.update(dict.fromkeys(nodes))
            batch.requests += 1
            batch.deadline = max(batch.deadline, deadline)
            begun = self._begin(question)
        self._look_after(begun)
        return batch

    def wait(self, batch: Batch, deadline: float) -> typing.Any:
        """Return what was read, or what failed.

        :param batch: what :meth:`join` gave
        :param deadline: until when to wait, by time.monotonic()
        :returns: Nova's sentinel if it takes longer
        """
        while not batch.answer.done():
            with self._lock:
                batch.deadline = max(batch.deadline, deadline)
                begun = self._begin(batch.question)
                until = deadline
                current = self._current.get(batch.question)
                if current and self._next.get(batch.question) is batch:
                    until = min(until, current.deadline)
            self._look_after(begun)
            now = time.monotonic()
            try:
                batch.answer.result(max(0.0, until - now))
            except futures.TimeoutError:
                if now >= deadline:
                    return nova_context.did_not_respond_sentinel
        return batch.answer.result()

    def _begin(self, question: Hashable) -> Batch | None:
        """Make the next batch the current one if nobody waits for that.

        Not if all have given up on the next one as well: that is begun when
        somebody comes, or comes back to it. To be called with the lock.

        :returns: what is to be read now
        """
        now = time.monotonic()
        current = self._current.get(question)
        if current is not None and current.deadline > now:
            return None
        batch = self._next.get(question)
        if batch is None or batch.deadline <= now:
            return None
        del self._next[question]
        self._current[question] = batch
        self._busy.append(batch)
        return batch

    def _look_after(self, begun: Batch | None) -> None:
        """Let a batch be read, if there is one, and give up on others."""
        now = time.monotonic()
        with self._lock:
            late = [batch for batch in self._busy
                    if batch.deadline < now and not batch.is_given_up]
            for batch in late:
                batch.is_given_up = True
            hanging = sum(batch.is_given_up for batch in self._busy)
            for batch in self._busy:
                if batch.deadline + _PATIENCE < now and (
                        batch.line is not None and not batch.is_hung_up):
                    # That does not wait for anything.
                    self._database.hang_up(batch.line)
                    batch.is_hung_up = True
        if late and hanging <= _MOST_HANGING:
            self._database.abandon()
        while begun is not None:
            try:
                threads.run(functools.partial(self._work, begun))
            except Exception as error:
                begun = self._end(begun, error)
            else:
                break

    def _work(self, batch: Batch) -> None:
        """Read batches until there is no next one."""
        following: Batch | None = batch
        while following is not None:
            batch = following
            following = self._end(batch, self._read(batch))
        # The thread is kept, which must not keep anything of a request.
        del batch

    def _read(self, batch: Batch) -> typing.Any:
        def use(connection: typing.Any) -> None:
            line = None if connection is None else (
                self._database.line(connection))
            with self._lock:
                former, batch.line = batch.line, line
                batch.is_hung_up = False
            if former is not None:
                os.close(former)

        token = _use.set(use)
        try:
            # So that what is logged here names a request.
            batch.context.update_store()
            with self._database.connect() as connection:
                return batch.read(connection, list(batch.nodes))
        except BaseException as error:
            # The thread goes on.
            return error
        finally:
            use(None)
            _use.reset(token)
            _NOBODY.update_store()

    def _end(self, batch: Batch, answer: typing.Any) -> Batch | None:
        """Tell an answer, and return what is to be read next."""
        following = None
        with self._lock:
            self._busy.remove(batch)
            if self._current.get(batch.question) is batch:
                del self._current[batch.question]
                following = self._begin(batch.question)
        batch.ended = time.monotonic()
        batch.answer.set_result(answer)
        return following
