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
