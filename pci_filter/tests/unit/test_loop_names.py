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

"""No name that a loop gives to its items is used behind the loop."""

import ast
import pathlib

import pci_filter
from pci_filter.tests import base

PACKAGE = pathlib.Path(pci_filter.__file__).parent

_COMPREHENSIONS = (
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _names(node, context):
    return [one for one in ast.walk(node) if isinstance(one, ast.Name)
            and isinstance(one.ctx, context)]


def _in_comprehensions(function):
    """Return the uses of names that a comprehension gives."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, _COMPREHENSIONS):
            own = {name.id for generator in node.generators
                   for name in _names(generator.target, ast.Store)}
            found.update(name for name in _names(node, ast.Load)
                         if name.id in own)
    return found


def used_behind_loops(source):
    """Return function and name of each use that tells of another item."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        loops = [(loop, {name.id for name in _names(loop.target, ast.Store)})
                 for loop in ast.walk(function) if isinstance(loop, ast.For)]
        uses = set(_names(function, ast.Load)) - _in_comprehensions(function)
        for use in uses:
            if any(use.id in names and use.lineno > loop.end_lineno
                   for loop, names in loops) and not any(
                       use.id in names
                       and loop.lineno <= use.lineno <= loop.end_lineno
                       for loop, names in loops):
                yield function.name, use.id


class TestLoopNames(base.UnitTestCase):

    def test_package(self):
        found = {
            str(path.relative_to(PACKAGE)): uses
            for path in PACKAGE.rglob('*.py') if 'tests' not in path.parts
            if (uses := sorted(set(used_behind_loops(path.read_text()))))}
        self.assertEqual({}, found)

    def test_what_is_found(self):
        for source, expected in (
                ('for one in x:\n  f(one)', False),
                ('for one in x:\n  f(one)\nf(one)', True),
                ('for one in x:\n  f(one)\nf([one for one in y])', False),
                ('for one in x:\n  f(one)\nfor one in y:\n  f(one)', False),
                ('try:\n for one in x:\n  f(one)\nexcept E:\n'
                 ' for one in y:\n  g(one)\n log(one)', True)):
            function = 'def name():\n' + '\n'.join(
                f'  {line}' for line in source.splitlines())
            self.assertEqual(
                [('name', 'one')] if expected else [],
                sorted(set(used_behind_loops(function))), source)
