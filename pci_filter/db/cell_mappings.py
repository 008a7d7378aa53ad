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

"""Read the cells that Nova's API database knows, and how to reach them."""

from __future__ import annotations

import re
import typing
from urllib import parse

from oslo_utils import netutils
import sqlalchemy as sa

#: What is read of Nova's API database.
metadata = sa.MetaData()

_cell_mappings = sa.Table(
    'cell_mappings', metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('uuid', sa.String(36)),
    sa.Column('name', sa.String(255)),
    sa.Column('database_connection', sa.Text),
    sa.Column('disabled', sa.Boolean),
)

#: The cell of instances that no host was found for; it has no hosts.
CELL0_UUID: typing.Final = '00000000-0000-0000-0000-000000000000'

_URL_PARTS: typing.Final = (
    'username', 'password', 'hostname', 'port', 'scheme', 'query', 'fragment')


class CellMapping(typing.NamedTuple):
    """What Nova's API database has about a cell.

    :param uuid: of the cell
    :param name: None if the operator gave it none
    :param database_connection: URL of its database, or a template of that
    :param disabled: whether Nova schedules nothing to it
    """

    uuid: str
    name: str | None
    database_connection: str
    disabled: bool


def load(connection: sa.engine.Connection) -> list[CellMapping]:
    """Return the cells in the order in which they were created.

    :param connection: to Nova's API database; only read from
    :raises sqlalchemy.exc.SQLAlchemyError: when the database cannot answer
    """
    cells = _cell_mappings.c
    statement = sa.select(
        cells.uuid, cells.name, cells.database_connection, cells.disabled,
    ).order_by(cells.id)
    return [
        CellMapping(uuid, name, url or '', bool(disabled))
        for uuid, name, url, disabled in connection.execute(statement)]


def database_url(template: str, default: str | None) -> str:
    """Fill the parts of ``[database]connection`` into a cell's URL.

    As Nova does, a URL that is no good as a template is taken as it is
    (nova.objects.cell_mapping, CellMapping.format_db_url).

    :param template: URL, which may have fields such as ``{username}``
    :param default: ``[database]connection``, None if it is not set
    """
    if default is None:
        return template
    try:
        return template.format(**_fields(default))
    except (ValueError, LookupError, AttributeError, TypeError):
        return template


def is_template(url: str) -> bool:
    """Tell whether a URL has fields of a template in it."""
    return re.search(r'\{[a-z]+\d*\}', url) is not None


def _fields(url: str) -> dict[str, object]:
    """Return the parts of a URL by the names that templates use.

    :raises ValueError: if it is malformed
    """
    parsed = parse.urlparse(url)
    fields: dict[str, object] = {
        part: getattr(parsed, part) for part in _URL_PARTS}
    fields['path'] = parsed.path.lstrip('/')
    servers = parsed.netloc.split(',')
    if len(servers) > 1:
        for number, server in enumerate(servers, start=1):
            fields.update({
                f'{name}{number}': value
                for name, value in _server_fields(server).items()})
    return fields


def _server_fields(server: str) -> dict[str, object]:
    """Return the parts of one of several ``user:password@host:port``."""
    account, address = (
        server.split('@', 1) if '@' in server else ('', server))
    username, colon, password = account.partition(':')
    hostname: str | None
    port: str | int | None
    try:
        hostname, port = netutils.parse_host_port(address)
    except ValueError:
        # A part of a password with a comma in it. Nova up to 2026.1 does not
        # mind, so there may be cells that are mapped so.
        hostname, _, port = address.partition(':')
    return {
        'username': username, 'password': password if colon else None,
        'hostname': hostname, 'port': port}
