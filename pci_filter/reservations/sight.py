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

"""What a cell's database says of reservations, and when that ends them.

The database is read after the reservations, and in this order, whether a
statement sees what was committed last or what the transaction began with:

1. the instances that have reservations on the node,
2. which devices of the node are theirs,
3. the devices that are available.

nova-compute goes the other way: it sets the host of an instance, saves the
devices, and then the next task state. So whoever sees that an instance is past
its claim is going to see its devices as well, and whoever sees its devices is
not going to find them available. In any other order a claim between two reads
would make a device look free to which nobody has a reservation any more.

A claim between the second and the third read makes a device look taken twice,
by its row and by the reservation, where each statement sees what was committed
last (READ COMMITTED, as PostgreSQL has it). That is safe, and found out by
reading the second once more, and the first for a claim that has come and gone
meanwhile.

An instance that is deleted before it is sent to a host may leave no trace in
the cell. Nova's API database tells it from one that is on its way. That is
read only if somebody would be refused otherwise. An instance is asked for by a
request spec, a build request and a mapping to no cell, all made in one
transaction before it is scheduled. Then the conductor makes the row, maps the
instance to its cell, and removes the build request, in this order
(nova.conductor.manager, schedule_and_build_instances); if it does not find the
build request, nothing is built. So whoever sees the spec and no build request,
and in the same moment no mapping to a cell, knows that somebody else removed
it: nova-api, since the instance was deleted (nova.compute.api,
_attempt_delete_of_buildrequest). From then on no claim can come. Nor can it if
the instance is mapped to cell0, where those go that no host was found for.

That takes one statement, which sees one moment, so it does not matter whether
it comes before or after those of the cell, nor whether it is out of date. The
build request alone would not do. Read after the row was looked for, it may be
gone because the row has come since; and an instance that is resized to another
cell has neither the one nor the other there. Nor would it do to find nothing:
a database that lags may not have heard of the request yet.

One cannot be told from an instance that waits: one whose build was given up
after its claim, until it is on another host or in error. Its reservation
counts until then, or until its time is up.

What is seen may be out of date, as on a node of Galera that lags behind. So a
reservation of which the claim is seen does not count any longer, but is kept:
others may not see the claim yet. One that ended for good, because the instance
is gone, elsewhere, or past a claim that took nothing, need not be kept: to
those who see less the devices are the instance's still, or were never. Nor may
it be: the instance may come into the same state again, on its way to another
host.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import enum
import typing

from pci_filter import matching
from pci_filter.reservations import reservation as reservation_module

#: The state of an instance that has never been on a host.
_BUILDING: typing.Final = 'building'

#: The task states before the claim, by the one in which it was scheduled. To
#: be unshelved is the only move with two (nova.compute.manager,
#: _unshelve_instance).
_BEFORE_CLAIM: typing.Final[Mapping[str, frozenset[str | None]]] = {
    reservation_module.BOOT: frozenset((None, 'scheduling')),
    'unshelving': frozenset(('unshelving', 'spawning')),
}

#: Whoever builds or moves an instance that is being deleted may still be about
#: to claim devices for it, until its row is deleted.
_DELETING: typing.Final = 'deleting'


class Instance(typing.NamedTuple):
    """What is read of a row of ``instances``.

    :param node: the compute node that it is on, None if it is on none
    :param vm_state: its state
    :param task_state: what is being done with it
    :param deleted: whether it is
    :param hidden: whether it is the copy of one in another cell, which is
        about to be moved here
    """

    node: str | None
    vm_state: str | None
    task_state: str | None
    deleted: bool
    hidden: bool = False


class Asked(typing.NamedTuple):
    """What Nova's API database has of an instance that was asked for.

    :param waits: whether its build request is there
    :param mapped: whether it is mapped to a cell that has hosts, not to cell0
    """

    waits: bool
    mapped: bool


@dataclasses.dataclass(frozen=True)
class Sight:
    """What was read of the database.

    :param now: its clock, in seconds since 1970
    :param node: what Instance.node is of instances on the node
    :param instances: by UUID; of which there is no row, there is none here
    :param owned: the ids of the node's rows that each instance has
    :param moved: whether claims arrived while it was read
    :param asked: by UUID, of those that may be called off; those of which
        nothing is known are not among them
    """

    now: float
    node: str
    instances: Mapping[str, Instance]
    owned: Mapping[str, frozenset[int]]
    moved: bool = False
    asked: Mapping[str, Asked] = dataclasses.field(default_factory=dict)


class End(enum.Enum):
    """Why a reservation does not count any longer."""

    CLAIMED = 'its devices are claimed'
    EXPIRED = 'its time is up'
    DELETED = 'the instance is deleted'
    CALLED_OFF = 'its build was called off'
    ELSEWHERE = 'the instance is on another host'
    OVER = 'the instance is past its claim'

    @property
    def is_final(self) -> bool:
        """Whether it has ended for those, too, who see less; see above."""
        return self is not End.CLAIMED


def waits_in(instance: Instance | None) -> str | None:
    """Return the task state in which an instance waits for its claim.

    :param instance: its row when the reservation is made; one that boots has
        none before it is scheduled
    """
    if instance is None or instance.vm_state in (None, _BUILDING):
        return reservation_module.BOOT
    return instance.task_state


def end(
    reservation: reservation_module.Reservation, seen: Sight, timeout: float,
) -> End | None:
    """Return why a reservation has ended, None if it counts.

    :param reservation: one of the node
    :param seen: the node
    :param timeout: seconds that a reservation lasts at most
    """
    if reservation.age(seen.now) >= timeout:
        return End.EXPIRED
    if not _to_come(reservation, seen):
        return End.CLAIMED
    instance = seen.instances.get(reservation.instance_uuid)
    boots = reservation.waits_in == reservation_module.BOOT
    gone = instance.deleted if instance else not boots
    if gone:
        return End.DELETED
    if boots and _is_called_off(seen.asked.get(reservation.instance_uuid)):
        return End.CALLED_OFF
    if instance is None:
        # The conductor makes the row of one that boots after it is scheduled.
        return None
    if boots:
        if instance.hidden:
            return None
        if instance.node not in (None, seen.node):
            return End.ELSEWHERE
    before = _BEFORE_CLAIM.get(
        reservation.waits_in or '', frozenset((reservation.waits_in,)))
    if instance.task_state in (*before, _DELETING) and not (
            boots and instance.vm_state not in (None, _BUILDING)):
        return None
    # A live migration claims fewer than it asked for.
    return End.CLAIMED if is_arriving(reservation, seen) else End.OVER


def _is_called_off(asked: Asked | None) -> bool:
    """Tell whether an instance is never going to be built."""
    return asked is not None and not (
        asked.waits or asked.mapped)


def may_be_called_off(
    reservation: reservation_module.Reservation, seen: Sight,
) -> bool:
    """Tell whether the API database may end a reservation.

    It may if there is no row, or one of which nova-compute has not heard: it
    stays like that if the conductor dies before it has mapped the instance.

    :param reservation: one that counts
    :param seen: its node
    """
    instance = seen.instances.get(reservation.instance_uuid)
    return reservation.waits_in == reservation_module.BOOT and (
        instance is None
        or instance.task_state == reservation_module.BOOT
        and instance.node is None)


def to_come(
    reservation: reservation_module.Reservation, seen: Sight,
) -> tuple[matching.DeviceRequest, ...]:
    """Return the requests of which the devices are not claimed yet.

    nova-compute saves one device after the other. Of several requests nobody
    can tell which those serve that are saved already, so that all of them
    count until all are.

    :param reservation: one that counts
    :param seen: its node
    """
    left = _to_come(reservation, seen)
    if len(reservation.requests) != 1 or left >= reservation.requests[0].count:
        return reservation.requests
    return (dataclasses.replace(reservation.requests[0], count=left),)


def is_arriving(
    reservation: reservation_module.Reservation, seen: Sight,
) -> bool:
    """Tell whether some of its devices are claimed, and some to come.

    :param reservation: one that counts
    :param seen: its node
    """
    return _to_come(reservation, seen) != reservation.devices


def _to_come(
    reservation: reservation_module.Reservation, seen: Sight,
) -> int:
    owned = seen.owned.get(reservation.instance_uuid, frozenset())
    return max(0, reservation.devices - len(owned - reservation.had))
