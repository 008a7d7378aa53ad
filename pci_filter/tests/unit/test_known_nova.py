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
from pci_filter import exception
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


class Owner:
    """Something of Nova's, as it is known and as it may become."""

    def known(self, one, two):
        pass

    def optional(self, one, two, three=3, *, four=4):
        pass

    def with_default(self, one, two=2):
        pass

    def keywords(self, one, two, **kwargs):
        pass

    def anything(*args, **kwargs):
        pass

    def rest(self, one, *args):
        pass

    def mandatory(self, one, two, three):
        pass

    def mandatory_keyword(self, one, two, *, three):
        pass

    def renamed(self, one, other):
        pass

    def inserted(self, one, three=3, two=2):
        pass

    def fewer(self, one):
        pass

    def swapped(self, two, one):
        pass

    no_function = 5


@ddt.ddt
class TestFind(testtools.TestCase):

    def find_callable(self, name, by_keyword=()):
        return known_nova.find_callable(
            Owner, name, ('self', 'one', 'two'), 'Go home', ', alas',
            by_keyword)

    @ddt.data('known', 'optional', 'with_default', 'keywords', 'anything',
              'rest')
    def test_callable(self, name):
        self.assertIs(getattr(Owner, name), self.find_callable(name))

    @ddt.data('mandatory', 'mandatory_keyword', 'renamed', 'inserted',
              'fewer', 'swapped', 'no_function', 'missing')
    def test_not_callable(self, name):
        error = self.assertRaises(
            exception.UnsupportedNova, self.find_callable, name)
        self.assertIn(
            'its Owner has no missing()' if name == 'missing'
            else f'Owner.{name}() takes ', error.found)

    def test_message(self):
        for name, takes in (('swapped', 'self, two, one'),
                            ('no_function', 'nothing')):
            error = self.assertRaises(
                exception.UnsupportedNova, self.find_callable, name)
            self.assertEqual(
                f'Owner.{name}() takes {takes} instead of self, one, two, '
                'alas', error.found)

    def test_by_keyword(self):
        for name in ('keywords', 'anything', 'mandatory_keyword'):
            self.find_callable(name, ['three'])
        self.assertRaises(exception.UnsupportedNova, self.find_callable,
                          'known', ['three'])

    def test_exactly(self):
        """What is overridden must take what Nova gives it."""
        def find(name):
            return known_nova.find(
                Owner, name, ['self', 'one', 'two'], 'Go home')

        self.assertIs(Owner.known, find('known'))
        self.assertIs(Owner.with_default, find('with_default'))
        for name in ('optional', 'keywords', 'anything', 'missing'):
            self.assertRaises(exception.UnsupportedNova, find, name)
