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


"""What ``pci-filter-status upgrade check`` finds in the cells."""

import fixtures
from nova.pci import manager as pci_manager
import sqlalchemy as sa

from pci_filter.compute import tracker
from pci_filter.db import read_only
from pci_filter.objects import tag_coverage
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import servers
from pci_filter.tests.functional.nova import status


class TestDevices(status.StatusTestCase):

    def test_nobody_knows_tags(self):
        self.add('a', 'b', 'c')
        for name in 'bc':
            self.cloud.store_summary(self.cloud.hosts[name], None)
        results = self.results(1)
        self.check(results, 'Device Tags', 1,
                   '2 of 6 groups', ': 2 from pci_stats.', ' on b, c. ')
        self.check(results, 'Use of pci_stats', 0,
                   'NULL on 2 of the 3', ': a, b, c.')
        self.check_rest(results)
        self.cloud.store_summary(self.cloud.hosts['a'], 'no JSON')
        self.check(self.results(2), 'Device Tags', 2,
                   '0 of 6 groups of available devices have their tags. No')
        self.check(self.results(0, conf=(
            self.conf + '[pci_filter]\n'
            'device_spec = {"vendor_id": "8086"}\n')),
            'Use of pci_stats', 0, 'could be NULL on all')

    def test_tags_differ_within_a_port(self):
        self.cloud.add_host(0, 'a', status.port(), [
            '{"address": "0000:81:02.0", "trusted": "true"}', *status.SPEC])
        results = self.results(1)
        self.check(results, 'Device Tags', 1,
                   '2 of 2 groups', 'In 1 groups', ', on a. ')
        self.check_rest(results)

    def test_devices_in_use(self):
        """They have no tags in the summary of a tracker that restarts."""
        self.add('a')
        self.cloud.claim(self.cloud.hosts['a'], [base.vf_request(4)])
        self.cloud.restart(self.cloud.hosts['a'])
        results = self.results(0)
        self.check(results, 'Device Tags', 0, 'No PCI device is available')
        self.check(results, 'Use of pci_stats', 0, ' on 1 hosts: a.')
        self.check_rest(results)

    def test_providers(self):
        """Only the summary has those that rows were written before."""
        self.add('a', in_placement=True)
        host = self.cloud.hosts['a']
        self.cloud.execute(host.cell, (
            "UPDATE pci_devices SET extra_info = '{}'"))
        conf = self.conf + (
            '[pci_filter]\ndevice_spec = {"vendor_id": "8086"}\n')
        self.check(self.results(0, conf=conf), 'Use of pci_stats', 0,
                   'could be NULL on all')
        conf = conf.replace('[filter_scheduler]',
                            '[filter_scheduler]\npci_in_placement = true')
        self.check(self.results(0, conf=conf), 'Use of pci_stats', 0,
                   ' on 1 hosts: a.')

    def test_hosts_that_went_back(self):
        """Their rows have the tags of our tracker, and nobody renews them."""
        self.add('a', 'b', 'c', tracker=tracker.PciDevTracker)
        self.add('d')
        for name in 'ac':
            host = self.cloud.start_anew(
                self.cloud.hosts[name], status.port(),
                tracker=pci_manager.PciDevTracker)
        results = self.results(0)
        self.check(results, 'Stale Tags', 0, 'Nowhere does pci_stats deny')
        self.cloud.start_anew(host, status.port(), [
            status.SPEC[0].replace('physnet1', 'physnet2')])
        results = self.results(1)
        self.check(results, 'Stale Tags', 1, 'denies: c. ',
                   '"pci-filter audit --kind tags-stale --sql"')
        self.check_rest(results)
        # Nobody asks the rows.
        results = self.results(0, conf=(
            self.conf + '[pci_filter]\ntag_sources = pci_stats\n'))
        self.check(results, 'Stale Tags', 0)
        # The right command stores the right ones.
        self.cloud.start_anew(
            self.cloud.hosts['c'], status.port(),
            tracker=tracker.PciDevTracker)
        self.check(self.results(0), 'Stale Tags', 0)

    def test_no_transaction_lasts(self):
        self.add('a', 'b', 'c', 'd', 'e')
        self.useFixture(fixtures.MonkeyPatch(
            'pci_filter.objects.tag_coverage._NODES', 2))
        coverage = tag_coverage.TagCoverage({}, False)
        engine = self.cloud.engine(self.cloud.cells[0])
        with read_only.connect(engine.url.render_as_string(
                hide_password=False)) as connection:
            ended = []
            sa.event.listen(connection, 'rollback', ended.append)
            coverage.add_cell(connection)
            self.assertEqual(3, len(ended))
            self.assertFalse(connection.in_transaction())
        self.assertEqual(set('abcde'), coverage.hosts)


class TestCells(status.StatusTestCase):

    def set_url(self, url, where=''):
        """Change the URLs of cells as Nova's API database has them."""
        with self.api.begin() as connection:
            connection.exec_driver_sql(
                'UPDATE cell_mappings SET database_connection = '
                f"'{url}'{where}")

    def faulty_cell(self, code, *texts):
        results = self.results(code)
        self.check(results, 'Cell Databases', 2, *texts)
        return results

    def test_column_is_missing(self):
        self.add('a', cell=1)
        self.rename('parent_addr', 'gone')
        results = self.faulty_cell(
            2, 'Cell cell1 has no pci_devices.parent_addr. Run "nova-manage')
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)

    def test_cell_is_down(self):
        self.add('a', cell=1)
        self.set_url('mysql+pymysql://nova:s3cret@127.0.0.1:1/nova',
                     " WHERE name = 'cell1'")
        results = self.faulty_cell(2, 'Cell cell1 cannot be read: ', 'refused')
        self.assertNotIn('s3cret', str(results))
        self.check(results, 'Device Tags', 0, '2 of 2 groups',
                   ' (without cell1)')
        self.check(results, 'Use of pci_stats', 0, ' (without cell1)')
        self.check_rest(results)

    def no_cell(self, conf, *texts):
        results = self.results(2, conf=conf)
        self.check(results, 'Cell Databases', 2, *texts)
        for title in status.TITLES[-4:-1]:
            self.check(results, title, 1, 'Not checked')
        self.check_rest(results)

    def test_other_database(self):
        api, cell = (
            engine.url.render_as_string(hide_password=False)
            for engine in (self.api, self.cloud.engine(self.cloud.cells[0])))
        self.no_cell(self.conf.replace(api, cell),
                     'it has no table cell_mappings')
        self.no_cell(
            self.conf.replace(api, 'mysql+pymysql://n:s3cret@127.0.0.1:1/a'),
            'cannot read the API database', 'refused')
        self.no_cell(self.conf.replace('connection', '# connection'),
                     '[api_database]connection is not set')
        self.set_url(api)
        self.no_cell(self.conf, 'Cell cell1 cannot be read: it has no table',
                     'Cell cell2 cannot be read: it has no table')


class TestMySQL(servers.MySQLMixin, status.StatusTestCase):

    def test_all_well_and_a_column_less(self):
        self.add('a')
        self.add('b', cell=1, tracker=tracker.PciDevTracker)
        results = self.results(0)
        self.check(results, 'Device Tags', 0, '4 of 4 groups',
                   '2 from pci_stats', '2 from pci_devices')
        self.check(results, 'Use of pci_stats', 0, ' on 1 hosts: a.')
        self.check_rest(results)
        self.rename('parent_addr', 'gone')
        results = self.results(2)
        self.check(results, 'Cell Databases', 2,
                   'Cell cell1 has no pci_devices.parent_addr.')
        self.check(results, 'Device Tags', 0, '2 of 2 groups')
        self.check_rest(results)
