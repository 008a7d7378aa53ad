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

"""Cells are found where Nova finds them."""

import fixtures
import nova.conf
from nova.objects import cell_mapping
import testtools

from pci_filter.db import cell_mappings
from pci_filter.fixture import databases

#: Values of [database]connection.
DEFAULTS = (
    None,
    'mysql+pymysql://nova:s3cret@db.example.org:3306/nova_cell0?charset=utf8',
    'mysql+pymysql://nova:p%40ss@[fd00::1]/nova',
    'postgresql://nova@db/nova#part',
    'sqlite:////var/lib/nova/nova.sqlite',
    'mysql://a:b@h1:1,c@h2,h3:3/nova',
    'mysql://a:b@host:port/nova',
    'mysql://[fd00/nova',
    '',
)

#: Values of cell_mappings.database_connection.
TEMPLATES = (
    'mysql+pymysql://nova:s3cret@db/nova_cell1',
    '{scheme}://{username}:{password}@{hostname}:{port}/cell1?{query}',
    '{scheme}://{username}:{password}@{hostname}/{path}_1#{fragment}',
    '{scheme}://{username1}:{password1}@{hostname1}:{port1},'
    '{username2}:{password2}@{hostname2}:{port2},{username3}@{hostname3}'
    ':{port3}/nova',
    '{scheme}://{user}@host/nova',
    'mysql://nova:pass{word@host/nova',
    'mysql://nova:pass}word@host/nova',
    'mysql://nova:{}@host/nova',
    'mysql://nova:{{}}@host:{port:d}/nova',
)


class TestTemplates(testtools.TestCase):

    def test_filled_as_nova_does(self):
        # Nova has much to say where it gives up.
        self.useFixture(fixtures.FakeLogger('nova'))
        filled = set()
        for default in DEFAULTS:
            with databases.overriding('database', connection=default):
                for template in TEMPLATES:
                    theirs = cell_mapping.CellMapping.format_db_url(template)
                    self.assertEqual(
                        theirs,
                        cell_mappings.database_url(template, default))
                    filled.add(theirs)
        # Most of them say something of their own.
        self.assertLess(12, len(filled - set(TEMPLATES)))
        self.assertIsNone(nova.conf.CONF.database.connection)

    def test_comma_in_password(self):
        """Nova up to 2026.1 fills these, so cells may be mapped so."""
        for default in ('mysql://nova:pa,ss@db/nova_api',
                        'mysql://nova:pa,ss:w@db/nova_api'):
            self.assertEqual(
                default.replace('nova_api', 'cell1'),
                cell_mappings.database_url(
                    'mysql://{username}:{password}@{hostname}/cell1',
                    default))
