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

"""Run the tests that face Nova on each release, database and concurrency.

Each job runs in the tox environment of its release, one after the other, and
is written to ``doc/source/_generated/matrix.json`` when it ends; the table in
``matrix.inc`` is made from that. So jobs can be run again one by one.
The exit code is zero if every job ran tests and none of them failed.

  RELEASE/DATABASE/CONCURRENCY  our tests that use a database, and 1 in 10 of
                                the examples of the random ones
  RELEASE/ours                  all our tests with a real Nova, on SQLite
  RELEASE/filter                Nova's functional PCI tests, with our filter
  RELEASE/tracker               the same with our tracker too
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

import nova_functional
from stestr.repository import file as repositories  # novm
import testtools

from pci_filter import known_nova

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
GENERATED = CHECKOUT / 'doc' / 'source' / '_generated'
FUNCTIONAL = CHECKOUT / 'pci_filter' / 'tests' / 'functional'

TOX = (sys.executable, '-m', 'tox', '-q')

EVENTLET, THREADS = 'eventlet', 'native threads'

# What nova-scheduler can run on, its default first.
CONCURRENCY = {
    '2024.1': (EVENTLET,),
    '2025.1': (EVENTLET,),
    '2025.2': (EVENTLET, THREADS),
    '2026.1': (THREADS, EVENTLET),
    '2026.2': (THREADS, EVENTLET),
}


class Database(typing.NamedTuple):
    """A database to run cells on.

    :param kind: what the names of test classes call it
    :param variable: names a server, None for files
    """

    kind: str
    variable: str | None


DATABASES = {
    'SQLite': Database('SQLite', None),
    'MariaDB': Database('MySQL', 'PCI_FILTER_TEST_MYSQL_URL'),
    'PostgreSQL': Database('PostgreSQL', 'PCI_FILTER_TEST_POSTGRESQL_URL'),
}

# Tests that use no database, or always files of their own.
ANY_DATABASE = (
    'test_aliases', 'test_cloud', 'test_command_errors',
    'test_decision_property', 'test_demo', 'test_device_spec_in_tree',
    'test_documented', 'test_fuzz_in_tree', 'test_installed',
    'test_nova_compute_command',
    'test_scenarios_in_tree', 'test_split_family', 'test_status_command')

# They are run on the server of all cells as it is.
SAME_AGAIN = r'test_property\.TestProperty(MySQL|PostgreSQL)'


class Job(typing.NamedTuple):
    """Tests to run in the environment of a release.

    :param release: of OpenStack
    :param command: what runs them, with a place for stestr's repository
    :param environment: variables that are set for it
    :param one_in: of so many tests one is run
    """

    release: str
    command: list[str]
    environment: dict[str, str] = {}
    one_in: int = 1


def _cell(release: str, database: Database, concurrency: str) -> Job:
    others = '|'.join(
        one.kind for one in DATABASES.values() if one != database)
    excluded = '|'.join((
        *(rf'\.{name}\.' for name in ANY_DATABASE),
        rf'\.Test\w*({others})', SAME_AGAIN))
    environment = {
        'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(int(concurrency == THREADS)),
        'PCI_FILTER_EXAMPLES': '0.1'}
    if database.variable:
        url = os.environ.get(database.variable, '')
        environment |= {
            database.variable: url, 'PCI_FILTER_TEST_CELLS_URL': url}
    return Job(release, [
        'python', '-m', 'stestr', '--test-path', str(FUNCTIONAL),
        '--repo-url', '{repository}', 'run', '--serial',
        '--exclude-regex', excluded], environment)


def _suites(release: str, slice_text: str) -> dict[str, Job]:
    one_in = int(slice_text.rpartition('/')[2])
    nova = ['python', 'tools/nova_functional.py', '--repository',
            '{repository}', '--slice', slice_text]
    return {
        f'{release}/ours': Job(release, [
            'python', '-m', 'stestr', '--test-path', str(FUNCTIONAL / 'nova'),
            '--repo-url', '{repository}', 'run']),
        f'{release}/filter': Job(release, nova, one_in=one_in),
        f'{release}/tracker': Job(
            release, [*nova, '--tracker'], one_in=one_in)}


def find_jobs(patterns: typing.Sequence[str], slice_text: str = '1/1',
              ) -> dict[str, Job]:
    """Return the jobs by name, those whose names match any of the patterns."""
    jobs: dict[str, Job] = {}
    for release in known_nova.RELEASES.values():
        for concurrency in CONCURRENCY[release]:
            for name, database in DATABASES.items():
                jobs[f'{release}/{name}/{concurrency}'] = _cell(
                    release, database, concurrency)
        jobs.update(_suites(release, slice_text))
    return {name: job for name, job in jobs.items() if any(
        fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


@functools.cache
def _prepare(release: str) -> None:
    """Create the tox environment of a release, with our package in it."""
    subprocess.run([*TOX, 'run', '-e', f'nova-{release}', '--notest'],
                   cwd=CHECKOUT, check=True)


def _in_environment(release: str, command: list[str]) -> list[str]:
    _prepare(release)
    return [*TOX, 'exec', '-e', f'nova-{release}', '--', *command]


def _count(repository: str) -> dict[str, int]:
    """Return what stestr has recorded of its last run."""
    summary = testtools.StreamSummary()
    summary.startTestRun()
    repositories.RepositoryFactory().open(
        repository).get_latest_run().get_test().run(summary)
    summary.stopTestRun()
    failed = len(summary.errors) + len(summary.unexpectedSuccesses)
    return {'run': summary.testsRun - len(summary.skipped), 'failed': failed}


def _environment(job: Job) -> dict[str, str]:
    """Return the variables of a job, without those that decide what it is."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith('PCI_FILTER_')
            and name != 'OS_NOVA_DISABLE_EVENTLET_PATCHING'}
    return {**kept, **job.environment}


def _run(name: str, job: Job) -> dict[str, int]:
    print(f'=== {name}', flush=True)
    with tempfile.TemporaryDirectory(prefix='matrix-') as repository:
        command = [repository if part == '{repository}' else part
                   for part in job.command]
        status = subprocess.run(
            _in_environment(job.release, command), cwd=CHECKOUT, check=False,
            env=_environment(job)).returncode
        try:
            result = _count(repository)
        except Exception as error:
            print(f'{name}: nothing was recorded: {error}')
            result = {'run': 0, 'failed': 0}
    # Who decided is wrong, although all tests passed.
    if status and not result['failed']:
        result['failed'] = result['run']
    if job.one_in > 1:
        result['one_in'] = job.one_in
    print(f'=== {name}: {_text(result)} passed', flush=True)
    return result


def _text(result: dict[str, int] | None) -> str:
    if result is None:
        return 'not run'
    counted = f'{result["run"] - result["failed"]} / {result["run"]}'
    if 'one_in' in result:
        counted += f' (one in {result["one_in"]})'
    return counted


def _table(
    header: typing.Sequence[str],
    rows: typing.Iterable[typing.Sequence[str]],
) -> typing.Iterator[str]:
    yield '.. list-table::'
    yield '   :header-rows: 1'
    yield ''
    for row in (header, *rows):
        for number, text in enumerate(row):
            yield f'   {" " if number else "*"} - {text}'
    yield ''


def render(results: dict[str, dict[str, int]]) -> str:
    """Return the tables, in reStructuredText."""
    releases = {f'{name} ({major})': name
                for major, name in known_nova.RELEASES.items()}
    cells = [
        [title, concurrency, *(
            _text(results.get(f'{release}/{database}/{concurrency}'))
            for database in DATABASES)]
        for title, release in releases.items()
        for concurrency in CONCURRENCY[release]]
    suites = [
        [title, *(_text(results.get(f'{release}/{suite}'))
                  for suite in ('ours', 'filter', 'tracker'))]
        for title, release in releases.items()]
    return '\n'.join((
        *_table(('Nova', 'nova-scheduler runs on', *DATABASES), cells),
        *_table(('Nova', 'Ours', "Nova's, our filter",
                 "Nova's, our filter and tracker"), suites)))


def _write(name: str, result: dict[str, int]) -> None:
    path = GENERATED / 'matrix.json'
    results = json.loads(path.read_text()) if path.exists() else {}
    results.pop(name, None)
    # A job that ran nothing has no result, nor that of another time.
    if result['run']:
        results[name] = result
    path.write_text(json.dumps(results, indent=2, sort_keys=True) + '\n')
    (GENERATED / 'matrix.inc').write_text(render(results))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--slice', type=nova_functional.slice_text, default='1/1',
        metavar='N/M',
        help="of Nova's tests, every M-th of each class (default: all)")
    parser.add_argument(
        'jobs', nargs='*', default=['*'], metavar='pattern',
        help='run only the jobs whose names match one of these, such as '
             "'2025.1/*' or '*/MariaDB/*'")
    arguments = parser.parse_args()
    jobs = find_jobs(arguments.jobs, arguments.slice)
    if not jobs:
        parser.error('no job has such a name; they are: ' + ', '.join(
            find_jobs(['*'])))
    missing = {
        database.variable for name, database in DATABASES.items()
        if database.variable and not os.environ.get(database.variable)
        and any(f'/{name}/' in job for job in jobs)}
    if missing:
        parser.error(f'set {" and ".join(sorted(missing))} to the URL of a '
                     'database whose user may create others')
    failed = False
    for name, job in jobs.items():
        result = _run(name, job)
        _write(name, result)
        failed |= not result['run'] or bool(result['failed'])
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
