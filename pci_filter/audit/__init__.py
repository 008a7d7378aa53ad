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

"""The audit: what should agree with the devices, and does not.

Pure Python on plain data, like ``matching``. Each module looks at one side of
it; what is found first is told, and what follows from it is not: a device
with a finding of its own is no evidence for another one. In the end
``stories`` brings the repairs of all of them into agreement.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import itertools

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import owners
from pci_filter.audit import providers
from pci_filter.audit import relatives
from pci_filter.audit import requests
from pci_filter.audit import rows
from pci_filter.audit import stories
from pci_filter.audit import summaries
from pci_filter.audit import tags


def examine(
    facts: facts_module.NodeFacts, summary_expected: bool = True,
    pending: summaries.Pending | None = None,
    is_told: Callable[[finding.Finding], bool] = lambda found: True,
) -> list[finding.Finding]:
    """Look at one compute node.

    :param facts: all that concerns it
    :param summary_expected: whether nova-compute is to write a summary;
        where the rows have all that is in there it need not in any case
    :param pending: when what is written to the rows may be in the summary or
        not; None for never
    :param is_told: whether a finding is going to be told to anybody: the
        others are returned too, but what is repaired does not rely on them
    """
    def look(facts: facts_module.NodeFacts) -> list[finding.Finding]:
        return _look(facts, summary_expected, pending)

    return stories.settle(facts, look, is_told)


def _look(
    facts: facts_module.NodeFacts, summary_expected: bool,
    pending: summaries.Pending | None,
) -> list[finding.Finding]:
    """Return what each side says, whatever the others do."""
    found = [*rows.check(facts), *owners.check(facts)]
    doubtful = _devices(facts, found)
    related = list(relatives.check(facts, doubtful))
    unreadable = list(rows.check_extra_info(facts))
    doubtful |= _devices(facts, related)
    stale = list(tags.check(facts, pending))
    return [*itertools.chain(
        found, unreadable, related, requests.check(facts),
        summaries.check(
            facts, doubtful, summary_expected, pending, bool(stale)),
        providers.check(facts, doubtful | _devices(facts, unreadable)),
        stale)]


def _devices(
    facts: facts_module.NodeFacts, found: Iterable[finding.Finding],
) -> set[int]:
    """Return the ids of the rows that these findings are about."""
    # By address, which is the subject of those.
    addresses = {one.subject for one in found}
    return {device.id for device in facts.devices
            if device.address in addresses}
