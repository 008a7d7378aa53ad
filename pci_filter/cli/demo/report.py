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

"""Show what the demo found out, as JSON or as tables for 80 columns."""

from collections.abc import Iterable
from collections.abc import Sequence
import json
import shutil
import textwrap
import typing

import prettytable

from pci_filter.cli.demo import burst
from pci_filter.cli.demo import comparison
from pci_filter.cli.demo import story

#: Hosts shown per table for each way to be wrong, and to be right.
_WRONG_SHOWN: typing.Final = 2
_RIGHT_SHOWN: typing.Final = 1

#: Widest counts of devices; longer ones are broken.
_COUNTS_WIDTH: typing.Final = 11

_WHY: typing.Final = 'Why, says ours'

_DEV_TYPE_NAMES: typing.Final = {
    'type-PF': 'PF', 'type-VF': 'VF', 'type-PCI': 'GPU', 'vdpa': 'vDPA'}


def as_json(outcome: story.Outcome, nova_version: str) -> str:
    """Return everything, in lower-case snake_case keys.

    :param outcome: what the demo found out
    :param nova_version: version of the installed Nova
    """
    return json.dumps({
        'nova_version': nova_version,
        'seed': outcome.seed,
        'cells': story.CELLS,
        'hosts': outcome.hosts,
        'devices': outcome.devices,
        'claims': outcome.claims,
        'phases': [
            _phase_as_dict('true_summaries', outcome.before),
            _phase_as_dict('drifted_summaries', outcome.after)],
        'at_once': {
            'servers': burst.SIZE,
            'in_tree': outcome.in_tree_burst._asdict(),
            'ours': outcome.our_burst._asdict()},
        'decisions': len(outcome.decisions()),
        'in_tree_wrong': outcome.in_tree_wrong,
        'ours_wrong': outcome.ours_wrong,
    }, indent=2)


def _phase_as_dict(
    name: str, results: Iterable[comparison.OrderResult],
) -> dict[str, typing.Any]:
    return {
        'phase': name,
        'requests': [
            {'request': result.order.key,
             'title': result.order.title,
             'hosts': [d.as_dict() for d in result.decisions]}
            for result in results]}


class Tables:
    """Print the story of the demo.

    :param stream: where to
    """

    def __init__(self, stream: typing.TextIO) -> None:
        self._stream = stream
        self._columns = shutil.get_terminal_size().columns

    def show(self, outcome: story.Outcome, nova_version: str) -> None:
        """Print both phases, the burst and the totals.

        :param outcome: what the demo found out
        :param nova_version: version of the installed Nova
        """
        show = self._paragraph
        show(f'Nova {nova_version}: {story.CELLS} cells, {outcome.hosts} '
             f'hosts, {outcome.devices} PCI devices, {outcome.claims} claims '
             'by its PciDevTracker.')
        show('Summary and Rows: devices there that could serve the request. '
             'In-tree and Ours: the verdict of either filter, marked with ! '
             'where it is wrong. Claim: what nova-compute does in the end.')
        self._heading('1. The summaries are true')
        self._show_phase(outcome.before)
        self._heading('2. The summaries have drifted')
        drift = list(outcome.drift.values())
        show(f'On {drift.count(story.STALE)} hosts the summary misses the '
             f'latest claims (stale), on {drift.count(story.LOST)} it lost '
             'its counts (lost). The rows of pci_devices are as Nova left '
             'them.')
        self._show_phase(outcome.after)
        self._heading(f'3. {burst.SIZE} servers boot at once')
        show(f'{burst.SIZE} hosts with one GPU each, {burst.SIZE} servers '
             f'that want one, {burst.WORKERS} workers of the scheduler. '
             'Nothing is claimed before all are scheduled.')
        for name, found in (('In-tree', outcome.in_tree_burst),
                            ('Ours', outcome.our_burst)):
            show(f'{name}: sent to {found.hosts} of {burst.SIZE} hosts; '
                 f'{found.landed} of {burst.SIZE} claims succeed at the '
                 'first attempt')
        self._show_totals(outcome)

    def _paragraph(self, text: str) -> None:
        print(textwrap.fill(text, self._columns, break_on_hyphens=False),
              file=self._stream)

    def _heading(self, text: str) -> None:
        self._paragraph('')
        self._paragraph(text)

    def _show_totals(self, outcome: story.Outcome) -> None:
        total = len(outcome.decisions())
        self._heading(
            f'In-tree filter wrong on {outcome.in_tree_wrong} of {total} host '
            f'decisions, pci_filter wrong on {outcome.ours_wrong}.')

    def _show_phase(
        self, results: Iterable[comparison.OrderResult],
    ) -> None:
        for result in results:
            decisions = result.decisions
            in_tree = sum(d.in_tree_wrong for d in decisions)
            ours = sum(d.ours_wrong for d in decisions)
            claims = sum(d.claim for d in decisions)
            self._heading(
                f'{result.order.title}: works on {claims} of {len(decisions)} '
                f'hosts; wrong: in-tree {in_tree}, ours {ours}')
            print(_table(_examples(decisions), self._columns),
                  file=self._stream)


def _examples(
    decisions: Sequence[comparison.Decision],
) -> list[comparison.Decision]:
    """Choose decisions that tell most: first those where one is wrong."""
    ours = [d for d in decisions if d.ours_wrong]
    in_tree = [d for d in decisions if d.in_tree_wrong and not d.ours_wrong]
    right = [d for d in decisions if not d.in_tree_wrong and not d.ours_wrong]
    return [
        *ours,
        *_varied([d for d in in_tree if d.in_tree])[:_WRONG_SHOWN],
        *_varied([d for d in in_tree if not d.in_tree])[:_WRONG_SHOWN],
        *_varied([d for d in right if d.claim])[:_RIGHT_SHOWN],
        *_varied([d for d in right if not d.claim])[:_RIGHT_SHOWN]]


def _varied(
    decisions: Sequence[comparison.Decision],
) -> list[comparison.Decision]:
    """Put one host of each kind first."""
    seen: set[str] = set()
    first: list[comparison.Decision] = []
    rest: list[comparison.Decision] = []
    for decision in decisions:
        kind = decision.host.partition('-')[0]
        (rest if kind in seen else first).append(decision)
        seen.add(kind)
    # Hosts that have nothing of the sort have little to tell.
    return sorted(first + rest, key=lambda d: not d.row_devices)


def _table(decisions: Iterable[comparison.Decision], columns: int) -> str:
    """Return a table that is at most so many columns wide."""
    table = prettytable.PrettyTable(
        ('Host', 'Summary', 'Rows', 'In-tree', 'Ours', 'Claim', _WHY),
        align='l', border=False, preserve_internal_border=True,
        vertical_char=' ', junction_char='-', padding_width=0,
        right_padding_width=1)
    for decision in decisions:
        table.add_row(_row(decision))
    table.max_width['Summary'] = table.max_width['Rows'] = _COUNTS_WIDTH
    heading, *_ = table.get_string(
        fields=table.field_names[:-1]).splitlines()
    width = max(len(_WHY), columns - len(heading) - 1)
    table.max_width[_WHY] = width
    table.custom_format[_WHY] = lambda field, text: _breakable(text, width)
    # The last column has padding too, which nobody needs.
    return '\n'.join(
        line[:-1].rstrip() for line in table.get_string().splitlines())


def _breakable(text: str, width: int) -> str:
    """Let a property that is too long for a line break before its value."""
    return ' '.join(
        word if len(word) <= width else word.replace('=', '= ')
        for word in text.split())


def _row(decision: comparison.Decision) -> list[str]:
    summary = _devices(decision.summary_devices)
    if decision.summary:
        summary = f'{summary} ({decision.summary})'
    return [
        decision.host,
        summary,
        _devices(decision.row_devices),
        _verdict(decision.in_tree, decision.in_tree_wrong),
        _verdict(decision.ours, decision.ours_wrong),
        'works' if decision.claim else 'fails',
        'fits' if decision.ours else decision.reason]


def _devices(counts: dict[str, int]) -> str:
    return ' '.join(
        f'{count} {_DEV_TYPE_NAMES.get(dev_type, dev_type)}'
        for dev_type, count in counts.items()) or 'none'


def _verdict(passed: bool, wrong: bool) -> str:
    text = 'pass' if passed else 'reject'
    return f'{text} !' if wrong else text
