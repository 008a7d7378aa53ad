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

"""The columns of Nova's cell database that are read, and no others."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import datetime

import sqlalchemy as sa

metadata = sa.MetaData()


class Moment(sa.types.TypeDecorator[datetime.datetime]):
    """A time as Nova stores it; None for whatever else a row has.

    SQLite takes anything, and MariaDB gives a text for a date of zeros.
    """

    impl = sa.DateTime
    cache_ok = True

    def result_processor(
        self, dialect: sa.engine.Dialect, coltype: object,
    ) -> Callable[[object], datetime.datetime | None]:
        """Return what makes a time of what the driver returns."""
        return _parse_moment


def _parse_moment(value: object) -> datetime.datetime | None:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.datetime.fromisoformat(value)
    return value if isinstance(value, datetime.datetime) else None


compute_nodes = sa.Table(
    'compute_nodes', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('uuid', sa.String(36)),
    sa.Column('host', sa.String(255)),
    sa.Column('hypervisor_hostname', sa.String(255)),
    sa.Column('pci_stats', sa.Text),
    sa.Column('numa_topology', sa.Text),
    sa.Column('deleted', sa.Integer),
    sa.Column('updated_at', Moment),
)

pci_devices = sa.Table(
    'pci_devices', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('compute_node_id', sa.Integer,
              sa.ForeignKey('compute_nodes.id')),
    sa.Column('address', sa.String(12)),
    sa.Column('vendor_id', sa.String(4)),
    sa.Column('product_id', sa.String(4)),
    sa.Column('dev_type', sa.String(8)),
    sa.Column('status', sa.String(36)),
    sa.Column('extra_info', sa.Text),
    sa.Column('numa_node', sa.Integer),
    sa.Column('parent_addr', sa.String(12)),
    sa.Column('instance_uuid', sa.String(36)),
    sa.Column('request_id', sa.String(36)),
    sa.Column('deleted', sa.Integer),
    sa.Column('deleted_at', sa.DateTime),
    sa.Column('updated_at', Moment),
)

instances = sa.Table(
    'instances', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('uuid', sa.String(36)),
    sa.Column('host', sa.String(255)),
    sa.Column('node', sa.String(255)),
    sa.Column('vm_state', sa.String(255)),
    sa.Column('task_state', sa.String(255)),
    sa.Column('hidden', sa.Boolean),
    sa.Column('deleted', sa.Integer),
)

instance_extra = sa.Table(
    'instance_extra', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
    sa.Column('pci_requests', sa.Text),
    sa.Column('deleted', sa.Integer),
)

migrations = sa.Table(
    'migrations', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('instance_uuid', sa.String(36)),
    sa.Column('source_compute', sa.String(255)),
    sa.Column('source_node', sa.String(255)),
    sa.Column('dest_compute', sa.String(255)),
    sa.Column('dest_node', sa.String(255)),
    sa.Column('status', sa.String(255)),
    sa.Column('migration_type', sa.String(255)),
    sa.Column('deleted', sa.Integer),
)


def missing_columns(connection: sa.engine.Connection) -> list[str]:
    """Return what a cell's database lacks of these, as ``table.column``.

    :param connection: to the cell's database; has all of the tables
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    inspector = sa.inspect(connection)
    return [
        f'{table.name}.{column.name}'
        for table in metadata.sorted_tables
        for found in [{column['name']
                       for column in inspector.get_columns(table.name)}]
        for column in table.columns if column.name not in found]
