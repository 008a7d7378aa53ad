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

"""What is shown of an error of a database."""

import re

from pci_filter.db import credentials
from pci_filter.tests import base

#: What drivers say, of any host, user and database.
PLAIN = (
    "Can't connect to MySQL server on '10.0.0.1' ([Errno 111] Connection "
    'refused) (2003)',
    "Access denied for user 'nova'@'localhost' (using password: YES) (1045)",
    "Lost connection to MySQL server at 'reading initial communication "
    "packet', system error: 104 (2013)",
    'connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" '
    'failed: No such file or directory',
    'connection to server at "10.0.0.1", port 5432 failed: FATAL:  password '
    'authentication failed for user "nova"',
    "Unknown database 'nova_cell1' (1049)",
    'it has no table pci_devices, so it is another database or was not set '
    'up by Nova yet',
)


class TestMask(base.UnitTestCase):

    def test_a_mask_tells_nothing(self):
        """Who knows what drivers say would see what was replaced."""
        words = {word for text in PLAIN for word in re.findall(r'\w+', text)}
        for password in (*'nost1 ', *words):
            for text in PLAIN:
                self.assertEqual(text, credentials.mask(
                    text, f'mysql+pymysql://nova:{password}@10.0.0.1:3306/'
                    'nova_cell1'))

    def test_user_with_the_same_password(self):
        url = 'no+such://n:n@localhost/n'
        for text in (*PLAIN, "Access denied for user 'n'@'n' (1045)"):
            self.assertEqual(text, credentials.mask(text, url))
        self.assertEqual("'***@localhost/n'", credentials.mask(
            f'{url!r}', url).replace('no+such:', ''))

    def test_what_drivers_quote_of_a_password(self):
        for password, text, shown in (
                ('wr0ng@pass', "on 'pass@db' (-2)", "on '***@db' (-2)"),
                ('a@b/c', "on 'b' (-2)", "on '***' (-2)"),
                ('a@b/c', "database 'c@db/nova'", "database '***@db/nova'"),
                ('a@b/c d@e', "database 'c d@e@db/nova'",
                 "database '***@db/nova'"),
                ('t0@:k3n?p4rt', "with base 10: 'k3n'",
                 "with base 10: '***'"),
                ('a@b,c', 'host name "c@db" to', 'host name "***@db" to'),
                ('p%40ss%2Fword', "of 'p@ss/word'", "of '***'"),
                ('p@ss', 'cannot reach ss@db', 'cannot reach ***@db')):
            self.assertEqual(shown, credentials.mask(
                text, f'mysql+pymysql://nova:{password}@db/nova'))

    def test_urls(self):
        for url in ('mysql://nova:s3cret@db/nova',
                    'mysql//nova:s3cret@db/nova', 'nova:s3 cret@db'):
            for text in ('bad: {}', "bad: '{}'", 'no way to {}.'):
                shown = credentials.mask(text.format(url), url)
                self.assertNotIn('cret', shown)
                self.assertIn('***@db', shown)

    def test_options(self):
        self.assertEqual(
            'no such option in ***@db/nova?ssl=1&passwd=***&x=1',
            credentials.mask(
                'no such option in mysql://u:p@db/nova?ssl=1&passwd=s3&x=1'))
        self.assertEqual(
            'invalid dsn: "host=db password=***"',
            credentials.mask('invalid dsn: "host=db password=s3cret"'))
