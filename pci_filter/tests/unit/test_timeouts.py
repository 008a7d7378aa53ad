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

"""What drivers and servers are told of timeouts."""

from unittest import mock

import ddt
import sqlalchemy as sa
import testtools

from pci_filter.db import timeouts

MYSQL = {'connect_timeout': 3, 'read_timeout': 8, 'write_timeout': 8}
POSTGRESQL = {'connect_timeout': 3, 'keepalives_idle': 8,
              'keepalives_interval': 2, 'keepalives_count': 4}


@ddt.ddt
class TestTimeouts(testtools.TestCase):

    @ddt.unpack
    @ddt.data(
        ('mysql+pymysql://h/d', MYSQL), ('mariadb+pymysql://h/d', MYSQL),
        ('mysql://h/d', MYSQL), ('postgresql://h/d', POSTGRESQL),
        ('postgresql+psycopg2://h/d', POSTGRESQL), ('sqlite:////d', {}))
    def test_arguments(self, url, expected):
        self.assertEqual(
            expected, timeouts.arguments(sa.engine.make_url(url), 3, 8))

    def test_what_somebody_has_said_comes_first(self):
        self.assertEqual({'connect_timeout': 3}, timeouts.arguments(
            sa.engine.make_url('mysql+pymysql://h/d?read_timeout=99'),
            3, 8, {'write_timeout': '9'}))

    def test_a_keepalive_each_second_at_most(self):
        self.assertEqual(1, timeouts.arguments(
            sa.engine.make_url('postgresql://h/d'), 1, 2)[
                'keepalives_interval'])

    @ddt.unpack
    @ddt.data(
        ('max_statement_time', '0.000000', 7),
        ('max_statement_time', '3600.000000', 7),
        ('max_statement_time', '6.500000', None),
        ('max_execution_time', '0', 7000),
        ('max_execution_time', '7001', 7000),
        ('max_execution_time', '7000', None))
    def test_limit_session(self, name, value, expected):
        connection = mock.Mock()
        cursor = connection.cursor.return_value
        cursor.fetchall.return_value = [(name, value)]
        timeouts.limit_session(connection, 7)
        _, *changes = cursor.execute.mock_calls
        self.assertEqual([] if expected is None else [mock.call(
            f'SET SESSION {name} = %s', (expected,))], changes)
        cursor.close.assert_called_once_with()
