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

"""How many may ask a cell at a time."""

import os
import threading
import time
import typing
import weakref

import nova.conf

#: At most so many ask a cell at a time, whatever Nova may open.
_MOST: typing.Final = 16


class Turns:
    """Lets a number of askers have a turn, while others wait for theirs.

    Who is overdue has no turn any more: a database that vanished without a
    word keeps him until the kernel notices, which can take hours, and is back
    long before. But he still has his connection, so fewer may ask beside him;
    with that number overdue only one at a time tries whether the database is
    back. If he is overdue as well, those who waited for him need not try, so
    that it usually takes as many times ``CELL_TIMEOUT`` until twice that
    number are overdue. More do not ask.

    :param at_once: the number
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._changed = threading.Condition()
        self._deadlines: list[float] = []

    def take(self, deadline: float, wait: bool) -> bool:
        """Take a turn; tell whether there was one.

        :param deadline: when it is overdue, by time.monotonic(); to be handed
            to :meth:`give_back`
        :param wait: whether to wait for one, no longer than until the
            deadline
        """
        waited_with = None
        with self._changed:
            while True:
                now = time.monotonic()
                ahead = [one for one in self._deadlines if one > now]
                overdue = len(self._deadlines) - len(ahead)
                if waited_with is None:
                    waited_with = overdue
                vanished = self._at_once <= overdue > waited_with
                if vanished or overdue >= 2 * self._at_once:
                    return False
                if wait and deadline <= now:
                    return False
                if len(ahead) < max(1, self._at_once - overdue):
                    self._deadlines.append(deadline)
                    return True
                if not wait:
                    return False
                self._changed.wait(min(deadline, *ahead) - now)

    def give_back(self, deadline: float) -> None:
        """Let others have a turn.

        :param deadline: with which it was taken
        """
        with self._changed:
            self._deadlines.remove(deadline)
            self._changed.notify_all()


_turns: weakref.WeakKeyDictionary[typing.Any, Turns] = (
    weakref.WeakKeyDictionary())
_lock = threading.Lock()

# In a child nobody gives back those of its parent. Nova forks before anybody
# asks a cell, so nobody has the lock then.
os.register_at_fork(after_in_child=_turns.clear)


def of_database(manager: typing.Any) -> Turns:
    """Return the turns of a cell's database.

    Not of the cell: at SIGHUP it may get another database, which must not
    wait for those that try to connect to the former one.

    :param manager: with which Nova connects to it, an oslo.db transaction
        context manager
    """
    with _lock:
        turns = _turns.get(manager)
        if turns is None:
            turns = _turns[manager] = Turns(_at_once())
        return turns


def _at_once() -> int:
    """Return a third of the connections that Nova may have to a database.

    Those who are overdue may have another third; the last one is left to
    Nova, unless there are less than three connections.
    """
    options = nova.conf.CONF.database
    size: int = options.max_pool_size
    overflow: int = options.max_overflow
    # SQLAlchemy takes 0 and -1 for "any number".
    if size < 1 or overflow < 0:
        return _MOST
    return min(_MOST, max(1, (size + overflow) // 3))
