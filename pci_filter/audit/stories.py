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

"""Findings about one device, or its relatives, are one story.

Each side of the audit says how to mend what it found, as if nothing else were
wrong. All repairs that are told have to be right together:

* None gives away a device that a server may be using. One that has fewer
  devices where it is than it asked for may use any there that is like them.
* With all of them made, the audit finds nothing about these devices that it
  did not find before. What would be found and can be mended, such as a
  physical function that is blocked by nobody any more, is mended with them.
  What cannot be mended takes back all that was to be done to the relatives.
  That is not so for what concerns a whole pool, its count or its provider:
  a row with a finding was no evidence of it, and the mended row is.
* There is one statement for each row.

So they are tried on the facts, and the audit is asked again.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding
from pci_filter.audit import requests
from pci_filter.audit import rows

#: How often the audit is asked again: a function is mended, then its physical
#: function, and what those hid.
_STEPS: typing.Final = 8

_TABLE: typing.Final = 'pci_devices'

#: The columns that tell who has a device.
_IN_USE_BY: typing.Final = frozenset(('status', 'instance_uuid', 'deleted'))

#: Devices that are named in one finding.
_NAMED: typing.Final = 3

_Findings = Sequence[finding.Finding]
_Look = Callable[[facts_module.NodeFacts], _Findings]

#: The columns that change, by the id of the row.
_Changes = dict[int, dict[str, typing.Any]]


def settle(
    facts: facts_module.NodeFacts, look: _Look,
    is_told: Callable[[finding.Finding], bool],
) -> list[finding.Finding]:
    """Return what is found, with repairs that do not contradict each other.

    :param facts: of one compute node
    :param look: finds what is wrong, each thing by itself
    :param is_told: whether one is going to be told; others are not repaired
    """
    found = list(look(facts))
    if not any(_row_repairs(one) for one in found):
        return found
    return _Story(facts, look, found, is_told).told()


def _row_repairs(one: finding.Finding) -> list[finding.Repair]:
    return [repair for repair in one.repairs if repair.table == _TABLE]


class _Story:
    """The findings of one compute node together.

    :param found: what is wrong, each thing by itself
    """

    def __init__(
        self, facts: facts_module.NodeFacts, look: _Look, found: _Findings,
        is_told: Callable[[finding.Finding], bool],
    ) -> None:
        self._facts = facts
        self._look = look
        self._found = found
        self._lacking = requests.lacking(facts)
        # Those of them that may use a device, by what it is named by.
        self._users: dict[
            typing.Hashable, Sequence[requests.Lacking]] = {}
        self._devices = {device.id: device for device in facts.devices}
        self._addresses = {device.address for device in facts.devices}
        # Why nothing is done to relatives, by what they have in common.
        self._withdrawn: dict[str, str] = {}
        # What stays as it is.
        self._left = {
            one.identity for one in map(self._withheld, found)
            if not _row_repairs(one) or not is_told(one)}

    def told(self) -> list[finding.Finding]:
        """Return the findings with what is to be done together."""
        changes = self._try()
        while changes is None:
            changes = self._try()
        return self._assign(changes)

    def _try(self) -> _Changes | None:
        """Make all repairs, and those that they make necessary.

        :returns: None if some are taken back: try again without
        """
        changes: _Changes = {}
        found = self._found
        for _ in range(_STEPS):
            made = self._make([self._withheld(one) for one in found], changes)
            if not made:
                return changes
            found = self._look(self._with(changes))
            if self._take_back([self._withheld(one) for one in found]):
                return None
        before = len(self._withdrawn)
        for row_id in changes:
            self._withdraw(row_id, (
                'what is wrong with it and its relatives cannot be mended '
                'row by row'))
        # Each try withdraws something, or it is the last one.
        return None if len(self._withdrawn) > before else changes

    def _make(self, found: _Findings, changes: _Changes) -> bool:
        """Add what these findings change; tell whether that is anything.

        Of several repairs of a row only the first: the next one is not
        known before.
        """
        made: set[int] = set()
        for one in found:
            if one.identity not in self._left:
                for repair in _row_repairs(one):
                    if repair.id not in made:
                        changes.setdefault(repair.id, {}).update(
                            repair.change)
                        made.add(repair.id)
        return bool(made)

    def _with(self, changes: _Changes) -> facts_module.NodeFacts:
        """Return the facts as they are then."""
        return dataclasses.replace(self._facts, devices=[
            device._replace(**changes.get(device.id, {}))
            for device in self._facts.devices
            if 'deleted' not in changes.get(device.id, ())])

    def _take_back(self, found: _Findings) -> bool:
        """Withdraw what leads to something that cannot be mended."""
        before = len(self._withdrawn)
        for one in found:
            if (not one.repairs and one.subject in self._addresses
                    and one.identity not in self._left):
                row_id, = [device.id for device in self._facts.devices
                           if device.address == one.subject][:1]
                self._withdraw(row_id, (
                    'with it and its relatives mended as far as possible, '
                    f'{one.kind} would be found: {one.stored}; '
                    f'{one.no_repair}'))
        return len(self._withdrawn) > before

    def _withdraw(self, row_id: int, reason: str) -> None:
        self._withdrawn.setdefault(self._devices[row_id].family, reason)

    def _withheld(self, one: finding.Finding) -> finding.Finding:
        """Return a finding, without repairs that must not be made."""
        for repair in _row_repairs(one):
            device = self._devices[repair.id]
            servers = self._claimants(repair)
            if servers:
                return _without(one, _claim_text(servers))
            if device.family in self._withdrawn and not (
                    _IN_USE_BY.isdisjoint(repair.change)):
                return _without(one, self._withdrawn[device.family])
        return one

    def _claimants(
        self, repair: finding.Repair,
    ) -> Sequence[requests.Lacking]:
        """Return the servers that may be using what a repair gives away."""
        gives_away = (
            'deleted' in repair.change or 'instance_uuid' in repair.change
            or repair.change.get('status') == facts_module.AVAILABLE)
        if not gives_away:
            return []
        # A host has few kinds of devices and can have many of each.
        named = requests.named(self._devices[repair.id])
        if named not in self._users:
            self._users[named] = [
                server for server in self._lacking if server.may_use(named)]
        return self._users[named]

    def _assign(self, changes: _Changes) -> list[finding.Finding]:
        """Give each change to the finding that is told of it first."""
        told: list[finding.Finding] = []
        mine = self._shares(changes)
        suspects = self._suspects()
        for one in self._found:
            withheld = self._withheld(one)
            if one.identity in mine:
                repairs = tuple(
                    rows.row_repair(self._devices[row_id], changes[row_id])
                    for row_id in mine[one.identity])
                told.append(dataclasses.replace(
                    one, repairs=repairs, no_repair='' if repairs else (
                        'another finding has the statement that mends it')))
            elif one.kind == requests.KIND:
                told.append(_with_suspects(one, suspects.get(one.subject, ())))
            else:
                told.append(withheld)
        return told

    def _shares(
        self, changes: _Changes,
    ) -> dict[finding.Identity, list[int]]:
        """Return which rows the statements of a finding are for."""
        mine: dict[finding.Identity, list[int]] = {}
        last: dict[str, finding.Identity] = {}
        rest = _effective(changes, self._devices)
        for one in map(self._withheld, self._found):
            if one.identity not in self._left and _row_repairs(one):
                ids = [repair.id for repair in _row_repairs(one)]
                mine[one.identity] = [
                    row_id for row_id in ids if row_id in rest]
                rest.difference_update(ids)
                for row_id in ids:
                    last[self._devices[row_id].family] = one.identity
        for row_id in sorted(rest):
            # A repair can bring up what concerns other families too. Which
            # one did is not known, and all of them belong together.
            whose = last.get(
                self._devices[row_id].family, next(reversed(mine)))
            mine[whose].append(row_id)
        return mine

    def _suspects(self) -> Mapping[str, Sequence[str]]:
        """Return what is kept for each server."""
        kept: dict[str, list[str]] = collections.defaultdict(list)
        for one in self._found:
            for uuid in {server.server.uuid for repair in _row_repairs(one)
                         for server in self._claimants(repair)}:
                kept[uuid].append(f'{one.subject} ({one.kind})')
        return kept


def _with_suspects(
    one: finding.Finding, kept: Sequence[str],
) -> finding.Finding:
    """Name in a server's finding what is kept for it."""
    if not kept:
        return one
    more = f' and {len(kept) - _NAMED} more' if kept[_NAMED:] else ''
    return dataclasses.replace(one, no_repair=(
        f'{one.no_repair}; nothing is done to what may be one of them: '
        f'{", ".join(kept[:_NAMED])}{more}'))


def _without(one: finding.Finding, reason: str) -> finding.Finding:
    return dataclasses.replace(one, repairs=(), no_repair=reason)


def _claim_text(servers: Sequence[requests.Lacking]) -> str:
    server = servers[0]
    others = f' and {len(servers) - 1} more' if servers[1:] else ''
    return (f'server {server.server.uuid}{others} lacks {server.missing} of '
            'the devices that it asked for where it is, and may be using this '
            'one, or a relative of it: see what else names that server, as '
            f'{requests.KIND} does, and the hypervisor first')


def _effective(
    changes: _Changes, devices: Mapping[int, facts_module.Device],
) -> set[int]:
    """Return the rows that are not as they were in the end."""
    return {row_id for row_id, change in changes.items() if any(
        getattr(devices[row_id], name, None) != value
        for name, value in change.items())}
