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

"""Try the package on each Python that a supported Nova runs on.

What Debian has runs the unit tests and the tests with Nova's own objects, each
on a fresh machine (see tools/debian_tree.py):

  3.9   Debian 11 (bullseye) with Nova of 2025.1
  3.11  Debian 12 (bookworm) with Nova of 2026.2
  3.13  Debian 13 (trixie) with Nova of 2026.2

The others are checked without being run:

  3.10, 3.12  types
  syntax      nothing that 3.9 does not have
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent

TESTS = r'tests\.(unit|functional\.nova)\.'

TOX = '.venv-tox/bin/tox -q'

# Debian's name, and the release of OpenStack that names the tox environment.
MACHINES = {
    '3.9': ('bullseye', '2025.1'),
    '3.11': ('bookworm', '2026.2'),
    '3.13': ('trixie', '2026.2'),
}

CHECKS = {
    # Each in an environment of its own: two at a time would make the same one.
    **{python: [sys.executable, '-m', 'tox', '-q', 'run', '-e', 'mypy',
                '--workdir', f'.tox/{python}', '--',
                '--python-version', python] for python in ('3.10', '3.12')},
    # It succeeds, too, where it was at a loss.
    'syntax': ['bash', '-c', 'set -o pipefail; vermin -t=3.9- --no-tips '
               '--violations pci_filter tools benchmarks | tee /dev/stderr | '
               "(! grep -q 'could not be combined')"],
}


class Job(typing.NamedTuple):
    """What runs and writes into a file."""

    process: subprocess.Popen[bytes]
    output: pathlib.Path
    started: float


def slice_text(text: str) -> tuple[int, int]:
    """Return N and M of N/M."""
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f'{text!r} is not like 1/20')
    return number, count


def find_command(name: str, number: int, count: int) -> list[str]:
    """Return the command line of a job.

    :param number: which of the slices of the tests
    :param count: how many slices there are
    """
    if name in CHECKS:
        return CHECKS[name]
    suite, release = MACHINES[name]
    environment = f'nova-{release}'
    # Every test of so many, so that each module has its share.
    chosen = f'NR % {count} == {number % count}'
    return [
        sys.executable, str(CHECKOUT / 'tools' / 'debian_tree.py'), suite,
        'python3 -m venv .venv-tox && .venv-tox/bin/pip install -q tox',
        f'{TOX} run -e {environment} --notest',
        f'export PATH="$PWD/.tox/{environment}/bin:$PATH"; '
        'set -o pipefail; stestr init && '
        f"stestr list '{TESTS}' | sort | awk '{chosen}' >.tox/slice",
        f'{TOX} exec -e {environment} -- '
        'stestr run --load-list .tox/slice']


def _start(name: str, folder: str, command: list[str]) -> Job:
    output = pathlib.Path(folder, name)
    print(f'=== {name}: running, see {output}', flush=True)
    with output.open('wb') as stream:
        return Job(subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT), output, time.monotonic())


def _report(name: str, job: Job) -> bool:
    """Print what a job has written; return whether it has failed."""
    status = job.process.returncode
    print(f'=== {name}')
    sys.stdout.flush()
    with job.output.open('rb') as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)
    print(f'=== {name}: exit code {status} after '
          f'{time.monotonic() - job.started:.0f} s', flush=True)
    return bool(status)


def run(commands: dict[str, list[str]], at_once: int) -> list[str]:
    """Run jobs; return the names of those that failed."""
    waiting = collections.deque(commands.items())
    running: dict[str, Job] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix='pythons-') as folder:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    name, command = waiting.popleft()
                    running[name] = _start(name, folder, command)
                for name, job in list(running.items()):
                    if job.process.poll() is not None:
                        failed += [name] if _report(name, job) else []
                        del running[name]
                time.sleep(0.2)
        finally:
            for job in running.values():
                job.process.terminate()
            for job in running.values():
                job.process.wait()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--slice', type=slice_text, default=(1, 1), metavar='N/M',
        help='of the tests, every M-th (default: all)')
    parser.add_argument(
        '--at-once', type=int, default=1, metavar='N',
        help='how many jobs run at the same time (default: %(default)s)')
    parser.add_argument(
        'jobs', nargs='*', metavar='job', default=[*MACHINES, *CHECKS],
        help=f'one of {", ".join((*MACHINES, *CHECKS))} (default: all)')
    arguments = parser.parse_args()
    unknown = set(arguments.jobs) - set(MACHINES) - set(CHECKS)
    if unknown:
        parser.error(f'there is no job {", ".join(sorted(unknown))}')
    try:
        failed = run({name: find_command(name, *arguments.slice)
                      for name in arguments.jobs}, arguments.at_once)
    except KeyboardInterrupt:
        return 130
    if failed:
        print(f'Failed: {", ".join(failed)}')
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
