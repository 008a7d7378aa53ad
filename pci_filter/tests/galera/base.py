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
"""Clouds with a cell in the cluster."""

from __future__ import annotations

import dataclasses
import typing
import uuid

import fixtures
from nova import context as nova_context
import sqlalchemy as sa

from pci_filter.scheduler import cell_databases
from pci_filter.tests.functional.nova import base
from pci_filter.tests.galera import cluster

#: Without it there are no tests here, so that an ordinary run starts nothing.
VARIABLE: typing.Final = 'PCI_FILTER_GALERA'


class GaleraMixin(base.NovaTestCase):
    """The first cell is in the cluster, the others are SQLite files.

    Nova's trackers write to the first node. The scheduler is sent wherever
    a test wants it to be, by :meth:`schedule_through`.
    """

    cluster: typing.ClassVar[cluster.Cluster]
    database: typing.ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cluster = cluster.shared()
        cls.database = f'cell_{uuid.uuid4().hex[:12]}'
        first = cls.cluster.nodes[0]
        first.administer(f'CREATE DATABASE {cls.database}')
        first.administer(f'CREATE TABLE {cls.database}.ticks '
                         '(id INT AUTO_INCREMENT PRIMARY KEY)')

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cluster.heal()
        cls.cluster.nodes[0].administer(f'DROP DATABASE {cls.database}')
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        # Or Nova would try for 100 seconds to connect.
        self.override('database', max_retries=0)

    def make_cloud(self) -> base.CloudFixture:
        directory = self.useFixture(fixtures.TempDir()).path
        return base.CloudFixture(self.cells, [
            _text(self.cluster.nodes[0].url(self.database)),
            *(f'sqlite:///{directory}/{number}.db'
              for number in range(1, self.cells))])

    def schedule_through(self, url: sa.engine.URL) -> None:
        """Let the scheduler connect elsewhere than the trackers.

        Nova knows one database for each cell in a process. To the trackers
        theirs is another cell.
        """
        cell = self.cloud.cells[0]
        writing = cell.obj_clone()
        writing.uuid = str(uuid.uuid4())
        for name, host in self.cloud.hosts.items():
            if host.cell is cell:
                self.cloud.hosts[name] = dataclasses.replace(
                    host, cell=writing)
        self._connect(cell, _text(url))
        self.addCleanup(self._connect, cell, writing.database_connection)
        self.addCleanup(self.cluster.heal)

    def _connect(self, cell: typing.Any, url: str) -> None:
        self.cloud.engine(cell).dispose()
        cell.database_connection = url
        cell.save()
        nova_context.CELL_CACHE.clear()

    def connect_anew(self) -> None:
        """Let nobody use a connection that there is, nor an address."""
        cell_databases.forget()
        self.cloud.engine(self.cloud.cells[0]).dispose()

    def commit(self) -> None:
        """Commit something on the first node."""
        self.cluster.nodes[0].administer(
            f'INSERT INTO {self.database}.ticks VALUES ()')


def _text(url: sa.engine.URL) -> str:
    return url.render_as_string(hide_password=False)
