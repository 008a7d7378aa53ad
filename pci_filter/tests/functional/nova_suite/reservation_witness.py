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

"""Checks when reservations end, in every test of Nova's that claims devices.

Which task states come before a claim is read in Nova's source, and only Nova
knows. So the moment is caught in which a tracker saves devices that it has
just claimed: the reservation must count right before it, must have ended right
after it, and must not come back.
"""

import functools

import nova.conf
from nova.db.main import api as main_db
from nova.pci import manager
import sqlalchemy as sa

from pci_filter.db import in_flight
from pci_filter.db import tables
from pci_filter.reservations import local
from pci_filter.reservations import reservation as reservation_module
from pci_filter.reservations import sight
from pci_filter.tests.functional.nova_suite import tally


class _Claims:
    """What a tracker is about to save.

    :param tracker: the PciDevTracker
    :param context: the context of its cell
    """

    def __init__(self, tracker, context):
        self._node_id = tracker.node_id
        self._context = context
        self.uuids = {
            device.instance_uuid for device in tracker.pci_devs
            # A claim to boot is saved as an allocation.
            if device.status in ('claimed', 'allocated')
            and 'instance_uuid' in device.obj_what_changed()}

    def look(self):
        """Return what the store has of these instances, and what is seen."""
        reader = main_db.get_context_manager(self._context).reader
        nodes = tables.compute_nodes.c
        uuids = list(self.uuids)
        with reader.connection.using(self._context) as connection:
            node_uuid, name = connection.execute(
                sa.select(nodes.uuid, nodes.hypervisor_hostname).where(
                    nodes.id == self._node_id)).one()
            instances = in_flight.load_instances(connection, uuids)
            owned = in_flight.load_owned(connection, node_uuid, uuids)
        store = local.LocalStore(nova.conf.CONF)
        text = store.read(node_uuid, 10).text
        store._forget_connection(busy=False)
        return [
            one for one in (reservation_module.loads(text) if text else ())
            if one.instance_uuid in self.uuids], sight.Sight(
                instances.now, name, instances.by_uuid, owned)


def _key(reservation):
    return reservation.instance_uuid, reservation.made_at


class _Witness:
    """Sees claims come, and whether reservations count until then.

    :param counts: where to count what is right and what is not
    """

    def __init__(self, counts):
        self._counts = counts
        self._claimed = set()
        self._save = manager.PciDevTracker.save
        self._end = sight.end

    def save(self, tracker, context):
        claims = _Claims(tracker, context)
        options = nova.conf.CONF.pci_filter
        if not claims.uuids or options.reservations != 'local':
            return self._save(tracker, context)
        timeout = options.reservation_timeout
        kept, seen = claims.look()
        for one in kept:
            ended = self._end(one, seen, timeout)
            if ended is None:
                self._note(tally.COUNTED, one, seen)
            elif _key(one) not in self._claimed:
                self._note(f'{tally.ENDED}early ({ended.name})', one, seen)
        result = self._save(tracker, context)
        kept, seen = claims.look()
        for one in kept:
            ended = self._end(one, seen, timeout)
            if ended is None and sight.is_arriving(one, seen):
                # A live migration claims the devices of ports and those of
                # the flavor one after the other.
                continue
            self._claimed.add(_key(one))
            if ended is None:
                self._note(f'{tally.ENDED}late', one, seen)
        return result

    def end(self, reservation, seen, timeout):
        ended = self._end(reservation, seen, timeout)
        if ended is None and _key(reservation) in self._claimed:
            self._note(f'{tally.ENDED}and came back', reservation, seen)
        return ended

    def _note(self, what, reservation, seen):
        row = seen.instances.get(reservation.instance_uuid)
        self._counts[
            f'{what}, waiting in {reservation.waits_in}, '
            f'in {row and (row.vm_state, row.task_state)}'] += 1


def install(counts):
    """Check in this process.

    :param counts: where to count what is right and what is not
    """
    witness = _Witness(counts)

    @functools.wraps(manager.PciDevTracker.save)
    def save(tracker, context):
        return witness.save(tracker, context)

    manager.PciDevTracker.save = save
    sight.end = witness.end
