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

"""The scopes: which hosts there are, and what they are asked.

What an instance has, and its relatives cannot give, is as good as not there.
The scopes with fewer devices say so of each state, so that those with more go
on with what is free.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import itertools
import typing

from pci_filter.tests.small_world import questions
from pci_filter.tests.small_world import worlds

_EITHER = worlds.FREE + worlds.USED

_Worlds = Iterable[worlds.World]


class Scope(typing.NamedTuple):
    """Some hosts.

    :param worlds: makes them
    :param ask: tells what a host is asked: instances, or pairs of them
    """

    worlds: Callable[[], _Worlds]
    ask: Callable[[worlds.World], Iterable[typing.Any]] = questions.questions

    @property
    def is_reserved(self):
        """Whether two instances want a host at once."""
        return self.ask in (questions.pairs, questions.guests)

    def check(self, checker, number=0, count=1):
        """Check one of so many slices.

        :param checker: checking.Checker
        :param number: of the slice, from 0 on
        :param count: how many there are
        """
        part = worlds.slice_of(self.worlds(), number, count)
        if self.is_reserved:
            checker.check_reserved(part, self.ask)
        else:
            checker.check(part, self.ask)

    def size(self, number=0, count=1):
        """Return how many worlds and questions a slice has."""
        sizes = [
            questions.number_of_questions(world)
            if self.ask is questions.questions
            else sum(1 for _ in self.ask(world))
            for world in worlds.slice_of(self.worlds(), number, count)]
        return sum(map(bool, sizes)), sum(sizes)


def _two_cards():
    """Two cards: in use as they may be, and late ones beside free ones."""
    usual = (*worlds.WITH_PORT, *worlds.WITHOUT_PORT)
    return itertools.chain(
        worlds.worlds([usual, usual]),
        worlds.worlds([worlds.LATE, worlds.ALL_FREE]),
        worlds.worlds([worlds.ALL_FREE, worlds.LATE]))


def _two_cards_with_tags():
    """Two cards, one of them with functions that can differ."""
    several, one = ('F:FF', ':FF'), ('F:', 'F:F', ':F')
    return itertools.chain(
        worlds.worlds([several, one], tag=worlds.each),
        worlds.worlds([one, several], tag=worlds.each))


#: What each run of the tests checks.
FIRST = {
    'a card with a function': Scope(
        lambda: worlds.worlds([('F:', ':F', 'F:F', '-:U', 'U:F')])),
    'a card with two functions': Scope(
        lambda: worlds.worlds([('F:FF',)])),
    'a plain device': Scope(lambda: worlds.worlds([], 1, _EITHER)),
    'a card beside a plain device': Scope(
        lambda: worlds.worlds([('F:F', ':F')], 1)),
    'functions with different tags': Scope(
        lambda: worlds.worlds([(':FF',)], tag=worlds.each)),
    'a part that the summary lacks': Scope(
        lambda: worlds.untold(worlds.worlds([(':F',)], 1))),
    'two instances at once': Scope(
        lambda: worlds.worlds([('F:FF', ':FF')], tag=worlds.each),
        questions.pairs),
}

#: What ``tox -e small-world`` checks.
WHOLE = {
    'a card': Scope(lambda: worlds.worlds([worlds.STATES])),
    'plain devices': Scope(
        lambda: itertools.chain.from_iterable(
            worlds.worlds([], number, _EITHER) for number in (1, 2))),
    'a card, a plain device': Scope(
        lambda: worlds.worlds([worlds.STATES], 1, _EITHER)),
    'a card, two plain devices': Scope(
        lambda: worlds.worlds([worlds.ALL_FREE], 2)),
    'two cards': Scope(_two_cards),
    'two cards, a plain device': Scope(
        lambda: worlds.worlds([worlds.ALL_FREE] * 2, 1)),
    'two cards, two plain devices': Scope(
        lambda: worlds.worlds([worlds.ALL_FREE] * 2, 2)),
    'functions with different tags': Scope(
        lambda: worlds.worlds([worlds.SEVERAL_FUNCTIONS], tag=worlds.each)),
    'two cards, functions with different tags': Scope(_two_cards_with_tags),
    'a part that the summary lacks': Scope(
        lambda: worlds.untold(itertools.chain(
            worlds.worlds([worlds.ALL_FREE] * 2),
            worlds.worlds([worlds.ALL_FREE], 1)))),
    'two instances at once': Scope(
        lambda: itertools.chain(
            worlds.worlds([worlds.STATES], tag=worlds.each),
            worlds.worlds([worlds.ALL_FREE] * 2, tag=worlds.each)),
        questions.pairs),
    'two instances at once, a part that the summary lacks': Scope(
        lambda: worlds.untold(worlds.worlds([worlds.ALL_FREE] * 2)),
        questions.pairs),
    'two guests with NUMA cells at once': Scope(
        lambda: itertools.chain(
            worlds.worlds([], 2), worlds.worlds([worlds.ALL_FREE]),
            worlds.worlds([worlds.ALL_FREE], 1)),
        questions.guests),
}
