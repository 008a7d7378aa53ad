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

"""The hook that puts pools on HostStates as Nova makes them."""

import functools
import inspect
import threading
import typing

from nova.scheduler import host_manager

from pci_filter import exception

#: Releases that the tests run against.
SUPPORTED: typing.Final = 'Nova 2026.2 (34)'

_METHOD: typing.Final = 'get_host_states_by_uuids'
_PARAMETERS: typing.Final = ['self', 'context', 'compute_uuids', 'spec_obj']

_attach_lock = threading.Lock()


def attach() -> None:
    """Wrap ``HostManager.get_host_states_by_uuids``, once per process.

    Called when Nova instantiates a filter that wants pools. The wrapper acts
    for HostManagers that have such a filter enabled and leaves all others
    alone.

    :raises pci_filter.exception.UnsupportedNova: if there is no such method
        with the parameters that are known
    """
    with _attach_lock:
        original = _find_method()
        if hasattr(original, 'pci_filter_original'):
            return
        setattr(host_manager.HostManager, _METHOD, _wrapped(original))


def detach() -> None:
    """Undo :func:`attach` unless somebody wrapped the wrapper; for tests."""
    with _attach_lock:
        method = vars(host_manager.HostManager)[_METHOD]
        original = getattr(method, 'pci_filter_original', None)
        # functools.wraps hands our attribute on to a wrapper of ours.
        if original is not None and method.__wrapped__ is original:
            setattr(host_manager.HostManager, _METHOD, original)


def _find_method() -> typing.Any:
    method = getattr(host_manager.HostManager, _METHOD, None)
    if method is None:
        raise exception.UnsupportedNova(
            f'its HostManager has no {_METHOD}()', SUPPORTED)
    parameters = list(inspect.signature(method).parameters)
    if parameters != _PARAMETERS:
        raise exception.UnsupportedNova(
            f'HostManager.{_METHOD}() takes {", ".join(parameters)} instead '
            f'of {", ".join(_PARAMETERS)}, as it does when another package '
            'has wrapped it', SUPPORTED)
    return method


def _wrapped(original: typing.Any) -> typing.Any:
    @functools.wraps(original)
    def get_host_states_by_uuids(
        self: typing.Any, context: typing.Any, compute_uuids: typing.Any,
        spec_obj: typing.Any,
    ) -> typing.Any:
        host_states = original(self, context, compute_uuids, spec_obj)
        for enabled in self.enabled_filters:
            mapper = getattr(enabled, 'pool_mapper', None)
            if mapper is not None:
                return mapper.map_pools(context, self, host_states, spec_obj)
        return host_states

    get_host_states_by_uuids.pci_filter_original = (  # type: ignore
        original)
    return get_host_states_by_uuids
