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

"""Read what the scheduler was asked for a server."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import json
import typing

import sqlalchemy as sa

#: What is read of Nova's API database.
metadata = sa.MetaData()

_request_specs = sa.Table(
    'request_specs', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
    sa.Column('spec', sa.Text),
)

_DATA: typing.Final = 'nova_object.data'

#: What placement chose for the server on the host that it is on.
_PROVIDERS: typing.Final = 'rp_uuids'


@dataclasses.dataclass(frozen=True)
class PciRequest:
    """What is needed of nova.objects.InstancePCIRequest.

    :param count: how many devices
    :param spec: alternatives; each maps properties to what they must equal
    :param alias_name: alias that it comes from; None for that of a port
    :param request_id: its own id
    :param requester_id: id of the port, None for that of an alias
    :param numa_policy: None for the default
    """

    count: int
    spec: Sequence[typing.Mapping[str, object]]
    alias_name: str | None = None
    request_id: str | None = None
    requester_id: str | None = None
    numa_policy: str | None = None


class StoredRequest(typing.NamedTuple):
    """What a server needs of a host's PCI devices.

    :param pci_requests: what it asks for; empty if it has none
    :param numa_guest: whether the guest has NUMA nodes
    """

    pci_requests: list[PciRequest]
    numa_guest: bool


def load(
    connection: sa.engine.Connection, instance_uuid: str,
) -> StoredRequest | None:
    """Return what Nova asks for when it schedules a server.

    The providers that placement chose for where it is now are left out.

    :param connection: to Nova's API database; only read from
    :param instance_uuid: the server
    :returns: None if there is no such server
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    :raises ValueError: if what is stored cannot be read
    """
    text = connection.execute(
        sa.select(_request_specs.c.spec).where(
            _request_specs.c.instance_uuid == instance_uuid)).scalar()
    if text is None:
        return None
    try:
        data = json.loads(text)[_DATA]
        stored = data.get('pci_requests')
        requests = stored[_DATA]['requests'] if stored else []
        return StoredRequest(
            [_pci_request(request[_DATA]) for request in requests],
            bool(data.get('numa_topology')))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f'not a RequestSpec: {error!r}') from None


def _pci_request(data: typing.Mapping[str, typing.Any]) -> PciRequest:
    return PciRequest(
        data['count'],
        [{key: value for key, value in spec.items() if key != _PROVIDERS}
         for spec in data['spec']],
        *(data.get(name) for name in (
            'alias_name', 'request_id', 'requester_id', 'numa_policy')))
