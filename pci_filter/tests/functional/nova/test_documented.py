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

"""The page "What happens when" has every line of ours, and no other."""

import ast
import pathlib
import re

import testtools

import pci_filter
import pci_filter.tests
from pci_filter.tests.functional.nova import documented

#: Where the tests are that bring the situations about.
TESTS = [
    path for pattern in ('functional/nova/test_*.py',
                         'functional/nova/faults.py', 'galera/test_*.py')
    for path in pathlib.Path(pci_filter.tests.__file__).parent.glob(pattern)]

#: What runs in services of Nova. Commands tell whoever runs them.
SERVICES = 'scheduler', 'compute', 'reservations'

#: Methods of a logger that say something at INFO or above.
TELLING = {'info', 'warning', 'error', 'exception', 'critical', 'log'}

#: What a line has in place of its fixed words.
PLACE = re.compile(r'%\(\w+\)[sdr]|%[sdr]')


def sources():
    """Yield the trees of the modules that may log in a service."""
    package = pathlib.Path(pci_filter.__file__).parent
    for name in SERVICES:
        for path in sorted(package.joinpath(name).rglob('*.py')):
            yield path.relative_to(package), ast.parse(path.read_text())


def fixed_words(format_string):
    """Return the words of a format string between what it is given.

    :param format_string: the expression, None if it is no literal
    """
    parts = format_string.values if isinstance(
        format_string, ast.JoinedStr) else [format_string]
    # What is put into an f-string may have words, but others each time.
    text = ''.join(part.value if isinstance(part, ast.Constant) else '%s'
                   for part in parts)
    return [words for words in map(str.strip, PLACE.split(text)) if words]


def formats(tree):
    """Yield the format strings of what a module logs at INFO or above."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call)
                and getattr(node.func, 'attr', None) in TELLING
                and getattr(node.func.value, 'id', None) == 'LOG'):
            continue
        told = node.args[1 if node.func.attr == 'log' else 0]
        if isinstance(told, (ast.Constant, ast.JoinedStr)):
            yield told
        else:
            # It comes from a table of the module.
            yield from (
                part for part in ast.walk(tree)
                if isinstance(part, ast.Constant)
                and isinstance(part.value, str) and '%(' in part.value)


class TestDocumented(testtools.TestCase):

    def test_each_line_has_a_test(self):
        tests = '\n'.join(path.read_text() for path in TESTS)
        names = documented.lines()
        self.assertGreater(len(names), 15)
        for name in names:
            stem = name.removesuffix('-mysql').removesuffix('-postgresql')
            self.assertIn(f"'{stem}", tests)

    def test_each_line_of_ours_is_there(self):
        blocks = list(documented.lines().values())
        seen = set()
        for path, tree in sources():
            for told in formats(tree):
                words = fixed_words(told)
                seen.add(str(path))
                in_order = re.compile('.*'.join(map(re.escape, words)))
                self.assertTrue(
                    any(map(in_order.search, blocks)),
                    f'{path}:{told.lineno} says what "What happens when" '
                    f'does not: {words}')
        self.assertLessEqual({
            'scheduler/fallback.py', 'scheduler/unknown_tags.py',
            'scheduler/failures.py', 'compute/tracker.py'}, seen)

    def test_a_line_that_is_missing_is_found(self):
        tree = ast.parse("LOG.info(f'%(a)s is {odd}: %(b)d words', {})\n"
                         "LOG.debug('not this')\n"
                         "LOG.log(level, 'but this %s')\n")
        self.assertEqual([['is', ':', 'words'], ['but this']],
                         [fixed_words(told) for told in formats(tree)])

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
