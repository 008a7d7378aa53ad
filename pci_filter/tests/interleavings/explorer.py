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

"""Visit every state of a world."""

import collections

from pci_filter.tests.interleavings import worlds


class Found(Exception):
    """Something that must hold does not; the text tells how that came."""


def explore(setting, limit=None):
    """Return how many states a world has, having checked them all.

    The shortest way to a state comes first, and so does the shortest way to
    what is wrong.

    :param setting: worlds.Setting
    :param limit: give up after so many
    :raises Found: if something is wrong
    """
    rules = worlds.Rules(setting)
    first = rules.beginning()
    came_from = {first: None}
    to_do = collections.deque([first])
    while to_do and (limit is None or len(came_from) < limit):
        world = to_do.popleft()
        try:
            is_last = True
            for words, after in rules.steps(world):
                is_last = False
                if after not in came_from:
                    came_from[after] = world, words
                    to_do.append(after)
            rules.check(world, is_last)
        except worlds.Violated as violated:
            raise Found('\n'.join([
                *_way(came_from, world), str(violated)])) from None
    return len(came_from)


def _way(came_from, world):
    """Return what has happened until a state, in words."""
    way = []
    while came_from[world]:
        world, words = came_from[world]
        way.append(words)
    return reversed(way)
