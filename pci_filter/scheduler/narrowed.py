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

"""What is left of the hosts of a request, and what to say of the others."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import contextvars
import typing

from oslo_log import log as logging

from pci_filter.db import fitting_nodes
from pci_filter.matching import necessary
from pci_filter.scheduler import candidates
from pci_filter.scheduler import cell_reader
from pci_filter.scheduler import failures

LOG = logging.getLogger(__name__)

#: Seconds that words in a log line are worth to whoever waits for the answer.
FOR_WORDS: typing.Final = 1


class LeftOut(typing.NamedTuple):
    """What Nova did not get to know of.

    :param number: how many compute nodes; None if that is not known
    :param reasons: why, in words
    """

    number: int | None = 0
    reasons: str = ''


class Narrowed:
    """What is left of the compute nodes of a request.

    :param context: the request context
    :param spec_obj: nova.objects.RequestSpec
    :param cells: the CellMappings that were asked
    :param asked: the compute nodes that there were, and maybe other providers
    :param needs: what a node needs to have
    :param found: nodes that have it, by the UUID of the cell
    :param timeout: ``[pci_filter]load_timeout``
    """

    def __init__(
        self, context: typing.Any, spec_obj: typing.Any,
        cells: Sequence[typing.Any], asked: Sequence[str],
        needs: Sequence[necessary.Need], found: Mapping[str, set[str]],
        timeout: int,
    ) -> None:
        self._timeout = timeout
        self._context = context
        self._cells = cells
        self._asked = asked
        self._needs = needs
        #: What Nova is to load from each cell, by the cell's UUID.
        self.by_cell = {
            cell_uuid: [uuid for uuid in asked if uuid in of_cell]
            for cell_uuid, of_cell in found.items()}
        everywhere = set().union(*found.values())
        #: All of that, in the order in which it was asked for.
        self.survivors = [uuid for uuid in asked if uuid in everywhere]
        #: Whether somebody was told what was left out.
        self.is_told = False
        self.spec_obj = spec_obj

    def left_out(self) -> LeftOut:
        """Return what was left out and why; nothing that is raised gets out.

        The rows are counted once more for that: the request is lost anyway.
        """
        self.is_told = True
        try:
            return self._left_out()
        except Exception as error:
            LOG.debug('Nobody knows what was left out: %s',
                      failures.failure_text(error))
            return LeftOut(None, self._needs_text())

    def _left_out(self) -> LeftOut:
        if len(self.survivors) == len(self._asked):
            return LeftOut()
        answers = cell_reader.read_databases(
            self._context, self._cells, (),
            lambda connection, _: fitting_nodes.load_counts(
                connection, self._needs),
            self._timeout, FOR_WORDS, ('counts', tuple(self._needs)))
        if any(not isinstance(found, dict) for found in answers.values()):
            return LeftOut(None, self._needs_text())
        asked = set(self._asked)
        nodes = {
            uuid: counts for of_cell in answers.values()
            for uuid, counts in of_cell.items() if uuid in asked}
        lacking = [
            sum(counts[number] < need.number for counts in nodes.values())
            for number, need in enumerate(self._needs)]
        return LeftOut(
            len(nodes.keys() - set(self.survivors)),
            '; '.join(
                f'{number} of {len(nodes)} hosts have fewer than '
                f'{need.number} available {need.text}'
                for need, number in zip(self._needs, lacking) if number)
            or 'all of them have what is asked for by now')

    def _needs_text(self) -> str:
        return 'each has fewer than ' + ' or fewer than '.join(
            f'{need.number} available {need.text}' for need in self._needs)


#: Of the latest request of this thread.
_latest: contextvars.ContextVar[Narrowed | None] = contextvars.ContextVar(
    'pci_filter_narrowed', default=None)


def note(narrowed: Narrowed | None) -> None:
    """Remember what is left of the request that begins in this thread."""
    _latest.set(narrowed)


def left_out(spec_obj: typing.Any) -> LeftOut:
    """Return what was left out for a request, for whoever says more of it.

    :param spec_obj: nova.objects.RequestSpec
    """
    narrowed = _latest.get()
    if narrowed is None or narrowed.spec_obj is not spec_obj:
        return LeftOut()
    return narrowed.left_out()


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Tell what was left out if a request fails, and forget it then."""
    token = _latest.set(None)
    try:
        yield
    except Exception:
        # NoValidHost, in what oslo.messaging wraps it in.
        tell()
        raise
    finally:
        _latest.reset(token)


def tell() -> None:
    """Log at INFO what was left out for the request, unless that was done.

    Nova says how many hosts its filters let pass, and does not know of these:
    one of its filters may be blamed that refused the few others.
    """
    try:
        _tell()
    except Exception as error:
        # Whatever the request fails with is what is to be told.
        LOG.debug('Nobody is told what was left out: %s',
                  failures.failure_text(error))


def _tell() -> None:
    narrowed = _latest.get()
    if narrowed is None or narrowed.is_told or not LOG.isEnabledFor(
            logging.INFO):
        return
    number, reasons = narrowed.left_out()
    if number == 0:
        return
    left = len(narrowed.survivors)
    LOG.info(
        'Of the hosts for instance %(instance)s, %(number)s were left out '
        'before nova-scheduler loaded them, and its filters saw %(others)s: '
        '%(reasons)s.%(advice)s', {
            'instance': narrowed.spec_obj.instance_uuid,
            'number': 'some' if number is None else number,
            'others': left or 'none', 'reasons': reasons,
            'advice': candidates.advice(None, left, number or 0)})
