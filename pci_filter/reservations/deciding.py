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

"""Decide whether a request fits beside what others have reserved."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing

from pci_filter import matching
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import sight as sight_module

#: Instances that the API database is asked for at once, of more than any host
#: has devices for.
_ASKED_FOR: typing.Final = 1000

#: Requests of an instance, as :attr:`Reservation.requests`.
Requests = tuple[matching.DeviceRequest, ...]


class Node(typing.Protocol):
    """A compute node of which devices are to be reserved.

    What it is asked for may fail; the exceptions are handed on.
    """

    @property
    def uuid(self) -> str:
        """Its UUID."""

    def look(self, instance_uuids: Sequence[str]) -> sight_module.Sight:
        """Read the database, in the order that sight.py gives.

        :param instance_uuids: whose rows to read
        """

    def asked(
        self, instance_uuids: Sequence[str],
    ) -> Mapping[str, sight_module.Asked]:
        """Read what the API database has of instances that boot.

        :param instance_uuids: the instances
        :returns: what is known, as in Sight; nothing if it cannot be read
        """

    def decide(self, waiting: Sequence[Requests]) -> Requests | None:
        """Tell what the instance is going to claim, None if it does not fit.

        :param waiting: what others are going to claim, of the devices that
            were available when the node was last looked at
        """


class Decision(typing.NamedTuple):
    """What a look at a node has come to.

    :param seen: what was seen
    :param ends: the reservations of others, and why they have ended
    :param requests: what is going to be claimed, None if it does not fit
    """

    seen: sight_module.Sight
    ends: Sequence[
        tuple[reservation_module.Reservation, sight_module.End | None]]
    requests: Requests | None

    @property
    def waiting(self) -> Sequence[reservation_module.Reservation]:
        """Return those that count."""
        return [other for other, ended in self.ends if ended is None]

    @property
    def may_change(self) -> bool:
        """Tell whether claims that arrive may look taken twice."""
        return any(
            self.seen.moved or sight_module.is_arriving(other, self.seen)
            for other in self.waiting)


def decide(
    node: Node, others: Sequence[reservation_module.Reservation],
    seen: sight_module.Sight, timeout: float,
) -> Decision:
    """Decide about a request beside those whose reservations count.

    :param node: where it is to be
    :param others: what is reserved there
    :param seen: the node
    :param timeout: seconds that a reservation lasts at most
    """
    ends = [(other, sight_module.end(other, seen, timeout))
            for other in others]
    return Decision(seen, ends, node.decide([
        sight_module.to_come(other, seen) for other, ended in ends
        if ended is None]))


def decide_without_called_off(
    node: Node, others: Sequence[reservation_module.Reservation],
    found: Decision, timeout: float,
) -> Decision:
    """Decide anew, if others may turn out to be deleted.

    The API database is asked only if that can make a difference. What is known
    of the cell need not be read again: see sight.py.

    :param node: where it is to be
    :param others: what is reserved there
    :param found: what was decided before, that the request does not fit
    :param timeout: seconds that a reservation lasts at most
    """
    seen = found.seen
    unbuilt = [other for other in found.waiting
               if sight_module.may_be_called_off(other, seen)]
    if not unbuilt or node.decide([
            sight_module.to_come(other, seen) for other in found.waiting
            if not sight_module.may_be_called_off(other, seen)]) is None:
        return found
    asked = node.asked([
        other.instance_uuid for other in unbuilt[:_ASKED_FOR]])
    seen = dataclasses.replace(seen, asked=asked)
    if all(sight_module.end(other, seen, timeout) is None
           for other in unbuilt):
        return found
    return decide(node, others, seen, timeout)
