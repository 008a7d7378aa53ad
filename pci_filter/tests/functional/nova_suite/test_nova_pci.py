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

"""Nova's own functional PCI tests, as a suite of this package.

``tools/nova_functional.py`` runs it; without the variables which that sets,
the suite is empty, so that an ordinary test run does not pull it in. The test
ids stay Nova's.
"""

import importlib.util
import os
import unittest

MODULES = (
    'nova.tests.functional.libvirt.test_pci_sriov_servers',
    'nova.tests.functional.libvirt.test_pci_in_placement',
)

# Those that boot servers with PCI devices; each release has some of them.
REGRESSIONS = tuple(
    f'nova.tests.functional.regressions.test_bug_{bug}' for bug in (
        1983753, 1995153, 2098496, 2102038, 2111440, 2140631))

# What is run besides where our tracker is in place; the last one is ours, on
# Nova's test stack.
TRACKER_MODULES = (
    'nova.tests.functional.libvirt.test_numa_servers',
    'nova.tests.unit.pci.test_manager',
    'pci_filter.tests.functional.nova_suite.deployment',
)

_TRACKER_TEST = 'nova.tests.unit.pci.test_manager.PciDevTrackerTestCase.'

# Tests that assert how Nova's tracker keeps its books.
NOT_APPLICABLE = {
    _TRACKER_TEST + 'test_claim_available_pf_while_a_child_is_used':
        'asserts the exception of the device that is touched; our tracker '
        'refuses before it touches one (PciDeviceRequestFailed)',
    _TRACKER_TEST + 'test_pci_claim_instance_with_numa':
        'the hypervisor has moved the device to another NUMA node, which '
        "Nova's pool does not follow",
}


def _flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flatten(item)
        else:
            yield item


def _sliced(suite, slice_text, skipped):
    """Return every M-th test, beginning with the N-th.

    They are counted in the order of their names, so that each class has its
    share, and all slices have as many.
    """
    number, of = (int(part) for part in slice_text.split('/'))
    tests = {test.id(): test for test in _flatten(suite)
             if test.id() not in skipped}
    return unittest.TestSuite(
        tests[name] for name in sorted(tests)[number - 1::of])


def load_tests(loader, standard_tests, pattern):
    """Give unittest Nova's tests instead of this module's (it has none)."""
    slice_text = os.environ.get('PCI_FILTER_NOVA_SLICE')
    if not slice_text:
        return unittest.TestSuite()
    # Nova patches the standard library on one of these imports if it is to
    # run on eventlet (2025.2 on the second), so they come before everything
    # else of Nova.
    import nova.tests.functional  # noqa: F401
    # isort: split
    import nova.test  # noqa: F401 H306

    from pci_filter.tests.functional.nova_suite import witness
    modules = (*MODULES, *filter(importlib.util.find_spec, REGRESSIONS))
    tracker = bool(os.environ.get('PCI_FILTER_NOVA_TRACKER'))
    witness.install(
        directory=os.environ['PCI_FILTER_NOVA_WITNESS'],
        in_tree=bool(os.environ.get('PCI_FILTER_NOVA_IN_TREE')),
        tracker=tracker)
    if tracker:
        modules += TRACKER_MODULES
    suite = loader.loadTestsFromNames(modules)
    if loader.errors:
        # unittest makes a test of each, which could be in another slice.
        raise ImportError(loader.errors[0])
    return _sliced(suite, slice_text,
                   skipped=NOT_APPLICABLE if tracker else ())
