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

"""What is promised to one instance, and how that is written down."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import json
import math
import typing

from pci_filter import matching
from pci_filter import model

#: Of what is written. A reader refuses any other.
VERSION: typing.Final = 1

#: The task state of an instance that has never been on a host.
BOOT: typing.Final = 'scheduling'


@dataclasses.dataclass(frozen=True, **model.SLOTS)
class Reservation:
    """Devices of one compute node that are promised to one instance.

    :param instance_uuid: to whom
    :param requests: what it is going to claim there, without the requests
        that placement has allocated: those placement arbitrates. A guest with
        NUMA nodes has its place.
    :param devices: how many devices the claim takes in all, those of
        placement included
    :param had: the ids of the node's rows that the instance had before, as it
        has when it is resized to the host it is on
    :param waits_in: the task state in which the instance waits for its claim;
        BOOT until it is on a host for the first time
    :param made_at: when it was made, in seconds since 1970 by the clock of
        the cell's database: that one all schedulers of a cell have in common
    :param made_by: the worker that made it, for people
    """

    instance_uuid: str
    requests: tuple[matching.DeviceRequest, ...]
    devices: int
    had: frozenset[int]
    waits_in: str | None
    made_at: float
    made_by: str

    def age(self, now: float) -> float:
        """Return its age in seconds.

        One from the future is as old as it is ahead: that clock was set back,
        or is another's, and the devices must not be kept for ever.
        """
        return abs(now - self.made_at)

    @property
    def wanted(self) -> str:
        """What is reserved, for people."""
        return ', '.join(
            f'{request.count} x {request.label}' for request in self.requests)


def dumps(reservations: Iterable[Reservation]) -> str:
    """Return reservations as they are written, in JSON."""
    return json.dumps({
        'version': VERSION,
        'reservations': [
            {'instance': one.instance_uuid,
             'requests': [_request_to_dict(request)
                          for request in one.requests],
             'devices': one.devices, 'had': sorted(one.had),
             'waits_in': one.waits_in, 'made_at': one.made_at,
             'made_by': one.made_by}
            for one in reservations]})


def loads(text: str | bytes) -> Sequence[Reservation]:
    """Return the reservations that were written.

    :raises ValueError: if these are not reservations, or of another version
    """
    try:
        written = json.loads(text)
        if written['version'] != VERSION:
            raise ValueError(
                f'version {written["version"]!r} instead of {VERSION}')
        return [_reservation(one) for one in written['reservations']]
    except ValueError:
        raise
    except (LookupError, TypeError, AttributeError, ArithmeticError,
            RecursionError) as error:
        raise ValueError(
            f'not a record of reservations ({type(error).__name__})'
        ) from None


def _reservation(one: typing.Any) -> Reservation:
    waits_in = one['waits_in']
    made_at = float(one['made_at'])
    if not math.isfinite(made_at):
        raise ValueError('not a record of reservations (it never ends)')
    return Reservation(
        str(one['instance']),
        tuple(_request_from_dict(request) for request in one['requests']),
        _count(one['devices']), frozenset(map(int, one['had'])),
        None if waits_in is None else str(waits_in),
        made_at, str(one['made_by']))


def _count(written: typing.Any) -> int:
    count = int(written)
    if count < 0:
        raise ValueError(
            f'not a record of reservations (of {count} devices)')
    return count


def _request_to_dict(request: matching.DeviceRequest) -> dict[str, object]:
    return {
        'label': request.label, 'count': request.count,
        'specs': list(map(dict, request.asked)),
        'numa_policy': request.numa_policy,
        'numa_cells': sorted(request.numa_cells),
        'socket_cells': sorted(request.socket_cells)}


def _request_from_dict(written: typing.Any) -> matching.DeviceRequest:
    return matching.DeviceRequest.compile(
        str(written['label']), _count(written['count']),
        [dict(spec) for spec in written['specs']],
        str(written['numa_policy']),
        frozenset(map(int, written['numa_cells'])),
        frozenset(map(int, written['socket_cells'])))
