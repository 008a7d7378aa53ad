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

"""What is left of a demo to try the other commands on."""

from collections.abc import Iterator
import datetime
import json
import pathlib
import typing

from nova import objects
from oslo_utils import timeutils
import sqlalchemy as sa

from pci_filter.cli.demo import cloud as embedded_cloud
from pci_filter.cli.demo import compute_host
from pci_filter.cli.demo import hardware
from pci_filter.db import tables

CONFIGURATION: typing.Final = 'nova.conf'

_AGE: typing.Final = datetime.timedelta(hours=1)

_ALIASES: typing.Final = (
    {'name': 'gpu', 'vendor_id': hardware.TESLA_V100.vendor_id,
     'product_id': hardware.TESLA_V100.product_id,
     'device_type': hardware.PCI},
    {'name': 'nic', 'vendor_id': hardware.CONNECTX_6.vendor_id,
     'product_id': hardware.CONNECTX_6.product_id,
     'device_type': hardware.PF},
    # A slip of the pen, to be found out.
    {'name': 'gpu-typo', 'vendor_id': hardware.TESLA_V100.vendor_id,
     'product_id': '1db5',
     'device_type': hardware.PCI},
)


def leave(
    cloud: embedded_cloud.EmbeddedCloud, directory: pathlib.Path,
) -> None:
    """Complete a cloud in a folder, so that an operator can look at it.

    :param cloud: it has its databases there
    :param directory: the folder
    """
    for host in cloud.hosts.values():
        _create_servers(cloud, host)
    for cell in cloud.cells:
        # What was written just now may not be in the summaries yet, would
        # the audit say.
        with cloud.transaction(cell) as context:
            context.session.execute(sa.update(tables.pci_devices).values(
                updated_at=timeutils.utcnow() - _AGE))
    (directory / CONFIGURATION).write_text(
        '\n'.join(_configuration(directory)), encoding='utf-8')


def _create_servers(
    cloud: embedded_cloud.EmbeddedCloud, host: compute_host.Host,
) -> None:
    """Create the instances that have devices of a host.

    Nobody booted them: the demo gave their devices away as a claim does.
    """
    devices = tables.pci_devices.c
    with cloud.transaction(host.cell) as context:
        owners = context.session.execute(
            sa.select(devices.instance_uuid).distinct().where(
                devices.compute_node_id == host.node_id,
                devices.deleted == 0,
                devices.instance_uuid.is_not(None))).scalars().all()
    with cloud.target(host.cell) as context:
        for uuid in owners:
            objects.Instance(
                context, uuid=uuid, host=host.name, node=host.name,
                compute_id=host.node_id, vm_state='active',
                project_id='demo', user_id='demo').create()


def _configuration(directory: pathlib.Path) -> Iterator[str]:
    """Yield the lines of nova.conf."""
    yield '[api_database]'
    yield f'connection = sqlite:///{directory}/api.db'
    yield ''
    yield '[database]'
    yield f'connection = sqlite:///{directory}/cell0.db'
    yield ''
    yield '[filter_scheduler]'
    yield 'available_filters = nova.scheduler.filters.all_filters'
    yield 'available_filters = pci_filter.scheduler.filters.all_filters'
    yield 'enabled_filters = ComputeFilter,PciPassthroughFilter'
    yield ''
    yield '[pci]'
    for alias in _ALIASES:
        yield f'alias = {json.dumps(alias)}'
    yield ''
