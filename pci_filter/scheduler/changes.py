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

"""Remember states, so that only their changes are logged."""

from collections.abc import Hashable
import threading


class Changes:
    """The last state of each subject; safe to use from many threads."""

    def __init__(self) -> None:
        self._states: dict[Hashable, Hashable] = {}
        self._lock = threading.Lock()

    def changed(self, subject: Hashable, state: Hashable) -> bool:
        """Note the state of a subject and tell whether it is a new one.

        :param subject: what the state is of
        :param state: the state; None is the normal one, in which a subject is
            taken to be before anything is known of it
        """
        if state is None and subject not in self._states:
            # What is asked for nearly every host of every request.
            return False
        with self._lock:
            before = self._states.get(subject)
            if state is None:
                self._states.pop(subject, None)
            else:
                self._states[subject] = state
        return state != before


class Troubles:
    """What each subject suffers from; safe to use from many threads."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, frozenset[str]] = {}
        self._lock = threading.Lock()

    def is_new(self, subject: Hashable, kind: str) -> bool:
        """Note a trouble and tell whether it is news.

        It is not if the subject had it at any time since it was last well:
        what fails in several ways by turns would be news each time.

        :param subject: who has it
        :param kind: of trouble
        """
        with self._lock:
            before = self._kinds.get(subject, frozenset())
            self._kinds[subject] = before | {kind}
        return kind not in before

    def is_over(self, subject: Hashable) -> bool:
        """Note that a subject is well and tell whether that is news."""
        if subject not in self._kinds:
            # What is asked for nearly every host of every request.
            return False
        with self._lock:
            return self._kinds.pop(subject, None) is not None
