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

"""Run Nova's own functional PCI tests with our filter enabled.

Run it with the Python of an environment that has Nova, openstack-placement
and this package installed: ``tox -e nova-2026.2`` prepares one. The exit code
is zero if the tests passed and our filter took every decision, on our pools.
"""

import argparse
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
SUITE = CHECKOUT / 'pci_filter' / 'tests' / 'functional' / 'nova_suite'


def slice_text(text):
    """Return the text if it is a slice; a type for argparse."""
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not N/M with 1 <= N <= M')
    return text


def _parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--slice', type=slice_text, default='1/1', metavar='N/M',
        help='run every M-th test, beginning with the N-th (default: all)')
    parser.add_argument(
        '--in-tree', action='store_true',
        help="leave Nova's own filter in place, to compare with")
    parser.add_argument(
        '--tracker', action='store_true',
        help='with our tracker on the compute side too; adds the tests of '
             'NUMA servers and the unit tests of the tracker')
    parser.add_argument(
        '--concurrency', type=int, default=os.cpu_count(), metavar='N',
        help='processes to run tests in (default: one per CPU)')
    parser.add_argument(
        '--repository', type=pathlib.Path, metavar='directory',
        help='where stestr records what it runs (default: nowhere)')
    parser.add_argument(
        'filters', nargs='*', metavar='regex',
        help='run only the tests whose ids match one of these')
    return parser.parse_args()


def _link_etc():
    """Make Nova's ``etc`` reachable from where its package is.

    The tests look for ``etc/nova`` next to the package, as in a checkout; the
    wheel installs it at the top of the environment.
    """
    nova = importlib.util.find_spec('nova')
    if nova is None:
        sys.exit('Nova is not installed in this environment.')
    link = pathlib.Path(nova.origin).parent.parent / 'etc'
    target = pathlib.Path(sys.prefix) / 'etc'
    if not (link / 'nova' / 'api-paste.ini').is_file():
        link.symlink_to(os.path.relpath(target, link.parent))


def _stestr(arguments, repository):
    """Return the command line that runs the tests."""
    command = [
        sys.executable, '-m', 'stestr',
        '--test-path', str(SUITE), '--top-dir', str(CHECKOUT),
        '--repo-url', str(repository),
        'run', '--concurrency', str(arguments.concurrency)]
    return command + arguments.filters


def _environment(arguments, witness_directory):
    environment = dict(
        os.environ,
        PCI_FILTER_NOVA_SLICE=arguments.slice,
        PCI_FILTER_NOVA_WITNESS=str(witness_directory))
    for name, chosen in (
            ('PCI_FILTER_NOVA_IN_TREE', arguments.in_tree),
            ('PCI_FILTER_NOVA_TRACKER', arguments.tracker)):
        environment.pop(name, None)
        if chosen:
            environment[name] = '1'
    for name, value in (
            ('OS_STDOUT_CAPTURE', '1'), ('OS_STDERR_CAPTURE', '1'),
            ('OS_TEST_TIMEOUT', '160')):
        environment.setdefault(name, value)
    return environment


def _report(directory, in_tree, tracker):
    """Print who decided; return True if that is as it should be."""
    from pci_filter.tests.functional.nova_suite import tally
    total = tally.read(directory)
    print('Decisions on PCI requests:')
    for what in sorted(total):
        print(f' - {what}: {total[what]}')
    faults = tally.find_faults(total, in_tree, tracker)
    for fault in faults:
        print(f'FAILED: {fault}')
    return not faults


def main():
    arguments = _parse_arguments()
    _link_etc()
    with tempfile.TemporaryDirectory(prefix='nova-functional-') as directory:
        top = pathlib.Path(directory)
        counts = top / 'witness'
        counts.mkdir()
        status = subprocess.run(
            _stestr(arguments, arguments.repository or top), cwd=CHECKOUT,
            env=_environment(arguments, counts), check=False).returncode
        decided = _report(counts, arguments.in_tree, arguments.tracker)
    return status or not decided


if __name__ == '__main__':
    sys.exit(main())
