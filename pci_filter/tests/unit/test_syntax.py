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

"""What only a Python that is newer than our oldest could read."""

import ast
import pathlib
import sys

import testtools

import pci_filter
from pci_filter.matching import pool
from pci_filter.matching import request
from pci_filter import model
from pci_filter.tests.scenarios import builders

CHECKOUT = pathlib.Path(pci_filter.__file__).resolve().parent.parent

OLDEST = (3, 9)


def _sources():
    for name in 'pci_filter', 'benchmarks', 'tools':
        yield from sorted((CHECKOUT / name).rglob('*.py'))


def _annotations(tree):
    for node in ast.walk(tree):
        for name in 'annotation', 'returns':
            if getattr(node, name, None) is not None:
                yield getattr(node, name)


def _has_union(annotation):
    return any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
               for node in ast.walk(annotation))


class TestSyntax(testtools.TestCase):

    def test_oldest_python_can_read_it(self):
        for path in _sources():
            ast.parse(path.read_text(), str(path), feature_version=OLDEST)

    def test_unions_are_not_evaluated(self):
        """Neither mypy nor vermin tells."""
        found = []
        for path in _sources():
            tree = ast.parse(path.read_text(), str(path))
            if any(isinstance(node, ast.ImportFrom)
                   and node.module == '__future__' for node in tree.body):
                continue
            found += [
                f'{path.relative_to(CHECKOUT)}:{annotation.lineno}'
                for annotation in _annotations(tree)
                if _has_union(annotation)]
        self.assertEqual([], found)


class TestSlots(testtools.TestCase):

    def test_what_there_is_much_of_is_small(self):
        """Python 3.9 makes no slots, and the others still do."""
        one = builders.to_pools([{
            'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
            'dev_type': pool.VF, 'address': '0000:81:00.0', 'count': 1}])[0]
        kind = model.DeviceKind('8086', '154c', 0, pool.VF, '0000:81:00.0')
        asked = request.DeviceRequest.compile('vf', 1, [{}])
        self.assertEqual(
            [sys.version_info < (3, 10)] * 4,
            [hasattr(each, '__dict__')
             for each in (one, one.kind, kind, asked)])
