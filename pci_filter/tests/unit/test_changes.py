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

"""Only changes of a state are news."""

import threading

from pci_filter.scheduler import changes
from pci_filter.tests import base


class TestChanges(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.changes = changes.Changes()

    def test_normal_is_no_news(self):
        self.assertFalse(self.changes.changed('cell', None))

    def test_failure_is_news_once(self):
        self.assertTrue(self.changes.changed('cell', 'down'))
        self.assertFalse(self.changes.changed('cell', 'down'))

    def test_other_failure_is_news(self):
        self.changes.changed('cell', 'down')
        self.assertTrue(self.changes.changed('cell', 'slow'))
        self.assertTrue(self.changes.changed('cell', 'down'))

    def test_recovery_is_news_once(self):
        self.changes.changed('cell', 'down')
        self.assertTrue(self.changes.changed('cell', None))
        self.assertFalse(self.changes.changed('cell', None))
        self.assertTrue(self.changes.changed('cell', 'down'))

    def test_subjects_are_apart(self):
        self.changes.changed(('cell', 1), 'down')
        self.assertTrue(self.changes.changed(('cell', 2), 'down'))
        self.assertFalse(self.changes.changed(('cell', 3), None))

    def test_equal_states_are_one(self):
        self.changes.changed('host', frozenset({('8086', 'type-VF')}))
        self.assertFalse(self.changes.changed(
            'host', frozenset([('8086', 'type-VF')])))

    def test_many_threads_one_news(self):
        heard = []
        barrier = threading.Barrier(8)

        def report():
            barrier.wait()
            for number in range(200):
                if self.changes.changed(number, 'down'):
                    heard.append(number)

        base.run_in_threads(8, report)
        self.assertEqual(list(range(200)), sorted(heard))


class TestTroubles(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.troubles = changes.Troubles()

    def test_well_is_no_news(self):
        self.assertFalse(self.troubles.is_over('cell'))

    def test_trouble_is_news_once(self):
        self.assertTrue(self.troubles.is_new('cell', 'down'))
        self.assertFalse(self.troubles.is_new('cell', 'down'))

    def test_troubles_by_turns_are_news_once_each(self):
        self.assertEqual([True, True, False, False], [
            self.troubles.is_new('cell', kind)
            for kind in ('down', 'slow', 'down', 'slow')])

    def test_over_once(self):
        self.troubles.is_new('cell', 'down')
        self.troubles.is_new('cell', 'slow')
        self.assertTrue(self.troubles.is_over('cell'))
        self.assertFalse(self.troubles.is_over('cell'))
        self.assertTrue(self.troubles.is_new('cell', 'down'))

    def test_subjects_are_apart(self):
        self.troubles.is_new(('cell', 1), 'down')
        self.assertTrue(self.troubles.is_new(('cell', 2), 'down'))
        self.assertFalse(self.troubles.is_over(('cell', 3)))

    def test_many_threads_one_news(self):
        heard = []
        barrier = threading.Barrier(8)

        def report():
            barrier.wait()
            for number in range(200):
                if self.troubles.is_new(number, 'down'):
                    heard.append(number)

        base.run_in_threads(8, report)
        self.assertEqual(list(range(200)), sorted(heard))
