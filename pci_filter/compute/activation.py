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

"""Put our tracker in the place of Nova's, for one process."""

from __future__ import annotations

import typing

from nova.pci import manager
from nova import version

from pci_filter.compute import tracker
from pci_filter import exception
from pci_filter import known_nova

_INSTEAD: typing.Final = (
    "Run Nova's own nova-compute, after you have taken the tags out of "
    'the rows of this host (see "Roll back" in the documentation),')

#: What the tracker overrides, and the parameters that are known.
_OVERRIDDEN: typing.Final = {
    '__init__': ['self', 'context', 'compute_node'],
    '_initial_instance_usage': ['self'],
    '_set_hvdevs': ['self', 'devices'],
    '_free_device': ['self', 'dev', 'instance'],
    '_claim_instance': [
        'self', 'context', 'pci_requests', 'instance_numa_topology'],
    'save': ['self', 'context'],
}


def activate() -> None:
    """Let the resource tracker of this process use our tracker.

    :raises pci_filter.exception.UnsupportedNova: if this Nova is not known
    """
    check()
    manager.PciDevTracker = tracker.PciDevTracker


def check() -> None:
    """Check that this Nova is one that the tracker is made for.

    :raises pci_filter.exception.UnsupportedNova: if it is not
    """
    release = version.version_string()
    if not known_nova.is_known(release):
        raise exception.UnsupportedNova(
            f'it is Nova {release}', known_nova.SUPPORTED, _INSTEAD)
    original, = tracker.PciDevTracker.__bases__
    for name, known in _OVERRIDDEN.items():
        known_nova.find(original, name, known, _INSTEAD)
