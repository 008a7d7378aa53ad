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

"""Read which nova-scheduler services are up."""

from __future__ import annotations

import datetime
import typing

import sqlalchemy as sa

from pci_filter.db import tables

#: Not that of what is read of each cell: services are read where
#: [database]connection leads, which is cell 0.
metadata = sa.MetaData()

services = sa.Table(
    'services', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('host', sa.String(255)),
    sa.Column('binary', sa.String(255)),
    sa.Column('created_at', tables.Moment),
    sa.Column('last_seen_up', tables.Moment),
    sa.Column('deleted', sa.Integer),
)

_SCHEDULER: typing.Final = 'nova-scheduler'


def schedulers(
    connection: sa.engine.Connection, down_time: int | None,
) -> list[str]:
    """Return the names of the hosts on which nova-scheduler is up.

    A service is up as for Nova (nova.servicegroup.drivers.db): by the clock
    of who asks.

    :param connection: to the database that has the services; only read from
    :param down_time: seconds without a sign of life after which a service is
        down; None for those that are down as well
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    columns = services.c
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    hosts = set()
    for host, created_at, last_seen_up in connection.execute(sa.select(
            columns.host, columns.created_at, columns.last_seen_up).where(
                columns.binary == _SCHEDULER, columns.deleted == 0)):
        seen = last_seen_up or created_at
        if down_time is None or seen is not None and abs(
                now - seen) <= datetime.timedelta(seconds=down_time):
            hosts.add(host)
    return sorted(hosts)
