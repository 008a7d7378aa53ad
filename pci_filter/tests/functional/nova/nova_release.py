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

"""What the tests have to know of the Nova that they run with.

What the package itself has to know is in pci_filter.known_nova.
"""

from nova.objects import instance_pci_requests
from nova.pci import manager

#: From 2025.1 (31) on Nova reads the tags ``managed`` and ``live_migratable``
#: as booleans, and an alias can ask for the latter.
HAS_LIVE_MIGRATABLE = hasattr(
    instance_pci_requests.InstancePCIRequest, 'is_live_migratable')

#: Whether it has the remedy for bug 2115905, which stable releases have got
#: too: what is gone is removed as soon as it is freed.
REMOVES_WHEN_FREED = (
    'to_be_removed_when_freed'
    in manager.PciDevTracker.__init__.__code__.co_names)
