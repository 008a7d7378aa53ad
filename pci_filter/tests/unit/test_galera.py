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
"""What a session of Galera is told, and what becomes of its errors."""

from unittest import mock

import ddt
import sqlalchemy as sa
import testtools

from pci_filter.db import galera


class Session:
    """A connection of a driver to a server with such variables."""

    def __init__(self, **variables):
        self.cursor = mock.Mock()
        self.cursor.return_value.fetchall.return_value = tuple(
            variables.items())

    def changes(self):
        """Return what was set."""
        _, *changes = self.cursor.return_value.execute.mock_calls
        return [one.args for one in changes]


@ddt.ddt
class TestGalera(testtools.TestCase):

    @ddt.unpack
    @ddt.data(('0', 1), ('1', None), ('6', 7), ('7', None), ('8', 9))
    def test_node(self, before, after):
        session = Session(wsrep_on='ON', wsrep_sync_wait=before)
        self.assertTrue(galera.wait_in_session(session))
        self.assertEqual([] if after is None else [
            ('SET SESSION wsrep_sync_wait = %s', (after,))],
            session.changes())
        session.cursor.return_value.close.assert_called_once_with()

    @ddt.data(
        # MySQL, MariaDB, and a session that its node leaves alone.
        {}, {'wsrep_on': 'OFF', 'wsrep_sync_wait': '0'},
        {'wsrep_on': 'OFF', 'wsrep_sync_wait': '1'})
    def test_no_node(self, variables):
        session = Session(**variables)
        self.assertFalse(galera.wait_in_session(session))
        self.assertEqual([], session.changes())

    def test_code(self):
        """As drivers, SQLAlchemy and oslo.db raise it."""
        driver = RuntimeError(1205, 'Lock wait timeout exceeded')
        wrapped = sa.exc.OperationalError('statement', {}, driver)
        oslo = Exception(wrapped)
        oslo.inner_exception = wrapped
        for error in driver, wrapped, oslo:
            self.assertEqual(1205, galera._code(error))
        for other in (RuntimeError(), RuntimeError('1205'),
                      sa.exc.OperationalError('1205', {}, RuntimeError())):
            self.assertIsNone(galera._code(other))
