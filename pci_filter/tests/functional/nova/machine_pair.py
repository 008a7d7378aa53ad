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

"""Our tracker and Nova's own, side by side on equal hosts.

What is compared, and where Nova may be wrong, is said in
test_tracker_machine.
"""

import collections
import json

from nova import exception as nova_exception
from nova.pci import manager as nova_manager

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import scheduling
from pci_filter import known_nova
from pci_filter import model
from pci_filter import objects
from pci_filter.tags import pci_devices
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import computes
from pci_filter.tests.functional.nova import nova_release
from pci_filter.tests.functional.nova import row_states

#: These differ from database to database.
_OWN_COLUMNS = ('id', 'uuid', 'compute_node_id')

#: What a pool is made of that can change while the device stays there.
_PROPERTIES = ('vendor_id', 'product_id', 'numa_node', 'dev_type')

SOURCES = [pci_devices.PciDevicesTags(tests_base.options())]


class Pair:
    """Two compute nodes to which the same happens.

    :param test: the test, for its assertions
    :param cloud: an open cloud with two cells
    :param machine: a fleets.Machine, what both of them are
    """

    def __init__(self, test, cloud, machine):
        self._test = test
        self._cloud = cloud
        self.ours = self._compute(
            our_tracker.PciDevTracker, 0, 'ours', machine)
        self.nova = self._compute(
            nova_manager.PciDevTracker, 1, 'nova', machine)
        #: Our rows after the last step, and what Nova was found wrong in.
        self.rows = {}
        self.faults = collections.Counter()
        #: Families of devices whose states were made wrong, and are so still.
        self.broken = set()
        self._forget()

    def _compute(self, tracker_class, cell, name, machine):
        return computes.Compute(
            self._cloud, tracker_class, cell, name,
            scheduling.host_numa_topology(machine.sockets)
            if machine.sockets else None, machine.in_placement)

    def _forget(self):
        """Nova's pools are new: nothing has happened to them yet."""
        self._changed = set()
        self._beside_removed = set()
        self._removed = set()

    def refresh(self):
        """Let Nova's tracker make its pools anew, and know all else still."""
        old = self.nova.tracker
        self.nova.tracker = self.nova.new_tracker()
        self.nova.tracker.stale = old.stale
        known_nova.removed_when_freed(self.nova.tracker).update(
            known_nova.removed_when_freed(old))
        self._forget()

    def equalize(self):
        """Let Nova go on from our rows."""
        self.nova.copy_rows(self.ours)
        self.refresh()

    def do(self, method, *args):
        """Let the same happen to both, and compare them."""
        # A start forgets it, and finds it out anew.
        held = set() if method == 'start' else self._held()
        getattr(self.ours, method)(*args)
        before, self.rows = self.rows, self.ours.rows()
        self._changed |= {
            address for address in self.rows.keys() & before.keys()
            if _properties(self.rows[address]) != _properties(before[address])}
        try:
            getattr(self.nova, method)(*args)
        except nova_exception.PciDevicePoolEmpty:
            # Nova looks for the device in the pool where it would be now.
            if not self._changed:
                raise
            self._fault('looks for a changed device in a wrong pool')
            self.equalize()
        if method == 'start':
            self._forget()
        removed = held - self._held()
        self._removed |= removed
        self._beside_removed |= {
            address for address, row in {**before, **self.rows}.items()
            if row['parent_addr'] in removed or any(
                address == before[one]['parent_addr'] for one in removed)}
        self._check()

    def _held(self):
        """Return what Nova will remove when it is freed."""
        return set(known_nova.removed_when_freed(self.nova.tracker))

    def _fault(self, what):
        self.faults[what] += 1

    def claim(self, requests, numa, instance_uuid):
        """Claim on both; Nova's pools are those of a fresh tracker.

        :returns: whether that succeeded
        """
        self.refresh()
        before = self.ours.pools()
        outcomes = [self._claim(compute, requests, numa, instance_uuid)
                    for compute in (self.ours, self.nova)]
        (claimed, error), (expected, nova_error) = outcomes
        self._test.assertEqual(
            expected, claimed, f'ours: {error}, Nova: {nova_error}')
        if nova_error:
            self.refresh()
        if error:
            self._test.assertTrue(error.clean, error)
            self._test.assertEqual(before, self.ours.pools())
            # Nothing may be left to be saved either.
            with self.ours.transaction() as context:
                self.ours.tracker.save(context)
            self._test.assertEqual(self.rows, self.ours.rows())
        self.rows = self.ours.rows()
        self._check()
        return error is None

    @staticmethod
    def _claim(compute, requests, numa, instance_uuid):
        try:
            return compute.claim(
                [request.obj_clone() for request in requests], numa,
                instance_uuid)[1], None
        except computes.Refused as error:
            return None, error

    def _check(self):
        """Check that ours is right, and that Nova is or why it is not."""
        wrong = {family(self.rows[address]) for address
                 in row_states.wrong_states(self.rows)}
        self._test.assertEqual(
            set(), wrong - self.broken, self._states(self.rows))
        self.broken &= wrong
        fresh = self.ours.new_tracker(nova_manager.PciDevTracker)
        pools = _without_null(self.ours.pools())
        self._test.assertEqual(
            _without_null(self.ours.pools(fresh)), pools)
        self._test.assertEqual(pools, _without_null(self._loaded_pools()))
        self._check_owners()
        differing = self._differing_rows()
        if self._check_nova_pools(fresh, differing) or differing:
            self.equalize()

    def _loaded_pools(self):
        """Return the pools that the scheduler would load."""
        host = self.ours.host
        with self._cloud.engine(host.cell).connect() as connection:
            return objects.PciDevicePoolList.get_by_compute_node(
                connection, model.ComputeNode(
                    host.node_uuid, host.name, host.name), SOURCES).pools

    def _check_owners(self):
        """Our tracker knows who has what."""
        tracker = self.ours.tracker
        for status, owned in (('claimed', tracker.claims),
                              ('allocated', tracker.allocations)):
            self._test.assertEqual(
                sorted((row['instance_uuid'], address)
                       for address, row in self.rows.items()
                       if row['status'] == status),
                sorted((uuid, device.address)
                       for uuid, devices in owned.items()
                       for device in devices))

    def _differing_rows(self):
        """Return where Nova's rows are others, for a reason that is known."""
        nova_rows = self.nova.rows()
        ours, nova = _comparable(self.rows), _comparable(nova_rows)
        wrong = row_states.wrong_states(nova_rows)
        differing = {address for address in ours.keys() | nova.keys()
                     if ours.get(address) != nova.get(address)}
        reported = {device['address'] for device in self.ours.devices}
        for address in differing:
            if address in wrong:
                self._fault(f'state: {wrong[address]}')
            elif address in self._removed & reported:
                self._fault('removes a device that is there again')
            elif address in self._beside_removed:
                self._fault('state beside a removed device')
            elif not nova_release.REMOVES_WHEN_FREED and address not in ours:
                # Bug 2115905.
                self._fault('keeps a device that is gone')
            else:
                self._test.assertEqual(nova.get(address), ours.get(address))
        return differing

    def _check_nova_pools(self, fresh, differing):
        """Tell whether Nova's pools are wrong, for a reason that is known."""
        expected = _places(fresh)
        actual = _places(self.nova.tracker)
        wrong = {
            address for address in expected.keys() | actual.keys()
            if expected.get(address) != actual.get(address)} - differing
        for address in wrong:
            right, place = expected.get(address), actual.get(address)
            if address in self._beside_removed and place is None:
                self._fault('forgets relatives of a removed device')
            elif address in self._changed and right and place:
                self._fault('leaves a changed device in its pool')
            elif right and place and place == {
                    **right, 'rp_uuid': None}:
                self._fault('forgets the provider of a pool')
            else:
                self._test.assertEqual(right, place, f'Nova, {address}')
        return wrong

    @staticmethod
    def _states(rows):
        return ' '.join(f'{address}={row["status"]}'
                        for address, row in sorted(rows.items()))


def family(row):
    """Return the address that a port and its functions have in common."""
    return row['parent_addr'] or row['address']


def _properties(row):
    return (*(row[name] for name in _PROPERTIES),
            json.loads(row['extra_info']).get('parent_ifname'))


def _comparable(rows):
    """Return rows without what may differ between two databases."""
    result = {}
    for address, row in rows.items():
        extra_info = json.loads(row['extra_info'])
        extra_info.pop(model.STORED_TAGS_KEY, None)
        result[address] = {
            key: value for key, value in row.items()
            if key not in _OWN_COLUMNS} | {'extra_info': extra_info}
    return result


def _without_null(pools):
    """Drop tags that are null: nothing can ask for them."""
    return [{key: value for key, value in pool.items() if value is not None}
            for pool in pools]


def _places(tracker):
    """Tell the pool that each device is in, by address."""
    return {
        device.address: {'rp_uuid': None, **{
            key: value for key, value in pool.items()
            if key not in ('devices', 'count') and value is not None}}
        for pool in tracker.stats.pools for device in pool['devices']}
