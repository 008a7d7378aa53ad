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

"""What has to be installed, held against what each release allows."""

import configparser
import pathlib

from packaging import requirements
from packaging import utils
import testtools

import pci_filter

CHECKOUT = pathlib.Path(pci_filter.__file__).resolve().parent.parent


def _parse(path):
    return [
        requirements.Requirement(line) for line in (
            line.partition('#')[0].strip()
            for line in path.read_text().splitlines()) if line]


def extras():
    """Return what the extras of the package require, but for Nova."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / 'setup.cfg')
    return [
        requirements.Requirement(line.partition('#')[0].strip())
        for name, lines in setup['extras'].items() if name != 'nova'
        for line in lines.strip().splitlines()]


def required():
    """Return what the package requires."""
    return _parse(CHECKOUT / 'requirements.txt')


class TestRequirements(testtools.TestCase):

    def test_each_release_has_all(self):
        """Whoever installs with constraints gets what they name, only."""
        files = sorted((CHECKOUT / 'constraints').glob('*.txt'))
        self.assertNotEqual([], files)
        self.assertNotEqual([], extras())
        for path in files:
            pins = _parse(path)
            for one in required() + extras():
                found = [
                    next(iter(pin.specifier)).version for pin in pins
                    if utils.canonicalize_name(pin.name)
                    == utils.canonicalize_name(one.name)]
                self.assertNotEqual([], found, f'{path.name}: {one.name}')
                self.assertEqual(
                    [], [version for version in found
                         if version not in one.specifier],
                    f'{path.name}: {one}')
