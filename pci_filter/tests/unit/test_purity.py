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

"""What is imported with what, in a process of its own."""

import subprocess
import sys

import ddt
import sqlalchemy as sa

from pci_filter.tests import base

_LOADED = """
import importlib, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
print(*{name.partition('.')[0] for name in sys.modules})
"""

_CORE = 'pci_filter.matching pci_filter.model pci_filter.exception'
_WITHOUT_NOVA = (
    f'{_CORE} pci_filter.conf pci_filter.objects pci_filter.tags.base '
    'pci_filter.tags.device_spec pci_filter.tags.pci_stats '
    'pci_filter.tags.pci_address pci_filter.db.compute_nodes '
    'pci_filter.db.device_groups pci_filter.db.extra_info')


def _imported(modules):
    """Return the top-level modules that come with these, Python's aside."""
    result = subprocess.run(
        [sys.executable, '-I', '-c', _LOADED, modules],
        capture_output=True, text=True, check=True)
    return {
        name for name in result.stdout.split() if not base.is_standard(name)}


class TestImports(base.UnitTestCase):

    def test_decision_needs_the_standard_library_only(self):
        # What python itself loads at start-up, such as hooks of editable
        # installs, is not ours.
        self.assertEqual({'pci_filter'}, _imported(_CORE) - _imported('sys'))

    def test_no_nova_below_the_scheduler(self):
        imported = _imported(_WITHOUT_NOVA)
        self.assertIn('sqlalchemy', imported)
        self.assertEqual(
            set(), imported & {'nova', 'oslo_db', 'eventlet', 'placement'})


@ddt.ddt
class TestNoDatabase(base.UnitTestCase):
    """The poison works, or the other unit tests prove nothing."""

    def test_create_engine(self):
        self.assertRaisesRegex(
            AssertionError, 'wants a database', sa.create_engine, 'sqlite://')

    @ddt.data('connect', 'begin', 'raw_connection')
    def test_engine_made_before(self, name):
        self.assertRaisesRegex(
            AssertionError, 'wants a database', getattr(_ENGINE, name))


_ENGINE = sa.create_engine('sqlite://')
