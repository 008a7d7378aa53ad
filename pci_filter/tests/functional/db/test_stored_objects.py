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

"""What is read of Nova's serialized objects, without Nova."""

import json

import sqlalchemy as sa
import testtools

from pci_filter.db import numa_topologies
from pci_filter.db import request_specs
from pci_filter.tests.functional.db import base

UUID = '11111111-2222-3333-4444-555555555555'


def serialized(**data):
    return {'nova_object.name': 'X', 'nova_object.data': data}


class TestTopologies(base.DatabaseMixin, testtools.TestCase):

    def test_topologies(self):
        cells = [serialized(id=0, socket=0), serialized(id=1, socket=None),
                 serialized(id=2)]
        self.insert_nodes([
            {'uuid': 'good', 'numa_topology': json.dumps(
                serialized(cells=cells))},
            {'uuid': 'none', 'numa_topology': None},
            *({'uuid': f'bad{number}', 'numa_topology': text}
              for number, text in enumerate((
                  '', '{', '[]', 'null', '{"cells": []}',
                  json.dumps(serialized(cells=[{}])),
                  json.dumps(serialized(cells=None))))),
            {'uuid': 'deleted', 'deleted': 3, 'numa_topology': json.dumps(
                serialized(cells=cells))},
            {'uuid': 'other', 'numa_topology': json.dumps(
                serialized(cells=[]))}])
        loaded = numa_topologies.load(self.connection, [
            'good', 'none', 'deleted', *(f'bad{n}' for n in range(7))])
        self.assertEqual(['good'], list(loaded))
        self.assertEqual(
            [(0, 0), (1, None), (2, None)],
            [(cell.id, cell.socket) for cell in loaded['good'].cells])


class TestRequestSpecs(testtools.TestCase):

    def setUp(self):
        super().setUp()
        engine = sa.create_engine('sqlite://', future=True)
        self.addCleanup(engine.dispose)
        request_specs.metadata.create_all(engine)
        self.connection = engine.connect()
        self.addCleanup(self.connection.close)

    def load(self, text):
        table = request_specs.metadata.tables['request_specs']
        self.connection.execute(sa.delete(table))
        self.connection.execute(sa.insert(table).values(
            instance_uuid=UUID, spec=text))
        return request_specs.load(self.connection, UUID)

    def test_requests(self):
        """Placement's choice for where the server is now is left out."""
        loaded = self.load(json.dumps(serialized(
            numa_topology=serialized(cells=[]),
            pci_requests=serialized(requests=[
                serialized(
                    count=2, alias_name='a', request_id='r',
                    numa_policy='socket', requester_id=None,
                    spec=[{'vendor_id': '8086', 'rp_uuids': 'x,y'}]),
                serialized(count=1, spec=[{'physical_network': None}])]))))
        self.assertEqual(request_specs.StoredRequest([
            request_specs.PciRequest(
                2, [{'vendor_id': '8086'}], 'a', 'r', None, 'socket'),
            request_specs.PciRequest(1, [{'physical_network': None}])],
            True), loaded)

    def test_none(self):
        for requests in (None, serialized(requests=[])):
            self.assertEqual(
                request_specs.StoredRequest([], False),
                self.load(json.dumps(serialized(
                    pci_requests=requests, numa_topology=None))))
        self.assertEqual(
            request_specs.StoredRequest([], False),
            self.load(json.dumps(serialized())))

    def test_no_such_server(self):
        self.assertIsNone(request_specs.load(self.connection, UUID))

    def test_malformed(self):
        for text in ('{', '[]', '{}', 'null', json.dumps(
                serialized(pci_requests={'x': 1})), json.dumps(
                serialized(pci_requests=serialized(requests=[{}])))):
            self.assertRaises(ValueError, self.load, text)
