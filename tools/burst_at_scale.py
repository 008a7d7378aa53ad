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

"""Ask Nova's scheduler for as many servers at once as there are devices.

It is like tools/burst.py with more hosts, since there is no nova-compute and
no conductor: processes call SchedulerManager.select_destinations(), and other
processes claim the devices with Nova's tracker after a random delay, which
counts as the only attempt. Placement and MariaDB are real, and started here.
Run it with the Python of an environment that has Nova, openstack-placement
and this package installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import json
import pathlib
import signal
import statistics
import sys
import tempfile

from pci_filter.tests.functional.nova import burst_cloud


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='The exit code is 1 if fewer landed than there are devices '
        'for, or a claim\nfailed, with reservations.')
    for name, default, text in (
            ('--hosts', 64, 'compute hosts with one device each'),
            ('--boots', 64, 'servers that are asked for at once'),
            ('--runs', 20, 'bursts'),
            ('--workers', 4, 'processes that schedule'),
            ('--seed', 1, 'what the delays are made of')):
        parser.add_argument(
            name, type=int, default=default, metavar='N',
            help=f'{text} (default: %(default)s)')
    parser.add_argument(
        '--delay', type=float, default=1.0, metavar='SECONDS',
        help='until a claim at most (default: %(default)s)')
    parser.add_argument(
        '--way', choices=(burst_cloud.IN_TREE, 'none', 'local'),
        default='local',
        help="Nova's filter, or where ours keeps reservations "
        '(default: %(default)s)')
    parser.add_argument(
        '-f', dest='format', choices=('text', 'json'), default='text',
        help='the format of what is printed (default: %(default)s)')
    return parser.parse_args()


def _report(
    arguments: argparse.Namespace, outcomes: Sequence[burst_cloud.Outcome],
) -> int:
    """Print what was found out, and return the exit code."""
    possible = min(arguments.hosts, arguments.boots) * len(outcomes)
    landed, failed, refused = (
        sum(one[number] for one in outcomes) for number in range(3))
    if arguments.format == 'json':
        print(json.dumps({
            **{name: getattr(arguments, name) for name in (
                'hosts', 'boots', 'workers', 'delay', 'way')},
            'bursts': [one._asdict() for one in outcomes]}, indent=1))
    else:
        seconds = statistics.median(one.seconds for one in outcomes)
        print(f'{landed:,} of {possible:,} land at the first attempt, '
              f'{failed} claims fail, {refused} have no valid host; '
              f'{len(outcomes)} bursts of {arguments.boots} on '
              f'{arguments.hosts} hosts, {seconds:.1f} s each')
    reserves = arguments.way not in (burst_cloud.IN_TREE, 'none')
    return int(reserves and (landed != possible or failed > 0))


def main() -> int:
    """Run the bursts, and return the exit code."""
    arguments = _parse_arguments()
    # So that the servers are taken down then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    outcomes = []
    try:
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(
                tempfile.TemporaryDirectory(prefix='pci-filter-burst-')))
            cloud = burst_cloud.Cloud(
                burst_cloud.Plan(*(getattr(arguments, name) for name in
                                   burst_cloud.Plan._fields)),
                directory, stack)
            for number in range(arguments.runs):
                outcomes.append(cloud.burst())
                print(f'{number + 1} of {arguments.runs}: {outcomes[-1]}',
                      file=sys.stderr, flush=True)
    except burst_cloud.ERRORS as error:
        sys.exit(f'It does not work: {error}')
    return _report(arguments, outcomes)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
