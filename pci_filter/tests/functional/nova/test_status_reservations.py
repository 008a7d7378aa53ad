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

"""What ``pci-filter-status`` says of reservations."""

import datetime
import os

from nova import context as nova_context
from nova.db.main import api as main_db
from nova import objects
from oslo_utils import timeutils

from pci_filter.tests.functional.nova import status

CHECK = 'Reservations'


class TestReservations(status.StatusTestCase):

    cells = 1

    def setUp(self):
        super().setUp()
        self.admin = nova_context.get_admin_context()
        cell0 = objects.CellMapping.get_by_uuid(
            self.admin, objects.CellMapping.CELL0_UUID)
        self.conf += f'[database]\nconnection = {cell0.database_connection}\n'
        self.services = []
        self.addCleanup(self._remove_services)

    def _remove_services(self):
        for service in self.services:
            main_db.service_destroy(self.admin, service['id'])

    def add_scheduler(self, host, **values):
        """Add a service that was last seen just now, unless values say so."""
        values.setdefault('last_seen_up', timeutils.utcnow())
        self.services.append(main_db.service_create(self.admin, {
            'host': host, 'binary': 'nova-scheduler', 'topic': 'scheduler',
            'report_count': 1, **values}))

    def details(self, code, **more):
        found, details = self.results(code, **more)[CHECK]
        self.assertEqual(code, found)
        return details

    def configured(self, *lines, before='[database]'):
        head, _, rest = self.conf.partition(before)
        return '\n'.join((head, *lines, before + rest))

    def test_one_scheduler(self):
        self.add_scheduler('controller-1')
        self.add_scheduler(
            'controller-2', last_seen_up=timeutils.utcnow()
            - datetime.timedelta(hours=2))
        self.add_scheduler('controller-3', binary='nova-conductor')
        details = self.details(0)
        self.assertRegex(
            details, rf'^local: \w+ may make {self.folder}/'
            r'pci_filter-reservations\.sqlite, which is not there yet\.')
        self.assertEqual(
            not os.geteuid(), 'run this as that user' in details)
        self.assertIn('nova-scheduler is up on controller-1 only.', details)
        self.assertEqual(['nova.conf'], os.listdir(self.folder))

    def test_several_schedulers(self):
        for name in '213':
            self.add_scheduler(f'controller-{name}')
        main_db.service_destroy(self.admin, self.services.pop()['id'])
        self.assertIn(
            'But nova-scheduler is up on 2 hosts: controller-1, controller-2.'
            ' Set [pci_filter]reservations to memcached: with local each '
            'knows only of its own reservations.', self.details(1))

    def test_what_is_up(self):
        self.add_scheduler('controller-1')
        self.add_scheduler(
            'controller-2', last_seen_up=timeutils.utcnow()
            - datetime.timedelta(seconds=100))
        self.add_scheduler('controller-3', last_seen_up=None)
        for lines, code in (((), 1), (['service_down_time = 200'], 1),
                            (['service_down_time = 0'], 0),
                            (['servicegroup_driver = mc'], 1)):
            details = self.details(code, conf=self.configured(
                *lines, before='[api_database]'))
            self.assertEqual(
                bool(lines) and bool(code), 'controller-2' in details)

    def test_no_scheduler_yet(self):
        self.assertIn(' nova-scheduler is up on no host.', self.details(0))

    def test_services_cannot_be_read(self):
        conf = self.conf.partition('[database]')[0]
        self.assertIn('nobody knows', self.details(0, conf=conf))
        conf += '[database]\nconnection = sqlite:////dev/null/no.db\n'
        details = self.details(1, conf=conf)
        self.assertIn('is not known: the database of [database]connection '
                      'cannot be read: ', details)
        self.assertIn('to memcached', details)

    def test_store_does_not_work(self):
        self.assertIn(
            'The store local of [pci_filter]reservations does not work: '
            '/dev/null/file: there is no folder /dev/null. Until it does, '
            'requests are served as without', self.details(
                1, conf=self.configured(
                    '[pci_filter]', 'reservation_file = /dev/null/file')))

    def test_none(self):
        self.assertEqual(
            '[pci_filter]reservations is none: requests are served as '
            'without reservations, and servers that are asked for at the same '
            'time may be sent to the same device.', self.details(
                0, conf=self.configured('[pci_filter]', 'reservations = none'))
        )

    def test_unknown_store(self):
        conf = self.configured('[pci_filter]', 'reservations = locall')
        results = self.results(2, conf=conf)
        self.check(
            results, CHECK, 2, 'nova-scheduler does not start: [pci_filter]'
            "reservations names the unknown store 'locall'. Choose from: ")
