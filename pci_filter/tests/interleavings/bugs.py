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

"""Bugs that the explorer has to find, each a small patch of the real code."""

import inspect
import sys
import textwrap
import typing

import fixtures

from pci_filter import matching
from pci_filter.matching import every_order
from pci_filter import reservations
from pci_filter.reservations import making
from pci_filter.reservations import sight
from pci_filter.scheduler import reserver
from pci_filter.scheduler import reserving
from pci_filter.tests.interleavings import worlds


class Bug(typing.NamedTuple):
    """A text that is replaced in a function.

    :param world: the one of test_interleavings that finds it
    :param owner: the module or class that has the function
    :param name: its name there
    :param old: what is there, exactly once
    :param new: what is there instead
    """

    world: str
    owner: typing.Any
    name: str
    old: str
    new: str


BUGS: typing.Final = {
    'the host of an instance ends its reservation': Bug(
        'the timeout passes after a claim',
        sight, 'end', 'if boots:\n',
        'if boots:\n'
        '        if instance.node == seen.node:\n'
        '            return End.CLAIMED\n'),
    'the rows are read before the reservations': Bug(
        'the timeout passes',
        making, 'reserve',
        'record, others = _read(store, node.uuid, asker, patience)\n'
        '        seen = node.look([asker.instance_uuid, *(\n'
        '            other.instance_uuid for other in others)])',
        "seen = node.look([f'instance-{n}' for n in range(4)])\n"
        '        record, others = _read(store, node.uuid, asker, patience)'),
    'owners are read after what is available': Bug(
        'the timeout passes after a claim',
        reserver.Node, 'look',
        'return instances, before, moved, groups.get(self.uuid, {})',
        'return instances, owned(), moved, groups.get(self.uuid, {})'),
    'instances are read after what is available': Bug(
        'the timeout passes after a claim',
        reserver.Node, 'look',
        'return instances, before, moved, groups.get(self.uuid, {})',
        'return named(), before, moved, groups.get(self.uuid, {})'),
    'what arrives while the rows are read is not noticed': Bug(
        'two want one, one wants two',
        reserver.Node, 'look', 'moved = len(uuids) > 1 and (',
        'moved = False and ('),
    'what came and went while the rows are read is not noticed': Bug(
        'one is deleted at any moment',
        reserver.Node, 'look',
        'or named().by_uuid != instances.by_uuid', ''),
    'nothing is given back when placement refuses': Bug(
        'placement refuses',
        reserving.Request, 'claim',
        "self._release(made, 'placement refused')", 'pass'),
    'everything is given back with one': Bug(
        'placement refuses',
        making, 'release', 'other for other in known if other != made',
        'other for other in known if False'),
    'the store compares no tokens': Bug(
        'two want one, one wants two',
        worlds.Rules, '_write',
        'same = there and token == _CURRENT or not there and token is None',
        'same = True'),
    'what others have reserved is lost': Bug(
        'the timeout passes',
        making, 'reserve', '[*kept, made]', '[made]'),
    'what is claimed is dropped, whoever lags': Bug(
        'a server lags, and a host that is down lost an instance',
        sight.End, 'is_final', 'return self is not End.CLAIMED',
        'return True'),
    'a claim counts as arrived with its first device': Bug(
        'two want one, one wants two',
        sight, '_to_come', 'max(0, reservation.devices',
        'max(0, 1 if reservation.devices else 0'),
    'one that does not fit takes nothing': Bug(
        'two want one, one wants two',
        every_order, 'fit_one_by_one',
        'pools = _without_what_fits(pools, requests)', 'pass'),
    'nothing expires': Bug(
        'the timeout passes',
        sight, 'end', 'if reservation.age(seen.now) >= timeout:',
        'if False:'),
    'a deleted instance goes on waiting': Bug(
        'one is deleted while another one fits in its place',
        sight, 'end', 'if gone:', 'if gone and instance is None:'),
    'an instance without a row does not wait': Bug(
        'three want two devices each',
        sight, 'end', 'else not boots', 'else True'),
    'one that is deleted before its row is there goes on waiting': Bug(
        'one is deleted before its row is there',
        sight, '_is_called_off', 'return asked is not None', 'return False'),
    'its row has come since it was looked for': Bug(
        # The build request alone would tell enough only if it were read before
        # the row is looked for.
        'two want one, one wants two',
        sight, '_is_called_off', 'asked.waits or asked.mapped',
        'asked.waits'),
    'one that is still to be built is called off': Bug(
        'two want one, one wants two',
        sight, '_is_called_off', 'asked.waits or asked.mapped',
        'asked.mapped'),
    'one that is elsewhere goes on waiting': Bug(
        'claims fail, and go to an alternate',
        sight, 'end', 'if instance.node not in (None, seen.node):',
        'if False:'),
    'one in error goes on waiting': Bug(
        'claims fail, and go to an alternate',
        sight, 'end', 'boots and instance.vm_state not in (None, _BUILDING)',
        'False'),
    'nothing is decided anew after a lost race': Bug(
        'two want one, one wants two',
        making, 'reserve', 'timeout + _SPARE):',
        'timeout + _SPARE) is not None:'),
}


class Seeded(fixtures.Fixture):
    """Puts a bug into the code.

    :param bug: Bug
    """

    def __init__(self, bug):
        super().__init__()
        self._bug = bug

    def _setUp(self):
        _, owner, name, old, new = self._bug
        found = inspect.getattr_static(owner, name)
        function = getattr(found, 'fget', found)
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(old) != 1:
            raise AssertionError(
                f'{old!r} is {source.count(old)} times in {name}()')
        namespace = dict(vars(sys.modules[function.__module__]))
        made = {}
        exec(  # noqa: S102
            'from __future__ import annotations\n'
            + source.replace(old, new), namespace, made)
        patched = made[name]
        # It sees what else is patched.
        fixed = type(function)(
            patched.fget.__code__ if isinstance(patched, property)
            else patched.__code__, function.__globals__, name,
            function.__defaults__, function.__closure__)
        self._put(owner, name, property(fixed) if isinstance(
            found, property) else fixed)
        for package in (reservations, matching):
            if getattr(package, name, None) is function:
                self._put(package, name, fixed)

    def _put(self, owner, name, value):
        before = inspect.getattr_static(owner, name)
        type.__setattr__(owner, name, value) if isinstance(
            owner, type) else setattr(owner, name, value)
        self.addCleanup(setattr, owner, name, before)
