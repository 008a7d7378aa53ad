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

"""Measure things that are compared, in turns.

A machine is slower at one time than at another, so what is compared is
measured in rounds, each thing once in each, in an order that rotates. Where
one thing is subtracted from another that is done within each round and the
median of the differences is taken: what slows a whole round down is in
neither. The garbage collector stays on, as it is in a scheduler, and is run
before each measurement so that nobody pays for somebody else's garbage.

Still it comes in steps: whether a request has made enough objects for one
more full collection, which takes hundreds of milliseconds, may be decided by
a few hosts. Judged is what was measured, with that; the part of it that is
the collector's is reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
import gc
import statistics
import time
import typing

Name = typing.TypeVar('Name', bound=Hashable)
Sample = typing.TypeVar('Sample')


def interleaved(
    measurements: Mapping[Name, Callable[[], Sample]], rounds: int,
    warm_up: int = 1, fewer: Mapping[Name, int] | None = None,
) -> dict[Name, list[Sample]]:
    """Measure everything in each round.

    :param measurements: functions that measure something once
    :param rounds: how often
    :param warm_up: rounds before these, which are not counted
    :param fewer: what takes part in the first rounds only, and in how many
    :returns: for each function what it returned, round by round
    """
    names = list(measurements)
    samples: dict[Name, list[Sample]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if number >= (fewer or {}).get(name, rounds):
                continue
            sample = measurements[name]()
            if number >= 0:
                samples[name].append(sample)
    return samples


class Garbage:
    """What the garbage collector takes, while in a ``with`` block."""

    def __init__(self) -> None:
        #: Seconds.
        self.seconds = 0.0
        #: Collections that went through all objects of the process.
        self.full = 0
        self._start = 0.0

    def __enter__(self) -> Garbage:
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == 'start':
            self._start = time.perf_counter()
        else:
            self.seconds += time.perf_counter() - self._start
            self.full += info['generation'] == 2


def stopwatch(function: Callable[[], object]) -> Callable[[], float]:
    """Return a function that says how many seconds one call takes."""
    def measure() -> float:
        gc.collect()
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    return measure


def median_difference(
    values: Sequence[float], base: Sequence[float],
) -> float:
    """Return the median of the differences within each round.

    :param values: round by round
    :param base: the same, of as many rounds or more
    """
    return statistics.median(
        value - below for value, below in zip(values, base))


def ms(seconds: float) -> float:
    """Return milliseconds, rounded for people."""
    return round(seconds * 1e3, 3)


def us(seconds: float) -> float:
    """Return microseconds, rounded for people."""
    return round(seconds * 1e6, 3)
