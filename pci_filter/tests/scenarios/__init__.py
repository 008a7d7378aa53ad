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

"""One table of decisions, for our matcher, Nova's and a claim alike.

``test_scenarios`` runs it against PciDevicePoolList,
``test_scenarios_in_tree`` against nova.pci.stats and
``test_scenarios_claim`` against what a compute host really hands out.
"""

from pci_filter.tests.scenarios import attributes
from pci_filter.tests.scenarios import exclusion
from pci_filter.tests.scenarios import numa
from pci_filter.tests.scenarios import placement
from pci_filter.tests.scenarios import sequences

SCENARIOS = (
    *attributes.SCENARIOS,
    *numa.SCENARIOS,
    *exclusion.SCENARIOS,
    *placement.SCENARIOS,
    *sequences.SCENARIOS,
)
