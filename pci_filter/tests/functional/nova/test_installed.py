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

"""No test fails, or counts as passed, for what a machine has installed."""

import ast
import pathlib
import unittest

import fixtures
import testtools

from pci_filter.tests.functional.db import test_mysql
from pci_filter.tests.functional.nova import test_faults
from pci_filter.tests.functional.reservations import test_memcached
from pci_filter.tests import installed

TESTS = pathlib.Path(installed.__file__).parent

#: What needs a program or a library of the machine.
NEEDY = {
    test_mysql.TestMySQLSmallPackets: 'MariaDB',
    test_faults.TestFaultServerKilledMySQL: 'MariaDB',
    test_faults.TestFaultFrozenMySQL: 'MariaDB',
    test_faults.TestFaultFrozenPostgreSQL: 'PostgreSQL',
    test_faults.TestFaultGaleraMySQL: 'Galera',
    test_memcached.TestMemcachedStore: 'memcached',
    test_memcached.TestMemcachedStoreSASL: 'SASL',
}

#: Who may call shutil.which.
MAY_FIND = {'installed.py'}

#: What skips a test.
SKIPS = {'skip', 'skipTest', 'skipException', 'SkipTest', 'require'}


def run(test_class):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(test_class).run(result)
    return result


def names(tree):
    """Return every name and attribute that a piece of source has."""
    return {getattr(node, 'attr', getattr(node, 'id', None))
            for node in ast.walk(tree)}


def set_ups(tree):
    """Yield the methods that set up a fixture."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and 'Fixture' in {
                getattr(base, 'attr', None) for base in node.bases}:
            yield from (part for part in node.body
                        if getattr(part, 'name', None) in ('setUp', '_setUp'))


class TestNothingInstalled(testtools.TestCase):

    def setUp(self):
        super().setUp()
        # There is nothing in it.
        directory = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.EnvironmentVariable('PATH', directory))
        for name, value in (('_DIRECTORIES', (directory,)),
                            ('_LIBRARIES', (directory,))):
            self.useFixture(fixtures.MonkeyPatch(
                f'pci_filter.tests.installed.{name}', value))

    def promise(self, *names):
        self.useFixture(fixtures.EnvironmentVariable(
            installed.VARIABLE, ','.join(names) or None))

    def test_skipped(self):
        self.promise()
        for test_class, software in NEEDY.items():
            result = run(test_class)
            self.assertEqual([], result.errors + result.failures)
            (_, reason), *more = result.skipped
            self.assertEqual([], more)
            self.assertIn(
                f'{software} is not installed: there is no', reason)

    def test_failed_where_it_was_promised(self):
        self.promise(*set(NEEDY.values()))
        for test_class, software in NEEDY.items():
            result = run(test_class)
            self.assertEqual([], result.skipped)
            told = [text for _, text in result.errors + result.failures]
            self.assertNotEqual([], told)
            for text in told:
                self.assertRegex(text, f'{software} is not installed.* but '
                                 f'{installed.VARIABLE} names it')

    def test_promise_that_is_mistyped(self):
        self.promise('Mariadb')
        self.assertRaisesRegex(
            ValueError, 'names Mariadb, which no test looks for; it can be '
            'MariaDB, PostgreSQL, Galera, rsync, HAProxy, memcached, SASL',
            installed.MARIADB.require)

    def test_nova_that_is_installed(self):
        """Its nova.conf would answer where there should be none."""
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_config.cfg.find_config_files',
            lambda project, prog: ['/etc/nova/nova.conf']))
        error = self.assertRaises(
            unittest.SkipTest, installed.require_no_nova_conf)
        self.assertEqual('/etc/nova/nova.conf is here', str(error))


class TestSources(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.trees = {
            str(path.relative_to(TESTS)): ast.parse(path.read_text())
            for path in sorted(TESTS.rglob('*.py'))}

    def test_one_place_finds_programs(self):
        self.assertEqual(MAY_FIND, {
            path for path, tree in self.trees.items()
            if {'shutil', 'which'} <= names(tree)})

    def test_no_fixture_skips(self):
        """The skip would arrive as an error."""
        found = [(path, tree) for path, all_of_it in self.trees.items()
                 for tree in set_ups(all_of_it)]
        self.assertNotEqual([], found)
        self.assertEqual([], [
            path for path, tree in found if SKIPS & names(tree)])
