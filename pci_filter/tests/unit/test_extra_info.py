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

"""The end of a value in the text that a database gave."""

import ddt
import sqlalchemy as sa

from pci_filter.db import extra_info
from pci_filter.tests import base


@ddt.ddt
class TestCut(base.UnitTestCase):

    @ddt.data(
        (None, None), ('', None), ('"', None), ('", "rp_uuid', None),
        ('eth0', 'eth0'), ('eth0"', 'eth0'), ('eth0", "mac_addr', 'eth0'),
        ('eth0"}', 'eth0'), ('enp129s0f0np0v1', 'enp129s0f0np0v1'),
        ('enp129s0f0np0v1"', 'enp129s0f0np0v1'), (' ', ' '),
        ('eth\N{LATIN SMALL LETTER U WITH DIAERESIS}"',
         'eth\N{LATIN SMALL LETTER U WITH DIAERESIS}'),
        # Nova writes names that need no escapes.
        ('eth\\"0", ', None), ('eth\\u00fc0"', None), ('\\', None),
        # No JSON has them.
        ('\n{', None), ('eth0\n"', None), ('eth0"\n', 'eth0'),
        # Those behind the value are of no importance.
        ('eth0", "\\"x', 'eth0'))
    @ddt.unpack
    def test_value(self, text, value):
        self.assertEqual(value, extra_info.cut(text))
        if text is not None:
            self.assertEqual(value, extra_info.cut(text.encode()))

    def test_bytes_that_are_no_text(self):
        # A letter cut in two behind the value does no harm.
        self.assertEqual('eth0', extra_info.cut(b'eth0", "\xc3'))
        self.assertIsInstance(extra_info.cut(b'eth\xc3'), str)


@ddt.ddt
class TestText(base.UnitTestCase):

    @ddt.data('a b', "a'b", 'a"b', '', 'a%', 'a1', 'rp-uuid')
    def test_key_that_is_not_plain(self, key):
        error = self.assertRaises(
            ValueError, extra_info.extra_info_text, sa.column('x'), key, 9)
        self.assertEqual(f'not a plain key: {key!r}', str(error))
