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

"""What was found out, and whether it is good enough."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Target:
    """What a number is to be.

    :param bound: the number that is allowed
    :param at_least: whether it is the smallest allowed, else the largest
    :param unit: what is written behind it
    """

    bound: float
    at_least: bool = False
    unit: str = 'x'

    def __str__(self) -> str:
        sign = '>=' if self.at_least else '<='
        return f'{sign} {self.bound:g}{self.unit}'

    def is_met(self, value: float) -> bool:
        """Tell whether a number is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    :param case: name of the case, for ``--only``
    :param database: where it was measured
    :param what: what was measured
    :param in_tree: Nova's number, or whatever ours is compared with
    :param ours: our number
    :param value: what the target is about; infinity if ours costs nothing
    :param shown: the same for people
    :param target: None if there is none
    :param judged: whether the numbers are fit to be judged
    :param numbers: everything behind it
    """

    case: str
    database: str
    what: str
    in_tree: str
    ours: str
    value: float | None
    shown: str
    target: Target | None = None
    judged: bool = True
    numbers: Mapping[str, typing.Any] = dataclasses.field(
        default_factory=dict)

    @property
    def verdict(self) -> str:
        """One of ``met``, ``missed``, ``not judged`` and ``-``."""
        if self.target is None:
            return '-'
        if not self.judged or self.value is None:
            return 'not judged'
        return 'met' if self.target.is_met(self.value) else 'missed'

    def as_dict(self) -> dict[str, typing.Any]:
        """Return what goes into the JSON; null stands for no ratio."""
        return {
            'case': self.case, 'database': self.database, 'what': self.what,
            'target': str(self.target) if self.target else None,
            'in_tree': self.in_tree, 'ours': self.ours,
            'value': None if self.value in (None, float('inf')) else
            self.value,
            'shown': self.shown, 'verdict': self.verdict,
            **self.numbers}


class Book:
    """Everything that was found out."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        #: By name of the case and of the database.
        self.data: dict[str, dict[str, typing.Any]] = {}
        #: What went wrong, by where.
        self.failed: dict[str, str] = {}

    def note(self, case: str, database: str, data: typing.Any) -> None:
        """Keep numbers that the table has no place for.

        :param case: name of the case
        :param database: where they were measured
        :param data: what JSON can hold
        """
        self.data.setdefault(case, {})[database] = data

    @property
    def missed(self) -> list[Row]:
        """The targets that were missed."""
        return [row for row in self.rows if row.verdict == 'missed']


def times_faster(
    theirs: float, ours: float, target: Target | None,
) -> tuple[float, str]:
    """Return how many times faster ours is, as a number and as a text.

    What Nova need not do because of ours is taken off its cost, so that can
    be zero or below. Then no number says how many times faster it is.

    :param theirs: seconds
    :param ours: seconds
    :param target: named in the text then
    """
    if theirs <= 0:
        # Not with as many hosts as are judged, unless the machine is busy.
        return 0, 'too noisy'
    if ours <= 0:
        text = f'costs nothing: {ours * 1e3:.3g} ms'
        return float('inf'), (
            f'> {target.bound:g} ({text})' if target else text)
    return theirs / ours, f'{theirs / ours:.3g}x'


def amount(value: float | None, unit: str) -> str:
    """Return a number as a text, or that there is none.

    :param value: what was measured, None if it could not be
    :param unit: what is written behind it
    """
    return 'not measured' if value is None else f'{value:,.4g}{unit}'
