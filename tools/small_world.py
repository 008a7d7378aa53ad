#!/usr/bin/env python3
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

"""Ask about all hosts of a small world, and claim there.

Run it with the Python of an environment that has Nova and this package
installed: ``tox -e small-world`` prepares one. The whole consists of 400
pieces. What is decided about each is in a file of its own; those that are
there already are not decided anew, so that what was interrupted goes on. Take
another directory, or remove that one, when the code has changed.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

from pci_filter.tests.small_world import checking
from pci_filter.tests.small_world import piece as piece_module
from pci_filter.tests.small_world import scopes

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
TEST = f'{piece_module.__name__}.{piece_module.TestPiece.__name__}'
PIECES = 400


def _slice(text):
    """Return the numbers of the pieces of a slice; a type for argparse."""
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= PIECES:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not N/M with 1 <= N <= M <= {PIECES}')
    return range(int(match[1]) - 1, PIECES, int(match[2]))


def _parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--slice', type=_slice, default='1/1', metavar='N/M',
        help='every M-th piece, beginning with the N-th (default: all)')
    parser.add_argument(
        '--at-once', type=int, default=os.cpu_count(), metavar='N',
        help='how many pieces (default: one per CPU)')
    parser.add_argument(
        '--results', type=pathlib.Path, metavar='directory',
        default=CHECKOUT / 'small-world',
        help='where the files are (default: %(default)s)')
    parser.add_argument(
        '--table', action='store_true',
        help='decide nothing, and print the table of the documentation')
    return parser.parse_args()


def _print_table():
    """Print how many hosts and questions each scope has, for Sphinx."""
    print('.. list-table::', '   :header-rows: 1', '', sep='\n')
    _print_row('Scope', 'Hosts', 'Questions')
    for title, some in (('First', scopes.FIRST), ('Whole', scopes.WHOLE)):
        sizes = [scope.size() for scope in some.values()]
        for name, size in zip(some, sizes):
            _print_row(f'{title}: {name}', *size)
        _print_row(f'**{title}**', *map(sum, zip(*sizes)))


def _print_row(name, *numbers):
    print(f'   * - {name}')
    for number in numbers:
        print(f'     - {number:,}' if isinstance(number, int)
              else f'     - {number}', flush=True)


def _decide(directory, piece):
    """Decide about one piece; return how long that took, None if it failed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'testtools.run', TEST],
        cwd=CHECKOUT, capture_output=True, text=True, env=dict(
            os.environ, **{piece_module.PIECE: f'{piece}/{PIECES}',
                           piece_module.FILE: str(_path(directory, piece))}))
    if done.returncode:
        print(done.stdout, done.stderr, sep='\n', file=sys.stderr, flush=True)
        return None
    return time.monotonic() - began


def _path(directory, piece):
    return directory / f'{piece + 1:03}-of-{PIECES}.json'


def _report(paths):
    """Print what the files have, and return whether nothing is wrong."""
    tallies = {}
    for path in paths:
        for name, tally in piece_module.read(path).items():
            tallies.setdefault(name, checking.Tally()).add(tally)
    whole = checking.Tally()
    for name, tally in tallies.items():
        print(f'{name}: {tally}')
        whole.add(tally)
    print(f'{len(paths)} of {PIECES} pieces: {whole}')
    for disagreement in whole.disagreements:
        print(disagreement)
    return not whole.disagreements


def main():
    arguments = _parse_arguments()
    if arguments.table:
        return _print_table()
    directory = arguments.results.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    missing = [piece for piece in arguments.slice
               if not _path(directory, piece).exists()]
    failed = []
    with concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        for piece, seconds in zip(missing, pool.map(
                lambda piece: _decide(directory, piece), missing)):
            if seconds is None:
                failed.append(piece)
            else:
                print(f'piece {piece + 1}: {seconds:.0f} s', flush=True)
    right = _report([
        path for piece in arguments.slice
        if (path := _path(directory, piece)).exists()])
    if failed:
        print('Failed pieces:', *(piece + 1 for piece in failed))
    return int(bool(failed) or not right)


if __name__ == '__main__':
    sys.exit(main())
