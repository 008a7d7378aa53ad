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

"""What others wrote is shown on one line, and controls no terminal."""

import hypothesis
from hypothesis import strategies

from pci_filter import printable
from pci_filter.tests import base


class TestPrintable(base.UnitTestCase):

    def test_escapes(self):
        for text, shown in (
                ('net-0', 'net-0'),
                ('Zürich-1', 'Zürich-1'),
                ('\x1b[31mred', r'\x1b[31mred'),
                ('two\r\nlines\t', r'two\r\nlines\t'),
                ('\x9b2J\x7f\0', r'\x9b2J\x7f\x00'),
                ('\u202eback', r'\u202eback'),
                ('lone \ud800', r'lone \ud800')):
            self.assertEqual(shown, printable.printable(text))

    @hypothesis.given(strategies.text(
        strategies.characters() | strategies.sampled_from('\n\x1b\\')))
    def test_any_text(self, text):
        shown = printable.printable(text)
        self.assertTrue(shown.isprintable())
        self.assertEqual(text.isprintable(), shown == text)
