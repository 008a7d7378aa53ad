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

"""An audit of all cells: read, wait, read again what was found."""

from __future__ import annotations

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
import datetime
import logging
import time
import typing

from oslo_utils import timeutils
import sqlalchemy as sa

from pci_filter import audit
from pci_filter.audit import finding
from pci_filter.audit import rows
from pci_filter.audit import second_look
from pci_filter.audit import summaries
from pci_filter.cli.nova import cells as cells_module
from pci_filter.cli.nova import hosts
from pci_filter.cli.nova import nova_conf
from pci_filter.cli import progress
from pci_filter.db import audit_facts
from pci_filter.db import read_only
from pci_filter.db import tables

LOG = logging.getLogger(__name__)

#: How often a finding is looked for again while it keeps changing.
_LOOKS: typing.Final = 3


class Found(typing.NamedTuple):
    """A finding and where it was found.

    :param cell: name of the cell
    :param finding: the finding
    :param dialect: of the cell's database
    """

    cell: str
    finding: finding.Finding
    dialect: sa.engine.Dialect


class Auditor:
    """One audit.

    :param cells: the cells to read
    :param kinds: names of the kinds to look for
    :param grace: seconds after which findings are looked for again, 0 for
        never
    :param show_progress: whether to show it where stderr is a terminal
    :param names: of the hosts to look at; None for all
    :ivar read: names of the cells that were read, if only in part
    :ivar unsettled: in the end, how many findings of a cell are not told, as
        they changed whenever they were looked at, by its name
    """

    def __init__(
        self, cells: cells_module.Cells, kinds: Collection[str], grace: int,
        show_progress: bool = True, names: hosts.Names | None = None,
    ) -> None:
        self._cells = cells
        self._kinds = frozenset(kinds)
        self._grace = grace
        self._show_progress = show_progress
        self._names = names
        self._summary_expected = bool(cells.conf.pci_filter.write_pci_stats)
        # It can be busy for as long again.
        self._summary_delay = datetime.timedelta(
            seconds=2 * nova_conf.update_interval(cells.conf))
        self._suspicions: dict[
            cells_module.Cell, second_look.Suspicions] = {}
        self.read: list[str] = []
        self.unsettled: collections.Counter[str] = collections.Counter()

    def findings(self) -> Iterator[Found]:
        """Yield what is found, after the grace period if there is one.

        :raises pci_filter.cli.base.CommandError: if no host has such a name
        """
        if not self._grace:
            yield from self._cells.each(self._read_all)
            self._check_names()
            return
        for _ in self._cells.each(self._suspect):
            pass
        self._check_names()
        for _ in range(_LOOKS):
            self._suspicions = {
                cell: found for cell, found in self._suspicions.items()
                if found and cell.name not in self._cells.failed}
            if self._suspicions:
                time.sleep(self._grace)
                yield from self._cells.each(
                    self._look_again, only=self._suspicions)
        for cell, found in self._suspicions.items():
            if cell.name not in self._cells.failed:
                self.unsettled[cell.name] = len(found)
        changing = sum(self.unsettled.values())
        if changing:
            LOG.warning(
                'findings that are not shown, as they changed whenever they '
                'were looked at: %d. nova-compute is at work there; audit '
                'again', changing)

    def _check_names(self) -> None:
        if self._names:
            self._names.check(self._cells)

    def _suspect(
        self, cell: cells_module.Cell, connection: sa.engine.Connection,
    ) -> Iterable[None]:
        """Note what is found in a whole cell at first sight."""
        suspicions = self._suspicions[cell] = second_look.Suspicions()
        for found in self._read_all(cell, connection):
            suspicions.add(found.finding)
        return ()

    def _look_again(
        self, cell: cells_module.Cell, connection: sa.engine.Connection,
    ) -> Iterator[Found]:
        """Yield what is found again in a cell as it was."""
        suspicions = self._suspicions[cell]
        for one in suspicions.settle(
                self._read(cell, connection, suspicions)):
            yield Found(cell.name, one, connection.dialect)

    def _read_all(
        self, cell: cells_module.Cell, connection: sa.engine.Connection,
    ) -> Iterator[Found]:
        """Yield what is found in a whole cell at first sight."""
        read_only.require_tables(connection, tables.metadata.sorted_tables)
        self.read.append(cell.name)
        for one in self._read(cell, connection):
            yield Found(cell.name, one, connection.dialect)

    def _chosen(
        self, connection: sa.engine.Connection,
    ) -> Collection[int] | None:
        """Return the ids of the compute nodes in question, None for all."""
        if not self._names:
            return None
        return {node_id
                for node_id, host in audit_facts.load_names(connection)
                if self._names.match(host)}

    def _read(
        self, cell: cells_module.Cell, connection: sa.engine.Connection,
        suspicions: second_look.Suspicions | None = None,
    ) -> Iterator[finding.Finding]:
        """Yield what is found of these kinds on some compute nodes.

        :param suspicions: what was found before there; None to read all
        """
        node_ids = (self._chosen(connection) if suspicions is None
                    else suspicions.node_ids)

        def is_told(found: finding.Finding) -> bool:
            return found.kind in self._kinds and (
                suspicions is None or suspicions.is_found_again(found))

        pending = None
        if self._grace:
            now = timeutils.utcnow()
            pending = summaries.Pending(
                now - self._summary_delay, now + self._summary_delay)
        with progress.on_terminal(self._show_progress) as start:
            advance = start(cell.name, lambda: (
                audit_facts.count(connection) if node_ids is None
                else len(node_ids)))
            for facts in audit_facts.load(connection, node_ids):
                for one in audit.examine(
                        facts, self._summary_expected, pending, is_told):
                    if one.kind in self._kinds:
                        yield one
                advance()
        yield from self._read_lost(connection, node_ids)

    def _read_lost(
        self, connection: sa.engine.Connection,
        node_ids: Collection[int] | None,
    ) -> Iterator[finding.Finding]:
        """Yield what is found of rows below compute nodes that are gone.

        :param node_ids: ids of compute nodes, None for all
        """
        twice = set()
        if 'device-twice' in self._kinds:
            for twin in audit_facts.twins(connection, node_ids):
                twice.add(twin.device.id)
                yield rows.twice(twin)
        if 'orphan-row' in self._kinds:
            for row in audit_facts.orphans(connection, node_ids):
                if row.device.id not in twice:
                    yield rows.orphan(row)
