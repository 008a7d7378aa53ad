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

"""One scheduler that places one instance, stopped before each effect.

What runs is what nova-scheduler runs: Request, Reserver and Node of
pci_filter.scheduler, and pci_filter.reservations below them. Replaced are only
the store, the three statements that a Node reads a cell with, the one of the
API database, and placement.

Python cannot copy a call that is half done. So a call is its recorded results:
it is executed from the start, each effect is answered from the record, and the
first that is not in there stops it. Two calls with the same record are in the
same state, whatever brought them there, as the code has no other memory.
"""

import contextlib
import types
import typing
from unittest import mock

from nova.scheduler import host_manager as nova_host_manager

from pci_filter.db import in_flight
from pci_filter import model
from pci_filter import objects
from pci_filter import reservations
from pci_filter.reservations import sight
from pci_filter.reservations import store as store_module
from pci_filter.scheduler import api_reader
from pci_filter.scheduler import failures
from pci_filter.scheduler import reserver as reserver_module
from pci_filter.scheduler import reserving
from pci_filter.tags import base as tags_base
from pci_filter.tests import base as tests_base
from pci_filter.tests.scenarios import builders

#: Seconds that a reservation lasts; the clock of a world is 0 or past that.
TIMEOUT = 60

#: The result of an effect that fails.
FAILED = '<failed>'

_GROUP = model.DeviceKind('8086', '1572', None, 'type-PCI', '0000:81:00.0')


class _NoTags(tags_base.TagSource):

    def for_node(self, node):
        return _no_tags


def _no_tags(kind):
    return {}


class Effect(typing.NamedTuple):
    """What a call wants to do next.

    :param name: read, write, instances, owned, available, asked or placement
    :param args: what it gives
    """

    name: str
    args: tuple


class Returned(typing.NamedTuple):
    """How a call ended.

    :param chosen: whether the host is the instance's
    :param store_works: whether the request is going to ask the store again
    """

    chosen: bool
    store_works: bool


class _Stopped(BaseException):
    """The call has come to an effect that has not happened yet."""


class _Tape:
    """The recorded results of one call."""

    def __init__(self, results):
        self._results = iter(results)
        self.next = None

    def ask(self, name, *args):
        for result in self._results:
            return result
        self.next = Effect(name, args)
        raise _Stopped


class _Store(store_module.Store):

    def __init__(self, tape):
        self._tape = tape

    def read(self, node_uuid, seconds):
        return self._ask('read', node_uuid)

    def write(self, node_uuid, token, text, lifetime, seconds):
        return self._ask('write', node_uuid, token, text)

    def _ask(self, *effect):
        result = self._tape.ask(*effect)
        if result == FAILED:
            raise reservations.StoreError('it is down')
        return result


class _CellReader:
    """Reads at once, in this thread."""

    def __init__(self, context, wanted, read, *args):
        self._wanted = wanted
        self._read = read

    def answers(self, cell_uuids, deadline):
        return {cell.uuid: self._read(None, nodes)
                for cell, nodes in self._wanted}


def _statements(tape):
    """Return what takes the place of the statements."""
    def instances(connection, uuids):
        now, found = tape.ask('instances', tuple(uuids))
        return in_flight.Instances(now, {
            uuid: sight.Instance(*row) for uuid, row in found})

    def owned(connection, node_uuid, uuids):
        return dict(tape.ask('owned', node_uuid, tuple(uuids)))

    def available(connection, node_uuids, *args):
        count = tape.ask('available', *node_uuids)
        return {uuid: {_GROUP: model.DeviceGroup(
            _GROUP, count, '0000:81:00.0')} for uuid in node_uuids}

    def asked(database, context, uuids, deadline):
        return {uuid: sight.Asked(*known)
                for uuid, known in tape.ask('asked', tuple(uuids))}

    return instances, owned, available, asked


class _Spec:
    """What is read of nova.objects.RequestSpec."""

    def __init__(self, count):
        self.pci_requests = types.SimpleNamespace(
            requests=[builders.Request(
                count, [{'vendor_id': '8086', 'product_id': '1572'}],
                'nic', builders.ID1, 'legacy')])

    def __contains__(self, field):
        return field in ('pci_requests',)

    def obj_attr_is_set(self, field):
        return field in self


def _host_state(node):
    state = nova_host_manager.HostState.__new__(nova_host_manager.HostState)
    state.uuid, state.host, state.nodename = node, node, node
    state.cell_uuid = 'cell'
    state.numa_topology = None
    state.pci_stats = objects.PciDevicePoolList()
    return state


class Call:
    """One claim_resources() of one instance on one host.

    :param number: of the instance
    :param count: how many devices it wants
    :param node: the compute node, its UUID and name
    :param store_works: whether the request asks the store
    """

    def __init__(self, number, count, node, store_works):
        self._uuid = instance_uuid(number)
        self._node = node
        self._store_works = store_works
        self._spec = _Spec(count)
        self._host_state = _host_state(node)
        self._cell = types.SimpleNamespace(uuid='cell')
        options = tests_base.options(reservations='none')
        options.reservation_timeout = TIMEOUT
        options.load_timeout = 10
        # The explorer alone lets the store fail.
        options.reservation_store_timeout = 10 ** 9
        self._reserver = reserver_module.Reserver(
            types.SimpleNamespace(pci_filter=options), [_NoTags(options)])
        self._failures = failures.Failures(options)

    def run(self, results):
        """Return the next effect, or how the call ended."""
        tape = _Tape(results)
        instances, owned, available, asked = _statements(tape)
        self._reserver.store = _Store(tape)
        with contextlib.ExitStack() as stack:
            for owner, name, new in (
                    (in_flight, 'load_instances', instances),
                    (in_flight, 'load_owned', owned),
                    (reserver_module.device_groups, 'load', available),
                    (api_reader, '_ask', asked),
                    (reserver_module.cell_reader, 'CellReader',
                     _CellReader)):
                stack.enter_context(mock.patch.object(owner, name, new))
            try:
                return self._claim(tape)
            except _Stopped:
                return tape.next

    def _claim(self, tape):
        request = reserving.Request(self._reserver, self._failures)
        request._gave_up = not self._store_works
        request.note_hosts(
            [self._host_state], lambda: {'cell': self._cell})
        chosen = request.claim(
            lambda: tape.ask('placement'), None, self._spec, self._uuid,
            {'allocations': {self._node: {}}, 'mappings': {}})
        return Returned(chosen, not request._gave_up)


def instance_uuid(number):
    """Return the UUID of an instance."""
    return f'instance-{number}'
