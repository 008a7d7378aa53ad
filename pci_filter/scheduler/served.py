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

"""Tell for which request a HostState was given its pools.

Nova makes HostStates anew for each request. Another package may keep them,
and what it keeps must not be decided by the devices of an earlier request.
"""

from collections.abc import Callable
from collections.abc import Iterable
import typing
import weakref

#: Attribute of a HostState: gives the RequestSpec, while that exists.
_REQUEST: typing.Final = 'pci_filter_request'


def mark(host_states: Iterable[typing.Any], spec_obj: typing.Any) -> None:
    """Note that pools were loaded for a request, or were tried to be.

    :param host_states: the HostStates that have them
    :param spec_obj: nova.objects.RequestSpec; if it is None, or nothing that
        can be known again, they count as those of no request
    """
    request: Callable[[], typing.Any]
    try:
        # No number: that of a request that is gone may be given to another.
        request = weakref.ref(spec_obj)
    except TypeError:
        request = _no_request
    for host_state in host_states:
        setattr(host_state, _REQUEST, request)


def is_marked(host_state: typing.Any, spec_obj: typing.Any) -> bool:
    """Tell whether the pools are those of this request.

    For each instance of a request Nova gives the same RequestSpec, and
    HostStates of which those before have taken devices.

    :param host_state: the HostState
    :param spec_obj: nova.objects.RequestSpec
    """
    return spec_obj is not None and getattr(
        host_state, _REQUEST, _no_request)() is spec_obj


def was_marked(host_state: typing.Any) -> bool:
    """Tell whether there have been pools for any request.

    :param host_state: the HostState
    """
    return hasattr(host_state, _REQUEST)


def _no_request() -> None:
    """Stand in for a reference to a request."""
