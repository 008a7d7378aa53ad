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

"""A small Nova in one process: real databases, objects and PCI trackers.

Nothing is installed or served: there is no message queue, no API and no
hypervisor. What decides about PCI devices is Nova's own code.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import json
import pathlib
import tempfile
import typing

from nova import context as nova_context
from nova.db.main import api as main_db
from nova import objects
from oslo_utils import uuidutils

from pci_filter.cli.demo import compute_host
from pci_filter.cli.demo import databases
from pci_filter.cli.demo import scheduling


class EmbeddedCloud:
    """Nova's databases with hosts whose rows Nova's own code wrote.

    Use it as a context manager. Only one can be open in a process at a time,
    since Nova keeps its database connections in module globals.

    :param cells: number of cells beside cell0
    :param directory: folder for the SQLite files; by default a temporary one
        that is removed in the end
    :param cell_urls: URLs of empty databases for the cells, in place of
        SQLite files
    """

    def __init__(
        self,
        cells: int = 2,
        directory: str | pathlib.Path | None = None,
        cell_urls: Sequence[str] | None = None,
    ) -> None:
        self._cell_count = cells
        self._cell_urls = cell_urls
        self._directory = pathlib.Path(directory) if directory else None
        self._closing = contextlib.ExitStack()
        self._databases: databases.Databases | None = None
        self._trackers: dict[str, typing.Any] = {}
        #: Hosts by name, in the order they were added.
        self.hosts: dict[str, compute_host.Host] = {}

    def __enter__(self) -> typing.Self:
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open(self) -> None:
        """Create the databases and point Nova at them.

        :raises ValueError: if a database in ``cell_urls`` has compute nodes
        """
        objects.register_all()
        with contextlib.ExitStack() as opening:
            directory = self._directory or pathlib.Path(
                opening.enter_context(tempfile.TemporaryDirectory(
                    prefix='pci-filter-')))
            self._databases = databases.Databases(
                directory, self._cell_count, self._cell_urls)
            self._databases.open()
            opening.callback(self._databases.close)
            if self._cell_urls:
                # Unlike the files, these outlive us.
                opening.callback(self.reset)
            self._closing = opening.pop_all()

    def close(self) -> None:
        """Give Nova back its earlier databases and remove the files."""
        self._closing.close()
        self._forget_hosts()

    def reset(self) -> None:
        """Remove all hosts and their devices; cheap."""
        if self._databases:
            self._databases.reset()
        self._forget_hosts()

    def _forget_hosts(self) -> None:
        self.hosts.clear()
        self._trackers.clear()

    @property
    def cells(self) -> list[typing.Any]:
        """CellMapping of each cell, without cell0."""
        return self._databases.cells if self._databases else []

    @contextlib.contextmanager
    def target(self, cell: typing.Any) -> Iterator[typing.Any]:
        """Yield an admin context for a cell.

        :param cell: a CellMapping
        """
        context = nova_context.get_admin_context()
        with nova_context.target_cell(context, cell) as cell_context:
            yield cell_context

    @contextlib.contextmanager
    def transaction(self, cell: typing.Any) -> Iterator[typing.Any]:
        """Yield a context for a cell; all its writes are one commit."""
        with self.target(cell) as context:
            manager = main_db.get_context_manager(context)
            with manager.writer.using(context):
                yield context

    def add_host(
        self,
        cell: int,
        hostname: str,
        devices: Sequence[Mapping[str, typing.Any]],
        device_spec: Sequence[str],
        numa_topology: typing.Any = None,
        in_placement: bool = False,
        tracker: Callable[..., typing.Any] | None = None,
    ) -> compute_host.Host:
        """Add a compute host as a first start of nova-compute would.

        :param cell: index into :attr:`cells`
        :param hostname: name of the host and of its only node
        :param devices: what the virt driver reports about each PCI device
        :param device_spec: the host's [pci]device_spec, one JSON text each
        :param numa_topology: NUMATopology object of the host, if any
        :param in_placement: give each device the resource provider that
            [pci]report_in_placement would give it
        :param tracker: the class of its PCI tracker, None for Nova's
        :raises nova.exception.PciConfigInvalidSpec: if device_spec is faulty
        """
        mapping = self.cells[cell]
        with self.transaction(mapping) as context:
            node = scheduling.create_compute_node(
                context, hostname, numa_topology)
            host = compute_host.Host(
                hostname, mapping, node.id, node.uuid, tuple(device_spec),
                tracker)
            started = compute_host.new_tracker(context, host, node)
            started.update_devices_from_hypervisor_resources(
                json.dumps(list(map(dict, devices))))
            if in_placement:
                compute_host.assign_providers(started)
            compute_host.save(context, host, started, node)
        objects.HostMapping(
            nova_context.get_admin_context(), host=hostname,
            cell_mapping=mapping).create()
        self.hosts[hostname] = host
        self._trackers[hostname] = started
        return host

    def tracker(self, host: compute_host.Host) -> typing.Any:
        """Build a PciDevTracker from the rows, as a restart would."""
        with self.target(host.cell) as context:
            return compute_host.new_tracker(context, host)

    def restart(self, host: compute_host.Host) -> None:
        """Let the host's nova-compute start anew.

        Needed after rows were changed behind its back. As in Nova, pools
        without available devices are gone from the next summary then.
        """
        tracker = self.tracker(host)
        self._trackers[host.name] = tracker
        with self.transaction(host.cell) as context:
            compute_host.save(context, host, tracker)

    def claim(
        self,
        host: compute_host.Host,
        requests: Sequence[typing.Any],
        numa: typing.Any = None,
        allocate: bool = True,
    ) -> list[typing.Any]:
        """Claim devices and save rows and summary, as nova-compute does.

        :param host: where
        :param requests: InstancePCIRequest objects
        :param numa: InstanceNUMATopology fitted to the host, if any
        :param allocate: go on from 'claimed' to 'allocated'
        :returns: the PciDevice objects
        :raises compute_host.ClaimFailed: if Nova gives fewer devices than
            were asked for; nothing is stored then
        """
        tracker = self._trackers[host.name]
        instance = objects.Instance(
            uuid=uuidutils.generate_uuid(),
            pci_devices=objects.PciDeviceList(objects=[]))
        with self.transaction(host.cell) as context:
            try:
                devices = compute_host.claim(
                    context, host, tracker, requests, numa, instance.uuid)
            except compute_host.ClaimFailed:
                self._trackers[host.name] = compute_host.new_tracker(
                    context, host)
                raise
            if allocate:
                tracker.allocate_instance(instance)
            compute_host.save(context, host, tracker)
        return devices

    def claim_error(
        self,
        host: compute_host.Host,
        requests: Sequence[typing.Any],
        numa: typing.Any = None,
    ) -> str | None:
        """Try a claim on a fresh tracker without storing anything.

        :param host: where
        :param requests: InstancePCIRequest objects
        :param numa: InstanceNUMATopology fitted to the host, if any
        :returns: None if the claim succeeds, else why it failed
        """
        with self.target(host.cell) as context:
            tracker = compute_host.new_tracker(context, host)
            try:
                compute_host.claim(context, host, tracker, requests, numa)
            except compute_host.ClaimFailed as error:
                return error.reason
        return None

    def host_manager(
        self,
        enabled_filters: Sequence[str] = scheduling.PCI_FILTER,
        available_filters: Sequence[str] = scheduling.IN_TREE_FILTERS,
    ) -> typing.Any:
        """Build the scheduler's HostManager under the given options.

        :param enabled_filters: [filter_scheduler]enabled_filters
        :param available_filters: [filter_scheduler]available_filters
        """
        return scheduling.host_manager(enabled_filters, available_filters)

    def summary(self, host: compute_host.Host) -> str | None:
        """Return the stored text of compute_nodes.pci_stats."""
        with self.target(host.cell) as context:
            row = main_db.compute_node_get(context, host.node_id)
        return typing.cast('str | None', row['pci_stats'])

    def store_summary(
        self, host: compute_host.Host, text: str | None,
    ) -> None:
        """Overwrite compute_nodes.pci_stats; nova-compute won't notice."""
        with self.target(host.cell) as context:
            main_db.compute_node_update(
                context, host.node_id, {'pci_stats': text})

    def falsify_summary(
        self,
        host: compute_host.Host,
        change: Callable[[typing.Any], typing.Any],
    ) -> None:
        """Change the JSON in compute_nodes.pci_stats.

        :param host: whose summary
        :param change: gets the decoded JSON, returns what to store; None
            stores NULL
        """
        changed = change(json.loads(self.summary(host) or 'null'))
        self.store_summary(
            host, None if changed is None else json.dumps(changed))

    def falsify_counts(
        self, host: compute_host.Host, change: Callable[[int], int],
    ) -> None:
        """Change every count in compute_nodes.pci_stats, and only them."""
        def change_all(summary: typing.Any) -> typing.Any:
            for pool in summary['nova_object.data']['objects']:
                data = pool['nova_object.data']
                data['count'] = change(data['count'])
            return summary
        self.falsify_summary(host, change_all)
