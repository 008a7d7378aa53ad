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

"""Everything that is asked of Nova's databases, and rows to ask for."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import json
import typing
import unittest
import uuid

from oslo_utils import importutils
import sqlalchemy as sa

from pci_filter.audit import finding
from pci_filter.db import asked_for
from pci_filter.db import audit_facts
from pci_filter.db import cell_mappings
from pci_filter.db import compute_nodes
from pci_filter.db import device_groups
from pci_filter.db import fitting_nodes
from pci_filter.db import galera
from pci_filter.db import group_statement
from pci_filter.db import in_flight
from pci_filter.db import node_lists
from pci_filter.db import numa_topologies
from pci_filter.db import read_only
from pci_filter.db import repairs
from pci_filter.db import request_specs
from pci_filter.db import services
from pci_filter.db import tables
from pci_filter.db import timeouts
from pci_filter.matching import necessary
from pci_filter.matching import request as request_module
from pci_filter.tests.functional.db import base

_api_models = importutils.try_import('nova.db.api.models')

_CELL = ('compute_nodes', 'pci_devices', 'instances', 'instance_extra',
         'migrations', 'services')
_API = ('cell_mappings', 'request_specs', 'build_requests',
        'instance_mappings')

_TOO_LONG = 'migrations_by_host_nodes_and_status_idx'

_IDS = {'vendor_id': '8086', 'product_id': '154c'}
_OTHER = {'vendor_id': '10de', 'product_id': '20b5'}

#: What a database could read as something else, by its sql_mode.
_ODD: typing.Final = '"a" || \\b\\ \'c\''


class Asked(typing.NamedTuple):
    """What the questions are about.

    :param nodes: UUIDs of compute nodes
    :param node_ids: their ids
    :param instances: UUIDs
    """

    nodes: Sequence[str]
    node_ids: Sequence[int]
    instances: Sequence[str]


Question = Callable[[sa.engine.Connection, Asked], object]


def _groups(connection: sa.engine.Connection, asked: Asked) -> object:
    return [
        device_groups.load(connection, nodes, *options)
        for nodes in (asked.nodes, asked.nodes[:1])
        for options in (
            (), (True,), (False, False), (False, True, True),
            (True, True, True, True))]


def _ranges(connection: sa.engine.Connection, asked: Asked) -> object:
    """Return the ranges of two statements, and what these say."""
    statement = group_statement.statement(
        True, True, True, True, lists=0, in_range=True)
    return [
        (bound, sorted(map(repr, connection.execute(statement, bound))))
        for bound in node_lists.device_ranges(
            connection, 2 * node_lists.PER_STATEMENT)]


def _fitting(connection: sa.engine.Connection, asked: Asked) -> object:
    return [
        sorted(fitting_nodes.load(connection, needs, nodes))
        for needs in _NEEDS for nodes in (None, asked.nodes)]


def _facts(connection: sa.engine.Connection, asked: Asked) -> object:
    return [list(audit_facts.load(connection, ids))
            for ids in (None, asked.node_ids)]


def _orphans(connection: sa.engine.Connection, asked: Asked) -> object:
    return list(audit_facts.orphans(connection))


def _limit_session(connection: sa.engine.Connection, asked: Asked) -> object:
    timeouts.limit_session(connection.connection, 60)
    return None


def _repaired(connection: sa.engine.Connection, asked: Asked) -> object:
    """Return what becomes of a row, which is rolled back."""
    found = connection.execute(sa.select(
        tables.pci_devices.c.id, tables.pci_devices.c.extra_info,
    ).where(tables.pci_devices.c.extra_info.contains('card_serial'))).first()
    assert found is not None
    text = repairs.statement(finding.Repair(
        'pci_devices', found[0], {'extra_info': found[1], 'deleted': 0},
        {'extra_info': _ODD, **finding.DELETED}), connection.dialect)
    # As a client sends it, which knows no placeholders.
    with contextlib.closing(connection.connection.cursor()) as cursor:
        changed = cursor.execute(text)
    row = connection.execute(sa.select(
        tables.pci_devices.c.extra_info, tables.pci_devices.c.deleted,
    ).where(tables.pci_devices.c.id == found[0])).one()
    connection.rollback()
    return changed, tuple(row)


_NEEDS: typing.Final = [necessary.needs([
    request_module.DeviceRequest.compile('label', count, specs)
    for count, *specs in asked]) for asked in (
        [(1, _IDS)], [(2, _IDS), (1, _OTHER)],
        [(1, {**_IDS, 'dev_type': 'type-PF'}, {'product_id': '20B5'})])]

#: By the function that sends it.
QUESTIONS: typing.Final[Mapping[str, Question]] = {
    'asked_for.load': lambda connection, asked: asked_for.load(
        connection, asked.instances),
    'audit_facts.count': lambda connection, asked: audit_facts.count(
        connection),
    'audit_facts.load': _facts,
    'audit_facts.load_names': lambda connection, asked: sorted(
        audit_facts.load_names(connection)),
    'audit_facts.orphans': _orphans,
    'audit_facts.twins': lambda connection, asked: list(
        audit_facts.twins(connection)),
    'cell_mappings.load': lambda connection, asked: cell_mappings.load(
        connection),
    'compute_nodes.load': lambda connection, asked: compute_nodes.load(
        connection, asked.nodes),
    'compute_nodes.load_names': lambda connection, asked:
        compute_nodes.load_names(connection),
    'device_groups.load': _groups,
    'fitting_nodes.load': _fitting,
    'fitting_nodes.load_counts': lambda connection, asked: [
        fitting_nodes.load_counts(connection, needs) for needs in _NEEDS],
    'galera.wait_in_session': lambda connection, asked:
        galera.wait_in_session(connection.connection),
    'in_flight.load_instances': lambda connection, asked:
        in_flight.load_instances(connection, asked.instances).by_uuid,
    'in_flight.load_owned': lambda connection, asked: in_flight.load_owned(
        connection, asked.nodes[0], asked.instances),
    'node_lists.device_ranges': _ranges,
    'node_lists.number_of_nodes': lambda connection, asked:
        node_lists.number_of_nodes(connection),
    'numa_topologies.load': lambda connection, asked: numa_topologies.load(
        connection, asked.nodes),
    'read_only.require_tables': lambda connection, asked:
        read_only.require_tables(connection, tables.metadata.sorted_tables),
    'repairs.statement': _repaired,
    'request_specs.load': lambda connection, asked: request_specs.load(
        connection, asked.instances[0]),
    'services.schedulers': lambda connection, asked: services.schedulers(
        connection, None),
    'tables.missing_columns': lambda connection, asked:
        tables.missing_columns(connection),
    'timeouts.limit_session': _limit_session,
}


class QuestionsMixin(base.DatabaseMixin):
    """The tables of a cell and of the API database, with some rows."""

    @classmethod
    def setUpClass(cls) -> None:
        if base.models is None:
            raise unittest.SkipTest('Nova is not installed')
        super().setUpClass()
        made = sa.MetaData()
        for name in (*_CELL, *_API):
            table = cls._table(name).to_metadata(made)
            # Nova's migrations cut the texts in it; its models do not.
            table.indexes = {
                index for index in table.indexes if index.name != _TOO_LONG}
        made.create_all(cls.engine)

    def setUp(self) -> None:
        super().setUp()
        for name in (*reversed(_CELL), *reversed(_API)):
            self.connection.execute(sa.delete(self._table(name)))
        nodes = self.add_nodes(4)
        self.asked = Asked(nodes, [1, 2, 3, 4], [
            str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
            for name in ('one', 'two')])
        self._add_devices()
        self._add_instances()
        self.connection.execute(sa.update(base.NODES).values(
            numa_topology=json.dumps({'nova_object.data': {'cells': [
                {'nova_object.data': {'id': 0, 'socket': 0}}]}}),
            pci_stats=_ODD).where(base.NODES.c.id == 2))
        self.connection.execute(sa.update(base.NODES).values(
            host='host1').where(base.NODES.c.id == 3))
        self.connection.execute(sa.update(base.NODES).values(deleted=4).where(
            base.NODES.c.id == 4))
        self._add('services', host='host1', binary='nova-scheduler',
                  topic='scheduler')
        self.connection.commit()

    @staticmethod
    def _table(name: str) -> sa.Table:
        metadata = base.METADATA if name in _CELL else (
            _api_models.BASE.metadata)
        return metadata.tables[name]

    def _add(self, table: str, **values: object) -> None:
        self.connection.execute(sa.insert(self._table(table)).values(
            **({'deleted': 0} if table in _CELL else {}), **values))

    def _add_devices(self) -> None:
        one, two, three, gone = self.asked.nodes
        serial = json.dumps({'vpd': {'card_serial_number': 'S\\N"1'}})
        # What one call adds has the same columns.
        self.add_devices(one, status='claimed', request_id='r',
                         instance_uuid=self.asked.instances[0])
        tagged = json.dumps({'tier': _ODD})
        for node, *devices in (
                (one, {}, {'numa_node': None},
                 {'extra_info': json.dumps({
                     'parent_ifname': 'eth0', 'rp_uuid': 'rp'})},
                 {'extra_info': json.dumps({'capabilities': serial})}),
                (two, {'extra_info': json.dumps({'pci_filter_tags': tagged})},
                 _OTHER, {'extra_info': '{'}, {'extra_info': None},
                 {'parent_addr': ''}),
                # The first device of the first node once more.
                (three, {'dev_type': 'type-PF', 'parent_addr': None},
                 {'address': '0000:82:00.0'}),
                (gone, {})):
            self.add_devices(node, *devices)

    def _add_instances(self) -> None:
        for number, one in enumerate(self.asked.instances):
            self._add('instances', uuid=one, host='host1', node='host1',
                      vm_state='active', hidden=False)
            self._add('instance_extra', instance_uuid=one, pci_requests=(
                json.dumps([{'count': 1, 'alias_name': _ODD}])))
            self._add('request_specs', instance_uuid=one, spec=json.dumps(
                {'nova_object.data': {'numa_topology': None,
                                      'pci_requests': None}}))
            if number:
                self._add('build_requests', instance_uuid=one,
                          project_id='project')
            self._add('migrations', instance_uuid=one,
                      source_compute='host1', source_node='host1',
                      dest_compute='host2', dest_node='host2',
                      uuid=str(uuid.uuid4()),
                      status=('migrating', 'done')[number],
                      migration_type=('migration', 'evacuation')[number])
        self._add('cell_mappings', id=1, uuid='cell', name=_ODD,
                  transport_url='none:///', database_connection='sqlite://',
                  disabled=False)
        self._add('instance_mappings', instance_uuid=self.asked.instances[0],
                  cell_id=1, project_id='project')
