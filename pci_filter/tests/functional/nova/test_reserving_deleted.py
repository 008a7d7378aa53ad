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


"""Servers that are deleted before their cell has a row of them.

What nova-api and nova-conductor do in the API database is done here by their
own code, and in their order.
"""

import threading

import fixtures
from nova.compute import api as compute_api
from nova.conductor import manager as conductor_manager
from nova import context as nova_context
from nova.db.api import api as api_db
from nova import objects
import sqlalchemy as sa

from pci_filter.db import asked_for
from pci_filter.scheduler import api_reader
from pci_filter.tests.functional.nova import documented
from pci_filter.tests.functional.nova import selecting

READER = api_reader.__name__
ENDED = 'has ended: its build was called off'


class Asked(selecting.Server):
    """A server that was asked for.

    :param spec: its RequestSpec
    """

    def __init__(self, case, spec):
        super().__init__(
            case, spec.pci_requests.requests, spec.instance_uuid)
        context = nova_context.get_admin_context()
        spec = spec.obj_clone()
        spec._context = context
        spec.obj_reset_changes(['id'])
        compute_api.API._create_reqspec_buildreq_instmapping(
            context, spec, objects.BuildRequest(
                context, instance_uuid=self.uuid, project_id='project',
                instance=objects.Instance(
                    uuid=self.uuid, project_id='project', user_id='user',
                    vm_state='building', task_state='scheduling'),
                block_device_mappings=objects.BlockDeviceMappingList(
                    objects=[]), tags=objects.TagList(objects=[])),
            objects.InstanceMapping(
                context, instance_uuid=self.uuid, project_id='project',
                user_id='user', cell_mapping=None))

    def end_request(self):
        """Remove the build request, as the conductor or nova-api does."""
        objects.BuildRequest.get_by_instance_uuid(
            nova_context.get_admin_context(), self.uuid).destroy()

    def forget(self):
        """Remove the mapping, as the conductor of a deleted one does."""
        objects.InstanceMapping.get_by_instance_uuid(
            nova_context.get_admin_context(), self.uuid).destroy()

    def map(self, cell):
        """Map it to a cell, as the conductor does."""
        conductor_manager.ComputeTaskManager._map_instance_to_cell(
            nova_context.get_admin_context(), self, cell)


class DeletedTestCase(selecting.SelectingTestCase):

    def setUp(self):
        super().setUp()
        self.host = self.add_gpus('host0')
        spec = self.spec(selecting.gpu_request())
        self.server = Asked(self, spec)
        self.select_all(spec)

    def refuse(self):
        self.assertIn(self.server.uuid, self.assertNoneFits(
            selecting.gpu_request()))

    def grant(self):
        self.select(selecting.gpu_request())
        self.assertEqual(1, len(self.log_lines(
            f'for instance {self.server.uuid} {ENDED}')))


class TestDeleted(DeletedTestCase):

    def test_deleted(self):
        """Its device is free at once."""
        self.refuse()
        self.server.end_request()
        self.grant()
        self.assertEqual([], self.log_lines('WARNING pci_filter'))

    def test_conductor_has_noticed(self):
        self.server.end_request()
        self.server.forget()
        self.grant()

    def test_buried(self):
        """The conductor did not get an answer, and takes it to cell0."""
        self.server.map(objects.CellMapping.get_by_uuid(
            nova_context.get_admin_context(), objects.CellMapping.CELL0_UUID))
        self.refuse()
        self.server.end_request()
        self.grant()

    def test_on_its_way(self):
        """Whatever the conductor has done, and nobody else."""
        self.server.create(self.host)
        self.refuse()
        self.server.map(self.host.cell)
        self.refuse()
        self.server.end_request()
        self.refuse()
        self.server.arrive().claim().build()
        self.assertEqual('', self.assertNoneFits(selecting.gpu_request()))

    def test_deleted_while_conductor_makes_the_row(self):
        """It may die before it has noticed."""
        self.server.end_request()
        self.server.create(self.host)
        self.grant()

    def test_deleted_while_conductor_maps_it(self):
        self.server.create(self.host)
        self.server.end_request()
        self.server.map(self.host.cell)
        # The conductor is about to notice.
        self.refuse()
        self.server.set(deleted=1)
        self.select(selecting.gpu_request())

    def test_row_comes_meanwhile(self):
        """The row is not there yet, and the build request not any more."""
        load = asked_for.load
        steps = [lambda: self.server.create(self.host),
                 lambda: self.server.map(self.host.cell),
                 self.server.end_request]

        def load_later(*args):
            while steps:
                steps.pop(0)()
            return load(*args)

        with fixtures.MonkeyPatch('pci_filter.db.asked_for.load', load_later):
            self.refuse()
        self.assertEqual([], steps)

    def test_unknown(self):
        """A database that lags may know nothing of it yet."""
        self.server.end_request()
        self.server.forget()
        context = nova_context.get_admin_context()
        objects.RequestSpec.get_by_instance_uuid(
            context, self.server.uuid).destroy()
        self.refuse()

    def test_nobody_asks_in_vain(self):
        """Nothing is read but where it may make a difference."""
        self.add_gpus('host1')
        with fixtures.MonkeyPatch('pci_filter.db.asked_for.load', self.fail):
            other = self.select(
                selecting.gpu_request(), ignore_hosts=['host0'])
            other.create(other.host).arrive()
            self.assertIn(other.uuid, self.assertNoneFits(
                selecting.gpu_request(), ignore_hosts=['host0']))
            self.server.create(self.host).arrive()
            self.refuse()
        self.assertEqual([], self.log_lines(f'DEBUG {READER}'))


class TestOtherCell(DeletedTestCase):

    cells = 2

    def test_resized_to_another_cell(self):
        """It has neither a row there nor a build request."""
        self.server.boot(self.host)
        self.server.map(self.host.cell)
        self.server.end_request()
        there = self.add_gpus('host1', cell=1)
        self.server.set(task_state='resize_prep')
        self.client.forget(self.server.uuid)
        spec = self.spec(selecting.gpu_request(), ignore_hosts=['host0'])
        spec.instance_uuid = self.server.uuid
        self.select_all(spec)
        self.assertEqual([self.server.uuid], self.counting(there))
        self.refuse()


class TestFailures(DeletedTestCase):
    """If the API database does not answer the reservation counts."""

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(f'{READER}._PAUSE', 3600))
        self.server.end_request()

    def test_fails(self):
        def rename(before, after):
            with api_db.get_engine().begin() as connection:
                connection.execute(sa.text(
                    f'ALTER TABLE {before} RENAME TO {after}'))

        rename('build_requests', 'elsewhere')
        self.addCleanup(rename, 'elsewhere', 'build_requests')
        for _ in range(2):
            self.refuse()
        self.check_lines(2, 'no such table: build_requests')

    def test_hangs(self):
        self.useFixture(fixtures.MonkeyPatch(f'{READER}._PATIENCE', 0.05))
        over = threading.Event()
        self.addCleanup(over.set)

        def load(*args):
            over.wait()

        with fixtures.MonkeyPatch('pci_filter.db.asked_for.load', load):
            for _ in range(2):
                self.refuse()
        # It was asked once only.
        self.check_lines(1, 'it did not answer in time')

    def test_something_unexpected(self):
        def load(*args):
            raise RuntimeError('injected fault')

        with fixtures.MonkeyPatch('pci_filter.db.asked_for.load', load):
            for _ in range(2):
                self.refuse()
        self.check_lines(2, 'RuntimeError: injected fault')
        self.grant()

    def check_lines(self, number, text):
        """It costs no more than a line."""
        lines = self.log_lines(READER)
        self.assertEqual(number, len(lines), lines)
        for line in lines:
            self.assertRegex(line, documented.pattern('api-unread'))
            self.assertIn(text, line)
        self.assertEqual([], self.log_lines('WARNING pci_filter'))
