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
import typing

from rich import box
from rich import console as rich_console
from rich import markup
from rich import table as rich_table

from pci_filter.cli.demo import comparison
from pci_filter.cli.demo import story

#: Hosts shown per table for each way to be wrong, and to be right.
_WRONG_SHOWN: typing.Final = 2
_RIGHT_SHOWN: typing.Final = 1

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


class _Console(rich_console.Console):
    """A console that leaves it to the shell to deal with a closed pipe."""

    def on_broken_pipe(self) -> None:
        """Let the caller know, where rich would end the process."""
        raise BrokenPipeError()


class Tables:
    """Print the story of the demo.

    :param stream: where to
    """

    def __init__(self, stream: typing.TextIO) -> None:
        self._console = _Console(file=stream, highlight=False)

    def show(self, outcome: story.Outcome, nova_version: str) -> None:
        """Print both phases and the totals.

        :param outcome: what the demo found out
        :param nova_version: version of the installed Nova
        """
        show = self._console.print
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
        self._show_totals(outcome)

    def _heading(self, text: str) -> None:
        self._console.print(f'\n[bold]{text}[/bold]')

    def _show_totals(self, outcome: story.Outcome) -> None:
        total = len(outcome.decisions())
        self._console.print(
            f'\n[bold]In-tree filter wrong on {outcome.in_tree_wrong} of '
            f'{total} host decisions, pci_filter wrong on '
            f'{outcome.ours_wrong}.[/bold]')

    def _show_phase(
        self, results: Iterable[comparison.OrderResult],
    ) -> None:
        for result in results:
            decisions = result.decisions
            in_tree = sum(d.in_tree_wrong for d in decisions)
            ours = sum(d.ours_wrong for d in decisions)
            claims = sum(d.claim for d in decisions)
            self._console.print(
                f'\n[bold]{result.order.title}[/bold]: works on {claims} of '
                f'{len(decisions)} hosts; wrong: in-tree {in_tree}, ours '
                f'{ours}')
            self._console.print(_table(_examples(decisions)))


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


def _table(decisions: Iterable[comparison.Decision]) -> rich_table.Table:
    table = rich_table.Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
        collapse_padding=True)
    table.add_column('Host', no_wrap=True)
    table.add_column('Summary', max_width=11)
    table.add_column('Rows', max_width=11)
    table.add_column('In-tree', no_wrap=True)
    table.add_column('Ours', no_wrap=True)
    table.add_column('Claim', no_wrap=True)
    table.add_column('Why, says ours')
    for decision in decisions:
        summary = _devices(decision.summary_devices)
        if decision.summary:
            summary = f'{summary} ({decision.summary})'
        table.add_row(
            decision.host,
            summary,
            _devices(decision.row_devices),
            _verdict(decision.in_tree, decision.in_tree_wrong),
            _verdict(decision.ours, decision.ours_wrong),
            'works' if decision.claim else 'fails',
            'fits' if decision.ours else markup.escape(decision.reason))
    return table


def _devices(counts: dict[str, int]) -> str:
    return ' '.join(
        f'{count} {_DEV_TYPE_NAMES.get(dev_type, dev_type)}'
        for dev_type, count in counts.items()) or 'none'


def _verdict(passed: bool, wrong: bool) -> str:
    text = 'pass' if passed else 'reject'
    return f'[bold red]{text} ![/bold red]' if wrong else text
