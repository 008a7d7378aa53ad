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

"""Every order of everything that can happen, in small worlds.

What must hold is in worlds.py. With PCI_FILTER_EXAMPLES of 10 or more larger
worlds are visited as well, which take minutes.
"""

import logging
import sys

from pci_filter.tests import base as tests_base
from pci_filter.tests.interleavings import bugs
from pci_filter.tests.interleavings import explorer
from pci_filter.tests.interleavings import worlds

_SAME = ((0, 1),) * 3
_ONE = ((0,),) * 3


def _world(wants, orders=_SAME, least=1000, **values):
    # Nobody is told more by a row that is made a moment later.
    values.setdefault('rows_at_once', True)
    values['budget'] = worlds.Budget(**values.pop('may', {}))
    return worlds.Setting(wants, orders[:len(wants)], **values), least


#: And how many states there are at least.
WORLDS = {
    'three want two devices each': _world(
        (2, 2, 2), least=20000, rows_at_once=False),
    'two want one, one wants two': _world(
        (1, 1, 2), least=20000, rows_at_once=False),
    'hosts in different orders': _world(
        (1, 2, 1), ((0, 1), (1, 0), (0, 1)), rows_at_once=False),
    'claims fail, and go to an alternate': _world(
        (1, 1, 2), may={'fail': 1}, alternates=True, least=20000),
    'one is deleted at any moment': _world(
        (1, 1, 2), may={'delete': 1}, deletable=frozenset((0,)),
        least=50000),
    'one is deleted while another one fits in its place': _world(
        (1, 1), _ONE, may={'delete': 1}, devices=(1,), rows_at_once=False,
        least=500),
    'one is deleted before its row is there': _world(
        (1, 1), _ONE, may={'delete': 1}, devices=(1,), rows_at_once=False,
        conductor_steps=True, least=500),
    'a build is given up': _world(
        (1, 1), may={'break_': 1}, alternates=True, devices=(1, 1),
        rows_at_once=False),
    'the store is emptied': _world(
        (1, 1, 2), may={'lose': 1}, least=50000),
    'the store fails': _world(
        (1, 1, 2), may={'error': 1}, least=20000),
    'the timeout passes': _world(
        (1, 1, 1), _ONE, may={'tick': 1}, devices=(2,), least=20000),
    'the timeout passes after a claim': _world(
        (1, 1, 1), _ONE, may={'tick': 1}, devices=(2,), landed=(0,),
        least=1000),
    'placement refuses': _world(
        (1, 1, 2), _ONE, may={'refuse': 1}, devices=(2,), least=10000),
    'placement refuses, and there is another host': _world(
        (1, 1), may={'refuse': 1}, devices=(1, 1), rows_at_once=False),
    'rows are read from a server that lags': _world(
        (1, 2, 1), _ONE, devices=(2,), lagging=frozenset((2,)),
        least=50000),
    'rows are read from a server that lags, one device': _world(
        (1, 1), _ONE, devices=(1,), lagging=frozenset((1,)),
        may={'delete': 1}, deletable=frozenset((0,)), least=300),
    'a server lags, and a host that is down lost an instance': _world(
        (1, 1, 1), _ONE, devices=(2,), lagging=frozenset((2,)),
        may={'delete': 1}, deletable=frozenset((0,)), down=True,
        landed=(0,), least=50000),
    'two instances, and everything but a lag happens': _world(
        (1, 1), ((0,), (0,)), devices=(1,), may={
            'fail': 1, 'refuse': 1, 'lose': 1, 'tick': 1, 'delete': 1},
        deletable=frozenset((0,)), least=10000),
}

#: Visited only when there is time.
LARGER = {
    'one of two devices is deleted': _world(
        (1, 1, 2), may={'delete': 1}, deletable=frozenset((2,)),
        least=100000),
    'one of three is deleted': _world(
        (2, 2, 2), may={'delete': 1}, deletable=frozenset((0,)),
        least=100000),
    'any is deleted': _world(
        (1, 1, 2), may={'delete': 1}, rows_at_once=False, least=400000),
    'builds are given up': _world(
        (1, 1, 2), may={'break_': 1}, alternates=True, least=300000),
    'the timeout passes for three': _world(
        (1, 1, 2), may={'tick': 1}, least=100000),
    'placement refuses one of three': _world(
        (1, 1, 2), may={'refuse': 1}, least=100000),
    'one is deleted, and a server lags': _world(
        (1, 2, 1), _ONE, devices=(2,), lagging=frozenset((2,)),
        may={'delete': 1}, deletable=frozenset((0,)), landed=(0,),
        least=100000),
    'two instances, and everything happens': _world(
        (1, 1), devices=(1, 1), may={
            'fail': 1, 'refuse': 1, 'error': 1, 'lose': 1, 'tick': 1,
            'delete': 1}, alternates=True, least=100000),
}


class InterleavingsTestCase(tests_base.UnitTestCase):

    def setUp(self):
        super().setUp()
        # That the store fails is not worth a line each time.
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)


class TestInterleavings(InterleavingsTestCase):

    def _visit(self, some):
        for name, (setting, least) in some.items():
            states = explorer.explore(setting)
            # The original, as stestr captures the other.
            print(f'interleavings: {name}: {states} states',
                  file=sys.__stdout__, flush=True)
            self.assertGreaterEqual(states, least, name)

    def test_worlds(self):
        self._visit(WORLDS)

    def test_larger_worlds(self):
        if tests_base.PART < 10:
            self.skipTest('PCI_FILTER_EXAMPLES is less than 10')
        self._visit(LARGER)


class TestSeededBugs(InterleavingsTestCase):

    def test_each_is_found(self):
        # The explorer that finds nothing has seen nothing.
        for name, bug in bugs.BUGS.items():
            with self.subTest(name), bugs.Seeded(bug):
                self._find(name, bug)

    def _find(self, name, bug):
        setting = WORLDS[bug.world][0]
        found = self.assertRaises(explorer.Found, explorer.explore, setting)
        way = str(found).splitlines()
        print(f'interleavings: {name}: {bug.world}: {way[-1]}, after '
              f'{len(way) - 1} steps', file=sys.__stdout__, flush=True)
