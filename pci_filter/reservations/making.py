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

"""Make a reservation, or find that there is nothing left to promise.

One reservation is one round, or several if others are at the same node:

1. read what is reserved on the node,
2. read the database,
3. take the reservations that count out of the available devices, and decide
   whether the request fits into what is left; if it does not, ask Nova's API
   database whether some of those who wait are not going to come,
4. write down what was read with this reservation added, unless the record was
   replaced since it was read; if it was, begin again.

The reservations are read first. Were they read after the devices, a claim that
arrives in between could be seen by nobody: its device was still free, and its
reservation may have expired and been dropped by then. If a claim arrives
between the reads of one look, the host looks too full, never too empty; so
what is refused then is looked at again.

A store that forgets everything between the first step and the fourth cannot be
told from one in which there was nothing to begin with. What is promised then
may be promised twice, as may all that was forgotten.

Invariants. A reservation is only made from a sight of the database that is
later than everything in the record that it replaces. A worker that fails to
replace a record has changed nothing, and it fails only because another worker
has succeeded, so that all together always get on.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import time
import typing

from pci_filter.reservations import deciding
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import sight as sight_module
from pci_filter.reservations import store as store_module

#: Rounds until a reservation is given up. Each that fails stands for one that
#: another worker has made on the same node meanwhile.
_ROUNDS: typing.Final = 64
_REPLACED: typing.Final = f'others have replaced the record {_ROUNDS} times'

#: Looks at a node that are repeated because claims arrived meanwhile. One
#: whose nova-compute died in the middle of a claim is not looked at for ever.
_LOOKS: typing.Final = 16

#: What a record outlives its reservations by, in seconds. Only a store forgets
#: it then; the clock that decides is that of the database.
_SPARE: typing.Final = 60

#: What is said of a store that has used up its time.
LATE: typing.Final = (
    'the store needs longer than [pci_filter]reservation_store_timeout')


class Asker(typing.NamedTuple):
    """The instance that devices are reserved for.

    :param instance_uuid: it
    :param devices: as in Reservation
    :param worker: who asks
    """

    instance_uuid: str
    devices: int
    worker: str


class Waiting(typing.NamedTuple):
    """A reservation that counts.

    :param reservation: it
    :param seconds: how long it lasts at most, from now
    """

    reservation: reservation_module.Reservation
    seconds: float


class Made(typing.NamedTuple):
    """A reservation was made.

    :param reservation: it
    :param ended: reservations of others that ended, and why
    """

    reservation: reservation_module.Reservation
    ended: Sequence[
        tuple[reservation_module.Reservation, sight_module.End]] = ()


class Refused(typing.NamedTuple):
    """The request does not fit.

    :param waiting: the reservations that count on the node; without any it
        is the devices themselves that do not suffice
    """

    waiting: Sequence[Waiting]


@dataclasses.dataclass
class Patience:
    """What is left of the time that a store may take, in seconds.

    A store is asked several times for one reservation, and all of that
    together must not take longer than the operator allows.

    In a burst each thread of a worker waits for Python's lock when it comes
    back from anywhere, for 5 ms after each of the others. If that counted, a
    store that answers in less than a millisecond would be given up just when
    it is needed, and the devices be promised twice. So what a store in a file
    has answered does not count, and only one that has failed has no time left
    for others.

    :param left: the seconds
    :param clock: tells the time
    :param counts: whether answers take of the time, too
    :param failed: whether the time was up when the store failed
    """

    left: float
    clock: Callable[[], float] = time.monotonic
    counts: bool = True
    failed: bool = False

    def spend(
        self, ask: Callable[..., typing.Any], *args: typing.Any,
    ) -> typing.Any:
        """Call a store with these arguments and the time that is left.

        :raises StoreError: if none is left
        """
        if self.left <= 0:
            raise store_module.StoreError(LATE)
        began = self.clock()
        try:
            answer = ask(*args, self.left)
        except BaseException:
            self.left -= self.clock() - began
            self.failed = self.left <= 0
            raise
        if self.counts:
            self.left -= self.clock() - began
        return answer


def reserve(
    store: store_module.Store, node: deciding.Node, asker: Asker,
    timeout: float, patience: Patience,
) -> Made | Refused:
    """Reserve the devices of a node for an instance, if they suffice.

    :param store: where reservations are kept
    :param node: the compute node
    :param asker: the instance
    :param timeout: seconds that a reservation lasts at most
    :param patience: how long to wait for the store
    :raises StoreError: if the store does not work
    """
    looks = _LOOKS
    for _ in range(_ROUNDS):
        record, others = _read(store, node.uuid, asker, patience)
        seen = node.look([asker.instance_uuid, *(
            other.instance_uuid for other in others)])
        found = deciding.decide(node, others, seen, timeout)
        if found.requests is None and looks and found.may_change:
            # What looks taken twice is taken once.
            looks -= 1
            continue
        if found.requests is None:
            found = deciding.decide_without_called_off(
                node, others, found, timeout)
        if found.requests is None:
            return _refused(node, found, timeout)
        made = reservation_module.Reservation(
            asker.instance_uuid, found.requests, asker.devices,
            seen.owned.get(asker.instance_uuid, frozenset()),
            sight_module.waits_in(seen.instances.get(asker.instance_uuid)),
            seen.now, asker.worker)
        kept = [other for other, ended in found.ends
                if ended is None or not ended.is_final]
        if patience.spend(
                store.write, node.uuid, record.token,
                reservation_module.dumps([*kept, made]), timeout + _SPARE):
            return Made(made, [(other, ended) for other, ended in found.ends
                               if ended is not None])
    raise store_module.StoreError(_REPLACED)


def _refused(
    node: deciding.Node, found: deciding.Decision, timeout: float,
) -> Refused:
    """Tell who is waited for."""
    if found.waiting and node.decide(()) is None:
        # It would not fit without them either.
        return Refused([])
    return Refused([
        Waiting(other, timeout - other.age(found.seen.now))
        for other in found.waiting])


def release(
    store: store_module.Store, node_uuid: str,
    made: reservation_module.Reservation, timeout: float, patience: Patience,
) -> None:
    """Give back what an instance is not going to claim.

    :param store: where reservations are kept
    :param node_uuid: the compute node
    :param made: the reservation
    :param timeout: seconds that a reservation lasts at most
    :param patience: how long to wait for the store
    :raises StoreError: if the store does not work
    """
    for _ in range(_ROUNDS):
        record: store_module.Record = patience.spend(store.read, node_uuid)
        known = _known(record)
        kept = [other for other in known if other != made]
        if len(kept) == len(known) or patience.spend(
                store.write, node_uuid, record.token,
                reservation_module.dumps(kept), timeout + _SPARE):
            return
    raise store_module.StoreError(_REPLACED)


def _read(
    store: store_module.Store, node_uuid: str, asker: Asker,
    patience: Patience,
) -> tuple[store_module.Record, list[reservation_module.Reservation]]:
    """Return the record of a node, and what of it is of other instances.

    An instance that asks again is not going to claim what it had reserved.
    """
    record: store_module.Record = patience.spend(store.read, node_uuid)
    return record, [other for other in _known(record)
                    if other.instance_uuid != asker.instance_uuid]


def _known(
    record: store_module.Record,
) -> Sequence[reservation_module.Reservation]:
    if record.text is None:
        return ()
    try:
        return reservation_module.loads(record.text)
    except ValueError as error:
        raise store_module.UnreadableRecord(
            f'what it has of a compute node is unreadable: {error}') from None
