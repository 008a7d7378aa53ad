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

"""The store that the workers of one machine share."""

import contextlib
import pathlib
import sqlite3

import fixtures
import testtools

from pci_filter.tests.functional.reservations import base


class TestLocalStore(base.StoreMixin, testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.file = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'file')
        self.options = f'[pci_filter]\nreservation_file = {self.file}\n'

    @contextlib.contextmanager
    def blocked(self):
        connection = sqlite3.connect(self.file, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute('BEGIN IMMEDIATE')
            yield
            connection.execute('ROLLBACK')
