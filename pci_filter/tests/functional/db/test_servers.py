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

"""The other tests here do not skip a server that should be there."""

import os
import unittest

import testtools

from pci_filter.tests.functional.db import base


class TestServerMissing(testtools.TestCase):
    def test_unreachable_server_fails(self) -> None:
        class Unreachable(base.PostgreSQLMixin, unittest.TestCase):
            server = base.Server('PCI_FILTER_TEST_NO_SERVER_URL')

            def test_something(self) -> None:
                pass

        result = unittest.TestResult()
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Unreachable)
        suite.run(result)
        self.assertEqual((1, 0), (len(result.skipped), len(result.errors)))

        os.environ[Unreachable.server.variable] = (
            'postgresql+psycopg2://nobody@127.0.0.1:1/nothing')
        self.addCleanup(os.environ.pop, Unreachable.server.variable)
        result = unittest.TestResult()
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Unreachable)
        suite.run(result)
        self.assertEqual((0, 1), (len(result.skipped), len(result.errors)))
        self.assertIn('Connection refused', result.errors[0][1])
