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

"""The page "What happens when" has no line that no test has seen."""

import pathlib

import testtools

from pci_filter.tests.functional.nova import documented


class TestDocumented(testtools.TestCase):

    def test_each_line_has_a_test(self):
        tests = '\n'.join(
            path.read_text() for name in ('test_*.py', 'faults.py')
            for path in pathlib.Path(__file__).parent.glob(name))
        names = documented.lines()
        self.assertGreater(len(names), 15)
        for name in names:
            stem = name.removesuffix('-mysql').removesuffix('-postgresql')
            self.assertIn(f"'{stem}", tests)

    def test_lines_differ(self):
        """None is a line of ours that could be any other."""
        for name, line in documented.lines().items():
            matching = {
                other for other in documented.lines()
                if documented.pattern(other).fullmatch(
                    line.replace('<', '').replace('>', ''))}
            self.assertLessEqual({name}, matching)
            self.assertLessEqual(matching - {name}, {
                'unreadable'})

    def test_reject(self):
        found = documented.pattern('unreadable', rejects=True)
        self.assertIn('no\\ PCI\\ request', found.pattern)
        self.assertNotIn('summary', found.pattern)
