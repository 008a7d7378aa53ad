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

"""What the witness counts, and what the counts should be.

Imports nothing of Nova: the process that starts the tests reads the counts.
"""

import collections
import json
import pathlib

# What is counted. A decision is one host and one request with PCI devices.
OURS_ON_OURS = 'our filter on our pools'
OURS_ON_THEIRS = "our filter on Nova's pools"
THEIRS = "Nova's filter"
CONSUMED = 'requests consumed from our pools'
CLAIMED = 'claims by our tracker'
CLAIMED_BY_THEIRS = "claims by Nova's tracker"
# Where Nova still makes a PciDeviceStats while our tracker is in place.
BUILT = 'PciDeviceStats made by '
# Where one was made or asked by somebody who can do without. Nova may catch
# the exception.
REFUSED = 'PciDeviceStats refused: '
# What a reservation is when the claim it waits for is saved.
COUNTED = 'reservations that counted until the claim'
ENDED = 'reservations that ended '


def read(directory):
    """Return the summed counts of all processes that wrote one."""
    total = collections.Counter()
    for path in pathlib.Path(directory).glob('*.json'):
        total.update(json.loads(path.read_text()))
    return total


def find_faults(total, in_tree, tracker):
    """Return what is wrong with the counts, as a list of sentences."""
    if in_tree:
        expected, forbidden = [THEIRS], [OURS_ON_OURS, OURS_ON_THEIRS]
    else:
        expected = [OURS_ON_OURS, CONSUMED]
        forbidden = [OURS_ON_THEIRS, THEIRS]
    if tracker:
        expected.append(CLAIMED)
        forbidden.append(CLAIMED_BY_THEIRS)
    faults = [f'no decision counted: {what}'
              for what in expected if not total[what]]
    faults += [f'{total[what]} decisions by the wrong side: {what}'
               for what in forbidden if total[what]]
    faults += [f'{count} times {what}' for what, count in total.items()
               if what.startswith((REFUSED, ENDED))]
    if not in_tree and not any(what.startswith(COUNTED) for what in total):
        faults.append('no reservation was claimed')
    return faults
