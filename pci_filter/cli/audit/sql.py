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

"""The findings as statements for an operator to review and run."""

from __future__ import annotations

from collections.abc import Iterator
import textwrap
import typing

from pci_filter.audit import kinds
from pci_filter.cli.audit import auditor
from pci_filter.db import repairs
from pci_filter import printable

HEADER: typing.Final = (
    'What pci-filter audit found. Review each statement. Stop nova-compute '
    'on the host that it is for and print the statements again: what the '
    'rows beside it say may have changed since. Run those that are still '
    'there in a transaction against the database of the cell, see that each '
    'changed one row, and start nova-compute again. Leave out none of those '
    'for a device and its relatives: they are right together.')


def lines(found: auditor.Found) -> Iterator[str]:
    """Yield what is to be printed of a finding, line by line."""
    one = found.finding
    kind = kinds.KINDS[one.kind]
    yield ''
    yield from comment(
        f'cell {found.cell}, host {one.host or "(unknown)"}, {one.kind}, '
        f'{one.subject}: {one.stored}.')
    if one.repairs:
        yield from comment(kind.cure)
    for repair in one.repairs:
        for column in repairs.not_compared(repair):
            yield from comment(
                f'Whether {repair.table}.{column} is still the same is not '
                'asked: its value cannot be shown here.')
        yield repairs.statement(repair, found.dialect)
    if not one.repairs:
        yield from comment(f'No statement: {one.no_repair}.')


def comment(text: str) -> Iterator[str]:
    """Yield a text as comments, whatever is in it."""
    for line in textwrap.wrap(
            printable.printable(' '.join(text.split())), 76,
            break_on_hyphens=False):
        yield f'-- {line}'
