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

"""What the audit finds."""

from collections.abc import Mapping
import dataclasses
import enum
import typing

from pci_filter import model
from pci_filter import printable

#: Values by column.
Values = Mapping[str, object]


class Sql(enum.Enum):
    """What only the database can put into a row."""

    OWN_ID = 'id'
    NOW = 'now'


#: The change of a row that Nova counts as deleted from then on.
DELETED: typing.Final[Values] = {
    'deleted': Sql.OWN_ID, 'deleted_at': Sql.NOW}


#: What a finding is found again by.
Identity = tuple[str, int, str]


class Repair(typing.NamedTuple):
    """A row to change, if it is still as it was found.

    :param table: ``pci_devices`` or ``compute_nodes``
    :param id: of the row
    :param found: what the row has to have for the change to be right
    :param change: what the row is to have
    """

    table: str
    id: int
    found: Values
    change: Values


@dataclasses.dataclass(frozen=True, **model.SLOTS)
class Finding:
    """One thing that disagrees with another, before anyone looked twice.

    :param kind: name of the kind, a key of ``kinds.KINDS``
    :param host: the compute host
    :param node_id: id that the compute node has, or had
    :param subject: device address, pool, provider or instance
    :param stored: what is stored where, in words
    :param evidence: of everything the finding rests on, see
        :func:`evidence`: as long as it stays the same, nobody has written
        there
    :param repairs: how to mend it; empty if no statement is safe
    :param no_repair: why there is no statement
    """

    kind: str
    host: str
    node_id: int
    subject: str
    stored: str
    evidence: int
    repairs: tuple[Repair, ...] = ()
    no_repair: str = ''

    @property
    def identity(self) -> Identity:
        """What is found again when it is looked for once more."""
        return self.kind, self.node_id, self.subject


def evidence(*parts: typing.Hashable) -> int:
    """Return a number for what a finding rests on; equal for equal parts.

    Only within a process. There can be a hundred thousand findings, and
    everything they rest on is much more than that.
    """
    return hash(parts)


def one_line(text: object, length: int = 60) -> str:
    """Return a text as it can be shown: one line, and no longer than that.

    What is stored can be anything, and control characters would end a
    comment, or do worse on a terminal.
    """
    line = printable.printable(str(text))
    return line if len(line) <= length else line[:length - 3] + '...'
