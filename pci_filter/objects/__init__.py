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

"""The pools of compute nodes: load them, ask them, take from them."""

from pci_filter.matching.pool import PciDevicePool
from pci_filter.objects.pci_device_pool_list import PciDevicePoolList

__all__ = ['PciDevicePool', 'PciDevicePoolList']
