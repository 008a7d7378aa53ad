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

"""Be interrupted only where that does no harm.

Python raises what a signal asks for wherever it happens to be. In a weak
reference's callback, of which SQLAlchemy has many, it is swallowed there, and
between creating something and noting that it is to be removed it leaves that
behind.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import signal
import typing

_SIGNALS: typing.Final = (signal.SIGINT, signal.SIGTERM)


class _Waiting:
    """Signals that arrived and were not acted upon yet."""

    def __init__(self) -> None:
        # A signal that is ignored, as SIGINT is in a background job, stays so.
        self._handlers = {
            number: handler for number in _SIGNALS
            if callable(handler := signal.getsignal(number))}
        self._first: int | None = None
        self._acted = False

    def install(self) -> None:
        """Take the place of the handlers that there are."""
        for number in self._handlers:
            signal.signal(number, self._note)

    def restore(self) -> None:
        """Give the handlers their place back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: typing.Any) -> None:
        if self._first is None:
            self._first = number
        elif not self._acted:
            # Asked twice: somebody is tired of waiting.
            self.act()

    def act(self) -> None:
        """Do what the first signal would have done."""
        if self._first is not None and not self._acted:
            self._acted = True
            self._handlers[signal.Signals(self._first)](self._first, None)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back until it is safe to act upon them.

    Yields what to call where it is safe; it raises what the signal's handler
    raises. A second signal does not wait. Once on the way out, further ones
    are ignored.
    """
    waiting = _Waiting()
    waiting.install()
    try:
        yield waiting.act
    finally:
        waiting.restore()
    waiting.act()
