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

"""nova.conf as the commands read it."""

import os
import pathlib

import fixtures
from testtools import matchers

from pci_filter.cli import base as cli_base
from pci_filter.cli.nova import nova_conf
from pci_filter.tests import base


class TestNovaConf(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def _file(self, text, name='nova.conf'):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def _refused(self, *arguments, **options):
        error = self.assertRaises(
            cli_base.CommandError, nova_conf.load, *arguments, **options)
        self.assertEqual(1, len(str(error).splitlines()))
        self.assertNotIn('secret', str(error))
        return str(error)

    def test_values(self):
        conf = nova_conf.load([self._file(
            '[api_database]\nconnection = mysql://u:p@h/api\n'
            '[database]\nconnection = mysql://u:p@h/cell0?charset=utf8\n'
            'connection_parameters = ssl_ca=/ca&read_timeout=5\n'
            '[pci]\nalias = {"name": "one"}\nalias = {"name": "two"}\n'
            '[pci_filter]\ntag_sources = pci_stats\n'
            '[DEFAULT]\nunknown_to_us = true\n')])
        self.assertEqual(
            'mysql://u:p@h/api', nova_conf.connection(conf, 'api_database'))
        self.assertEqual(
            'mysql://u:p@h/cell0?charset=utf8&ssl_ca=/ca&read_timeout=5',
            nova_conf.connection(conf, 'database'))
        self.assertEqual(['{"name": "one"}', '{"name": "two"}'],
                         conf.pci.alias)
        self.assertEqual(['pci_stats'], conf.pci_filter.tag_sources)

    def test_later_files_win(self):
        first = self._file('[database]\nconnection = a\n', 'a.conf')
        second = self._file('[database]\nconnection = b\n', 'b.conf')
        conf = nova_conf.load([first, second])
        self.assertEqual('b', conf.database.connection)

    def test_folder(self):
        self._file('[database]\nconnection = a\n', '1.conf')
        self._file('[database]\nconnection = b\n', '2.conf')
        conf = nova_conf.load(config_dirs=[str(self.folder)])
        self.assertEqual('b', conf.database.connection)

    def test_usual_places(self):
        self.useFixture(fixtures.EnvironmentVariable(
            'HOME', str(self.folder)))
        self._file('[database]\nconnection = a\n')
        os.mkdir(self.folder / 'nova-scheduler.conf.d')
        self._file('[database]\nconnection = b\n',
                   'nova-scheduler.conf.d/1.conf')
        self.assertEqual('b', nova_conf.load().database.connection)

    def test_no_file(self):
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_config.cfg.find_config_files', lambda *args: []))
        self.useFixture(fixtures.MonkeyPatch(
            'oslo_config.cfg.find_config_dirs', lambda *args: []))
        self.assertIn('--config-file', self._refused())
        conf = nova_conf.load(required=False)
        self.assertIsNone(nova_conf.connection(conf, 'api_database'))

    def test_missing_file_and_folder(self):
        path = str(self.folder / 'missing')
        self.assertIn(path, self._refused([path]))
        self.assertIn(path, self._refused(config_dirs=[path]))

    def test_folder_for_a_file(self):
        self.assertEqual(
            f'cannot read {self.folder}: Is a directory',
            self._refused([str(self.folder)]))

    def test_lines_are_not_quoted(self):
        for text, reason in (
                ('[database\nconnection = secret\n',
                 ':1: Invalid section (must end with ])'),
                ('connection = secret\n',
                 ':1: Section must be started before assignment'),
                ('[database]\nconnection secret\n',
                 ":2: No ':' or '=' found in assignment")):
            path = self._file(text)
            self.assertEqual(path + reason, self._refused([path]))

    def test_password_with_a_dollar_sign(self):
        path = self._file('[database]\nconnection = mysql://u:p$secret@h\n')
        self.assertThat(
            self._refused([path]),
            matchers.StartsWith('[database]connection: a $ in the value'))

    def test_wrong_value(self):
        path = self._file('[pci_filter]\nload_for = nobody\n')
        self.assertEqual(
            '[pci_filter]load_for: Valid values are [pci_requests, '
            "all_requests], but found 'nobody'", self._refused([path]))

    def test_update_interval(self):
        for lines, interval in (
                ('', 60), ('update_resources_interval = 0\n', 60),
                ('update_resources_interval = -1\n', 60),
                ('update_resources_interval = 300\n', 300),
                (f'update_resources_interval = {10 ** 30}\n', 86400)):
            self.assertEqual(interval, nova_conf.update_interval(
                nova_conf.load([self._file(f'[DEFAULT]\n{lines}')])))
        self.assertThat(
            self._refused([self._file(
                '[DEFAULT]\nupdate_resources_interval = often\n')]),
            matchers.StartsWith('[DEFAULT]update_resources_interval: '))

    def test_no_text(self):
        path = self.folder / 'binary'
        path.write_bytes(b'\xff\xfe')
        self.assertEqual(
            f'{path} is not text in UTF-8', self._refused([str(path)]))
