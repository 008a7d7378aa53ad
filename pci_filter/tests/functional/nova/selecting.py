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

"""What the tests of reservations share.

Nova's own SchedulerManager with its own client of a real placement selects
destinations, and Nova's own trackers claim there. Between the two stands what
a test decides: the rows of the instances change as the conductor and
nova-compute change them, one step after the other, so that a test can stop at
any of them.
"""

from __future__ import annotations

import concurrent.futures
import logging
import typing

import nova.conf
from nova import context as nova_context
from nova.db.main import models
from nova import exception as nova_exception
from nova import rpc
from nova.scheduler.client import report
from nova.scheduler import manager as scheduler_manager
from oslo_utils import uuidutils
import sqlalchemy as sa

from pci_filter.db import in_flight
from pci_filter.fixture import compute_host
from pci_filter.fixture import databases
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter import reservations
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import sight
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import placement_service

RESERVING: typing.Final = 'pci_filter.scheduler.reserving'
FAILURES: typing.Final = 'pci_filter.scheduler.failures'

#: What a request says whose hosts are refused for the sake of others.
ALL_RESERVED: typing.Final = (
    f'INFO {RESERVING} PCI devices that the request asked for are reserved ')

NoValidHost = nova_exception.NoValidHost

GPU: typing.Final = {
    'vendor_id': hardware.TESLA_V100.vendor_id,
    'product_id': hardware.TESLA_V100.product_id}


def gpu_request(count: int = 1, **fields: typing.Any) -> typing.Any:
    """Return a request of a flavor for GPUs."""
    fields.setdefault('alias_name', 'gpu')
    return scheduling.pci_request(GPU, count, **fields)


class Server:
    """An instance, and what the services of Nova do to its rows.

    :param case: the test
    :param requests: its InstancePCIRequest objects
    :param uuid: of the instance
    """

    def __init__(
        self, case: SelectingTestCase, requests: typing.Sequence[typing.Any],
        uuid: str | None = None,
    ) -> None:
        self.uuid = uuid or uuidutils.generate_uuid()
        self.requests = list(requests)
        self.host: typing.Any = None
        self._case = case
        self._cloud = case.cloud

    def set(self, **values: typing.Any) -> None:
        """Change the row of the instance."""
        table = models.Instance.__table__
        with self._cloud.transaction(self.host.cell) as context:
            context.session.execute(
                sa.update(table).where(table.c.uuid == self.uuid)
                .values(**values))

    def create(self, host: typing.Any) -> Server:
        """Create the row in the cell of a host, as the conductor does."""
        self.host = host
        with self._cloud.transaction(host.cell) as context:
            table = models.Instance.__table__
            context.session.execute(sa.insert(table).values(
                uuid=self.uuid, vm_state='building', task_state='scheduling',
                deleted=0, hidden=False))
        return self

    def arrive(self) -> Server:
        """Let the server be on its host, with no devices yet."""
        self.set(host=self.host.name, node=self.host.name, task_state=None)
        return self

    def claim(self, numa: typing.Any = None) -> Server:
        """Claim the devices on the host, and save them."""
        tracker = self._cloud.running(self.host)
        with self._cloud.transaction(self.host.cell) as context:
            compute_host.claim(
                context, self.host, tracker, self.requests, numa, self.uuid)
            compute_host.save(context, self.host, tracker)
        return self

    def build(self) -> Server:
        """Go on to a running server once the devices are claimed."""
        self.set(task_state='networking')
        self.set(vm_state='active', task_state=None)
        return self

    def boot(self, host: typing.Any, numa: typing.Any = None) -> Server:
        """Do all that follows when a host is chosen."""
        return self.create(host).arrive().claim(numa).build()

    def free(self) -> Server:
        """Free the devices, and save them."""
        tracker = self._cloud.running(self.host)
        with self._cloud.transaction(self.host.cell) as context:
            for device in list(tracker.pci_devs):
                if device.instance_uuid == self.uuid:
                    tracker.free_device(device, {'uuid': self.uuid})
            compute_host.save(context, self.host, tracker)
        return self

    def delete(self) -> Server:
        """Delete the instance, wherever it is, and its allocations."""
        self.set(task_state='deleting')
        self.free()
        self.set(vm_state='deleted', task_state=None, deleted=1)
        self._case.client.forget(self.uuid)
        return self

    def fail(self) -> Server:
        """Let the build end in error, as the conductor does."""
        self.set(vm_state='error', task_state=None, host=None, node=None)
        self._case.client.forget(self.uuid)
        return self


class SelectingTestCase(base.NovaTestCase):
    """A cloud with a scheduler and a placement."""

    cells = 1

    def setUp(self) -> None:
        if not placement_service.is_installed():
            self.skipTest('openstack-placement is not installed')
        super().setUp()
        ours = logging.getLogger('pci_filter')
        ours.setLevel(logging.DEBUG)
        self.addCleanup(ours.setLevel, logging.NOTSET)
        self.addCleanup(self._forget_instances)
        self.placement = self.useFixture(placement_service.Placement())
        self.override('placement', endpoint_override=self.placement.url,
                      **placement_service.OPTIONS)
        self._start_rpc()
        report.PLACEMENTCLIENT = None
        self.addCleanup(setattr, report, 'PLACEMENTCLIENT', None)
        self.client = placement_service.Client(
            report.report_client_singleton())
        self.manager = self.scheduler()

    def _start_rpc(self) -> None:
        nova.conf.CONF.set_override('transport_url', 'fake:/')
        self.addCleanup(nova.conf.CONF.clear_override, 'transport_url')
        rpc.init(nova.conf.CONF)
        self.addCleanup(rpc.cleanup)

    def _forget_instances(self) -> None:
        for cell in self.cloud.cells:
            with self.cloud.transaction(cell) as context:
                context.session.execute(sa.delete(models.Instance.__table__))

    def scheduler(
        self, enabled: typing.Sequence[str] = scheduling.PCI_FILTER,
        available: typing.Sequence[str] = scheduling.OUR_FILTERS,
        **options: typing.Any,
    ) -> typing.Any:
        """Return a SchedulerManager, as a worker of nova-scheduler has one.

        :param enabled: [filter_scheduler]enabled_filters
        :param available: [filter_scheduler]available_filters
        :param options: of the [pci_filter] section
        """
        kept = nova.conf.CONF.pci_filter.reservation_file
        with databases.overriding(
                'filter_scheduler', enabled_filters=list(enabled),
                available_filters=list(available),
                track_instance_changes=False), databases.overriding(
                    'pci_filter', **{'reservation_file': kept, **options}):
            manager = scheduler_manager.SchedulerManager()
        self.override('pci_filter', reservation_file=kept)
        return manager

    @property
    def reserver(self) -> typing.Any:
        """What makes the reservations of ``manager``."""
        return self.manager.host_manager.enabled_filters[0].reserver

    def add(self, host: typing.Any) -> typing.Any:
        """Tell placement of a host."""
        self.client.add_provider(host.node_uuid, host.name)
        return host

    def add_host(self, *args: typing.Any, **more: typing.Any) -> typing.Any:
        """Add a host with virtual functions, to placement too."""
        return self.add(super().add_host(*args, **more))

    def add_gpus(
        self, name: str, number: int = 1, cell: int = 0,
        numa_nodes: typing.Sequence[int | None] = (None,),
        **more: typing.Any,
    ) -> typing.Any:
        """Add a host with GPUs.

        :param number: of GPUs on each NUMA node
        """
        return self.add(self.cloud.add_host(cell, name, [
            hardware.gpu(0x3b + 16 * at + bus, node)
            for at, node in enumerate(numa_nodes) for bus in range(number)],
            ['{"vendor_id": "10de"}'], **more))

    def spec(
        self, *requests: typing.Any, **fields: typing.Any,
    ) -> typing.Any:
        """Return the RequestSpec of a server."""
        fields.setdefault('project_id', 'project')
        fields.setdefault('user_id', 'user')
        return scheduling.request_spec(requests, **fields)

    def select_all(
        self, spec: typing.Any, uuids: typing.Sequence[str] | None = None,
        manager: typing.Any = None,
    ) -> list[list[typing.Any]]:
        """Ask the scheduler, as the conductor does.

        :param uuids: of the instances, by default the one of the spec
        :returns: for each instance its Selection, and the alternates
        :raises nova.exception.NoValidHost: as Nova raises it
        """
        try:
            return typing.cast(
                'list[list[typing.Any]]',
                (manager or self.manager).select_destinations(
                    nova_context.get_admin_context(), spec_obj=spec,
                    instance_uuids=list(uuids or [spec.instance_uuid]),
                    return_objects=True, return_alternates=True))
        except Exception as error:
            # oslo.messaging wraps what a caller is to be told.
            raise getattr(error, 'exc_info', (None, error))[1] from None

    def select(
        self, *requests: typing.Any, manager: typing.Any = None,
        **fields: typing.Any,
    ) -> Server:
        """Select the destination of one server.

        :returns: the server, which has no row yet; ``.host`` is its host
        """
        spec = self.spec(*requests, **fields)
        server = Server(self, requests, spec.instance_uuid)
        ((selection, *_),) = self.select_all(spec, manager=manager)
        server.host = self.cloud.hosts[selection.service_host]
        return server

    def select_at_once(
        self, number: int, *requests: typing.Any,
        managers: typing.Sequence[typing.Any] = (),
    ) -> list[Server | Exception]:
        """Select the destinations of servers, each in a thread of its own."""
        def one(at: int) -> Server | Exception:
            try:
                return self.select(
                    *requests, manager=managers and managers[
                        at % len(managers)])
            except Exception as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(number) as threads:
            return list(threads.map(one, range(number)))

    def kept(self, host: typing.Any) -> list[typing.Any]:
        """Return what the store has of a host, ended or not."""
        text = self.reserver.store.read(host.node_uuid, 10).text
        return list(reservation_module.loads(text)) if text else []

    def counting(self, host: typing.Any) -> list[str]:
        """Return the instances whose reservations count on a host."""
        kept = self.kept(host)
        uuids = [one.instance_uuid for one in kept]
        with self.cloud.engine(host.cell).connect() as connection:
            instances = in_flight.load_instances(connection, uuids)
            owned = in_flight.load_owned(connection, host.node_uuid, uuids)
        seen = reservations.Sight(
            instances.now, host.name, instances.by_uuid, owned)
        return [one.instance_uuid for one in kept if sight.end(
            one, seen, self.reserver.timeout) is None]

    def assertNoneFits(self, *requests: typing.Any, **more: typing.Any) -> str:
        """Assert that no host is found; return what the log says of it.

        Which is nothing unless reservations are why.
        """
        before = len(self.log_lines(ALL_RESERVED))
        self.assertRaises(NoValidHost, self.select, *requests, **more)
        return ''.join(self.log_lines(ALL_RESERVED)[before:])
