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

"""Enables our filter in Nova's tests and counts who decided what there.

That the tests pass proves nothing if Nova's own filter ran. So every decision
on a PCI request is counted by whose filter took it and on whose pools, in the
process that runs the tests, and written to a file when that process ends.
"""

import atexit
import collections
import functools
import json
import logging
import os
import pathlib

import fixtures
from nova.pci import manager
from nova.scheduler.filters import pci_passthrough_filter as in_tree_filter
from nova.tests.fixtures import conf as conf_fixture

from pci_filter import conf
from pci_filter.tests.functional.nova_suite import reservation_witness
from pci_filter.tests.functional.nova_suite import stats_poison
from pci_filter.tests.functional.nova_suite import tally

IN_TREE_FILTERS = 'nova.scheduler.filters.all_filters'
OUR_FILTERS = 'pci_filter.scheduler.filters.all_filters'

counts: collections.Counter[str] = collections.Counter()


def _enable_our_filter():
    """Extend ``available_filters`` in the configuration of every test.

    Each has reservations of its own, and leaves none behind: the default is a
    file in ``state_path``, which is where Nova's package is installed.
    """
    original = conf_fixture.ConfFixture.setUp

    @functools.wraps(original)
    def set_up(self):
        original(self)
        self.conf.set_default(
            'available_filters', [IN_TREE_FILTERS, OUR_FILTERS],
            group='filter_scheduler')
        conf.register_opts(self.conf)
        directory = self.useFixture(fixtures.TempDir()).path
        self.config(
            reservation_file=os.path.join(directory, 'reservations.sqlite'),
            group='pci_filter')

    conf_fixture.ConfFixture.setUp = set_up


def _is_ours(thing):
    return type(thing).__module__.partition('.')[0] == 'pci_filter'


def _count_decisions():
    """Count each decision, whoever's filter inherits ``host_passes``."""
    original = in_tree_filter.PciPassthroughFilter.host_passes

    @functools.wraps(original)
    def host_passes(self, host_state, spec_obj):
        requests = spec_obj.pci_requests
        if requests and requests.requests:
            if not _is_ours(self):
                counts[tally.THEIRS] += 1
            elif _is_ours(host_state.pci_stats):
                counts[tally.OURS_ON_OURS] += 1
            else:
                counts[tally.OURS_ON_THEIRS] += 1
        return original(self, host_state, spec_obj)

    in_tree_filter.PciPassthroughFilter.host_passes = host_passes


def _count_consumption():
    from pci_filter import objects
    original = objects.PciDevicePoolList.apply_requests

    @functools.wraps(original)
    def apply_requests(self, *args, **kwargs):
        counts[tally.CONSUMED] += 1
        return original(self, *args, **kwargs)

    objects.PciDevicePoolList.apply_requests = apply_requests


def _count_claims(tracker):
    """Count each claim by whose tracker took it; put ours in place."""
    original = manager.PciDevTracker.claim_instance

    @functools.wraps(original)
    def claim_instance(self, *args, **kwargs):
        counts[tally.CLAIMED if _is_ours(self)
               else tally.CLAIMED_BY_THEIRS] += 1
        return original(self, *args, **kwargs)

    manager.PciDevTracker.claim_instance = claim_instance
    if tracker:
        from pci_filter.compute import activation
        activation.activate()
        stats_poison.install(counts)


def _write(directory):
    path = pathlib.Path(directory) / f'{os.getpid()}.json'
    path.write_text(json.dumps(counts))


def install(directory, in_tree, tracker):
    """Prepare this process.

    :param directory: where the counts are written when the process ends
    :param in_tree: leave Nova's configuration alone, to compare with
    :param tracker: put our tracker in place
    """
    _count_decisions()
    _count_claims(tracker)
    if not in_tree:
        _count_consumption()
        _enable_our_filter()
        reservation_witness.install(counts)
    # These end after the test that captured the log, and fill the screen.
    logging.getLogger('nova.thread_pool_factory').setLevel(logging.WARNING)
    atexit.register(_write, directory)
