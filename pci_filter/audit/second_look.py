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

"""What is still found when one looks again.

nova-compute writes the summary before the rows, and the rows one by one. Who
reads in between finds what is none. Such a moment is over soon, but on a busy
host there are many of them, so to find the same again is not enough: nobody
must have written there in between.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator

from pci_filter.audit import finding


class Suspicions:
    """Findings of one cell that have to be found again.

    Only what identifies them is kept, for there can be many.
    """

    def __init__(self) -> None:
        self._evidence: dict[finding.Identity, int] = {}

    def __len__(self) -> int:
        return len(self._evidence)

    def add(self, found: finding.Finding) -> None:
        """Take a finding for one that may go away."""
        self._evidence[found.identity] = found.evidence

    def is_found_again(self, found: finding.Finding) -> bool:
        """Tell whether a finding is as it was."""
        return self._evidence.get(found.identity) == found.evidence

    @property
    def node_ids(self) -> Collection[int]:
        """Ids of the compute nodes that are to be read again."""
        return {node_id for _, node_id, _ in self._evidence}

    def settle(
        self, found_again: Iterable[finding.Finding],
    ) -> Iterator[finding.Finding]:
        """Yield the findings that are as they were.

        Of the others, those that rest on something else now are kept for
        another look, and those that are not found again forgotten.

        :param found_again: all that is found on ``node_ids`` now
        """
        changed = {}
        for found in found_again:
            if self.is_found_again(found):
                yield found
            elif found.identity in self._evidence:
                changed[found.identity] = found.evidence
        self._evidence = changed
