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

"""Counts of findings for Prometheus' node_exporter.

Its textfile collector takes files in Prometheus' own format. What is written
is that and OpenMetrics too: only gauges, and a comment at the end.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
import os
import pathlib
import tempfile
import typing

from pci_filter.audit import kinds as kinds_module

_FINDINGS: typing.Final = 'pci_filter_audit_findings'
_UNSETTLED: typing.Final = 'pci_filter_audit_unsettled'
_READ: typing.Final = 'pci_filter_audit_cell_read'


def text(
    counts: Mapping[tuple[str, str], int], cells: Collection[str],
    unread: Collection[str], kinds: Collection[str],
    unsettled: Mapping[str, int],
) -> str:
    """Return the counts in the text format.

    :param counts: findings by cell and kind
    :param cells: names of the cells that were read
    :param unread: names of those that could not be read, or not to the end;
        nothing is told of their findings
    :param kinds: names of the kinds that were looked for
    :param unsettled: by cell, what changed whenever it was looked at
    """
    lines = [
        f'# TYPE {_FINDINGS} gauge',
        f'# HELP {_FINDINGS} PCI devices and pools that disagree with '
        'something in a Nova cell.']
    whole = sorted({*cells} - {*unread})
    for cell in whole:
        for kind in kinds:
            lines.append(_sample(
                _FINDINGS, counts.get((cell, kind), 0), cell=cell, kind=kind,
                severity=kinds_module.KINDS[kind].severity))
    lines += [
        f'# TYPE {_UNSETTLED} gauge',
        f'# HELP {_UNSETTLED} What might be findings, but changed whenever '
        'it was looked at.']
    for cell in whole:
        lines.append(_sample(_UNSETTLED, unsettled.get(cell, 0), cell=cell))
    lines += [
        f'# TYPE {_READ} gauge',
        f'# HELP {_READ} Whether the database of a Nova cell could be read.']
    for cell in sorted({*cells, *unread}):
        lines.append(_sample(_READ, int(cell in whole), cell=cell))
    return '\n'.join([*lines, '# EOF', ''])


def _sample(name: str, value: int, **labels: str) -> str:
    pairs = ','.join(
        f'{label}="{_escape(value)}"' for label, value in labels.items())
    return f'{name}{{{pairs}}} {value}'


def _escape(value: str) -> str:
    return value.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')


def write(path: str, content: str) -> None:
    """Replace a file at once, so that nobody reads half of it.

    :param path: of the file; everybody may read it
    :param content: what :func:`text` returned
    :raises OSError: if it cannot be written; it stays as it was then
    """
    target = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f'.{target.name}.', dir=target.parent)
    try:
        with open(handle, 'w', encoding='utf-8') as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
