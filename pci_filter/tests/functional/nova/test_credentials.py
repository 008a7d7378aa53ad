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

"""Passwords of databases stay out of the log, however odd they are."""

import functools
import re

import fixtures
from nova import context as nova_context

from pci_filter.tests.functional.nova import test_degradation as degradation

#: None of them is quoted as it would have to be in a URL.
PASSWORDS = ('s3cret', 'pass word', "se/cr'et", 'p(x)yz', 'a@s3cret',
             'x"y"z@w', 'se//cret', 'a:b', 't0@k3n/p4rt',
             't0@:k3n?p4rt')
URLS = ('mysql+pymysql://nova:{}@127.0.0.1:1/nova',
        'postgresql+psycopg2://nova:{}@127.0.0.1:1/nova',
        'no+such://nova:{}@127.0.0.1:1/nova',
        'mysql+pymysql//nova:{}@127.0.0.1:1/nova',
        'mysql+pymysql:nova:{}@127.0.0.1:1/nova')


class TestCredentials(degradation.DegradationTestCase):

    def point_to(self, manager, url):
        """Let the cell's database be elsewhere from now on."""
        mapping = manager.cells[self.cell.uuid].obj_clone()
        mapping.database_connection = url
        manager.cells[self.cell.uuid] = mapping
        nova_context.CELL_CACHE.clear()

    def test_unreachable(self):
        self.override('database', max_retries=0)
        self.addCleanup(nova_context.CELL_CACHE.clear)
        for password in PASSWORDS:
            for url in URLS:
                manager = self.our_manager()
                seen = len(self.log.output)
                self.assertDegraded(*self.ask(manager, functools.partial(
                    self.point_to, manager, url.format(password))))
                said = self.log.output[seen:]
                self.assertIn('could not be read: ', said)
                # Nor what is left of it where the URL was cut in pieces.
                for part in (password, *re.split('[@:/?]+', password)):
                    if len(part) > 2:
                        self.assertNotIn(part, said, (url, password))
                nova_context.CELL_CACHE.clear()

    def test_in_the_text_of_a_failure(self):
        for number, password in enumerate(PASSWORDS):
            def fail(*args, password=password):
                raise RuntimeError(
                    f'no way to mysql://nova:{password}@db{number}/nova')

            # One that has not logged this kind of failure yet.
            manager = self.our_manager()
            with fixtures.MonkeyPatch(
                    'pci_filter.db.device_groups.load', fail):
                self.assertDegradedAll(self.ask(manager)[0])
            said = self.warnings()[-1]
            self.assertNotIn(password, said)
            self.assertRegex(said, (
                r'RuntimeError: no way to (mysql:)?\*\*\*'
                f'@db{number}/nova. '))

    def assertDegradedAll(self, states):
        self.assertEqual({'PciDeviceStats'}, {
            type(state.pci_stats).__name__ for state in states.values()})
