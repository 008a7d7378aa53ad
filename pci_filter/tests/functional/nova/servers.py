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

"""Clouds whose cells are databases of a server.

The names of test classes that use these contain ``MySQL`` or ``PostgreSQL``:
that is how ``tox -e functional-db`` finds them.
"""

import typing

import sqlalchemy as sa

from pci_filter.tests.functional.db import base as db_base
from pci_filter.tests.functional.nova import base

#: What part of the examples of a property are tried on a server. The decisions
#: are the same there, only what is read may differ.
PART_OF_EXAMPLES: typing.Final = 0.2


class ServerMixin(base.NovaTestCase):
    """Gives each cell of a NovaTestCase a database of its own.

    They are created once for all tests of a class, since Nova's migrations
    take seconds; a test must leave the tables as they were.
    """

    server: typing.ClassVar[db_base.Server]
    #: Of the URLs of the cells.
    query: typing.ClassVar[dict[str, str]] = {}
    #: The end of CREATE DATABASE.
    database_options: typing.ClassVar[str] = ''

    @classmethod
    def setUpClass(cls) -> None:
        cls.server.require()
        super().setUpClass()
        urls: list[str] = []
        cls.cell_urls = urls
        for _ in range(cls.cells):
            name = cls.server.create_database(cls.database_options)
            cls.addClassCleanup(cls.server.drop_database, name)
            urls.append(
                cls.server.url(name).update_query_dict(cls.query)
                .render_as_string(hide_password=False))

    def url(self, cell: int) -> sa.engine.URL:
        """Return the URL of a cell's database."""
        return sa.engine.make_url((self.cell_urls or [])[cell])


class MySQLMixin(ServerMixin):
    server = db_base.MYSQL


class PostgreSQLMixin(ServerMixin):
    server = db_base.POSTGRESQL
