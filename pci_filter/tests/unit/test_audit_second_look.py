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

"""What has to be found twice."""

from pci_filter.audit import finding
from pci_filter.audit import second_look
from pci_filter.tests import base


def found(evidence, subject='one', node_id=1, kind='summary-count'):
    return finding.Finding(
        kind, 'host', node_id, subject, 'stored', evidence)


class TestSuspicions(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.suspicions = second_look.Suspicions()

    def look_again(self, *again):
        return list(self.suspicions.settle(again))

    def test_the_same(self):
        self.suspicions.add(found(1))
        self.assertEqual([found(1)], self.look_again(found(1)))
        self.assertEqual(0, len(self.suspicions))

    def test_gone(self):
        self.suspicions.add(found(1))
        self.assertEqual([], self.look_again())
        self.assertEqual([], self.look_again(found(1)))

    def test_changed(self):
        self.suspicions.add(found(1))
        self.assertEqual([], self.look_again(found(2)))
        self.assertEqual(1, len(self.suspicions))
        self.assertEqual([], self.look_again(found(1)))
        self.assertEqual([found(1)], self.look_again(found(1)))

    def test_new(self):
        """Nobody has looked twice at what was not there before."""
        self.suspicions.add(found(1))
        self.assertEqual([found(1)], self.look_again(
            found(1), found(1, 'other'), found(1, node_id=2),
            found(1, kind='summary-extra')))

    def test_where_to_look(self):
        for node_id in (3, 1, 3):
            self.suspicions.add(found(1, node_id=node_id))
        self.assertEqual({1, 3}, set(self.suspicions.node_ids))
