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

"""What is decided by fallback is told once a minute, and when it is over."""

import random
import sys
import types

import fixtures

from pci_filter.scheduler import fallback
from pci_filter.tests import base

CELLS = {f'uuid-{number}': types.SimpleNamespace(name=f'cell{number}')
         for number in range(9)}


class Spec(dict):
    """As much as is needed of a RequestSpec."""

    @property
    def instance_uuid(self):
        return self['instance_uuid']


def hosts(number):
    return [types.SimpleNamespace() for _ in range(number)]


class FallbackTestCase(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(
            format='%(levelname)s %(message)s'))
        self.now = 1000
        self.tally = fallback.FallbackTally(
            'summary', clock=lambda: self.now)
        self._seen = 0

    def ask(self, instance='one', cells=(), others=()):
        """Serve a request, and return what is told then.

        :param cells: pairs of a cell that cannot be read and how many hosts
        :param others: the same of hosts whose pools cannot be made
        """
        self.tally.begin(Spec(instance_uuid=instance))
        for cell, number in cells:
            self.tally.count(hosts(number), cell, True)
        for cell, number in others:
            self.tally.count(hosts(number), cell)
        self.tally.tell(CELLS)
        return self.news()

    def news(self):
        lines = self.log.output.splitlines()
        news, self._seen = lines[self._seen:], len(lines)
        return news

    def answered(self, *cells):
        for cell in cells:
            self.tally.cell_answered(cell)


class TestLines(FallbackTestCase):

    def test_well(self):
        self.answered('uuid-1')
        self.assertEqual([], self.ask())

    def test_once_a_minute_and_at_the_end(self):
        self.assertEqual([], self.ask('a', [('uuid-1', 40)]))
        self.now += 59
        self.assertEqual([], self.ask('b', [('uuid-1', 40)]))
        self.now += 2
        self.assertEqual([
            'WARNING pci_filter fallback: requests=3 hosts=120 '
            'cells=cell1(uuid-1) instance=c on_load_failure=summary '
            'seconds=61'], self.ask('c', [('uuid-1', 40)]))
        self.now += 30
        self.assertEqual([], self.ask('d', [('uuid-1', 40)]))
        self.answered('uuid-1')
        self.now += 1
        self.assertEqual([
            'INFO pci_filter fallback over: requests=4 hosts=160 '
            'cells=cell1(uuid-1) instance=d on_load_failure=summary '
            'seconds=92'], self.ask('e'))
        self.assertEqual([], self.ask('f'))

    def test_begins_anew(self):
        self.ask('a', [('uuid-1', 2)])
        self.answered('uuid-1')
        self.assertEqual(1, len(self.ask('b')))
        self.now += 500
        self.assertEqual([], self.ask('c', [('uuid-2', 3)]))
        self.answered('uuid-2')
        self.assertEqual([
            'INFO pci_filter fallback over: requests=1 hosts=3 '
            'cells=cell2(uuid-2) instance=c on_load_failure=summary '
            'seconds=0'], self.ask('d'))

    def test_cell_by_turns(self):
        """It fails at each second request: not each recovery is told."""
        told = []
        for _ in range(300):
            self.now += 1
            told += self.ask('a', [('uuid-1', 4)])
            self.now += 1
            self.answered('uuid-1')
            told += self.ask('b')
        self.assertLessEqual(len(told), 11, told)
        self.assertIn(' over: requests=1 hosts=4 ', told[0])
        for line in told[1:]:
            self.assertRegex(line, ' requests=(29|30|31) ')

    def test_seldom(self):
        """The time since the last line is told, however long it is."""
        self.ask('a', [('uuid-1', 2)])
        self.now += 60
        self.ask('b', [('uuid-1', 2)])
        self.now += 900
        line, = self.ask('c', [('uuid-1', 2)])
        self.assertIn(' requests=1 hosts=2 ', line)
        self.assertTrue(line.endswith(' seconds=900'), line)

    def test_told_by_a_request_for_others(self):
        self.ask('a', [('uuid-1', 2)])
        self.now += 61
        line, = self.ask('b')
        self.assertIn('fallback: requests=1 hosts=2 ', line)
        self.assertIn(' instance=a ', line)
        self.now += 61
        # Nothing new; and the cell has not answered.
        self.assertEqual([], self.ask('c'))

    def test_all_cells_have_to_answer(self):
        self.ask('a', [('uuid-1', 2), ('uuid-2', 2)])
        self.answered('uuid-2', 'uuid-3')
        self.assertEqual([], self.ask('b'))
        self.answered('uuid-1')
        self.assertEqual([], self.ask('c', [('uuid-2', 1)]))
        self.answered('uuid-2')
        line, = self.ask('d')
        self.assertIn(' requests=2 hosts=5 '
                      'cells=cell1(uuid-1),cell2(uuid-2) ', line)

    def test_cell_without_hosts(self):
        """Nova has left them out."""
        self.assertEqual([], self.ask('a', [('uuid-1', 0)]))
        self.now += 61
        self.assertEqual([], self.ask('b', [('uuid-1', 0)]))

    def test_others_are_over_after_a_while(self):
        self.assertEqual([], self.ask('a', others=[('uuid-1', 1)]))
        self.now += 59
        self.assertEqual([], self.ask('b'))
        self.now += 1
        line, = self.ask('c')
        self.assertIn('fallback over: requests=1 hosts=1 ', line)

    def test_by_turns(self):
        """One kind of request fails each time, others do not."""
        told = []
        for second in range(600):
            self.now += 1
            told += self.ask(
                'a', others=[('uuid-1', 4)] if second % 2 else [])
        self.assertEqual(9, len(told), told)
        for line in told:
            self.assertRegex(line, '^WARNING .* requests=3[01] ')

    def test_after_the_pools_were_mapped(self):
        """Filters, too, find that pools cannot decide."""
        self.ask('a')
        found = hosts(2)
        for _ in range(2):
            for host_state in found:
                self.tally.count([host_state], 'uuid-1')
        self.now += 60
        line, = self.ask('b', others=[('uuid-1', 1)])
        self.assertIn(' requests=2 hosts=3 ', line)

    def test_counted_once_in_a_request(self):
        found = hosts(3)
        self.tally.begin(Spec(instance_uuid='a'))
        self.tally.count(found[:2], 'uuid-1', True)
        self.tally.count(found, 'uuid-1')
        # Another package may keep its HostStates.
        self.tally.begin(Spec(instance_uuid='b'))
        self.tally.count(found, 'uuid-1')
        self.now += 60
        self.tally.tell(CELLS)
        line, = self.news()
        self.assertIn(' requests=2 hosts=6 ', line)

    def test_request_of_two_windows(self):
        """It counts in both lines, and once in the sum."""
        self.ask('a', others=[('uuid-1', 1)])
        self.now += 60
        line, = self.ask('b', others=[('uuid-1', 1)])
        self.assertIn(' requests=2 hosts=2 ', line)
        self.tally.count(hosts(1), 'uuid-1')
        self.now += 60
        line, = self.ask('c', others=[('uuid-1', 1)])
        self.assertIn(' requests=2 hosts=2 ', line)
        self.now += 60
        line, = self.ask('d')
        self.assertIn('over: requests=3 hosts=4 ', line)

    def test_many_cells_and_odd_ones(self):
        cells = [(cell, 1) for cell in CELLS]
        self.ask('a', cells)
        self.now += 60
        line, = self.ask('b', cells)
        self.assertIn(
            ' cells=cell0(uuid-0),cell1(uuid-1),cell2(uuid-2),'
            'cell3(uuid-3),cell4(uuid-4),+4 ', line)
        for name, expected in (
                (None, 'uuid'), ('', 'uuid'), ('a\nb', r'a\nb(uuid)')):
            self.assertEqual(expected, fallback.cell_name(
                'uuid', types.SimpleNamespace(name=name)))
        self.assertEqual('uuid', fallback.cell_name('uuid', None))

    def test_nothing_is_known_of_the_request(self):
        for spec_obj in (None, Spec(), object(), Spec(instance_uuid=None)):
            self.tally.begin(spec_obj)
            self.tally.count(hosts(1), 'unknown')
        self.now += 60
        self.tally.tell({})
        line, = self.news()
        self.assertIn(
            ' requests=4 hosts=4 cells=unknown instance=unknown ', line)


class TestManyThreads(FallbackTestCase):

    def test_nothing_is_lost(self):
        """What is told adds up to what was counted."""
        def serve(seed):
            draw = random.Random(seed)
            for number in range(50):
                cell = draw.choice(list(CELLS))
                self.tally.begin(Spec(instance_uuid=str(number)))
                self.tally.count(hosts(2), cell, True)
                self.now += 7
                self.tally.tell(CELLS)
                self.tally.cell_answered(cell)
                self.tally.begin(None)
                self.tally.tell(CELLS)

        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        numbers = iter(range(8))
        base.run_in_threads(8, lambda: serve(next(numbers)))
        self.now += 60
        self.answered(*CELLS)
        self.ask()
        spells = [0, 0]
        warned = [0, 0]
        for line in self.log.output.splitlines():
            sums = spells if ' over: ' in line else warned
            for at, key in enumerate(('requests', 'hosts')):
                sums[at] += int(line.partition(f'{key}=')[2].split()[0])
        self.assertEqual([400, 800], spells)
        self.assertLessEqual(warned[0], spells[0])
        self.assertEqual(2 * warned[0], warned[1])
