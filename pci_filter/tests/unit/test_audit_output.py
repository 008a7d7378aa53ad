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

"""How findings leave the audit: documentation, statements, metrics."""

import os
import pathlib
import runpy
import stat

import fixtures
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client import parser
from sqlalchemy.dialects import sqlite

import pci_filter
from pci_filter.audit import finding
from pci_filter.audit import kinds
from pci_filter.cli.audit import auditor
from pci_filter.cli.audit import metrics
from pci_filter.cli.audit import sql
from pci_filter.db import repairs
from pci_filter.tests import base

CHECKOUT = pathlib.Path(pci_filter.__file__).resolve().parent.parent

#: As the operators' issue names them.
KINDS = (
    'summary-count', 'summary-missing', 'summary-extra', 'summary-unreadable',
    'owner-missing', 'owner-elsewhere', 'request-unmet', 'available-owned',
    'device-twice', 'parent-child', 'orphan-row', 'status-unknown',
    'extra-info-malformed', 'rp-missing', 'rp-split', 'tags-stale',
    'removed-lingering')


class TestKinds(base.UnitTestCase):

    def test_names(self):
        self.assertEqual(KINDS, kinds.FAULTS)
        self.assertEqual(
            {*KINDS, 'summary-deprecated'}, set(kinds.KINDS))

    def test_documentation_is_up_to_date(self):
        tool = runpy.run_path(str(CHECKOUT / 'tools' / 'audit_kinds.py'))
        self.assertEqual(tool['TARGET'].read_text(), tool['content'](),
                         'run tools/audit_kinds.py')


class TestSql(base.UnitTestCase):

    def lines(self, **values):
        one = finding.Finding(**{
            'kind': 'owner-missing', 'host': 'host', 'node_id': 1,
            'subject': '0000:81:02.1', 'stored': 'stored', 'evidence': 1,
            **values})
        return list(sql.lines(auditor.Found(
            'cell', one, sqlite.dialect())))

    def test_statement(self):
        lines = self.lines(repairs=(finding.Repair(
            'pci_devices', 5,
            {'deleted': 0, 'status': "it's 5%", 'instance_uuid': None},
            {'status': 'available', 'instance_uuid': None}),))
        self.assertEqual(
            'UPDATE pci_devices SET status=\'available\', instance_uuid=NULL '
            'WHERE pci_devices.id = 5 AND pci_devices.deleted = 0 AND '
            'pci_devices.instance_uuid IS NULL AND pci_devices.status = '
            "'it''s 5%';", lines[-1])
        self.assertEqual('', lines[0])
        for line in lines[1:-1]:
            self.assertTrue(line.startswith('-- '), line)
            self.assertLess(len(line), 80)

    def test_deletion(self):
        text = repairs.statement(finding.Repair(
            'pci_devices', 5, {'deleted': 0}, finding.DELETED),
            sqlite.dialect())
        self.assertRegex(
            text, r"^UPDATE pci_devices SET deleted=pci_devices\.id, "
            r"deleted_at='\d{4}-\d\d-\d\d \d\d:\d\d:\d\d' WHERE "
            r'pci_devices\.id = 5 AND pci_devices\.deleted = 0;$')

    def test_no_statement(self):
        lines = self.lines(no_repair='nobody knows')
        self.assertEqual('-- No statement: nobody knows.', lines[-1])

    def test_comments_stay_comments(self):
        for line in self.lines(
                stored='x\nDROP TABLE instances;\r\n', host='a\nb',
                no_repair='y')[1:]:
            self.assertTrue(line.startswith('-- '), line)

    def test_comments_do_not_control_the_terminal(self):
        for line in self.lines(stored='x\x1b[2J', host='\x07\n'):
            self.assertTrue(line.isprintable(), line)

    def test_what_is_not_compared_is_told(self):
        for value, told in (('x', False), ('\x1b', True)):
            lines = self.lines(repairs=(finding.Repair(
                'pci_devices', 5, {'extra_info': value},
                {'extra_info': '{}'}),), no_repair='')
            self.assertEqual(told, any(
                'Whether pci_devices.extra_info' in line for line in lines))

    def test_long_values_are_not_compared(self):
        for length, compared in ((1000, True), (1001, False)):
            self.assertEqual(compared, 'extra_info =' in repairs.statement(
                finding.Repair('pci_devices', 5, {'extra_info': 'x' * length},
                               {'status': 'available'}),
                sqlite.dialect()))

    def test_what_cannot_be_shown_is_not_compared(self):
        text = repairs.statement(finding.Repair(
            'pci_devices', 5, {'status': 'x\x1b[2J', 'deleted': 0},
            {'status': 'available'}), sqlite.dialect())
        self.assertTrue(text.isprintable())
        self.assertTrue(text.endswith(
            'WHERE pci_devices.id = 5 AND pci_devices.deleted = 0;'), text)


class TestMetrics(base.UnitTestCase):

    def text(self):
        return metrics.text(
            {('cell1', 'rp-split'): 3, ('odd "\\\n', 'owner-missing'): 1},
            ['cell1', 'odd "\\\n', 'half'], ['half', 'down'], KINDS,
            {'cell1': 7, 'half': 8})

    def test_both_formats(self):
        for parse in (parser.text_string_to_metric_families,
                      openmetrics_parser.text_string_to_metric_families):
            families = {family.name: family for family in parse(self.text())}
            self.assertEqual(
                {'pci_filter_audit_findings', 'pci_filter_audit_cell_read',
                 'pci_filter_audit_unsettled'}, set(families))
            self.assertEqual(
                {'cell1': 7, 'odd "\\\n': 0},
                {one.labels['cell']: one.value for one in families[
                    'pci_filter_audit_unsettled'].samples})
            counts = {
                (one.labels['cell'], one.labels['kind']): one.value
                for one in families['pci_filter_audit_findings'].samples}
            self.assertEqual(
                {(cell, kind) for cell in ('cell1', 'odd "\\\n')
                 for kind in KINDS}, set(counts))
            self.assertEqual(
                {('cell1', 'rp-split'): 3, ('odd "\\\n', 'owner-missing'): 1},
                {key: count for key, count in counts.items() if count})
            self.assertEqual(
                {'cell1': 1, 'odd "\\\n': 1, 'half': 0, 'down': 0},
                {one.labels['cell']: one.value for one in families[
                    'pci_filter_audit_cell_read'].samples})
            self.assertEqual({'gauge'}, {
                family.type for family in families.values()})

    def test_file_is_replaced_at_once(self):
        folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        path = folder / 'audit.prom'
        path.write_text('old')
        with path.open() as reader:
            metrics.write(str(path), 'new')
            # Who reads the old one goes on reading it.
            self.assertEqual('old', reader.read())
        self.assertEqual('new', path.read_text())
        self.assertEqual(
            0o644, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual([path], list(folder.iterdir()))

    def test_file_that_cannot_be_written(self):
        folder = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        path = folder / 'audit.prom'
        path.write_text('old')
        self.useFixture(fixtures.MonkeyPatch(
            'os.replace', lambda *_: os.stat('/nowhere')))
        self.assertRaises(OSError, metrics.write, str(path), 'new')
        self.assertEqual('old', path.read_text())
        self.assertEqual([path], list(folder.iterdir()))
        self.assertRaises(
            OSError, metrics.write, str(folder / 'no' / 'folder'), 'new')
