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

"""Which request the pools on a HostState are for.

Nova makes HostStates anew for each request, and the hook puts pools on those
that it has just made. Another package may keep its own, on which the filter
puts pools: what is kept must not be decided by the devices of an earlier
request.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import typing
import weakref

#: Attribute of a HostState: gives the RequestSpec, while that exists.
_REQUEST: typing.Final = 'pci_filter_request'


def mark_new(host_states: Iterable[typing.Any]) -> None:
    """Note that the pools of HostStates are those of their only request.

    :param host_states: the HostStates that have them
    """
    for host_state in host_states:
        setattr(host_state, _REQUEST, _only_request)


def mark_kept(
    host_states: Iterable[typing.Any], spec_obj: typing.Any,
) -> None:
    """Note that pools were loaded for one request, or were tried to be.

    :param host_states: the HostStates that have them
    :param spec_obj: nova.objects.RequestSpec; if it is nothing that can be
        known again, they count as those of no request
    """
    request: Callable[[], typing.Any]
    try:
        # No number: that of a request that is gone may be given to another.
        request = weakref.ref(spec_obj)
    except TypeError:
        request = _no_request
    for host_state in host_states:
        setattr(host_state, _REQUEST, request)


def has_pools_for(host_state: typing.Any, spec_obj: typing.Any) -> bool:
    """Tell whether the pools are those of this request.

    For each instance of a request Nova gives the same RequestSpec, and
    HostStates of which those before have taken devices.

    :param host_state: the HostState
    :param spec_obj: nova.objects.RequestSpec
    """
    request = getattr(host_state, _REQUEST, _no_request)
    return request is _only_request or (
        spec_obj is not None and request() is spec_obj)


def had_pools(host_state: typing.Any) -> bool:
    """Tell whether there have been pools for any request.

    :param host_state: the HostState
    """
    return hasattr(host_state, _REQUEST)


def _only_request() -> None:
    """Stand in for a reference to whichever request it is."""


def _no_request() -> None:
    """Stand in for a reference to no request."""
