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

"""What the schedulers share, and everything that can happen to it.

Each instance is a process: a scheduler tries its hosts one after the other
(schedulers.Call), the conductor makes its row, nova-compute claims its devices
and, if it is deleted, frees them. The order of what nova-compute writes is
Nova's (nova.compute.manager, _do_build_and_run_instance and _delete_instance;
nova.compute.resource_tracker, instance_claim and abort_instance_claim): the
instance's node, the devices one by one, the next task state; a claim is given
up in the order node, devices, task state; a server is deleted in the order
vm_state, devices, row. A host's claims do not overlap
(COMPUTE_RESOURCE_SEMAPHORE), and so what nova-compute has in memory is what
the rows say whenever a claim begins.

A reservation is *rightly held* from the moment when it is written until its
devices are claimed, its time is up, the store has lost it, its own request has
given it back, or the instance's row says that no claim is going to come: it is
deleted, in error, on another host or past its claim. That of an instance that
is not mapped to a cell ends when nova-api deletes the build request. That of
one whose claim or build has failed counts until its row says that it is in
error or elsewhere.

nova-api has made the build requests before a world begins. The conductor looks
for one, makes the row, maps the instance to its cell and removes the build
request; if that was deleted meanwhile it deletes the row. That is one step
unless a world says otherwise.

What must hold:

* No device is promised twice. The claim of an instance that holds its
  reservation rightly finds its devices. That is not asked of a host once
  somebody claimed there without a reservation, a reservation that was rightly
  held expired or was lost before the claim, or the store forgot what was there
  while somebody looked at the host: the *spoiled* hosts.
* Nobody is refused in vain. A scheduler refuses a host only if at some moment
  from its reading of the reservations to its last reading of the rows the
  devices that were free and not rightly promised to others were fewer than
  wanted. That is asked on spoiled hosts as well, but not of who reads rows
  that are out of date, nor of a look in which a claim arrives and its build is
  given up at once (it takes Nova seconds, and leaves no trace), nor of one in
  which the timeout passes: what it has read first counts all the time.
* Nobody is refused for ever. Where nothing is under way any more, a new
  request is granted if so many devices are free and not rightly promised, and
  not if fewer are free; and once the timeout has passed, exactly if they are
  free.
* All come to an end: where nothing can happen any more, nobody waits.
"""

import dataclasses
import functools
import json
import typing

from pci_filter.reservations import store as store_module
from pci_filter.tests.interleavings import schedulers

#: What a process does next. A scheduler's call has steps of its own.
SCHEDULE, ROW, CLAIM, SAVE, NETWORKING = (
    'schedule', 'make its row', 'claim', 'save a device',
    'go on to networking')
#: The steps of ROW where they are steps.
CREATE, MAP, BUILD = (
    'create its row', 'map it to the cell', 'remove its build request')
UNSET, DROP, AGAIN, ERROR = (
    'leave the node', 'drop a device', 'be rescheduled', 'be in error')
LANDED, FREE, DESTROY = 'landed', 'free a device', 'delete its row'
#: How it ends, besides LANDED.
REFUSED, GONE = 'refused', 'gone'


class Row(typing.NamedTuple):
    """A row of ``instances``, in the order of sight.Instance."""

    node: typing.Optional[str]
    vm_state: str
    task_state: typing.Optional[str]
    deleted: bool = False


class Db(typing.NamedTuple):
    """A cell's database.

    :param rows: of each instance, None if there is none
    :param owners: of each host's devices, None of those that are available
    """

    rows: tuple
    owners: tuple


class Process(typing.NamedTuple):
    """One instance.

    :param step: what comes next
    :param host: where that is
    :param tried: how many hosts its scheduler has done with
    :param store_works: whether its scheduler asks the store
    :param results: recorded for schedulers.Call
    :param look: while its scheduler looks at the host, whether there was a
        moment at which the devices did not suffice; else None
    :param held: the host and the time of the reservation that it has written
    """

    step: str
    host: int
    tried: int = 0
    store_works: bool = True
    results: tuple = ()
    look: typing.Optional[bool] = None
    held: typing.Optional[tuple] = None


class Budget(typing.NamedTuple):
    """How often something may still happen.

    :param fail: a claim fails for want of something else
    :param break_: an instance is given up after its claim
    :param refuse: placement refuses
    :param error: the store fails to answer, having done it or not
    :param lose: the store forgets everything
    :param tick: the clock passes the timeout
    :param delete: an instance is deleted
    """

    fail: int = 0
    break_: int = 0
    refuse: int = 0
    error: int = 0
    lose: int = 0
    tick: int = 0
    delete: int = 0

    def less(self, name):
        return self._replace(**{name: getattr(self, name) - 1})


@dataclasses.dataclass(frozen=True)
class Setting:
    """A world as it begins, and what may happen in it.

    :param wants: how many devices each instance wants
    :param orders: the hosts that each scheduler tries, in its order
    :param devices: how many devices each host has
    :param budget: Budget
    :param alternates: whether an instance that fails on one host is sent to
        the other one without a reservation, as the conductor does
    :param lagging: the schedulers that read a database server that is behind
    :param down: whether deletions are those of hosts that are down: the row
        is deleted at once, and the devices are freed later
    :param deletable: the instances that may be deleted
    :param rows_at_once: whether the conductor makes a row as soon as
        placement has granted the host
    :param conductor_steps: whether the conductor can be interrupted while it
        makes a row
    :param landed: the instances that have landed when the world begins, by
        way of a reservation; a server that lags has not heard of them yet
    """

    wants: tuple
    orders: tuple
    devices: tuple = (2, 2)
    budget: Budget = Budget()
    alternates: bool = False
    lagging: frozenset = frozenset()
    down: bool = False
    deletable: frozenset = frozenset((0, 1, 2))
    rows_at_once: bool = False
    conductor_steps: bool = False
    landed: tuple = ()


class World(typing.NamedTuple):
    """A state.

    :param db: the database
    :param clock: its clock
    :param store: of each host the record, None if there is none
    :param busy: of each host the instance that has the semaphore
    :param processes: of each instance
    :param spoiled: of each host whether promises are void there
    :param budget: what may still happen
    :param deleted: of each instance whether its deletion was asked for
    :param behind: states of the database that the server that lags has still
        to go through, the one that it is in first; empty if it does not lag
    """

    db: Db
    clock: int
    store: tuple
    busy: tuple
    processes: tuple
    spoiled: tuple
    budget: Budget
    deleted: tuple
    behind: tuple = ()


class Violated(Exception):
    """Something that must hold does not."""


#: The token of a record that is still in the store, and of any other.
_CURRENT, _REPLACED = 'current', 'replaced'


def node(host):
    """Return the name of a host's node, which is its UUID as well."""
    return f'node-{host}'


def put(values, index, value):
    """Return a tuple with one value replaced."""
    return (*values[:index], value, *values[index + 1:])


@functools.lru_cache(maxsize=None)
def _times(text):
    """Return when the reservations of a record were made, by instance."""
    return {one['instance']: one['made_at']
            for one in json.loads(text)['reservations']}


class Rules:
    """What can happen in a world.

    :param setting: Setting
    """

    def __init__(self, setting):
        self.setting = setting
        self._calls = {}
        self._next = {}
        self._probes = {}

    def beginning(self):
        """Return the first state."""
        setting = self.setting
        instances, hosts = len(setting.wants), len(setting.devices)
        db = Db((None,) * instances,
                tuple((None,) * count for count in setting.devices))
        world = World(
            db, 0, (None,) * hosts, (None,) * hosts,
            tuple(Process(SCHEDULE, order[0]) for order in setting.orders),
            (False,) * hosts, setting.budget, (False,) * instances,
            (db,) if setting.lagging else ())
        for number in setting.landed:
            while world.processes[number].step != LANDED:
                _, after = next(self._steps_of(
                    world, number, world.processes[number]))
                world = self._settled(world, after)
        return world

    def steps(self, world):
        """Yield what can happen: in words, and the state after it."""
        for number, process in enumerate(world.processes):
            for words, after in self._steps_of(world, number, process):
                yield f'{number} at {process.host}: {words}', self._settled(
                    world, after)
        for words, after in self._environment(world):
            yield words, self._settled(world, after)

    # The truth.

    def free(self, world, host):
        """Return how many devices of a host are available."""
        return world.db.owners[host].count(None)

    def promised(self, world, number, host):
        """Return how many devices are rightly promised and not claimed."""
        held = world.processes[number].held
        if held is None or held[0] != host or (
                world.clock - held[1] >= schedulers.TIMEOUT):
            return 0
        row = world.db.rows[number]
        if world.deleted[number] and not self._mapped(world, number):
            return 0
        if row is not None and (
                row.deleted or row.vm_state != 'building'
                or row.task_state == 'networking'
                or row.node not in (None, node(host))):
            return 0
        return self.setting.wants[number] - world.db.owners[host].count(number)

    def left(self, world, host, but=None):
        """Return how many are free and not rightly promised to others."""
        return self.free(world, host) - sum(
            self.promised(world, number, host)
            for number in range(len(world.processes)) if number != but)

    def _settled(self, before, world):
        """Note who sees too few devices; let the server that lags lag."""
        if world.behind and world.db is not before.db:
            world = world._replace(behind=(*world.behind, world.db))
        for number, process in enumerate(world.processes):
            if process.look is False and self.left(
                    world, process.host, number) < self.setting.wants[number]:
                world = _with(world, number, look=True)
        return world

    # The scheduler.

    def _steps_of(self, world, number, process):
        if process.step != SCHEDULE:
            yield from self._compute(world, number, process)
            return
        effect = self._effect(number, process)
        for result, words, after in getattr(self, '_' + effect.name)(
                world, number, process, *effect.args):
            yield (f'{effect.name} {words}'.strip(),
                   self._record(after, number, result))

    def _effect(self, number, process):
        key = (number, process.host, process.store_works, process.results)
        effect = self._next.get(key)
        if effect is None:
            call = self._calls.get(key[:3])
            if call is None:
                call = self._calls[key[:3]] = schedulers.Call(
                    number, self.setting.wants[number], node(process.host),
                    process.store_works)
            effect = self._next[key] = call.run(process.results)
        return effect

    def _record(self, world, number, result):
        """Add a result, and go to the next host if the call has ended."""
        process = world.processes[number]
        results = (*process.results, result)
        if process.look is False and process.results and all(
                isinstance(one, store_module.Record)
                for one in (result, process.results[0])):
            # Another round. Of those before nothing is left: reserve() would
            # need them only after the 64th.
            results = (result,)
        process = process._replace(results=results)
        returned = self._effect(number, process)
        if isinstance(returned, schedulers.Returned):
            if returned.chosen:
                process = process._replace(step=ROW)
            else:
                if process.look is False and (
                        number not in self.setting.lagging):
                    raise Violated(
                        f'{number} is refused at {process.host}, although '
                        'there were enough devices all the time')
                text = world.store[process.host]
                if text and schedulers.instance_uuid(number) in _times(
                        text) and schedulers.FAILED not in results and (
                            process.store_works):
                    raise Violated(f'{number} gives nothing back')
                process = self._next_host(number, process)
            process = process._replace(
                results=(), look=None, store_works=returned.store_works)
        elif returned.name == 'placement' and not (
                process.held and process.held[0] == process.host
                or schedulers.FAILED in results or not process.store_works):
            raise Violated(f'{number} goes on without a reservation')
        elif returned.name == 'placement' and not world.budget.refuse:
            # Nobody can tell when it grants what it always grants.
            process = process._replace(step=ROW, results=(), look=None)
        world = world._replace(
            processes=put(world.processes, number, process))
        if process.step == ROW and self.setting.rows_at_once:
            return next(self._make_row(world, number, process))[1]
        return world

    def _next_host(self, number, process):
        order = self.setting.orders[number]
        tried = process.tried + 1
        if tried == len(order):
            return process._replace(step=REFUSED)
        return process._replace(tried=tried, host=order[tried])

    def _read(self, world, number, process, _node):
        text = world.store[process.host]
        # What is given back is read again, but nothing is decided.
        look = None if any(
            result is True for result in process.results) else False
        yield (store_module.Record(
            None if text is None else _CURRENT, text), '', _with(
                world, number, look=look))
        if world.budget.error:
            yield schedulers.FAILED, 'fails', _with(
                world, number, look=None)._replace(
                    budget=world.budget.less('error'))

    def _write(self, world, number, process, _node, token, text):
        there = world.store[process.host] is not None
        same = there and token == _CURRENT or not there and token is None
        written = self._written(
            world, number, process, text) if same else world
        yield same, 'done' if same else 'too late', written
        if world.budget.error:
            less = world.budget.less('error')
            failed = _with(world, number, look=None)
            yield schedulers.FAILED, 'fails', failed._replace(budget=less)
            if same:
                yield schedulers.FAILED, 'fails when done', (
                    written._replace(budget=less))

    def _written(self, world, number, process, text):
        host = process.host
        made_at = _times(text).get(schedulers.instance_uuid(number))
        held = None if made_at is None else (host, made_at)
        spoiled = made_at is not None and (
            world.clock - made_at >= schedulers.TIMEOUT)
        world = _with(
            _forget_tokens(world, [host]), number, held=held, look=None)
        return world._replace(
            store=put(world.store, host, text), spoiled=put(
                world.spoiled, host, world.spoiled[host] or spoiled))

    def _seen(self, world, number):
        """Return the database as the scheduler sees it."""
        return world.behind[0] if world.behind and (
            number in self.setting.lagging) else world.db

    def _instances(self, world, number, process, uuids):
        rows = self._seen(world, number).rows
        yield (float(world.clock), tuple(
            (schedulers.instance_uuid(other), tuple(row))
            for other, row in enumerate(rows)
            if row is not None and schedulers.instance_uuid(other) in uuids)
        ), '', world

    def _owned(self, world, number, process, _node, uuids):
        owners = self._seen(world, number).owners[process.host]
        yield tuple(
            (schedulers.instance_uuid(other), frozenset(
                device for device, owner in enumerate(owners)
                if owner == other))
            for other in range(len(world.processes))
            if other in owners and schedulers.instance_uuid(other) in uuids
        ), '', world

    def _asked(self, world, number, process, uuids):
        yield tuple(
            (schedulers.instance_uuid(other), (
                self._waits(world, other), self._mapped(world, other)))
            for other in range(len(world.processes))
            if schedulers.instance_uuid(other) in uuids), '', world

    def _waits(self, world, number):
        """Tell whether there is a build request."""
        return not world.deleted[number] and (
            world.processes[number].step in (SCHEDULE, ROW, CREATE, MAP, BUILD)
        )

    def _mapped(self, world, number):
        """Tell whether an instance is mapped to the cell, not to cell0."""
        return world.processes[number].step != MAP and (
            world.db.rows[number] is not None)

    def _available(self, world, number, process, _node):
        yield self._seen(world, number).owners[process.host].count(
            None), '', world

    def _placement(self, world, number, process):
        world = _with(world, number, look=None)
        yield True, 'grants', world
        if world.budget.refuse:
            # What is given back is not a refusal of ours.
            yield False, 'refuses', world._replace(
                budget=world.budget.less('refuse'))

    # The conductor and nova-compute.

    def _compute(self, world, number, process):
        for word, after in _COMPUTE[process.step](
                self, world, number, process):
            yield word or process.step, after

    def _make_row(self, world, number, process):
        if world.deleted[number]:
            yield 'find it deleted', _with(world, number, step=GONE)
        elif self.setting.conductor_steps:
            yield '', _with(world, number, step=CREATE)
        else:
            yield '', self._with_new_row(world, number, CLAIM)

    def _with_new_row(self, world, number, step):
        return _with(_with_row(world, number, Row(
            None, 'building', 'scheduling')), number, step=step)

    def _create(self, world, number, process):
        yield '', self._with_new_row(world, number, MAP)

    def _map(self, world, number, process):
        yield '', _with(world, number, step=BUILD)

    def _build(self, world, number, process):
        if world.deleted[number]:
            yield 'find it deleted', _with(_with_row(
                world, number, world.db.rows[number]._replace(deleted=True)),
                number, step=GONE)
        else:
            yield '', _with(world, number, step=CLAIM)

    def _claim(self, world, number, process):
        host = process.host
        row = world.db.rows[number]
        if world.busy[host] is not None:
            return
        if row.deleted:
            yield 'find it deleted', _with(world, number, step=GONE)
            return
        if world.budget.fail:
            yield 'claim in vain', self._give_up(
                world._replace(budget=world.budget.less('fail')), number)
        holds = process.held is not None and process.held[0] == host
        if self.free(world, host) < self.setting.wants[number]:
            if holds and not world.spoiled[host]:
                raise Violated(
                    f'{number} has reserved devices of {host}, and its claim '
                    'fails')
            yield 'claim what is not there', self._give_up(world, number)
            return
        if not holds:
            world = world._replace(spoiled=put(world.spoiled, host, True))
        yield '', _with(_with_row(world, number, row._replace(
            node=node(host), task_state=None))._replace(
                busy=put(world.busy, host, number)), number, step=SAVE)

    def _give_up(self, world, number):
        """Send an instance to the alternate, or let it be in error."""
        process = world.processes[number]
        if not self.setting.alternates or process.results:
            return _with(world, number, step=ERROR)
        # There are two hosts. It is sent on once.
        return _with(world, number, step=CLAIM, host=1 - process.host,
                     results=('sent on',))

    def _save(self, world, number, process):
        host = process.host
        world = _with_owner(
            world, host, world.db.owners[host].index(None), number)
        if world.db.owners[host].count(number) == self.setting.wants[number]:
            world = _with(world, number, step=NETWORKING)._replace(
                busy=put(world.busy, host, None))
        yield '', world

    def _networking(self, world, number, process):
        row = world.db.rows[number]
        if row.task_state == 'deleting':
            yield 'find it is being deleted', _with(world, number, step=UNSET)
            return
        yield '', _with(_with_row(world, number, row._replace(
            task_state='networking')), number, step=LANDED)
        if world.budget.break_:
            world = world._replace(budget=world.budget.less('break_'))
            for other, looking in enumerate(world.processes):
                if looking.look is False and looking.host == process.host:
                    world = _with(world, other, look=True)
            yield 'break', _with(world, number, step=UNSET)

    def _unset(self, world, number, process):
        if world.busy[process.host] is None:
            row = world.db.rows[number]._replace(node=None)
            yield '', _with(_with_row(world, number, row)._replace(
                busy=put(world.busy, process.host, number)),
                number, step=DROP)

    def _drop(self, world, number, process):
        host = process.host
        world = _with_owner(
            world, host, world.db.owners[host].index(number), None)
        if number not in world.db.owners[host]:
            deleting = world.db.rows[number].task_state == 'deleting'
            world = _with(
                world, number, step=DESTROY if deleting else AGAIN)._replace(
                    busy=put(world.busy, host, None))
        yield '', world

    def _again(self, world, number, process):
        row = world.db.rows[number]
        if row.deleted:
            yield 'find it deleted', _with(world, number, step=GONE)
            return
        yield '', self._give_up(_with_row(world, number, row._replace(
            task_state='scheduling')), number)

    def _error(self, world, number, process):
        row = world.db.rows[number]
        if row.deleted:
            yield 'find it deleted', _with(world, number, step=GONE)
            return
        yield '', _with(_with_row(world, number, row._replace(
            vm_state='error', task_state=None)), number, step=LANDED)

    def _landed(self, world, number, process):
        row = world.db.rows[number]
        if row.deleted:
            yield 'find it deleted', _with(
                world, number, step=FREE if number in world.db.owners[
                    process.host] else GONE)
        elif row.task_state == 'deleting':
            yield 'be deleted', _with(_with_row(world, number, row._replace(
                vm_state='deleted', task_state=None)), number, step=FREE)

    def _free(self, world, number, process):
        host = process.host
        if world.busy[host] not in (None, number):
            return
        world = _with_owner(
            world, host, world.db.owners[host].index(number), None)
        last = number not in world.db.owners[host]
        world = world._replace(
            busy=put(world.busy, host, None if last else number))
        if last:
            deleted = world.db.rows[number].deleted
            world = _with(world, number, step=GONE if deleted else DESTROY)
        yield '', world

    def _destroy(self, world, number, process):
        yield '', _with(_with_row(world, number, world.db.rows[
            number]._replace(deleted=True)), number, step=GONE)

    # What happens from outside.

    def _environment(self, world):
        if len(world.behind) > 1:
            yield 'the server that lags goes on', world._replace(
                behind=world.behind[1:])
        if world.budget.lose:
            yield 'the store is emptied', self._lost(world._replace(
                budget=world.budget.less('lose')))
        if world.budget.tick:
            yield 'the timeout passes', self._passed(world)
        if world.budget.delete:
            for number, process in enumerate(world.processes):
                if number in self.setting.deletable and (
                        not world.deleted[number]
                        and process.step not in (REFUSED, GONE)):
                    yield f'{number} is to be deleted', self._deleted(
                        world._replace(budget=world.budget.less('delete')),
                        number)

    def _voided(self, world):
        """Note on which hosts reservations end before their time."""
        return world._replace(spoiled=tuple(
            spoiled or any(self.promised(world, number, host)
                           for number in range(len(world.processes)))
            for host, spoiled in enumerate(world.spoiled)))

    def _passed(self, world):
        world = self._voided(world)._replace(
            clock=schedulers.TIMEOUT, budget=world.budget.less('tick'))
        for number, process in enumerate(world.processes):
            if process.look is False:
                world = _with(world, number, look=True)
        return world

    def _lost(self, world):
        # Who has read before cannot tell what was there from nothing.
        reading = {process.host for process in world.processes
                   if process.look is not None}
        world = _forget_tokens(
            self._voided(world), range(len(world.store)))
        world = world._replace(spoiled=tuple(
            spoiled or host in reading
            for host, spoiled in enumerate(world.spoiled)))
        return world._replace(
            store=(None,) * len(world.store), processes=tuple(
                process._replace(held=None) for process in world.processes))

    def _deleted(self, world, number):
        world = world._replace(deleted=put(world.deleted, number, True))
        row = world.db.rows[number]
        if row is None or world.processes[number].step == MAP:
            # Nova's API removes the build request, and knows of no row.
            return world
        if row.node is None or self.setting.down and (
                world.processes[number].step == LANDED):
            # Nova's API deletes it where no nova-compute would.
            return _with_row(world, number, row._replace(deleted=True))
        return _with_row(world, number, row._replace(task_state='deleting'))

    # What must hold in the end.

    def check(self, world, is_last):
        """Check a state in which nobody does anything.

        :param world: the state
        :param is_last: whether nothing can follow it
        """
        if not all(self._is_done(world, number)
                   for number in range(len(world.processes))):
            if is_last:
                raise Violated('somebody waits for ever')
            return
        for host in range(len(world.store)):
            for count in (1, 2):
                self._probe_at(world, host, count)

    def _is_done(self, world, number):
        step = world.processes[number].step
        row = world.db.rows[number]
        return step in (REFUSED, GONE) or step == LANDED and not (
            row.deleted or row.task_state == 'deleting')

    def _probe_at(self, world, host, count):
        free = self.free(world, host)
        granted = self._probe(world, host, count)
        if granted and free < count:
            raise Violated(f'{count} of {free} devices of {host} are granted')
        if not granted and self.left(world, host) >= count:
            raise Violated(f'{count} of {free} devices of {host} are refused')
        if granted and self.left(world, host) < count and (
                not world.spoiled[host]):
            raise Violated(
                f'{count} devices of {host} are granted, and promised')
        later = world._replace(clock=world.clock + schedulers.TIMEOUT)
        if self._probe(later, host, count) != (free >= count):
            raise Violated(
                f'when all reservations are over {count} of {free} devices '
                f'of {host} are '
                + ('refused' if free >= count else 'granted'))

    def _probe(self, world, host, count):
        """Tell whether a new request is granted, nobody being in its way."""
        key = world.db, world.clock, world.store[host], host, count
        if key not in self._probes:
            self._probes[key] = self._ask(world, host, count)
        return self._probes[key]

    def _ask(self, world, host, count):
        number = len(world.processes)
        call = schedulers.Call(number, count, node(host), True)
        world = world._replace(
            behind=(), budget=Budget(), processes=(*world.processes, Process(
                SCHEDULE, host)))
        results = ()
        while True:
            effect = call.run(results)
            if isinstance(effect, schedulers.Returned):
                return effect.chosen
            result, _, world = next(getattr(self, '_' + effect.name)(
                world, number, world.processes[number], *effect.args))
            results = (*results, result)


_COMPUTE = {
    ROW: Rules._make_row, CREATE: Rules._create, MAP: Rules._map,
    BUILD: Rules._build, CLAIM: Rules._claim, SAVE: Rules._save,
    NETWORKING: Rules._networking, UNSET: Rules._unset, DROP: Rules._drop,
    AGAIN: Rules._again, ERROR: Rules._error, LANDED: Rules._landed,
    FREE: Rules._free, DESTROY: Rules._destroy,
    REFUSED: lambda *args: (), GONE: lambda *args: ()}


def _with(world, number, **values):
    return world._replace(processes=put(
        world.processes, number, world.processes[number]._replace(**values)))


def _with_row(world, number, row):
    return world._replace(db=world.db._replace(
        rows=put(world.db.rows, number, row)))


def _with_owner(world, host, device, owner):
    owners = put(world.db.owners[host], device, owner)
    return world._replace(db=world.db._replace(
        owners=put(world.db.owners, host, owners)))


def _forget_tokens(world, hosts):
    """Return a state in which the tokens of some hosts are no good any more.

    Tokens are compared only, so that what counts is which are current.
    """
    return world._replace(processes=tuple(
        process._replace(results=tuple(
            result._replace(token=_REPLACED)
            if isinstance(result, store_module.Record)
            and result.token == _CURRENT else result
            for result in process.results))
        if process.host in hosts and process.results else process
        for process in world.processes))
