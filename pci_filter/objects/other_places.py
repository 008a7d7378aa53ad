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

"""What becomes of others when one more instance claims before them.

A guest with NUMA cells is placed when it claims. The reservation of one that
has not claimed yet has the place where it would be as things were. When
somebody else is faster it may be another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import itertools

from pci_filter import matching
from pci_filter.objects import device_requests

#: The requests of one instance.
_Requests = Sequence[matching.DeviceRequest]


def still_fit(
    pools: list[matching.PciDevicePool], requests: _Requests,
    instances: Sequence[_Requests],
    topology: device_requests.HostTopology | None,
) -> bool:
    """Tell whether all that fit without one more instance fit after it.

    :param pools: the pools of one host, in claim order; their tags are known
    :param requests: those of one more instance
    :param instances: the requests of each of the others, in the order in
        which they are likely to claim
    :param topology: the NUMA topology of the host, if it has one
    """
    _, others = matching.fit_one_by_one(pools, instances)
    left, _ = matching.fit_one_by_one(pools, [requests])
    for other in others:
        for placed in _on_each_place(other, topology):
            after, fitting = matching.fit_one_by_one(left, [placed])
            if fitting:
                left = after
                break
        else:
            return False
    return True


def _on_each_place(
    requests: _Requests, topology: device_requests.HostTopology | None,
) -> Iterator[_Requests]:
    """Yield the requests of an instance, then as they are elsewhere."""
    yield requests
    cells = len(requests[0].numa_cells) if requests else 0
    if cells and topology:
        for near in itertools.combinations(
                [cell.id for cell in topology.cells], cells):
            yield [device_requests.moved(request, frozenset(near), topology)
                   for request in requests]
