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

"""A cloud of one cell whose fleet grows as the benchmark goes on."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import random
import typing

from nova.db.main import api as main_db
import sqlalchemy as sa

from benchmarks import contenders
from benchmarks import fleet
from benchmarks import server
from pci_filter.fixture import cloud as embedded

#: What decides the order in which hosts are asked for.
_SEED: typing.Final = 20261122

#: What makes a server look at its tables, by dialect.
_ANALYZE: typing.Final = {'mysql': 'ANALYZE TABLE', 'postgresql': 'ANALYZE'}


class Bed:
    """Hosts in one database, and schedulers that ask for them.

    Use it as a context manager; only one can be open at a time.

    :param database: how reports call the database
    :param urls: databases of the cells; None for SQLite files
    :param cells: number of cells, as many as there are URLs if any
    """

    def __init__(
        self, database: str, urls: Sequence[str] | None = None,
        cells: int = 1,
    ) -> None:
        self.database = database
        self.cloud = embedded.EmbeddedCloud(cells, cell_urls=urls)
        self._watched = server.watched(urls[0] if urls else None)
        #: The server of the first cell; there once the bed is open.
        self.server = server.Server()
        #: All hosts, in the order in which they were added.
        self.hosts: list[fleet.Host] = []
        self._closing = contextlib.ExitStack()
        self._managers: dict[
            tuple[contenders.Kind, bool], contenders.Scheduler] = {}

    def __enter__(self) -> Bed:
        with contextlib.ExitStack() as opening:
            self.server = opening.enter_context(self._watched)
            opening.enter_context(self.cloud)
            opening.callback(contenders.detach)
            self._closing = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.close()

    def grow(self, number: int, cell: int = 0) -> None:
        """Add hosts to a cell.

        :param number: how many
        :param cell: index into the cells
        """
        if number <= 0:
            return
        self.hosts += fleet.add_hosts(
            self.cloud, cell, number, len(self.hosts))
        self._managers.clear()
        with self.connection(cell) as connection:
            # The server does so by itself, but at a time of its own.
            analyze = _ANALYZE.get(connection.dialect.name)
            if analyze:
                connection.execute(sa.text(
                    f'{analyze} services, compute_nodes, pci_devices'))
                connection.commit()

    def ask_for(self, number: int) -> list[fleet.Host]:
        """Return some hosts in random order, the same ones each time."""
        return random.Random(_SEED).sample(
            self.hosts, min(number, len(self.hosts)))

    def scheduler(
        self, kind: contenders.Kind, numa: bool = False,
    ) -> contenders.Scheduler:
        """Return a scheduler that knows all hosts.

        :param kind: whose PCI filter it has
        :param numa: whether NUMATopologyFilter is enabled too
        """
        if (kind, numa) not in self._managers:
            self._managers[kind, numa] = contenders.Scheduler(
                kind, numa, self.hosts)
        return self._managers[kind, numa]

    @contextlib.contextmanager
    def connection(self, cell: int = 0) -> Iterator[sa.Connection]:
        """Yield a connection to a cell's database, as a request gets it.

        :param cell: index into the cells
        """
        with self.cloud.target(self.cloud.cells[cell]) as context:
            reader = main_db.get_context_manager(context).reader
            with reader.connection.using(context) as connection:
                yield connection
