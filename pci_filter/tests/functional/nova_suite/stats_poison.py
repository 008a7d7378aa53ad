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

"""Lets nobody make or ask a PciDeviceStats, but where Nova cannot help it.

With our filter and our tracker in place no decision goes through that class.
A test in which one is made elsewhere fails at that place.
"""

import functools
import inspect
import sys

from nova.pci import stats

from pci_filter.tests.functional.nova_suite import tally

# Who may make one, and why.
ALLOWED = {
    ('nova.pci.manager', '__init__'):
        "Nova's tracker makes one before ours takes its place; empty, and "
        'never asked',
    ('nova.scheduler.host_manager', '_update_from_compute_node'):
        "Nova's HostState makes one of nothing; ours takes its place",
    ('pci_filter.scheduler.host_states', 'pci_stats'):
        'the same HostState, for a request without PCI devices, when the NUMA '
        'topology filter or a weigher looks at the summary',
}


def _caller():
    """Return module and function of whoever made the object, or let it be."""
    frame = sys._getframe(2)
    if frame.f_code.co_name == 'stats_of_summary':
        # It makes them for whoever asks, who is what matters.
        frame = frame.f_back or frame
    return frame.f_globals.get('__name__'), frame.f_code.co_name


def install(counts):
    """Poison the class in this process.

    :param counts: where to count who made one
    """
    original = stats.PciDeviceStats.__init__

    @functools.wraps(original)
    def poisoned(self, *args, **kwargs):
        caller = _caller()
        if caller not in ALLOWED:
            _fail(counts, f'made by {".".join(caller)}')
        counts[tally.BUILT + '.'.join(caller)] += 1
        original(self, *args, **kwargs)

    stats.PciDeviceStats.__init__ = poisoned
    for name, method in inspect.getmembers(
            stats.PciDeviceStats, inspect.isfunction):
        if not name.startswith('__'):
            setattr(stats.PciDeviceStats, name,
                    _refuse(counts, name, method))


def _fail(counts, what):
    # Counted too, since Nova may catch the exception.
    counts[tally.REFUSED + what] += 1
    raise AssertionError(f'PciDeviceStats {what}')


def _refuse(counts, name, method):
    @functools.wraps(method)
    def refused(*args, **kwargs):
        _fail(counts, f'{name}() is asked')
    return refused
