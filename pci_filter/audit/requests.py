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

"""What servers asked for, and who of them has less than that."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import json
import typing

from pci_filter.audit import facts as facts_module
from pci_filter.audit import finding

KIND: typing.Final = 'request-unmet'

#: What a spec names a device by, all of which the row has.
_NAMED_BY: typing.Final = ('vendor_id', 'product_id', 'dev_type')

#: What relatives of a device have in common with it of that.
_RELATED_BY: typing.Final = ('vendor_id',)

_Counts = Sequence[tuple['str | None', int]]

_Named = tuple[tuple[str, str], ...]

_Server = typing.Union[facts_module.Instance, facts_module.Wanting]


class Lacking(typing.NamedTuple):
    """A server that has fewer devices where it is than it asked for.

    :param server: the server
    :param missing: how many it lacks there
    :param specs: the alternatives that it asked for, of each device
    """

    server: facts_module.Wanting
    missing: int
    specs: Sequence[Mapping[str, object]]

    def may_use(self, named: _Named) -> bool:
        """Tell whether a device, or a relative of it, may be one of those.

        :param named: see :func:`named`
        """
        return any(
            all(_agree(spec.get(key), value) for key, value in named)
            for spec in self.specs)


def named(device: facts_module.Device) -> _Named:
    """Return what a spec has to name a device by, or a relative of it.

    Tags do not count: the rows may not have them. Nor does what a relative
    is, whose row can be lost.
    """
    keys = (_NAMED_BY if device.dev_type not in
            (facts_module.PF, *facts_module.FUNCTIONS) else _RELATED_BY)
    return tuple((key, getattr(device, key)) for key in keys)


def _agree(wanted: object, value: str) -> bool:
    # Nobody asks for something else than a text, but one never knows.
    return not isinstance(wanted, str) or wanted.lower() == value.lower()


def lacking(facts: facts_module.NodeFacts) -> list[Lacking]:
    """Return the servers on a compute node that lack devices there.

    Also those with which something is going on: for some time those may have
    none.
    """
    return [
        Lacking(wanting, missing, list(_specs(wanting.pci_requests)))
        for wanting in facts.wanting
        if (missing := missing_there(facts, wanting))]


def missing_there(facts: facts_module.NodeFacts, server: _Server) -> int:
    """Return how many devices a server lacks where it is.

    A row of another host is of no use to its guest, which can have a device
    all the same.
    """
    return shortage(counts(server.pci_requests or ''), [
        held.request_id for held in facts.holdings.get(server.uuid, ())
        if held.host == server.host and server.node in (None, held.node)])


def check(facts: facts_module.NodeFacts) -> Iterator[finding.Finding]:
    """Compare what the servers on a compute node asked for with their devices.

    Devices count wherever they are, and whatever their status: if there is
    something wrong with those it is a finding of its own.
    """
    for server in facts.wanting:
        if not server.at_rest or server.uuid in facts.migrations:
            continue
        asked = counts(server.pci_requests)
        holdings = facts.holdings.get(server.uuid, ())
        missing = shortage(asked, [held.request_id for held in holdings])
        if not missing:
            continue
        wanted = sum(count for _, count in asked)
        yield finding.Finding(
            KIND, facts.node.host or '', facts.node.id, server.uuid,
            f'instance_extra.pci_requests asks for {wanted}, '
            f'pci_devices has {len(holdings)}, {missing} short',
            finding.evidence(server, tuple(holdings)),
            no_repair='only the hypervisor knows which devices the '
                      'server uses, if any')


def counts(text: str) -> _Counts:
    """Return id and count of each request; nothing if it is unreadable."""
    try:
        requests = json.loads(text)
        return [(request.get('request_id'), int(request['count']))
                for request in requests]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def _specs(text: str) -> Iterator[Mapping[str, object]]:
    """Yield what may be asked for: anything, where nobody can tell."""
    for request in json.loads(text):
        stored = request.get('spec')
        specs = [spec for spec in stored if isinstance(spec, dict)
                 ] if isinstance(stored, list) else []
        yield from specs or [{}]


def shortage(wanted: _Counts, held: Sequence[str | None]) -> int:
    """Return how many devices are missing.

    Requests and devices from before Nova gave them an id go with anything.

    :param wanted: see :func:`counts`
    :param held: ids of the requests that devices are for
    """
    spare = held.count(None)
    missing = 0
    for request_id, count in wanted:
        if request_id is None:
            missing += count
        else:
            missing += max(0, count - held.count(request_id))
    known = {request_id for request_id, _ in wanted}
    if None in known:
        # Without an id a request can have been served by any device.
        spare += sum(
            request_id is not None and request_id not in known
            for request_id in held)
    return max(0, missing - spare)
