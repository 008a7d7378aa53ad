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

"""What the tests with a real Nova share."""

from __future__ import annotations

import dataclasses
import json
import logging
import pathlib
import typing

import fixtures
import nova.conf
from nova.db.main import api as main_db
from nova import objects
import sqlalchemy as sa
from sqlalchemy import event
import testtools

from pci_filter import conf
from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import compute_host
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.scheduler import cell_databases as connections
from pci_filter.scheduler import host_manager as hook
from pci_filter.tests.functional.nova import cell_databases


class Cloud(embedded.EmbeddedCloud):
    """A cloud whose instances can also be deleted."""

    def release(self, host: typing.Any, devices: typing.Any) -> None:
        """Free an instance's devices, as nova-compute does.

        :param host: the host they are on
        :param devices: what :meth:`claim` returned
        """
        tracker = self._trackers[host.name]
        uuids = {device.instance_uuid for device in devices}
        for device in list(tracker.pci_devs):
            if device.instance_uuid in uuids:
                tracker.free_device(
                    device, {'uuid': device.instance_uuid})
        with self.target(host.cell) as context:
            compute_host.save(context, host, tracker)

    def running(self, host: typing.Any) -> typing.Any:
        """Return the tracker that keeps the rows of a host."""
        return self._trackers[host.name]

    def start_anew(
        self, host: typing.Any, devices: typing.Any,
        device_spec: typing.Any = None, tracker: typing.Any = None,
    ) -> typing.Any:
        """Let a host's nova-compute start with what it finds then.

        :param host: the host
        :param devices: what the virt driver reports
        :param device_spec: its new [pci]device_spec, None for the old one
        :param tracker: the class of its new tracker, None for the old one
        :returns: the host as it is then
        """
        host = dataclasses.replace(
            host, tracker=tracker or host.tracker,
            device_spec=tuple(device_spec or host.device_spec))
        with self.transaction(host.cell) as context:
            started = compute_host.new_tracker(context, host)
            started.update_devices_from_hypervisor_resources(
                json.dumps(devices))
            compute_host.save(context, host, started)
        self.hosts[host.name] = host
        self._trackers[host.name] = started
        return host

    def save(self, host: typing.Any) -> None:
        """Save what a host's tracker knows, as nova-compute does."""
        with self.transaction(host.cell) as context:
            compute_host.save(context, host, self.running(host))

    def rows(self, host: typing.Any) -> dict[str, typing.Any]:
        """Return the rows of a host's devices by address."""
        with self.target(host.cell) as context:
            return {row['address']: row
                    for row in main_db.pci_device_get_all_by_node(
                        context, host.node_id)}

    def engine(self, cell: typing.Any) -> typing.Any:
        """Return the SQLAlchemy engine of a cell's database."""
        with self.target(cell) as context:
            return main_db.get_engine(context=context)

    def execute(self, cell: typing.Any, statement: str) -> int:
        """Change a cell's database behind Nova's back.

        :returns: the number of rows concerned
        """
        engine = self.engine(cell)
        if 'format' in engine.dialect.paramstyle:
            statement = statement.replace('%', '%%')
        with engine.begin() as connection:
            rows: int = connection.exec_driver_sql(statement).rowcount
        return rows


class CloudFixture(fixtures.Fixture):
    """An open cloud; ``.cloud`` is it.

    :param cells: number of cells
    :param cell_urls: empty databases for them; none at all are SQLite files
    :param directory: where the databases are to be, if it matters
    """

    def __init__(
        self, cells: int = 2,
        cell_urls: typing.Sequence[str] | None = None,
        directory: pathlib.Path | None = None,
    ) -> None:
        self._cells = cells
        self._cell_urls = cell_urls
        self._directory = directory

    def _setUp(self) -> None:
        urls = self._cell_urls
        self.cloud = Cloud(
            cells=self._cells, directory=self._directory,
            cell_urls=cell_databases.urls(self._cells)
            if urls is None else urls)
        self.cloud.open()
        self.addCleanup(self._close)
        cell_databases.note_migrated()

    def _close(self) -> None:
        try:
            self.cloud.close()
        except Exception:
            # There is no way to empty a table that a test has removed.
            if not cell_databases.take_back():
                raise
        else:
            cell_databases.take_back()


class Statements(fixtures.Fixture):
    """Collects the SQL that is executed by any engine in the process.

    :param containing: only statements with this text in them
    """

    def __init__(self, containing: str = '') -> None:
        self._containing = containing
        self.texts: list[str] = []

    def _setUp(self) -> None:
        event.listen(sa.engine.Engine, 'before_cursor_execute', self._note)
        self.addCleanup(event.remove, sa.engine.Engine,
                        'before_cursor_execute', self._note)

    def _note(
        self, connection: typing.Any, cursor: typing.Any, statement: str,
        *args: typing.Any,
    ) -> None:
        if self._containing in statement:
            self.texts.append(statement)


def vf_request(count: int = 1, **fields: typing.Any) -> typing.Any:
    """Return a request that the functions of ``add_host`` can serve."""
    return scheduling.pci_request(
        {'vendor_id': hardware.INTEL_X710.vendor_id,
         'product_id': hardware.INTEL_X710.vf_product_id}, count, **fields)


def request_groups(
    requests: typing.Iterable[typing.Any],
) -> list[typing.Any]:
    """Return what Nova asks placement for if PCI devices are tracked there.

    A group for each device of a flavor's requests (nova.objects.RequestSpec,
    generate_request_groups_from_pci_requests).
    """
    return [
        objects.RequestGroup(
            requester_id=f'{request.request_id}-{number}',
            resources={'CUSTOM_PCI_DEVICE': 1})
        for request in requests if request.alias_name is not None
        for number in range(request.count)]


class NovaTestCase(testtools.TestCase):
    """A test with a cloud of its own, ``self.cloud``."""

    cells = 2
    #: Empty databases for the cells, none at all for SQLite files, which
    #: they else are unless PCI_FILTER_TEST_CELLS_URL names a server.
    cell_urls: typing.ClassVar[typing.Sequence[str] | None] = None
    log_level = logging.INFO

    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(
            level=self.log_level,
            format='%(levelname)s %(name)s %(message)s'))
        self.addCleanup(hook.detach)
        self._keep_reservations_here()
        self.cloud = self.useFixture(self.make_cloud()).cloud
        self.addCleanup(connections.forget)

    def make_cloud(self) -> CloudFixture:
        """Return the fixture of the cloud, not set up yet."""
        return CloudFixture(self.cells, self.cell_urls)

    def _keep_reservations_here(self) -> None:
        """Let no other test, and no Nova of this machine, see reservations.

        The default is a file in Nova's state_path, which is where its package
        is installed.
        """
        conf.register_opts(nova.conf.CONF)
        directory = self.useFixture(fixtures.TempDir()).path
        self.override('pci_filter', reservation_file=str(
            pathlib.Path(directory, 'reservations.sqlite')))

    def override(self, group: str, **options: typing.Any) -> None:
        """Override options of nova.conf until the test is over."""
        overriding = databases.overriding(group, **options)
        overriding.__enter__()
        self.addCleanup(overriding.__exit__, None, None, None)

    def our_manager(
        self, enabled: typing.Sequence[str] = scheduling.PCI_FILTER,
        **options: typing.Any,
    ) -> typing.Any:
        """Build a HostManager with our filter.

        :param enabled: [filter_scheduler]enabled_filters
        :param options: of the [pci_filter] section
        """
        conf.register_opts(nova.conf.CONF)
        with databases.overriding('pci_filter', **options):
            return self.cloud.host_manager(enabled, scheduling.OUR_FILTERS)

    def add_host(
        self, name: str, cell: int = 0, functions: int = 4,
        **more: typing.Any,
    ) -> typing.Any:
        """Add a host with a port on physnet1 that has virtual functions."""
        return self.cloud.add_host(
            cell, name, hardware.network_card(
                hardware.INTEL_X710, 0x81, 0, ports=1, vfs=functions),
            ['{"address": "*:81:*.*", "physical_network": "physnet1"}'],
            **more)

    def log_lines(self, containing: str) -> list[str]:
        """Return the lines of the log that contain a text."""
        return [line for line in self.log.output.splitlines()
                if containing in line]
