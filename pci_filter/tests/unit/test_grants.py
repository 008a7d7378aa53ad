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

"""Whether "For your DBA" lists the tables that are read, and no others."""

import pathlib
import re

import testtools

import pci_filter
from pci_filter.db import asked_for
from pci_filter.db import cell_mappings
from pci_filter.db import request_specs
from pci_filter.db import services
from pci_filter.db import tables

PAGE = pathlib.Path(pci_filter.__file__).resolve().parent.parent.joinpath(
    'doc', 'source', 'user', 'for-your-dba.rst')

BLOCK = re.compile(
    r'^\.\. code-block:: sql\n   :name: grants-(\S+)\n\n((?: .*\n|\n)+)',
    re.MULTILINE)
GRANT = re.compile(r"^   GRANT SELECT ON (\w+)\.(\w+) TO 'pci_filter'@'%';$",
                   re.MULTILINE)


def grants():
    """Return the tables of each block, by its name, as (database, table)."""
    return {name: set(GRANT.findall(block)) for name, block in BLOCK.findall(
        PAGE.read_text(encoding='utf-8'))}


def named(database, *of_metadata):
    return {(database, table.name) for metadata in of_metadata
            for table in metadata.sorted_tables}


class TestGrants(testtools.TestCase):

    def test_cells(self):
        found = grants()
        self.assertEqual(
            {('nova_cell1', table.name) for table in (
                tables.compute_nodes, tables.pci_devices)}, found['pools'])
        self.assertEqual(
            {('nova_cell1', tables.instances.name)}, found['reservations'])
        # The audit requires all of them, and the status looks at each.
        self.assertEqual(
            named('nova_cell1', tables.metadata),
            found['pools'] | found['reservations'] | found['audit'])

    def test_api_database(self):
        found = grants()
        self.assertEqual(
            named('nova_api', cell_mappings.metadata), found['api'])
        self.assertEqual(
            named('nova_api', request_specs.metadata), found['api-instance'])
        self.assertEqual(
            named('nova_api', asked_for.metadata),
            found['api'] | found['api-instance'] | found['api-reservations'])

    def test_cell0(self):
        self.assertEqual(
            named('nova_cell0', services.metadata), grants()['services'])

    def test_nothing_twice(self):
        found = [table for block in grants().values() for table in block]
        self.assertEqual(len(set(found)), len(found))
