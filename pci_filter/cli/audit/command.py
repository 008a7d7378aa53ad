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

"""``pci-filter audit``."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import os
import sys
import textwrap
import typing

from pci_filter.audit import finding
from pci_filter.audit import kinds
from pci_filter.cli.audit import auditor
from pci_filter.cli.audit import metrics
from pci_filter.cli.audit import sql
from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import hosts

#: Something was found.
EXIT_FINDINGS: typing.Final = 3

_COLUMNS: typing.Final = (
    'cell', 'host', 'kind', 'subject', 'severity', 'stored', 'meaning',
    'cure')

#: How many of them are shown if not all are, and how many a table has if
#: the rest is told below it.
_SHORT: typing.Final = 4
_LONG_TABLE: typing.Final = 6

#: Formats that nobody reads on a terminal have all columns.
_LONG_FORMATS: typing.Final = ('json', 'yaml', 'csv')

_WIDTH: typing.Final = 79

_LONGEST_GRACE: typing.Final = 3600


class Audit(base.Lister):
    """Compare the PCI devices in Nova's databases with what should agree.

    The rows of pci_devices are held against the summary in compute_nodes,
    the instances, their PCI requests, their migrations, and each other. A
    migration or resize in flight is no finding, nor is what nova-compute is
    just writing: what is found is looked for again after the grace period,
    and only reported if nobody has written there in between.

    The documentation tells what each kind of finding means, where it comes
    from and what to do about it; so do the columns that --long adds. Nothing
    is ever written to a database.

    Exit codes: 0 if nothing was found, 3 if something was, 1 if some cell
    could not be read (whatever was found in the others), 2 if the audit
    could not be run. Information is no finding, nor is what changed whenever
    it was looked at: its number is told on stderr.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        hosts.add_arguments(parser)
        parser.add_argument(
            '--grace', type=base.whole_number(0, _LONGEST_GRACE), default=10,
            metavar='SECONDS',
            help='look again after so many seconds, 10 by default; 0 reports '
                 'at once what may be the work of a moment')
        parser.add_argument(
            '--kind', action='append', choices=tuple(kinds.KINDS),
            dest='kinds', metavar='KIND',
            help='look only for this kind; may be repeated. Kinds: '
                 f'{", ".join(kinds.FAULTS)}. Only shown when asked for, as '
                 'information: summary-deprecated')
        parser.add_argument(
            '--long', action='store_true',
            help='show too how much it matters, what is stored where, what '
                 'it means for scheduling and what to do about it; json, '
                 'yaml and csv have that in any case')
        parser.add_argument(
            '--sql', action='store_true',
            help='print statements to review and run, in place of the list')
        parser.add_argument(
            '--output-metrics', metavar='FILE',
            help="write the number of findings for node_exporter's textfile "
                 'collector')
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""
        #: How many were found, by kind.
        self._found = collections.Counter[str]()
        if parsed_args.sql and parsed_args.formatter != 'table':
            raise base.CommandError(
                f'--sql prints statements, which -f {parsed_args.formatter} '
                'has no place for: leave out one of them')
        self._check_metrics_path(parsed_args.output_metrics)
        self._cells = cells.Cells(parsed_args)
        if parsed_args.sql:
            self._print_sql(parsed_args)
        else:
            super().run(parsed_args)
            if parsed_args.formatter == 'table' and self._found:
                self._sum_up(parsed_args.long)
        if self._cells.exit_code:
            return self._cells.exit_code
        return EXIT_FINDINGS if any(
            kind in self._found for kind in kinds.FAULTS) else 0

    def take_action(
        self, parsed_args: argparse.Namespace,
    ) -> tuple[Sequence[str], Iterator[Sequence[str]]]:
        """Return the columns, and the rows as they are found.

        :param parsed_args: what :meth:`get_parser` parsed
        """
        table = parsed_args.formatter == 'table'
        number = len(_COLUMNS)
        if not parsed_args.columns:
            if parsed_args.long:
                number = _LONG_TABLE if table else number
            elif parsed_args.formatter not in _LONG_FORMATS:
                number = _SHORT
        findings: Iterable[auditor.Found] = self._audit(parsed_args)
        if table:
            findings = _by_host(findings)
            if not parsed_args.max_width:
                # Only on a terminal.
                parsed_args.fit_width = True
        return _COLUMNS[:number], (
            _row(found)[:number] for found in findings)

    def _sum_up(self, long: bool) -> None:
        """Tell below a table how many there are of each kind.

        :param long: tell what they mean, too
        """
        print(f'{sum(self._found.values())} found: ' + ', '.join(
            f'{number} {kind}' for kind, number in self._found.most_common()),
            file=self.app.stdout)
        if not long:
            print('--long tells what they mean and what to do.',
                  file=self.app.stdout)
            return
        for kind in kinds.KINDS.values():
            if kind.name in self._found:
                text = f'{kind.name}: {kind.meaning} {kind.cure}'
                print('', *textwrap.wrap(
                    text, _WIDTH, break_on_hyphens=False), sep='\n',
                    file=self.app.stdout)

    def _print_sql(self, parsed_args: argparse.Namespace) -> None:
        """Print the findings as statements."""
        for line in sql.comment(sql.HEADER):
            print(line, file=self.app.stdout)
        for found in self._audit(parsed_args):
            for line in sql.lines(found):
                print(line, file=self.app.stdout)

    def _audit(
        self, parsed_args: argparse.Namespace,
    ) -> Iterator[auditor.Found]:
        """Yield what is found, and write the counts in the end."""
        # In the order of the documentation, each once.
        wanted = [name for name in kinds.KINDS
                  if name in (parsed_args.kinds or kinds.FAULTS)]
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        # Nobody would want the bars between the rows, or statements.
        streams = base.streams_to_terminal(parsed_args) or (
            parsed_args.sql and sys.stdout.isatty())
        audit = auditor.Auditor(
            self._cells, wanted, parsed_args.grace, not streams,
            hosts.Names(parsed_args))
        for found in audit.findings():
            kind = found.finding.kind
            counts[found.cell, kind] += 1
            self._found[kind] += 1
            yield found
        if parsed_args.output_metrics:
            self._write_metrics(parsed_args.output_metrics, metrics.text(
                counts, audit.read, self._cells.failed, wanted,
                audit.unsettled))

    @staticmethod
    def _check_metrics_path(path: str | None) -> None:
        """Refuse a file before the audit that cannot be written after it.

        :raises pci_filter.cli.base.CommandError: if it cannot
        """
        if path is None:
            return
        folder = os.path.dirname(path) or '.'
        if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
            raise base.CommandError(
                f'--output-metrics {path}: name a file in a folder that you '
                'may write to')

    @staticmethod
    def _write_metrics(path: str, content: str) -> None:
        try:
            metrics.write(path, content)
        except OSError as error:
            raise base.CommandError(
                f'cannot write {path}: {error.strerror}') from None


def _by_host(findings: Iterable[auditor.Found]) -> Iterator[auditor.Found]:
    """Yield findings by their host, what matters most first.

    A table is shown when the last one is found in any case.
    """
    severities = list(kinds.Severity)

    def place(found: auditor.Found) -> tuple[object, ...]:
        one: finding.Finding = found.finding
        return (found.cell, one.host,
                severities.index(kinds.KINDS[one.kind].severity),
                one.kind, one.subject)

    yield from sorted(findings, key=place)


def _row(found: auditor.Found) -> Sequence[str]:
    """Return the columns of a finding."""
    one: finding.Finding = found.finding
    kind = kinds.KINDS[one.kind]
    return (found.cell, one.host, one.kind, one.subject, kind.severity.value,
            one.stored, kind.meaning, kind.cure)
