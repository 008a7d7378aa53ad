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

"""Who has which device, according to the databases of the cells."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json

import sqlalchemy as sa
from sqlalchemy import pool

from pci_filter.tests.deployment import hosts

_DEVICES = sa.text('''
    SELECT n.host, d.address, d.dev_type, d.parent_addr, d.status,
           d.instance_uuid
    FROM pci_devices d JOIN compute_nodes n ON n.id = d.compute_node_id
    WHERE d.deleted = 0 AND n.deleted = 0 ORDER BY n.host, d.address''')

_SUMMARIES = sa.text(
    'SELECT id, pci_stats FROM compute_nodes WHERE deleted = 0')

_FALSIFY = sa.text(
    'UPDATE compute_nodes SET pci_stats = :pci_stats WHERE id = :id')

_FREEZE = sa.text('''
    CREATE TRIGGER frozen_pci_stats BEFORE UPDATE ON compute_nodes
    FOR EACH ROW SET NEW.pci_stats = OLD.pci_stats''')

_THAW = sa.text('DROP TRIGGER IF EXISTS frozen_pci_stats')


@dataclasses.dataclass(frozen=True)
class Device:
    """A row of ``pci_devices``."""

    host: str
    address: str
    dev_type: str
    parent_addr: str | None
    status: str
    instance_uuid: str | None


class Books:
    """Reads the databases of the cells, and falsifies summaries.

    :param urls: of the databases
    """

    def __init__(self, urls):
        # Nothing is kept that a server's end would break.
        self._engines = [
            sa.create_engine(url, poolclass=pool.NullPool) for url in urls]

    def devices(self):
        """Return all devices."""
        return [Device(*row) for row in self._read(_DEVICES)]

    def falsify(self, count):
        """Let all summaries say that there are so many of each kind.

        They do so until restore() is called, whatever nova-compute writes.
        """
        self.restore()
        for engine in self._engines:
            with engine.begin() as connection:
                for row in connection.execute(_SUMMARIES).all():
                    connection.execute(_FALSIFY, {
                        'id': row.id,
                        'pci_stats': _with_counts(row.pci_stats, count)})
                connection.execute(_FREEZE)

    def restore(self):
        """Let nova-compute write summaries again."""
        for engine in self._engines:
            with engine.begin() as connection:
                connection.execute(_THAW)

    def summary_counts(self):
        """Return all the counts that the summaries have."""
        return {entry['nova_object.data']['count']
                for row in self._read(_SUMMARIES)
                for entry in _entries(json.loads(row.pci_stats))}

    def _read(self, statement):
        try:
            for engine in self._engines:
                with engine.connect() as connection:
                    yield from connection.execute(statement).all()
        except sa.exc.OperationalError as error:
            raise ConnectionError(str(error.orig)) from error


def _entries(summary):
    return summary['nova_object.data']['objects']


def _with_counts(summary, count):
    content = json.loads(summary)
    for entry in _entries(content):
        entry['nova_object.data']['count'] = count
    return json.dumps(content)


def hosts_with_room(devices, wanted):
    """Return the names of the hosts where a request fits.

    :param devices: all devices
    :param wanted: how many of each kind, a dict with keys of hosts.TYPES
    """
    by_host = collections.defaultdict(list)
    for device in devices:
        if device.status == 'available':
            by_host[device.host].append(device)
    return {name for name, free in by_host.items() if _fits(free, wanted)}


def _fits(free, wanted):
    by_type = collections.defaultdict(list)
    for device in free:
        by_type[device.dev_type].append(device)
    if len(by_type[hosts.TYPES['gpu']]) < wanted.get('gpu', 0):
        return False
    # A physical function that is given away takes its virtual ones along.
    return any(
        sum(function.parent_addr not in {nic.address for nic in given}
            for function in by_type[hosts.TYPES['function']])
        >= wanted.get('function', 0)
        for given in itertools.combinations(
            by_type[hosts.TYPES['nic']], wanted.get('nic', 0)))


def hosts_with_leaks(devices, servers):
    """Return the hosts that hold devices for what is no server any more."""
    return {device.host for device in devices
            if device.instance_uuid and device.instance_uuid not in servers}


def find_faults(devices, servers, guests):
    """Return what is wrong, as texts.

    :param devices: all devices
    :param servers: by their ids, the hosts of the servers and what they want:
        dicts with keys of hosts.TYPES
    :param guests: by host and id, the addresses of the devices of each guest
    """
    held = collections.defaultdict(list)
    for device in devices:
        if device.status in ('allocated', 'claimed') or device.instance_uuid:
            held[device.instance_uuid].append(device)
    return [
        *_wrongly_held(held, servers),
        *_taken_twice(devices, guests),
        *_unavailable_for_nothing(devices),
        *_unlike_guests(held, servers, guests),
    ]


def _wrongly_held(held, servers):
    for uuid in held.keys() - servers.keys():
        yield f'{held[uuid]} are held for what is no server'
    for uuid, (host, wanted) in servers.items():
        expected = sorted(
            (host, hosts.TYPES[kind], 'allocated')
            for kind, count in wanted.items() for _ in range(count))
        found = sorted((device.host, device.dev_type, device.status)
                       for device in held[uuid])
        if found != expected:
            yield f'server {uuid} has {found} instead of {expected}'


def _taken_twice(devices, guests):
    status = {(device.host, device.address): device.status
              for device in devices}
    for device in devices:
        parent = (device.host, device.parent_addr)
        if (device.status == 'allocated'
                and status.get(parent) in ('allocated', 'available')):
            yield f'{device} is allocated, its parent is {status[parent]}'
    users = collections.Counter(
        (host, address) for (host, _), addresses in guests.items()
        for address in addresses)
    for place, count in users.items():
        if count > 1:
            yield f'{place} is in {count} guests'


def _unavailable_for_nothing(devices):
    used = {(device.host, address) for device in devices
            if device.status == 'allocated'
            for address in (device.address, device.parent_addr)}
    for device in devices:
        if device.status not in ('available', 'allocated') and not used & {
                (device.host, device.address),
                (device.host, device.parent_addr)}:
            yield f'{device} has no relative in use'


def _unlike_guests(held, servers, guests):
    expected = {
        (host, uuid): sorted(device.address for device in held[uuid])
        for uuid, (host, _) in servers.items()}
    if guests != expected:
        yield f'the guests have {guests}, the rows say {expected}'
