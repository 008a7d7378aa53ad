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
"""The audit of one node right after what was committed on another one."""

import os
import unittest

from pci_filter.cli.audit import command
from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.tests.functional.nova import audit_servers
from pci_filter.tests.functional.nova import base as nova_base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests.galera import base

INTEL = {'vendor_id': '8086', 'physical_network': 'physnet1'}


def load_tests(loader, standard_tests, pattern):
    """Leave the tests out unless they are asked for."""
    if os.environ.get(base.VARIABLE):
        return standard_tests
    return unittest.TestSuite()


class TestAudit(base.GaleraMixin, nova_base.NovaTestCase):

    cells = 1

    def setUp(self):
        super().setUp()
        conf.register_opts(databases.CONF)
        self.compute = audit_servers.Compute(self.cloud, name='one')
        self.compute.start([INTEL], hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=1, vfs=4))
        self.addCleanup(audit_servers.remove_all, self.cloud)
        self.second = self.cluster.nodes[1]
        self.schedule_through(self.second.url(self.database))
        self.compute.host = self.cloud.hosts['one']
        self.arguments = '--grace', '0', *commands.only_cell(
            self.cloud.cells[0].database_connection)

    def test_nothing_is_found(self):
        for _ in range(10):
            server = self.compute.boot(nova_base.vf_request(alias_name='vf'))
            self.assertEqual(
                (0, []), commands.run_here(command.Audit, *self.arguments))
            self.compute.delete(server)
            self.assertEqual(
                (0, []), commands.run_here(command.Audit, *self.arguments))

    def test_node_that_lags_behind(self):
        self.second.set_option('repl.causal_read_timeout=PT1S')
        self.addCleanup(
            self.second.set_option, 'repl.causal_read_timeout=PT30S')
        with self.second.connect() as holding:
            holding.exec_driver_sql('FLUSH TABLES WITH READ LOCK')
            self.commit()
            result = commands.run('audit', *self.arguments)
            holding.exec_driver_sql('UNLOCK TABLES')
        self.assertEqual('', result.stdout.strip())
        self.assertIn('has not applied what was committed', result.stderr)
        self.assertNotIn('Lock wait', result.stderr)
        self.cluster.wait_until_whole()
        self.assertEqual(
            0, commands.run('audit', *self.arguments).returncode)
