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

"""A piece of the whole, for tools/small_world.py: hours are needed for all."""

from __future__ import annotations

import collections
import json
import os
import pathlib

from pci_filter.tests.small_world import base
from pci_filter.tests.small_world import checking
from pci_filter.tests.small_world import scopes

#: The environment variable that names the piece to check, as ``3/400`` with
#: numbers from 0 on, and the one that names the file for what comes of it.
PIECE = 'PCI_FILTER_SMALL_WORLD'
FILE = 'PCI_FILTER_SMALL_WORLD_FILE'


class TestPiece(base.SmallWorldTestCase):

    def test(self):
        number, count = map(int, os.environ[PIECE].split('/'))
        checker = checking.Checker(self)
        tallies = {}
        for name, scope in scopes.WHOLE.items():
            tallies[name] = checker.tally = checking.Tally()
            scope.check(checker, number, count)
            self.tell(name, checker.tally)
        _write(tallies)


def _write(tallies):
    """Write the tallies by the name of their scope, all at once."""
    path = pathlib.Path(os.environ[FILE])
    part = path.with_suffix('.part')
    part.write_text(json.dumps(
        {name: vars(tally) for name, tally in tallies.items()}, indent=1))
    part.rename(path)


def read(path):
    """Return what a piece has written.

    :param path: pathlib.Path
    :returns: each checking.Tally by the name of its scope
    """
    return {name: checking.Tally(**{
        **values, 'passed': collections.Counter(values['passed'])})
        for name, values in json.loads(path.read_text()).items()}
