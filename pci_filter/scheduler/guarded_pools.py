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

"""Pools that in-tree code asks, so that nothing of ours fails its request.

In-tree filters and weighers ask for one host after the other, and what is
raised about one of them ends the request for all. A PciDevicePoolList raises
what goes wrong, as its other users want; a HostState gets one of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import copy
import typing
import weakref

from nova import exception as nova_exception

from pci_filter import exception
from pci_filter import objects
from pci_filter.objects import device_requests

HostState = typing.Any


class Guard(typing.Protocol):
    """What is needed of :class:`pci_filter.scheduler.failures.Failures`."""

    def decision_failed(
        self, host_state: HostState, error: Exception,
    ) -> typing.Any:
        """Return what decides about a host instead of its pools."""


class GuardedPools(objects.PciDevicePoolList):
    """The pools of a HostState, until something goes wrong with them.

    From then on ``[pci_filter]on_load_failure`` decides, for whoever holds
    this list already as well as on the HostState. What instances of the same
    request have taken before is forgotten then; their claims will tell.

    Nova's documented exceptions go on, and so does what Nova's own stats
    raise where they decide: without us it would be the same.

    :param host_state: whose pools these are
    :param guard: what to do when something goes wrong
    :param args: as of the base class
    """

    #: What decides since something went wrong.
    _instead: typing.Any = None

    def __init__(
        self, host_state: HostState, guard: Guard, *args: typing.Any,
    ) -> None:
        super().__init__(*args)
        # Else each host of each request would have to wait for the garbage
        # collector: the HostState holds us.
        self._host_state = weakref.ref(host_state)
        self._guard = guard

    def __deepcopy__(self, memo: typing.Any) -> GuardedPools:
        """Copy it with its HostState, as others may to try something out."""
        copied = copy.copy(self)
        copied._promised = list(self._promised)
        copied._instead = copy.deepcopy(self._instead, memo)
        host_state = memo.get(id(self._host_state()))
        if host_state is not None:
            copied._host_state = weakref.ref(host_state)
        return copied

    @property
    def pools(self) -> typing.Any:
        """The pools as the dicts that in-tree code reads."""
        if self._instead is None:
            try:
                return super().pools
            except Exception as error:
                self._give_up(error)
        return self._instead.pools

    def supports_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> bool:
        """Tell what the base class tells, or what decides instead."""
        if self._instead is None:
            try:
                return super().supports_requests(
                    requests, provider_mapping, numa_cells)
            except Exception as error:
                self._give_up(error)
        verdict: bool = self._instead.support_requests(
            requests, provider_mapping, numa_cells)
        return verdict

    #: What in-tree code calls it.
    support_requests = supports_requests

    def apply_requests(
        self,
        requests: Iterable[device_requests.PciRequest],
        provider_mapping: device_requests.ProviderMapping | None = None,
        numa_cells: Sequence[device_requests.GuestCell] | None = None,
    ) -> None:
        """Take the devices for these requests out of the pools.

        :raises nova.exception.PciDeviceRequestFailed: if they do not fit
        """
        if self._instead is None:
            try:
                super().apply_requests(requests, provider_mapping, numa_cells)
                return
            except exception.PciRequestsNotSupported as error:
                raise nova_exception.PciDeviceRequestFailed(
                    f'PCI device request failed: {error.reason}',
                    requests=requests) from error
            except Exception as error:
                self._give_up(error)
        self._instead.apply_requests(requests, provider_mapping, numa_cells)

    def _give_up(self, error: Exception) -> None:
        host_state = self._host_state()
        if host_state is None:
            # No request has the host any more.
            raise error
        self._instead = self._guard.decision_failed(host_state, error)


class NoPools(objects.PciDevicePoolList):
    """What a host has to offer to which no PCI request is sent.

    It looks at nothing, as it may be the request that cannot be read.
    """

    def supports_requests(
        self, *args: typing.Any, **kwargs: typing.Any,
    ) -> bool:
        """Tell that nothing fits."""
        return False

    support_requests = supports_requests

    def apply_requests(
        self, requests: typing.Any, *args: typing.Any, **kwargs: typing.Any,
    ) -> None:
        """Refuse to take anything.

        :raises nova.exception.PciDeviceRequestFailed: always
        """
        raise nova_exception.PciDeviceRequestFailed(
            'PCI device request failed: the pools of the host could not be '
            'read', requests=requests)
