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

"""The audit of a fleet that Nova's own tracker keeps, on real databases."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time

import sqlalchemy as sa

from pci_filter.audit import kinds
from pci_filter.cli.audit import auditor
from pci_filter import conf
from pci_filter.fixture import databases
from pci_filter.tests.functional.nova import audit_fleet
from pci_filter.tests.functional.nova import audit_servers
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests.functional.nova import servers

#: How long to claim and free while audits run one after the other. Less than
#: a minute says little with the default grace period, but takes little time.
CHURN_SECONDS = int(os.environ.get('PCI_FILTER_AUDIT_SECONDS') or 0)

#: Kinds that no statement mends, and those that a restart does.
# The GPU of the one that is missing may be that of the one that lacks one.
BY_HAND = ('request-unmet', 'owner-missing', 'device-twice', 'rp-split')
BY_RESTART = ('summary-count', 'summary-extra', 'summary-missing')


class Printed(list):
    """The statements that were printed; ``comments`` has the rest."""

    def __init__(self):
        super().__init__()
        self.comments = []


class AuditTestCase(base.NovaTestCase):
    """A fleet in a database, whose URL is ``database``."""

    cells = 1

    def setUp(self):
        super().setUp()
        conf.register_opts(databases.CONF)
        self.cell, = self.cloud.cells
        self.database = self.cell.database_connection
        self.addCleanup(audit_servers.remove_all, self.cloud)
        self.fleet = audit_fleet.Fleet(self)

    def command(self, *arguments):
        """Run the command and return its findings as (kind, host, subject).

        Its exit code has to tell whether there are any.
        """
        result = commands.run(
            'audit', *commands.only_cell(self.database), '-f', 'json',
            *arguments)
        self.assertEqual('', result.stderr)
        findings = json.loads(result.stdout)
        self.assertEqual(3 if findings else 0, result.returncode)
        return sorted((one['kind'], one['host'], one['subject'])
                      for one in findings)

    def find(self, *wanted):
        """Audit within this process, without a grace period."""
        found = auditor.Auditor(
            commands.cells_of(self.database), wanted or kinds.FAULTS, 0)
        return sorted(
            (one.finding.kind, one.finding.host, one.finding.subject)
            for one in found.findings())

    def run_statements(self):
        """Run what is printed; each statement is to change one row."""
        result = commands.run(
            'audit', *commands.only_cell(self.database), '--grace', '0',
            '--sql')
        self.assertEqual((3, ''), (result.returncode, result.stderr))
        engine = self.cloud.engine(self.cell)
        printed = Printed()
        for line in result.stdout.splitlines():
            if line.startswith('-- '):
                printed.comments.append(line[3:])
            elif line:
                printed.append(line)
                with engine.begin() as connection:
                    # The driver wants them doubled, the client does not.
                    rows = connection.exec_driver_sql(
                        line.replace('%', '%%') if engine.name != 'sqlite'
                        else line).rowcount
                self.assertEqual(1, rows, line)
        return printed

    def plant(self, kind):
        """Make something wrong and return how it is to be found."""
        planted = getattr(
            self.fleet, f'plant_{kind.replace("-", "_")}')()
        return [(kind, host, subject) for host, subject in planted]


class AuditMixin:
    """What holds on every database."""

    def test_all_kinds(self):
        self.assertEqual([], self.command('--grace', '0'))
        expected = []
        for kind in kinds.FAULTS:
            expected += self.plant(kind)
            self.assertEqual(sorted(expected), self.find())
        self.assertEqual(sorted(expected), self.command('--grace', '1'))
        for kind in ('owner-missing', 'summary-count'):
            self.assertEqual(
                [one for one in expected if one[0] == kind],
                self.command('--grace', '0', '--kind', kind))
        self.mend()

    def mend(self):
        """Run the statements, and restart what has to be restarted."""
        self.assertEqual(
            len(kinds.FAULTS) - len(BY_HAND) - len(BY_RESTART),
            len(self.run_statements()))
        self.assertEqual(
            {*BY_HAND, *BY_RESTART}, {kind for kind, *_ in self.find()})
        self.fleet.mend_rp_split()
        for compute in self.fleet.all:
            compute.start()
        left = self.find()
        self.assertEqual(
            [('device-twice', 'renamed'), ('owner-missing', 'one'),
             ('request-unmet', 'one')], [one[:2] for one in left])
        self.assertEqual(self.fleet.gpu_vm, left[2][2])

    def test_statements_together(self):
        """What is printed leaves nothing else to be found."""
        planted = self.fleet.plant_stories()
        before = self.find()
        self.assertEqual(
            planted, sorted((kind, host) for kind, host, _ in before))
        kept = self.fleet.one.rows()
        printed = self.run_statements()
        # No device that may be that of the server which lacks one.
        self.assertEqual(kept, self.fleet.one.rows())
        text = ' '.join(printed.comments)
        self.assertIn(
            f'server {self.fleet.gpu_vm} lacks 1 of the devices', text)
        self.assertIn(f'{self.fleet.dead_gpu} (owner-missing)', text)
        left = [one for one in self.find() if one[0] not in BY_RESTART]
        self.assertEqual(
            # A server in status error asked for such a one there.
            [('owner-missing', 'one'), ('owner-missing', 'two'),
             ('request-unmet', 'one')], [one[:2] for one in left])
        self.assertEqual('available', self.fleet.three.statuses()[
            self.fleet.blocked_port])
        # nova-compute starts, and writes the summary.
        for compute in self.fleet.all:
            compute.start()
        self.assertEqual(left, self.find())

    def test_summary_that_is_late(self):
        """A live migration claims devices in the rows alone."""
        compute = self.fleet.three
        compute.is_late = True
        compute.boot(audit_fleet.ask(audit_fleet.GPU))
        self.assertEqual([], self.command('--grace', '1'))
        late, = self.find()
        self.assertEqual(('summary-count', 'three'), late[:2])
        # That long nothing is late.
        audit_servers.age(self.cloud)
        self.assertEqual([late], self.command('--grace', '1'))
        compute.is_late = False
        compute.report(audit_fleet.devices())
        self.assertEqual([], self.find())

    def test_claims_all_the_time(self):
        """Nothing is found while another process is at work."""
        arguments = ('--grace', '1') if not CHURN_SECONDS else ()
        end = time.monotonic() + CHURN_SECONDS
        audits = claims = 0
        while not audits or time.monotonic() < end:
            with subprocess.Popen(
                    [commands.COMMAND, 'audit',
                     *commands.only_cell(self.database), '-f', 'json',
                     *arguments],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True) as process:
                while process.poll() is None:
                    claims += self.claim_and_free()
                output, errors = process.communicate()
            audits += 1
            self.assertEqual([], json.loads(output))
            self.assertEqual(0, process.returncode)
            # It may say that it does not know.
            for line in errors.splitlines():
                self.assertRegex(line, 'as they changed whenever they were')
        print(f'{audits} audits while {claims} devices were claimed and freed',
              file=sys.__stdout__, flush=True)

    def claim_and_free(self):
        """Boot and delete servers on two hosts; return how many devices."""
        three, placed = self.fleet.three, self.fleet.placed
        first = three.boot(
            audit_fleet.ask(audit_fleet.GPU), audit_fleet.ask(audit_fleet.VF))
        second = placed.boot(audit_fleet.ask(audit_fleet.VF, 2))
        three.delete(first)
        placed.delete(second)
        return 4


class TestSQLite(AuditMixin, AuditTestCase):

    def test_between_the_two_writes(self):
        """What is just written is a finding for who does not look twice."""
        seen = []
        self.fleet.three.between = lambda: seen.append(self.find())
        uuid = self.fleet.three.boot(audit_fleet.ask(audit_fleet.GPU))
        self.fleet.three.free(uuid)
        self.fleet.three.between = None
        self.assertEqual(
            {'summary-count'},
            {kind for found in seen for kind, *_ in found})

    def test_tags_between_the_two_writes(self):
        """Whoever changes device_spec of a host has stale tags so long."""
        seen = []
        self.override('pci_filter', write_pci_stats=True)
        self.fleet.tagged.between = lambda: seen.append(
            self.find('tags-stale'))
        self.fleet.tagged.start([
            {**spec, 'tier': 'new'} for spec in audit_fleet.PHYSNET])
        self.fleet.tagged.between = None
        self.assertIn([('tags-stale', 'tagged', 'pci_devices')], seen)
        self.assertEqual([], self.find())

    def test_each_kind_alone(self):
        """Every fault is told once, whatever it brings with it."""
        path = sa.engine.make_url(self.database).database
        with contextlib.closing(sqlite3.connect(path)) as live, (
                contextlib.closing(sqlite3.connect(':memory:'))) as before:
            live.backup(before)
            for kind in kinds.FAULTS:
                planted = self.plant(kind)
                self.assertEqual(planted, self.find())
                before.backup(live)
                # They still know what they did.
                self.fleet.one.start()
                self.fleet.placed.start()
                self.assertEqual([], self.find())


class TestMySQL(AuditMixin, AuditTestCase, servers.MySQLMixin):
    pass


class TestPostgreSQL(AuditMixin, AuditTestCase, servers.PostgreSQLMixin):
    pass
