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

from __future__ import annotations

import contextvars
import functools
import threading
import typing

from nova.objects import pci_device_pool
from nova.scheduler.client import report
from nova.scheduler import host_manager
from nova.scheduler import manager as scheduler_manager
from nova.scheduler import utils as scheduler_utils
from oslo_log import log as logging

from pci_filter.scheduler import candidates
from pci_filter.scheduler import changes
from pci_filter.scheduler import host_pools
from pci_filter.scheduler import host_states
from pci_filter.scheduler import narrowed as narrowed_module
from pci_filter.scheduler import request_specs
from pci_filter.scheduler import reserving
from pci_filter.scheduler import stages
from pci_filter.scheduler import widening
from pci_filter.scheduler import wrapping

LOG = logging.getLogger(__name__)

#: What it costs to do without what only saves time.
SLOWER: typing.Final = (
    'Verdicts are the same, but nova-scheduler parses more of what hosts have '
    'reported (compute_nodes.pci_stats or numa_topology) at every request '
    'than it needs.')

#: What it costs to do without what reservations need.
NOT_RESERVED: typing.Final = (
    'Verdicts are the same, but no devices are reserved: servers that are '
    'asked for at the same time may be sent to the same device.')

#: What it costs to do without what asks placement for more hosts.
NOT_WIDENED: typing.Final = (
    'Hosts that placement leaves out because of '
    '[scheduler]max_placement_results are not found.')

_attach_lock = threading.Lock()
_at_it = contextvars.ContextVar('pci_filter_at_it', default=False)
_changes = changes.Changes()

#: What calls Nova's own, with what the wrapper was called with.
_Call = functools.partial[typing.Any]


def attach() -> None:
    """Let HostManagers put our pools on HostStates, once per process.

    Called when Nova instantiates a filter that wants pools. HostManagers
    without such a filter do as ever, but that summaries are parsed only when
    somebody looks at them is so for the whole process.

    :raises pci_filter.exception.UnsupportedNova: if Nova lacks the method
        that makes the HostStates of a request, or it cannot be called as is
        known. Of the rest a warning tells.
    """
    with _attach_lock:
        found = find_replaced()
        wrapping.wrap(found)
        missing = '; '.join(found.missing)
        if _changes.changed('missing', missing or None) and missing:
            LOG.warning(
                'This Nova is not one that pci_filter knows: %(missing)s. '
                '%(costs)s',
                {'missing': missing, 'costs': ' '.join(found.costs)})


def find_replaced() -> wrapping.Found:
    """Return what :func:`attach` replaces, and change nothing.

    :raises pci_filter.exception.UnsupportedNova: as :func:`attach` does
    """
    return wrapping.find(REPLACED)


def detach() -> None:
    """Undo :func:`attach` unless somebody wrapped a wrapper; for tests."""
    with _attach_lock:
        wrapping.unwrap(REPLACED)
        _changes.changed('missing', None)


def _mapper(manager: typing.Any) -> typing.Any:
    """Return what maps pools for a HostManager, None if it wants none."""
    return _of_filters(manager, 'pool_mapper')


def _of_filters(manager: typing.Any, attribute: str) -> typing.Any:
    """Return what a filter of a HostManager has, None if none has it."""
    try:
        for enabled in manager.enabled_filters:
            found = getattr(enabled, attribute, None)
            if found is not None:
                return found
    except Exception:
        # Nova is going to need its filters as well, and to say so.
        LOG.debug('The filters cannot be looked at', exc_info=True)
    return None


def _get_host_states_by_uuids(
    call: _Call, manager: typing.Any, context: typing.Any,
    compute_uuids: typing.Any = None, spec_obj: typing.Any = None,
    *args: typing.Any, **kwargs: typing.Any,
) -> typing.Any:
    mapper = _mapper(manager)
    # If somebody wrapped our wrapper, and that was wrapped by us again, the
    # outer one is at it already.
    if mapper is None or _at_it.get() or not mapper.is_needed(spec_obj):
        return call()
    times = stages.begin(spec_obj)
    candidates.note_others(functools.partial(
        mapper.prefilter.count_others, context, manager, compute_uuids,
        spec_obj) if compute_uuids else None)
    with times.stage('narrowing') as info:
        widened = widening.current()
        narrowed = mapper.prefilter.narrow(
            context, manager, compute_uuids, spec_obj,
            widened.fitting(spec_obj) if widened else None)
        wanted = narrowed.survivors if narrowed else compute_uuids
        info.update(
            cells=lambda: len(request_specs.cells_to_ask(manager, spec_obj)),
            asked=stages.number(compute_uuids), left=stages.number(wanted))
    with times.stage('loading') as info:
        reader = mapper.start_reading(
            context, manager, wanted, spec_obj, narrowed)
        found = _load(functools.partial(
            call.func, manager, context, wanted, spec_obj, *args, **kwargs)
            if narrowed else call, narrowed)
        info['loaded'] = len(found)
        # The databases may still be counting.
        host_states.read_topologies(found, spec_obj)
    with times.stage('waiting') as info:
        found = list(mapper.map_pools(
            context, manager, found, spec_obj, reader, times.began))
        info['fallback'] = functools.partial(stages.fallback, found)
        if reader:
            info.update(host_pools.what_was_read(reader))
    request = reserving.current()
    if request is not None:
        request.note_hosts(found, functools.partial(
            request_specs.cells_by_uuid, manager, spec_obj))
    return candidates.counted(found)


def _load(
    call: _Call, narrowed: narrowed_module.Narrowed | None,
) -> list[typing.Any]:
    """Let Nova load the compute nodes, unless none is left."""
    if narrowed and not narrowed.survivors:
        # Nova would ask all cells for the services of no hosts.
        narrowed_module.tell()
        return []
    token = _at_it.set(True)
    try:
        return list(call())
    finally:
        _at_it.reset(token)


def _host_state_cls(
    call: _Call, manager: typing.Any, *_args: typing.Any,
    **_kwargs: typing.Any,
) -> typing.Any:
    host_state = call()
    # Another package may have a class of its own there.
    if type(host_state) is host_manager.HostState and _mapper(manager):
        # Not one made anew: only Nova knows what it is made of.
        host_state.__class__ = host_states.HostState
    return host_state


def _from_pci_stats(
    call: _Call, pci_stats: typing.Any, *_args: typing.Any,
    **_kwargs: typing.Any,
) -> typing.Any:
    return host_states.UnreadSummary(call, pci_stats) if isinstance(
        pci_stats, str) else call()


def _select_destinations(
    call: _Call, manager: typing.Any, *_args: typing.Any,
    **kwargs: typing.Any,
) -> typing.Any:
    hosts = getattr(manager, 'host_manager', None)
    reserver, mapper = _of_filters(hosts, 'reserver'), _mapper(hosts)
    if mapper is None or reserving.current() is not None:
        return call()
    # What is told at the end needs to know what placement named.
    with widening.serving(
            mapper.widener, hosts, kwargs.get('spec_obj')
    ), narrowed_module.telling(), stages.telling():
        if reserver is None or not reserver.store.keeps:
            return call()
        return reserving.serve(call, reserver, mapper.failures)


def _claim_resources(
    call: _Call, ctx: typing.Any, client: typing.Any, spec_obj: typing.Any,
    instance_uuid: str, alloc_req: typing.Any, *_args: typing.Any,
    **_kwargs: typing.Any,
) -> typing.Any:
    # Named as Nova's are, since anybody may give them by keyword.
    request = reserving.current()
    if request is None:
        return call()
    return request.claim(call, ctx, spec_obj, instance_uuid, alloc_req)


def _get_allocation_candidates(
    call: _Call, client: typing.Any, context: typing.Any,
    resources: typing.Any, *args: typing.Any, **kwargs: typing.Any,
) -> typing.Any:
    request = widening.current()
    if request is None:
        return call()
    return request.widen(call(), context, resources, lambda asked: call.func(
        client, context, asked, *args, **kwargs))


#: The first is what all rests on.
REPLACED: typing.Final = (
    wrapping.Replaced(
        host_manager.HostManager, 'get_host_states_by_uuids',
        ('self', 'context', 'compute_uuids', 'spec_obj'), (),
        _get_host_states_by_uuids),
    wrapping.Replaced(
        host_manager.HostManager, 'host_state_cls',
        ('self', 'host', 'node', 'cell'), ('compute',), _host_state_cls,
        SLOWER),
    wrapping.Replaced(
        pci_device_pool, 'from_pci_stats', ('pci_stats',), (),
        _from_pci_stats, SLOWER),
    wrapping.Replaced(
        scheduler_manager.SchedulerManager, 'select_destinations',
        ('self', 'context'), ('spec_obj', 'instance_uuids'),
        _select_destinations, NOT_RESERVED),
    wrapping.Replaced(
        scheduler_utils, 'claim_resources',
        ('ctx', 'client', 'spec_obj', 'instance_uuid', 'alloc_req'),
        ('allocation_request_version',), _claim_resources, NOT_RESERVED),
    wrapping.Replaced(
        report.SchedulerReportClient, 'get_allocation_candidates',
        ('self', 'context', 'resources'), (), _get_allocation_candidates,
        NOT_WIDENED),
)
