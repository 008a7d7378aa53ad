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

"""Reserve devices between Nova's choice of a host and its claim in placement.

The scheduler claims the resources of one weighed host after the other, until
placement grants them. There the devices of the host are reserved first; if
others have been promised them meanwhile it looks to Nova as if placement had
refused, and it goes on to the next host.

Nova gives this no more than a request's spec and what placement is to
allocate, so what else is needed is noted while select_destinations() runs.
The conductor, which claims the resources of alternates by the same function,
is never in there.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextvars
import itertools
import typing

from oslo_log import log as logging

from pci_filter import reservations
from pci_filter.scheduler import failures as failures_module
from pci_filter.scheduler import request_specs
from pci_filter.scheduler import reserver as reserver_module

LOG = logging.getLogger(__name__)

#: How many hosts, and how many servers of a host, a line tells of.
_SHOWN: typing.Final = 5

HostState = typing.Any

_running: contextvars.ContextVar[Request | None] = contextvars.ContextVar(
    'pci_filter_request', default=None)


def current() -> Request | None:
    """Return the request that is being served here, if any."""
    return _running.get()


def serve(
    call: Callable[[], typing.Any], reserver: reserver_module.Reserver,
    failures: failures_module.Failures,
) -> typing.Any:
    """Let Nova select destinations, and reserve devices of what it chooses.

    :param call: what selects them
    :param reserver: reserves devices
    :param failures: what to do when something goes wrong
    """
    request = Request(reserver, failures)
    token = _running.set(request)
    try:
        return call()
    except Exception:
        request.failed()
        raise
    finally:
        _running.reset(token)


class _Reserved(typing.NamedTuple):
    """A reservation that this request has made."""

    host_state: HostState
    reservation: reservations.Reservation


class Request:
    """One run of select_destinations(), in one thread.

    The parameters are those of :func:`serve`.
    """

    def __init__(
        self, reserver: reserver_module.Reserver,
        failures: failures_module.Failures,
    ) -> None:
        self._reserver = reserver
        self._failures = failures
        self._hosts: dict[str, tuple[HostState, typing.Any]] = {}
        self._made: list[_Reserved] = []
        self._refused: dict[
            str, tuple[HostState, reservations.Refused]] = {}
        # No later instance of the request waits for what has kept an earlier
        # one waiting.
        self._gave_up = False
        # Nor does it for each reservation that cannot be given back.
        self._gives_back = True

    def note_hosts(
        self, host_states: Iterable[HostState],
        cells: Callable[[], Mapping[str, typing.Any]],
    ) -> None:
        """Note what the request may choose from.

        :param host_states: the HostStates, with their pools
        :param cells: returns the CellMappings by UUID
        """
        try:
            by_uuid = cells()
            for host_state in host_states:
                self._hosts[host_state.uuid] = (
                    host_state, by_uuid.get(host_state.cell_uuid))
        except Exception as error:
            self._failures.reservation_failed(error)

    def claim(
        self, call: Callable[[], typing.Any], context: typing.Any,
        spec_obj: typing.Any, instance_uuid: str, alloc_req: typing.Any,
    ) -> typing.Any:
        """Reserve the devices, and let Nova claim in placement.

        :param call: claims in placement, and tells whether it could
        :param context: the request context
        :param spec_obj: nova.objects.RequestSpec
        :param instance_uuid: of the instance
        :param alloc_req: what placement is to allocate
        :returns: false if there is another host to be tried
        """
        made = self._reserve(context, spec_obj, instance_uuid, alloc_req)
        if isinstance(made, reservations.Refused):
            return False
        try:
            claimed = call()
        except Exception:
            if made:
                self._release(made, 'placement failed')
            raise
        if made and not claimed:
            self._release(made, 'placement refused')
        elif made:
            self._made.append(made)
        return claimed

    def failed(self) -> None:
        """Give back everything: no instance of the request goes anywhere."""
        for made in self._made:
            self._release(made, 'the request failed')
        self._report(self._log_refused)

    def _report(
        self, log: Callable[..., None], *args: typing.Any,
    ) -> None:
        """Log something; the reservation that it tells of stands anyway."""
        try:
            log(*args)
        except Exception as error:
            self._failures.report_failed(error)

    def _log_refused(self) -> None:
        """Tell of the hosts that have devices which others wait for."""
        if not self._refused:
            return
        told = [_told(*refused) for refused in itertools.islice(
            self._refused.values(), _SHOWN)]
        more = len(self._refused) - len(told)
        if more:
            told.append(f'and on {more} more host{"s" if more > 1 else ""}')
        LOG.info(
            'PCI devices that the request asked for are reserved for other '
            'servers, whose claims are to come: %s. What these servers do not '
            'claim until then can be asked for again; "pci-filter '
            'reservations list" tells who has what.', '; '.join(told))

    def _reserve(
        self, context: typing.Any, spec_obj: typing.Any, instance_uuid: str,
        alloc_req: typing.Any,
    ) -> _Reserved | reservations.Refused | None:
        """Return what was reserved, None to go on without."""
        try:
            host_state, cell = self._chosen(alloc_req)
            if cell is None or self._gave_up or not (
                    request_specs.asks_for_devices(spec_obj)
                    and reserver_module.has_pools(host_state)):
                return None
            node = self._reserver.node(
                context, cell, host_state, spec_obj, alloc_req['mappings'])
            if node.is_arbitrated():
                return None
            is_forced = request_specs.is_forced(spec_obj)
            made = self._reserver.reserve(node, instance_uuid)
        except Exception as error:
            self._gave_up = _keeps_waiting(error)
            self._failures.reservation_failed(error)
            return None
        self._failures.reservation_succeeded()
        if isinstance(made, reservations.Made):
            self._report(_log_made, host_state, made)
            return _Reserved(host_state, made.reservation)
        if not made.waiting and is_forced:
            # No filter was asked, and this is not one.
            return None
        self._report(_log_passed_over, host_state, made, instance_uuid)
        if made.waiting:
            self._refused[host_state.uuid] = host_state, made
        return made

    def _chosen(
        self, alloc_req: typing.Any,
    ) -> tuple[HostState, typing.Any]:
        """Return the host that Nova is about to claim, and its cell."""
        for provider_uuid in alloc_req['allocations']:
            if provider_uuid in self._hosts:
                return self._hosts[provider_uuid]
        return None, None

    def _release(self, made: _Reserved, reason: str) -> None:
        if not self._gives_back:
            return
        try:
            self._reserver.release(made.host_state.uuid, made.reservation)
        except Exception as error:
            self._gives_back = not _keeps_waiting(error)
            self._failures.reservation_failed(error)
        else:
            self._report(_log_released, made, reason)


def _log_released(made: _Reserved, reason: str) -> None:
    LOG.debug(
        'Reservation on host %(host)s for instance %(instance)s is given '
        'back: %(reason)s', {
            'host': made.host_state.host, 'reason': reason,
            'instance': made.reservation.instance_uuid})


def _log_passed_over(
    host_state: HostState, refused: reservations.Refused, instance_uuid: str,
) -> None:
    LOG.debug(
        'Passed over host %(host)s for instance %(instance)s: %(reason)s',
        {'host': host_state.host, 'instance': instance_uuid,
         'reason': _waiting(refused)})


def _keeps_waiting(error: Exception) -> bool:
    """Tell whether a failure may have taken all the time it is allowed."""
    return isinstance(error, (
        reservations.StoreError, reserver_module.CellUnreadable,
    )) and not isinstance(error, reservations.UnreadableRecord)


def _log_made(host_state: HostState, made: reservations.Made) -> None:
    LOG.debug(
        'Reserved on host %(host)s for instance %(instance)s: %(wanted)s',
        {'host': host_state.host, 'wanted': made.reservation.wanted,
         'instance': made.reservation.instance_uuid})
    for other, end in made.ended:
        LOG.debug(
            'Reservation on host %(host)s for instance %(instance)s has '
            'ended: %(reason)s', {
                'host': host_state.host, 'instance': other.instance_uuid,
                'reason': end.value})


def _told(host_state: HostState, refused: reservations.Refused) -> str:
    waiting = refused.waiting
    servers = f'{len(waiting)} servers such as' if len(waiting) > 1 else (
        '1 server,')
    return (
        f'on host {host_state.host}, for {servers} '
        f'{waiting[0].reservation.instance_uuid}, for at most '
        f'{max(one.seconds for one in waiting):.0f} s')


def _waiting(refused: reservations.Refused) -> str:
    told = [
        f'{one.reservation.wanted} for instance '
        f'{one.reservation.instance_uuid} for at most {one.seconds:.0f} s'
        for one in refused.waiting[:_SHOWN]]
    if len(refused.waiting) > _SHOWN:
        told.append(f'and {len(refused.waiting) - _SHOWN} more')
    return f'reserved there are {", ".join(told)}' if told else (
        'its devices were taken since they were counted for the filters')
