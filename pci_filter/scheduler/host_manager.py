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

import contextvars
import functools
import threading
import time
import typing

from nova.objects import pci_device_pool
from nova.scheduler import host_manager

from pci_filter import known_nova
from pci_filter.scheduler import host_states

_INSTEAD: typing.Final = (
    'Remove PciPassthroughFilter of pci_filter from '
    '[filter_scheduler]available_filters')
_GUESS: typing.Final = ', as it does when another package has wrapped it'

#: What is replaced: owner, name, and the parameters that are known.
_REPLACED: typing.Final = (
    (host_manager.HostManager, 'get_host_states_by_uuids',
     ['self', 'context', 'compute_uuids', 'spec_obj']),
    (host_manager.HostManager, 'host_state_cls',
     ['self', 'host', 'node', 'cell', 'kwargs']),
    (pci_device_pool, 'from_pci_stats', ['pci_stats']),
)

_attach_lock = threading.Lock()
_at_it = contextvars.ContextVar('pci_filter_at_it', default=False)


def attach() -> None:
    """Let HostManagers put our pools on HostStates, once per process.

    Called when Nova instantiates a filter that wants pools. HostManagers
    without such a filter do as ever, but that summaries are parsed only when
    somebody looks at them is so for the whole process.

    :raises pci_filter.exception.UnsupportedNova: if Nova lacks something that
        is to be replaced, or it has other parameters than those known
    """
    with _attach_lock:
        originals = find_replaced()
        for (owner, name, _), original, replacement in zip(
                _REPLACED, originals,
                (_get_host_states_by_uuids, _host_state_cls,
                 _from_pci_stats)):
            if not hasattr(original, 'pci_filter_original'):
                setattr(owner, name, _wrapped(original, replacement))


def find_replaced() -> list[typing.Any]:
    """Return what :func:`attach` replaces, and change nothing.

    :raises pci_filter.exception.UnsupportedNova: as :func:`attach` does
    """
    return [known_nova.find(*replaced, _INSTEAD, _GUESS)
            for replaced in _REPLACED]


def detach() -> None:
    """Undo :func:`attach` unless somebody wrapped a wrapper; for tests."""
    with _attach_lock:
        for owner, name, _ in _REPLACED:
            found = vars(owner)[name]
            original = getattr(found, 'pci_filter_original', None)
            # functools.wraps hands our attribute on to a wrapper of ours.
            if original is not None and found.__wrapped__ is original:
                setattr(owner, name, original)


def _wrapped(original: typing.Any, replacement: typing.Any) -> typing.Any:
    @functools.wraps(original)
    def wrapper(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        return replacement(original, *args, **kwargs)

    wrapper.pci_filter_original = original  # type: ignore[attr-defined]
    return wrapper


def _mapper(manager: typing.Any) -> typing.Any:
    """Return what maps pools for a HostManager, None if it wants none."""
    for enabled in manager.enabled_filters:
        mapper = getattr(enabled, 'pool_mapper', None)
        if mapper is not None:
            return mapper
    return None


def _get_host_states_by_uuids(
    original: typing.Any, manager: typing.Any, context: typing.Any,
    compute_uuids: typing.Any, spec_obj: typing.Any,
) -> typing.Any:
    mapper = _mapper(manager)
    # If somebody wrapped our wrapper, and that was wrapped by us again, the
    # outer one is at it already.
    if mapper is None or _at_it.get() or not mapper.is_needed(spec_obj):
        return original(manager, context, compute_uuids, spec_obj)
    began = time.monotonic()
    reader = mapper.start_reading(context, manager, compute_uuids, spec_obj)
    token = _at_it.set(True)
    try:
        found = original(manager, context, compute_uuids, spec_obj)
    finally:
        _at_it.reset(token)
    return mapper.map_pools(
        context, manager, found, spec_obj, reader, began)


def _host_state_cls(
    original: typing.Any, manager: typing.Any, host: str, node: str,
    cell: str, **kwargs: typing.Any,
) -> typing.Any:
    host_state = original(manager, host, node, cell, **kwargs)
    # Another package may have a class of its own there.
    if type(host_state) is host_manager.HostState and _mapper(manager):
        return host_states.HostState(host, node, cell)
    return host_state


def _from_pci_stats(original: typing.Any, pci_stats: typing.Any) -> typing.Any:
    return host_states.UnreadSummary(original, pci_stats) if isinstance(
        pci_stats, str) else original(pci_stats)
