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

"""The decision: which requests a host's pools can serve.

Pure Python on plain data; nothing here reads a database, a configuration or
a clock, and no input is ever modified.
"""

from pci_filter.matching.allotment import Allotment
from pci_filter.matching.allotment import Record
from pci_filter.matching.every_order import fit_in_every_order
from pci_filter.matching.every_order import fit_one_by_one
from pci_filter.matching.explanation import Explanation
from pci_filter.matching.explanation import RequestExplanation
from pci_filter.matching.explanation import StageCount
from pci_filter.matching.pool import PciDevicePool
from pci_filter.matching.pool import PoolKind
from pci_filter.matching.question import Providers
from pci_filter.matching.question import Question
from pci_filter.matching.request import DeviceRequest
from pci_filter.matching.worst_case import may_suffice
from pci_filter.matching.worst_case import suffice

__all__ = [
    'Allotment',
    'DeviceRequest',
    'Explanation',
    'PciDevicePool',
    'PoolKind',
    'Providers',
    'Question',
    'Record',
    'RequestExplanation',
    'StageCount',
    'fit_in_every_order',
    'fit_one_by_one',
    'may_suffice',
    'suffice',
]
