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

"""A request for devices, compiled for the constraints."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from pci_filter.matching import pool as pool_module
from pci_filter import model


def lowered(value: object) -> object:
    """Return strings in lower case: Nova compares without regard to case."""
    return value.lower() if isinstance(value, str) else value


@dataclasses.dataclass(frozen=True, **model.SLOTS)
class DeviceRequest:
    """So many devices that meet one of the specs, put to one host.

    :param label: alias or id of the request, for people
    :param count: how many devices are asked for
    :param specs: alternatives; each maps properties to what they must equal,
        strings in lower case. No alternative, no device.
    :param numa_policy: ``required``, ``socket``, ``legacy`` or ``preferred``
    :param numa_cells: host NUMA nodes that the guest is on; empty when its
        place is not known (yet), which switches the NUMA constraint off
    :param socket_cells: host NUMA nodes in the same sockets as those
    :param rp_uuids: the resource provider of each device that placement
        allocated; empty when placement does not track the request
    :param wants_pf: some alternative asks for physical functions
    :param wants_vdpa: some alternative asks for vDPA devices
    :param wants_remote_managed: some alternative asks for those
    :param live_migratable: what all alternatives agree on, else None
    :param asked: the alternatives as they were written
    """

    label: str
    count: int
    specs: tuple[Mapping[str, object], ...]
    numa_policy: str = 'legacy'
    numa_cells: frozenset[int] = frozenset()
    socket_cells: frozenset[int] = frozenset()
    rp_uuids: tuple[str, ...] = ()
    wants_pf: bool = False
    wants_vdpa: bool = False
    wants_remote_managed: bool = False
    live_migratable: str | None = None
    asked: Sequence[Mapping[str, object]] = ()

    @classmethod
    def compile(
        cls,
        label: str,
        count: int,
        specs: Sequence[Mapping[str, object]],
        numa_policy: str | None = None,
        numa_cells: frozenset[int] = frozenset(),
        socket_cells: frozenset[int] = frozenset(),
        rp_uuids: Sequence[str] = (),
    ) -> 'DeviceRequest':
        """Read off the specs what the constraints need to know.

        The parameters are the fields of the same name; ``specs`` as in
        Nova's InstancePCIRequest.
        """
        types = {spec.get('dev_type') for spec in specs}
        migratable = {spec.get('live_migratable') for spec in specs}
        demand = migratable.pop() if len(migratable) == 1 else None
        return cls(
            label=label,
            count=count,
            specs=tuple(
                {key: lowered(value) for key, value in spec.items()
                 if key not in pool_module.PLACEMENT_KEYS}
                for spec in specs),
            numa_policy=numa_policy or 'legacy',
            numa_cells=numa_cells,
            socket_cells=socket_cells,
            rp_uuids=tuple(rp_uuids),
            wants_pf=pool_module.PF in types,
            wants_vdpa=pool_module.VDPA in types,
            wants_remote_managed=any(
                pool_module.is_true(spec.get('remote_managed'))
                for spec in specs),
            live_migratable=str(demand) if demand in ('true', 'false')
            else None,
            asked=specs,
        )

    @property
    def wanted(self) -> str:
        """The alternatives, for people."""
        return ' or '.join(
            ', '.join(f'{key}={value}' for key, value in spec.items()
                      if key not in pool_module.PLACEMENT_KEYS)
            for spec in self.asked)
