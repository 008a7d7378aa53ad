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

"""Read from Nova's API database what became of instances that boot."""

from __future__ import annotations

from collections.abc import Sequence
import functools
import typing

import sqlalchemy as sa

from pci_filter.db import cell_mappings
from pci_filter.reservations import sight

#: What is read of Nova's API database.
metadata = sa.MetaData()

_request_specs = sa.Table(
    'request_specs', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
)

_build_requests = sa.Table(
    'build_requests', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
)

_instance_mappings = sa.Table(
    'instance_mappings', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
    sa.Column('cell_id', sa.Integer),
)

_cell_mappings = sa.Table(
    'cell_mappings', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('uuid', sa.String(36)),
)


def load(
    connection: sa.engine.Connection, uuids: Sequence[str],
) -> dict[str, sight.Asked]:
    """Read instances, all in one moment.

    .. code-block:: sql

        SELECT s.instance_uuid, b.id, c.uuid
        FROM request_specs s
        LEFT JOIN build_requests b ON b.instance_uuid = s.instance_uuid
        LEFT JOIN instance_mappings m ON m.instance_uuid = s.instance_uuid
        LEFT JOIN cell_mappings c ON c.id = m.cell_id
        WHERE s.instance_uuid IN (...)

    :param connection: to Nova's API database; only read from
    :param uuids: the instances
    :returns: those that have a request spec, by UUID
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    return {
        uuid: sight.Asked(
            build_id is not None, cell not in (None, cell_mappings.CELL0_UUID))
        for uuid, build_id, cell in connection.execute(
            _statement(), {'uuids': list(uuids)})}


@functools.lru_cache(maxsize=1)
def _statement() -> sa.Select[typing.Any]:
    specs = _request_specs.c
    builds = _build_requests.c
    mappings = _instance_mappings.c
    return sa.select(
        specs.instance_uuid, builds.id, _cell_mappings.c.uuid,
    ).select_from(
        _request_specs.outerjoin(
            _build_requests, builds.instance_uuid == specs.instance_uuid
        ).outerjoin(
            _instance_mappings, mappings.instance_uuid == specs.instance_uuid
        ).outerjoin(
            _cell_mappings, _cell_mappings.c.id == mappings.cell_id)
    ).where(specs.instance_uuid.in_(sa.bindparam('uuids', expanding=True)))
