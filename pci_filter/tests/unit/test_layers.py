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

"""The layers of the package, enforced.

Most contracts are import-linter's, in ``.importlinter``. The rest read the
syntax tree, because import-linter sees an external package as one whole.
"""

import ast
from collections.abc import Iterator
from importlib import metadata
import pathlib
import subprocess
import sys

from packaging import requirements
import testtools

import pci_filter
from pci_filter.tests import base
from pci_filter.tests.unit import test_requirements

PACKAGE = pathlib.Path(pci_filter.__file__).resolve().parent
CHECKOUT = PACKAGE.parent

LINT_IMPORTS = (
    'from importlinter.cli import lint_imports_command as main; main()')


def _imports(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import in a file, at any depth.

    ``from a.b import c`` gives ``a.b.c``, so that importing the module ``c``
    and importing the name ``c`` look the same.
    """
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                dots = '.' * node.level
                yield node.lineno, f'{dots}{node.module or ""}.{alias.name}'


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + '.')


def _is_stdlib(name: str) -> bool:
    return base.is_standard(name.partition('.')[0])


class TestLayers(testtools.TestCase):

    def test_import_linter(self):
        config = CHECKOUT / '.importlinter'
        self.assertTrue(config.is_file(), f'{config} is missing')
        result = subprocess.run(
            [sys.executable, '-c', LINT_IMPORTS, '--config', str(config),
             '--no-cache'],
            cwd=CHECKOUT, capture_output=True, text=True, check=False)
        if result.returncode:
            self.fail(result.stdout + result.stderr)

    def _offences(self, paths, is_allowed):
        return [
            f'{path.relative_to(CHECKOUT)}:{line} imports {name}'
            for path in paths
            for line, name in _imports(path)
            if not is_allowed(name)]

    def test_decisions_are_standard_library_only(self):
        def is_allowed(name):
            return _is_stdlib(name) or any(
                _is_within(name, f'pci_filter.{pure}')
                for pure in (
                    'audit', 'matching', 'exception', 'model', 'printable',
                    'summary'))

        for package in ('audit', 'matching'):
            paths = sorted((PACKAGE / package).rglob('*.py'))
            self.assertNotEqual([], paths)
            self.assertEqual([], self._offences(paths, is_allowed))

    def test_what_matching_imports_is_standard_library_only(self):
        paths = [PACKAGE / 'exception.py', PACKAGE / 'model.py']
        self.assertEqual([], self._offences(paths, _is_stdlib))

    def test_nobody_imports_nova_pci_stats(self):
        # The tests compare with Nova's own decision; no decision of ours goes
        # through it.
        paths = [
            path for path in sorted(PACKAGE.rglob('*.py'))
            if not path.is_relative_to(PACKAGE / 'tests')]
        self.assertNotEqual([], paths)

        def is_allowed(name):
            return not _is_within(name, 'nova.pci.stats')

        self.assertEqual([], self._offences(paths, is_allowed))

    def test_what_is_imported_is_required(self):
        def packages(names):
            return {
                file.parts[0] for name in names
                for file in metadata.files(name)
                if len(file.parts) == 2 and file.name == '__init__.py'}

        ours = packages(one.name for one in test_requirements.required())
        novas = {'nova'} | packages(
            one.name for one in map(
                requirements.Requirement, metadata.requires('nova'))
            if one.marker is None or one.marker.evaluate({'extra': ''}))
        above = {'cmd', 'compute', 'fixture', 'scheduler'}
        paths = [path for path in sorted(PACKAGE.rglob('*.py'))
                 if not path.is_relative_to(PACKAGE / 'tests')]
        for path in paths:
            part = path.relative_to(PACKAGE).parts[0]
            allowed = {'pci_filter'} | ours | (
                novas if part in above else set())
            self.assertEqual([], self._offences([path], lambda name: (
                _is_stdlib(name) or name.partition('.')[0] in allowed)))

    def test_imports_are_absolute(self):
        # The checks above compare absolute names.
        paths = sorted(PACKAGE.rglob('*.py'))
        self.assertEqual(
            [], self._offences(paths, lambda name: name[0] != '.'))
