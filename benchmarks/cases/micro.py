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

"""One decision over and over again, measured by pyperf."""

import pathlib
import subprocess
import sys
import tempfile
import typing

import pyperf

from benchmarks import decision
from benchmarks import plan as plan_module
from benchmarks import results
from benchmarks import timing

NAME: typing.Final = 'micro'


def run(plan: plan_module.Plan, book: results.Book) -> None:
    """Run benchmarks.decision in processes of its own."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'decision.json'
        subprocess.run(
            [sys.executable, '-m', decision.__name__, '--quiet',
             '--output', str(path),
             *(('--debug-single-value',) if plan.quick else ())],
            check=True, stdout=sys.stderr)
        suite = pyperf.BenchmarkSuite.load(str(path))
    theirs, ours = (
        suite.get_benchmark(decision.name(kind)).median()
        for kind in decision.KINDS)
    book.rows.append(results.Row(
        NAME, '-', 'the same decision again and again (pyperf)',
        f'{timing.us(theirs):.4g} us', f'{timing.us(ours):.4g} us',
        theirs / ours, f'{theirs / ours:.3g}x',
        numbers={'us': {
            'in-tree': timing.us(theirs), 'ours': timing.us(ours)}}))
