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

"""How long a store of reservations may keep a request waiting."""

import testtools

from pci_filter.reservations import making
from pci_filter.reservations import store


class TestPatience(testtools.TestCase):

    def spend(self, seconds, answers=True, **fields):
        """Ask a store that takes so long for each of its answers."""
        times = []
        for took in seconds:
            times += [0, took]
        patience = making.Patience(1, iter(times).__next__, **fields)

        def ask(left):
            if not answers:
                raise store.StoreError('no')

        for _ in seconds:
            try:
                patience.spend(ask)
            except store.StoreError as error:
                return patience, str(error)
        return patience, None

    def test_answers_count(self):
        patience, error = self.spend([0.75, 0.75, 0.75])
        self.assertEqual(making.LATE, error)
        self.assertEqual(-0.5, patience.left)

    def test_answers_of_a_file_do_not_count(self):
        patience, error = self.spend([0.75, 0.75, 0.75], counts=False)
        self.assertIsNone(error)
        self.assertEqual(1, patience.left)

    def test_slow_answers_let_no_other_request_go_without(self):
        patience, _ = self.spend([0.75, 0.75, 0.75])
        self.assertFalse(patience.failed)

    def test_failure_in_time(self):
        for counts in (True, False):
            patience, error = self.spend([0.25], False, counts=counts)
            self.assertEqual('no', error)
            self.assertEqual(0.75, patience.left)
            self.assertFalse(patience.failed)

    def test_failure_when_the_time_is_up(self):
        for counts in (True, False):
            patience, error = self.spend([1.5], False, counts=counts)
            self.assertEqual('no', error)
            self.assertTrue(patience.failed)
