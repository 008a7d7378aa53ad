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

"""What is to be measured, and how often."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import typing

#: Most hosts that placement returns by default:
#: [scheduler]max_placement_results.
MAIN_SIZE: typing.Final = 1000

CASES: typing.Final = (
    'decision', 'requests', 'numa', 'load', 'nopci', 'reservation', 'flat',
    'memory', 'profile', 'price', 'micro', 'claim', 'cells', 'grid')


@dataclasses.dataclass(frozen=True)
class Plan:
    """The options of a run.

    :param sizes: numbers of hosts, ascending
    :param rounds: how often each thing is measured
    :param cells: cells of the simulation
    :param hosts_per_cell: hosts in each
    :param only: the cases to run
    :param quick: see that it works, judge nothing
    :param mysql: URL of a database on MariaDB or MySQL, if there is one
    """

    sizes: Sequence[int]
    rounds: int
    cells: int
    hosts_per_cell: int
    only: Sequence[str] = CASES
    quick: bool = False
    mysql: str | None = None

    @property
    def main_size(self) -> int:
        """The number of hosts that most cases are measured with."""
        return max((size for size in self.sizes if size <= MAIN_SIZE),
                   default=self.sizes[0])

    @property
    def largest_size(self) -> int:
        """The number of hosts at the end."""
        return self.sizes[-1]

    def judges(self, size: int, wanted: int = MAIN_SIZE) -> bool:
        """Tell whether numbers are judged.

        :param size: hosts they were measured with
        :param wanted: hosts that the target is about
        """
        return not self.quick and size == wanted
