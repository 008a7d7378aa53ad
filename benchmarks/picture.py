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

"""Draw the cost of a request against hosts and candidates."""

from collections.abc import Collection
from collections.abc import Sequence
import pathlib
import typing

import matplotlib
from matplotlib import axes
from matplotlib import figure
from matplotlib import ticker

from benchmarks import results

_Style = dict[str, typing.Any]

#: Colours of Okabe and Ito, who chose them to be told apart by everybody;
#: the markers and lines differ too.
_BASE: typing.Final[_Style] = {
    'color': '#555555', 'marker': 'D', 'linestyle': ':'}
_IN_TREE: typing.Final[_Style] = {'color': '#D55E00', 'marker': 's'}
_OURS: typing.Final[_Style] = {'color': '#0072B2', 'marker': 'o'}

_Points = Sequence[dict[str, typing.Any]]


def draw(book: results.Book, path: pathlib.Path) -> bool:
    """Write the picture, two panels for each database.

    :param book: what was found out
    :param path: the suffix decides the format
    :returns: False if there is nothing to draw
    """
    found = book.data.get('requests', {})
    if not found:
        return False
    # Text stays text, and the same numbers give the same file.
    matplotlib.rcParams.update({
        'svg.fonttype': 'none', 'svg.hashsalt': 'pci_filter',
        'font.family': 'sans-serif', 'axes.titlesize': 11})
    picture = figure.Figure(
        figsize=(11, 4.4 * len(found)), layout='constrained')
    grid = picture.subplots(len(found), 2, squeeze=False)
    for (hosts, candidates), (database, points) in zip(
            grid, found.items()):
        _draw_hosts(hosts, database, points)
        _draw_candidates(candidates, database, points)
    picture.savefig(
        path, dpi=110,
        metadata={'Date': None} if path.suffix == '.svg' else None)
    return True


def _draw_hosts(panel: axes.Axes, database: str, points: _Points) -> None:
    """Draw whole requests against the number of hosts."""
    for candidates, dashes, filled in ((1, '-', 'full'), (8, '--', 'none')):
        of = [p for p in points if p['candidates'] == candidates]
        sizes = [p['hosts'] for p in of]
        word = f'{candidates} candidate{"s" if candidates > 1 else ""}'
        if candidates == 1:
            panel.plot(sizes, [p['total_ms']['base'] for p in of],
                       label='Nova without PCI', **_BASE)
        panel.plot(sizes, [p['total_ms']['in-tree'] for p in of],
                   label=f"Nova's filter, {word}", linestyle=dashes,
                   **_IN_TREE, fillstyle=filled)
        panel.plot(sizes, [p['total_ms']['ours'] for p in of],
                   label=f'our filter, {word}', linestyle=dashes, **_OURS,
                   fillstyle=filled)
    panel.set(
        xscale='log', yscale='log', xlabel='hosts asked for',
        ylabel='one request (ms)', title=f'{database}: a whole request')
    _finish(panel, {p['hosts'] for p in points})


def _draw_candidates(
    panel: axes.Axes, database: str, points: _Points,
) -> None:
    """Draw the PCI part against the number of candidates."""
    hosts = max(
        (p['hosts'] for p in points if p['candidates'] not in (1, 8)),
        default=points[0]['hosts'])
    of = sorted((p for p in points if p['hosts'] == hosts),
                key=lambda point: point['candidates'])
    numbers = [p['candidates'] for p in of]
    for key, label, style in (
            ('in-tree', "Nova's filter", _IN_TREE),
            ('ours', 'our filter', _OURS)):
        panel.plot(numbers, [p['pci_part_ms'][key] for p in of],
                   label=label, **style)
    panel.axhline(0, color='black', linewidth=0.8)
    panel.set(
        xlabel='allocation candidates for each host',
        ylabel='beyond Nova without PCI (ms)',
        title=f'{database}: the PCI part, {hosts:,} hosts')
    _finish(panel, numbers)


def _finish(panel: axes.Axes, values: Collection[int]) -> None:
    """Make a panel readable.

    :param panel: with all lines
    :param values: where the horizontal axis is marked
    """
    panel.set_xticks(sorted(values))
    panel.xaxis.set_minor_formatter(ticker.NullFormatter())
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(
            ticker.FuncFormatter(lambda value, _: f'{value:,.4g}'))
    panel.grid(True, color='#dddddd', linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[['top', 'right']].set_visible(False)
    panel.legend(frameon=False, fontsize=9)
