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

"""Remember which hosts are in trouble, so that only a few are told of."""

from __future__ import annotations

import collections
from collections.abc import Hashable
import threading
import typing

#: Hosts that are told of for each kind of trouble. What a request or a tag
#: source has wrong is wrong for each of a thousand hosts; a few tell what
#: they have in common.
TOLD: typing.Final = 5


class HostTroubles:
    """What each host suffers from; safe to use from many threads."""

    def __init__(self) -> None:
        # How many had it already, by host and kind.
        self._numbers: dict[Hashable, dict[str, int]] = {}
        self._suffering: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def number(self, host: Hashable, kind: str) -> int:
        """Note a trouble and tell how many hosts have it, this one included.

        :param host: who has it
        :param kind: of trouble
        :returns: 0 if the host had it at any time since it was last well
        """
        with self._lock:
            kinds = self._numbers.setdefault(host, {})
            if kind in kinds:
                return 0
            self._suffering[kind] += 1
            kinds[kind] = self._suffering[kind]
            return kinds[kind]

    def is_over(self, host: Hashable) -> bool:
        """Note that a host is well.

        :returns: whether that is news, because the host was told of
        """
        if host not in self._numbers:
            # What is asked for nearly every host of every request.
            return False
        with self._lock:
            kinds = self._numbers.pop(host, {})
            self._suffering.subtract(kinds.keys())
            return any(number <= TOLD for number in kinds.values())
