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

import dataclasses

from pci_filter import matching
from pci_filter.reservations import reservation
from pci_filter.reservations import sight
from pci_filter.tests import base

HERE, THERE = 'node-1', 'node-2'
End = sight.End

#: What the states of an instance mean to its reservation. The name is Nova's
#: function that leaves it so; then the task state that the instance waits in,
#: its node, vm_state and task_state, and the end.
STATES = (
    # Boot (nova.conductor.manager, nova.compute.manager).
    ('schedule_and_build_instances', 'scheduling',
     None, 'building', 'scheduling', None),
    ('_do_build_and_run_instance', 'scheduling',
     None, 'building', None, None),
    ('_set_instance_host_and_node', 'scheduling',
     HERE, 'building', None, None),
    ('_set_instance_host_and_node elsewhere', 'scheduling',
     THERE, 'building', None, End.ELSEWHERE),
    ('_allocate_network_async', 'scheduling',
     HERE, 'building', 'networking', End.OVER),
    ('_prep_block_device', 'scheduling',
     HERE, 'building', 'block_device_mapping', End.OVER),
    ('_build_and_run_instance', 'scheduling',
     HERE, 'building', 'spawning', End.OVER),
    ('_update_instance_after_spawn', 'scheduling',
     HERE, 'active', None, End.OVER),
    ('_set_instance_obj_error_state', 'scheduling',
     None, 'error', None, End.OVER),
    ('API.delete while it boots', 'scheduling',
     HERE, 'building', 'deleting', None),
    ('_delete_instance', 'scheduling',
     HERE, 'deleted', None, End.OVER),
    ('_do_build_and_run_instance, rescheduled', 'scheduling',
     None, 'building', 'scheduling', None),
    # Unshelve: spawning is set before the claim (_unshelve_instance).
    ('API.unshelve', 'unshelving',
     None, 'shelved_offloaded', 'unshelving', None),
    ('_unshelve_instance', 'unshelving',
     None, 'shelved_offloaded', 'spawning', None),
    ('_unshelve_instance after its claim', 'unshelving',
     HERE, 'shelved_offloaded', 'spawning', None),
    ('_unshelve_instance in the end', 'unshelving',
     HERE, 'active', None, End.OVER),
    # Resize and cold migration: of the node it leaves, until the claim.
    ('API.resize', 'resize_prep', THERE, 'active', 'resize_prep', None),
    ('API.resize to the same host', 'resize_prep',
     HERE, 'active', 'resize_prep', None),
    ('_resize_instance', 'resize_prep',
     THERE, 'active', 'resize_migrating', End.OVER),
    ('_finish_resize', 'resize_prep', HERE, 'resized', None, End.OVER),
    ('_revert_allocation', 'resize_prep', THERE, 'active', None, End.OVER),
    # Live migration keeps its task state until it has ended.
    ('API.live_migrate', 'migrating', THERE, 'active', 'migrating', None),
    ('_post_live_migration_update_host', 'migrating',
     HERE, 'active', None, End.OVER),
    # Evacuation.
    ('API.evacuate', 'rebuilding', THERE, 'active', 'rebuilding', None),
    ('API.evacuate of one in error', 'rebuilding',
     THERE, 'error', 'rebuilding', None),
    ('_rebuild_default_impl', 'rebuilding', HERE, 'active',
     'rebuild_block_device_mapping', End.OVER),
    ('_do_rebuild_instance', 'rebuilding',
     HERE, 'active', None, End.OVER),
)


def _requests(*counts):
    return tuple(matching.DeviceRequest.compile(
        f'alias {number}', count, [{'vendor_id': '8086'}])
        for number, count in enumerate(counts))


def _one(waits_in='scheduling', counts=(2,), devices=None, had=(),
         made_at=1000.0):
    return reservation.Reservation(
        'a', _requests(*counts), sum(counts) if devices is None else devices,
        frozenset(had), waits_in, made_at, 'host:1')


def _sight(instance=None, owned=(), now=1010.0):
    return sight.Sight(
        now, HERE, {'a': instance} if instance else {},
        {'a': frozenset(owned)} if owned else {})


class TestEnd(base.UnitTestCase):

    def test_states(self):
        for name, waits_in, node, vm_state, task_state, end in STATES:
            self.assertEqual(end, sight.end(_one(waits_in), _sight(
                sight.Instance(node, vm_state, task_state, False)), 60), name)

    def test_deleted(self):
        for name, waits_in, node, vm_state, task_state, _ in STATES:
            self.assertEqual(End.DELETED, sight.end(_one(waits_in), _sight(
                sight.Instance(node, vm_state, task_state, True)), 60), name)

    def test_claimed(self):
        for name, waits_in, node, vm_state, task_state, _ in STATES:
            for deleted in (False, True):
                # One that is deleted with its host down has its devices yet,
                # and those that see less must know of that.
                self.assertEqual(End.CLAIMED, sight.end(
                    _one(waits_in), _sight(sight.Instance(
                        node, vm_state, task_state, deleted), (1, 2)), 60),
                    name)

    def test_expired(self):
        waiting = sight.Instance(None, 'building', 'scheduling', False)
        for now, end in ((1059.9, None), (1060.0, End.EXPIRED),
                         (940.1, None), (940.0, End.EXPIRED)):
            self.assertEqual(
                end, sight.end(_one(), _sight(waiting, now=now), 60), now)

    def test_no_row(self):
        # The conductor makes it after the scheduler has answered.
        self.assertIsNone(sight.end(_one(), _sight(), 60))
        for waits_in in ('unshelving', 'resize_prep', 'migrating',
                         'rebuilding', None):
            self.assertEqual(
                End.DELETED, sight.end(_one(waits_in), _sight(), 60))

    def test_asked_for(self):
        for waits, mapped, end in (
                (True, False, None), (True, True, None), (False, True, None),
                (False, False, End.CALLED_OFF)):
            seen = dataclasses.replace(
                _sight(), asked={'a': sight.Asked(waits, mapped)})
            self.assertEqual(end, sight.end(_one(), seen, 60))
            # What the cell has is more.
            self.assertEqual(End.CLAIMED, sight.end(
                _one(), dataclasses.replace(
                    seen, owned={'a': frozenset((1, 2))}), 60))
            row = sight.Instance(None, 'building', 'scheduling', False)
            self.assertEqual(end, sight.end(_one(), dataclasses.replace(
                seen, instances={'a': row}), 60))
            self.assertEqual(End.DELETED, sight.end(
                _one(), dataclasses.replace(
                    seen, instances={'a': row._replace(deleted=True)}), 60))
            self.assertEqual(
                End.DELETED, sight.end(_one('resize_prep'), seen, 60))
        # Of another one.
        self.assertIsNone(sight.end(_one(), dataclasses.replace(
            _sight(), asked={'b': sight.Asked(False, False)}), 60))

    def test_may_be_called_off(self):
        row = sight.Instance(None, 'building', 'scheduling', False)
        for waits_in, instance, may in (
                ('scheduling', None, True), ('scheduling', row, True),
                ('scheduling', row._replace(node=HERE), False),
                ('scheduling', row._replace(task_state=None), False),
                ('unshelving', None, False), ('unshelving', row, False)):
            self.assertEqual(may, sight.may_be_called_off(
                _one(waits_in), _sight(instance)))

    def test_hidden_copy(self):
        # Of a resize to another cell: CrossCellMigrationTask makes it.
        copy = sight.Instance(THERE, 'active', 'resize_prep', False, True)
        self.assertIsNone(sight.end(_one(), _sight(copy), 60))
        self.assertEqual(End.CLAIMED, sight.end(
            _one(), _sight(copy, (1, 2)), 60))
        self.assertEqual(End.DELETED, sight.end(
            _one(), _sight(copy._replace(deleted=True)), 60))

    def test_resize_to_the_same_host(self):
        instance = sight.Instance(HERE, 'active', 'resize_prep', False)
        one = _one('resize_prep', had=(1, 2))
        for owned, end in (((1, 2), None), ((1, 2, 3), None),
                           ((1, 2, 3, 4), End.CLAIMED), ((2, 3), None)):
            self.assertEqual(
                end, sight.end(one, _sight(instance, owned), 60), owned)

    def test_final(self):
        self.assertEqual(
            set(End) - {End.CLAIMED}, {end for end in End if end.is_final})

    def test_fewer_devices_than_asked_for(self):
        """Whoever sees less does not see the one that it has."""
        self.assertEqual(End.CLAIMED, sight.end(_one('migrating'), _sight(
            sight.Instance(HERE, 'active', None, False), (1,)), 60))


class TestToCome(base.UnitTestCase):

    def test_one_request(self):
        one = _one(counts=(3,))
        for owned, counts in (((), [3]), ((7,), [2]), ((7, 8), [1])):
            self.assertEqual(counts, [
                request.count for request in sight.to_come(
                    one, _sight(owned=owned))])
            self.assertEqual(
                bool(owned), sight.is_arriving(one, _sight(owned=owned)))

    def test_several_requests(self):
        # Nobody knows which of them the first device is for.
        one = _one(counts=(1, 2))
        for owned in ((), (7,), (7, 8)):
            self.assertEqual(
                one.requests, sight.to_come(one, _sight(owned=owned)))
            self.assertEqual(
                bool(owned), sight.is_arriving(one, _sight(owned=owned)))

    def test_beside_placement(self):
        # Two of the four are placement's, and are not in the requests.
        one = _one(counts=(2,), devices=4)
        for owned, count in ((0, 2), (1, 2), (2, 2), (3, 1)):
            self.assertEqual([count], [
                request.count for request in sight.to_come(
                    one, _sight(owned=range(owned)))])


class TestWaitsIn(base.UnitTestCase):

    def test_waits_in(self):
        for instance, expected in (
                (None, 'scheduling'),
                ((None, 'building', 'scheduling'), 'scheduling'),
                ((None, 'building', None), 'scheduling'),
                ((None, None, None), 'scheduling'),
                ((None, 'shelved_offloaded', 'unshelving'), 'unshelving'),
                ((THERE, 'active', 'resize_prep'), 'resize_prep'),
                ((THERE, 'stopped', 'migrating'), 'migrating'),
                ((THERE, 'error', 'rebuilding'), 'rebuilding')):
            self.assertEqual(expected, sight.waits_in(
                instance and sight.Instance(*instance, False)))
