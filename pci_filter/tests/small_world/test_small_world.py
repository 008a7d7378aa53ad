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

"""All of a small world: each verdict is what a claim does."""

import ddt

from pci_filter.tests.functional.nova import nova_release
from pci_filter.tests.functional.nova import test_claims_property as oracle
from pci_filter.tests.small_world import base
from pci_filter.tests.small_world import checking
from pci_filter.tests.small_world import questions
from pci_filter.tests.small_world import scopes
from pci_filter.tests.small_world import worlds

#: How many hosts and questions a scope has: all of them are asked.
_SIZES = {
    'a card with a function': (30, 3576),
    'a card with two functions': (6, 2556),
    'a plain device': (6, 204),
    'a card beside a plain device': (36, 2796),
    'functions with different tags': (12, 2904),
    'a part that the summary lacks': (36, 1832),
    'two instances at once': (15, 1112),
}


#: What the whole has found when it was first checked: a function may have the
#: tag that is asked for, so Nova places the guest beside it, where the port of
#: the same card excludes it.
_PLACED_BESIDE_UNKNOWN = (
    worlds.World((worlds.Card('F:FF', 0, ('net1', 'net1', 'net2')),
                  worlds.Card('F:F', 1, ('net2', 'net1')))),
    questions.Instance((('port of net1', 1, 'socket'),
                        ('net1', 1, 'legacy')), 1))

#: And one guest that takes the only device of another if it claims first.
_PLACED_FIRST = (
    worlds.World((), (worlds.Plain(worlds.PRODUCTS[0], 0, True),
                      worlds.Plain(worlds.PRODUCTS[0], 1))),
    (questions.Instance(
        ((f'{worlds.PRODUCTS[0]} migratable', 1, 'required'),), 1),
     questions.Instance(((worlds.PRODUCTS[0], 1, 'required'),), 1)))

#: And a function that is promised beside a port, and excludes it.
_EITHER_ORDER = (
    worlds.World((worlds.Card('F:FF', 0, ('net1',) * 3),
                  worlds.Card(':FF', 0, (None, 'net1')))),
    (questions.Instance((('port of net1', 1, 'legacy'),), 0),
     questions.Instance((('function', 2, 'legacy'),), 0)))


def _card(state, node=0, network=None):
    return worlds.World((worlds.Card(
        state, node, (network,) * (len(state) - 1)),))


@ddt.ddt
class TestFirst(base.SmallWorldTestCase):
    """What each run of the tests checks."""

    @ddt.named_data(*([name, name] for name in scopes.FIRST))
    def test(self, name):
        checker = checking.Checker(self)
        scopes.FIRST[name].check(checker)
        tally = checker.tally
        self.tell(name, tally)
        self.assertEqual([], tally.disagreements)
        if nova_release.HAS_LIVE_MIGRATABLE:
            self.assertEqual(
                _SIZES[name], (tally.worlds, tally.questions))
        # No verdict would prove little. Where little is known, or most of a
        # pair is in each other's way, there are few.
        for passed in tally.passed.values():
            self.assertGreater(passed, tally.questions // 200)
            self.assertLess(passed, tally.questions * 19 // 20)

    def test_nothing_left_out(self):
        """What need not be asked makes no difference, nor do the filters."""
        checker = checking.Checker(
            self, self.our_manager(oracle.FILTERS[1], narrow=False))
        checker.check(
            [_card('F:F', 1), _card('F:F', None, 'net2')],
            questions.everything)
        self.tell('nothing left out', checker.tally)
        self.assertEqual([], checker.tally.disagreements)

    def test_what_was_found(self):
        checker = checking.Checker(self)
        world, instance = _PLACED_BESIDE_UNKNOWN
        checker.check([world], lambda _: [instance])
        found = [_EITHER_ORDER]
        if nova_release.HAS_LIVE_MIGRATABLE:
            found.append(_PLACED_FIRST)
        for world, pair in found:
            checker.check_reserved([world], lambda _: [pair])
        self.assertEqual([], checker.tally.disagreements)
        self.assertEqual(0, checker.tally.passed['stock'])

    def test_nova_is_found_out(self):
        """Nova's filter does not know that a port excludes its functions."""
        checker = checking.Checker(
            self, self.cloud.host_manager(oracle.FILTERS[0]))
        checker.check([_card('F:F')])
        self.assertIn(
            'stock: card F:F node 0 None; 0 cells, 1 function (legacy) + '
            '1 port (legacy): verdict True', checker.tally.disagreements[0])

    def test_broken_promise_is_found_out(self):
        """Reservations that nobody minds."""
        self.replace('pci_filter.objects.PciDevicePoolList.after',
                     lambda pools, others: pools)
        self.replace('pci_filter.objects.PciDevicePoolList.fit_in_every_order',
                     lambda *args: True)
        checker = checking.Checker(self)
        checker.check_reserved([_card(':F')])
        self.assertIn(
            'card :F node 0 None; 0 cells, 1 function (legacy) beside 0 '
            'cells, 1 function (legacy): verdict True',
            checker.tally.disagreements[0])
