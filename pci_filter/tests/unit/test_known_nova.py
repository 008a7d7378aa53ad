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

"""Whatever has to be done for a release is done for each."""

import configparser
import pathlib
import re

import ddt
import testtools

import pci_filter
from pci_filter import known_nova

CHECKOUT = pathlib.Path(pci_filter.__file__).resolve().parent.parent


@ddt.ddt
class TestReleases(testtools.TestCase):

    def test_constraints(self):
        self.assertEqual(
            sorted(known_nova.RELEASES.values()),
            sorted(path.stem for path in CHECKOUT.glob('constraints/*.txt')))

    def test_environments(self):
        """tox installs a Nova of each, with the constraints of it."""
        tox = configparser.ConfigParser(interpolation=None)
        tox.read(CHECKOUT / 'tox.ini')
        names = ','.join(known_nova.RELEASES.values())
        section = tox[f'testenv:nova-{{{names}}}']
        self.assertEqual(
            {(name, str(major))
             for major, name in known_nova.RELEASES.items()},
            set(re.findall(r'(\S+): nova==(\d+)\.', section['deps'])))
        self.assertEqual(
            {(name, name) for name in known_nova.RELEASES.values()},
            set(re.findall(
                r'(\S+): \{tox_root\}/constraints/(\S+)\.txt',
                section['constraints'])))

    @ddt.data('README.rst', 'doc/source/user/support.rst', 'tools/matrix.py')
    def test_told(self, path):
        text = (CHECKOUT / path).read_text()
        for name in known_nova.RELEASES.values():
            self.assertIn(name, text)

    def test_all_in_the_message(self):
        self.assertEqual(
            'Nova 2024.1 (29), Nova 2025.1 (31), Nova 2025.2 (32), '
            'Nova 2026.1 (33), Nova 2026.2 (34)', known_nova.SUPPORTED)
