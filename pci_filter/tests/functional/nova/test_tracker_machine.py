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

"""Our tracker and Nova's own through the same random history.

Two equal hosts, each in a database of its own, one with our tracker and one
with Nova's. After each step:

* Our pools are those of a Nova tracker that starts with our rows, in order;
  so are those that the scheduler loads with the tags of the rows.
* Our tracker knows who has what. What is free is available, unless a relative
  is in use: then it is not. Families whose rows were broken on purpose may
  stay as broken as they are, until they are right once.
* Nova's rows and pools are like ours, or Nova is wrong in a way that
  ``machine_pair`` names and counts; it goes on from our rows then.

Which devices Nova picks depends on the history of its pools, so before a claim
it makes them anew; ours stays as it is. Then both must pick the same devices,
or both refuse. Nova may do that in any way and leave any disorder, which is
not saved; ours has to say so properly and to change nothing.

Nova may be wrong only as follows, and no step passes otherwise:

* A row has another status, and wrong_states() finds fault with it, but not
  with ours. That is: Nova creates a device as available although a relative
  is in use, or leaves one unavailable when the relative is gone.
* A device was away while it was in use, and is there again. Nova removes it
  when it is freed. Without a remedy for bug 2115905 it keeps those that are
  away still.
* Relatives of a device that is removed when it is freed stay out of Nova's
  pools, or unavailable.
* A device whose type, NUMA node or netdev changed stays in its pool, and Nova
  does not find it there when it is to be taken out (PciDevicePoolEmpty).
* A pool that comes back has no resource provider until the next report.
"""

import collections
import logging
import sys

import fixtures
import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from pci_filter.fixture import scheduling
from pci_filter.tests import base as tests_base
from pci_filter.tests.functional.nova import base
from pci_filter.tests.functional.nova import fleets
from pci_filter.tests.functional.nova import machine_pair
from pci_filter.tests.functional.nova import machine_wants
from pci_filter.tests.functional.nova import wants

#: With fewer, what is counted in the end would be chance.
EXAMPLES = max(5, int(20 * tests_base.PART))
STEPS = 25


def _owned(status):
    return stateful.precondition(lambda self: self.owners(status))


class TrackerMachine(stateful.RuleBasedStateMachine):
    """What can happen to the PCI devices of a host.

    :param test: the test, with a cloud of two cells
    """

    def __init__(self, test):
        super().__init__()
        self._test = test
        self._instances = 0
        self.pair = None

    @stateful.initialize(machine=fleets.machines(0), data=st.data())
    def begin(self, machine, data):
        """Start nova-compute, and some instances."""
        self._test.cloud.reset()
        self._test.replace(
            'nova.pci.utils.is_physical_function',
            fleets.is_physical_function(machine.devices))
        if data.draw(st.integers(0, 2)) == 2:
            machine = machine_wants.tracked(machine)
        self.machine = machine
        self._gone, self._plain, self._netdevs = set(), set(), {}
        self.pair = machine_pair.Pair(self._test, self._test.cloud, machine)
        self.pair.do('start', machine.device_spec, machine.devices)
        for _ in range(data.draw(st.integers(0, 3))):
            self._claim(data)
            for uuid in self.owners('claimed')[data.draw(st.integers(0, 1)):]:
                self.pair.do('allocate', uuid)

    def owners(self, *statuses):
        """Return the instances with such devices, in the same order always."""
        return sorted({row['instance_uuid'] for row in self.pair.rows.values()
                       if row['status'] in statuses and row['instance_uuid']})

    def _new_instance(self):
        self._instances += 1
        return f'00000000-0000-4000-8000-{self._instances:012d}'

    def _draw_owner(self, data, *statuses):
        return data.draw(st.sampled_from(self.owners(*statuses)))

    @stateful.rule(data=st.data())
    def claim(self, data):
        self._claim(data)

    claim_2 = claim_3 = claim_4 = claim_5 = claim

    def _claim(self, data):
        """Claim for a new instance, or more for one that has devices.

        That is how an interface is attached, or a resize begins on the host
        where the instance runs.
        """
        pools = self.pair.ours.pools()
        want = data.draw(machine_wants.wants(self.machine, pools))
        instances = {*self.owners('allocated')} - {*self.owners('claimed')}
        known = data.draw(st.sampled_from((None, None, *sorted(instances))))
        requests = want.requests()
        requests = wants.with_providers(
            requests, wants.allocate(want, requests, pools))
        placed = len(self.machine.sockets or ()) > max(
            want.numa_nodes, default=-1)
        claimed = self.pair.claim(
            requests, scheduling.instance_numa_topology(want.numa_nodes)
            if want.numa_nodes and placed else None,
            known or self._new_instance())
        self._test.count(claimed, {
            'NUMA cells': want.numa_nodes and placed,
            'providers': any('rp_uuids' in request.spec[0]
                             for request in requests),
            'several requests': len(requests) > 1})

    @stateful.rule(data=st.data())
    @_owned('claimed')
    def allocate(self, data):
        self.pair.do('allocate', self._draw_owner(data, 'claimed'))

    @stateful.rule(data=st.data())
    @stateful.precondition(lambda self: self.owners('claimed', 'allocated'))
    def free(self, data):
        self.pair.do('free', self._draw_owner(data, 'claimed', 'allocated'))

    @stateful.rule(data=st.data())
    @_owned('claimed')
    def free_claims(self, data):
        self.pair.do('free_claims', self._draw_owner(data, 'claimed'))

    @stateful.rule(data=st.data())
    @_owned('allocated')
    def free_allocations(self, data):
        self.pair.do('free_allocations', self._draw_owner(data, 'allocated'))

    @stateful.rule(data=st.data())
    @_owned('allocated')
    def detach(self, data):
        address = data.draw(st.sampled_from(sorted(
            address for address, row in self.pair.rows.items()
            if row['status'] == 'allocated')))
        self.pair.do(
            'detach', self.pair.rows[address]['instance_uuid'], address)

    @stateful.rule(data=st.data())
    @stateful.precondition(lambda self: self.owners('claimed', 'allocated'))
    def clean_usage(self, data):
        owners = self.owners('claimed', 'allocated')
        self.pair.do('clean_usage', sorted(
            data.draw(st.sets(st.sampled_from(owners)))))

    @stateful.rule(data=st.data())
    def plug(self, data):
        """Take devices away, or put them back."""
        addresses = [device['address'] for device in self.machine.devices]
        self._gone = data.draw(st.sets(
            st.sampled_from(addresses), max_size=3))
        self.pair.do('report', self._reported())

    @stateful.rule(data=st.data())
    @stateful.precondition(lambda self: self._ports())
    def switch_sriov(self, data):
        self._plain = data.draw(st.sets(
            st.sampled_from(self._ports()), max_size=1))
        self.pair.do('report', self._reported())

    @stateful.rule(data=st.data())
    @stateful.precondition(lambda self: self._ports())
    def rename(self, data):
        """Give a port another netdev and another NUMA node."""
        self._netdevs[data.draw(st.sampled_from(self._ports()))] = (
            data.draw(st.sampled_from(('new0', 'new1'))),
            data.draw(st.sampled_from((0, 1, None))))
        self.pair.do('report', self._reported())

    def _ports(self):
        return sorted({
            device.get('parent_addr', device['address'])
            for device in self.machine.devices
            if device['dev_type'] != fleets.PCI})

    def _reported(self):
        """Return what the hypervisor has by now."""
        devices = []
        for device in self.machine.devices:
            parent = device.get('parent_addr', device['address'])
            if device['address'] in self._gone or (
                    parent in self._plain and 'parent_addr' in device):
                continue
            device = dict(device)
            if parent in self._plain:
                device['dev_type'] = fleets.PCI
            if parent in self._netdevs:
                netdev, device['numa_node'] = self._netdevs[parent]
                if 'parent_ifname' in device:
                    device['parent_ifname'] = netdev
            devices.append(device)
        return devices

    @stateful.rule()
    def report(self):
        self.pair.do('report')

    @stateful.rule()
    def restart(self):
        self.pair.do('start')

    @stateful.rule(data=st.data())
    def change_device_spec(self, data):
        """Restart with fewer values, others first, or other tags."""
        specs = self.machine.device_spec
        if data.draw(st.booleans()):
            specs = data.draw(st.permutations(specs))
            specs = specs[:data.draw(st.integers(0, len(specs)))]
        if data.draw(st.booleans()):
            specs = [{**spec, 'color': data.draw(
                st.sampled_from(('red', 'green')))} for spec in specs]
        self.pair.do('start', specs)

    @stateful.rule(data=st.data())
    def break_states(self, data):
        """Bring about the rows of bug 1969496, 1899541 or the like."""
        rows = self.pair.rows
        breakage = data.draw(st.sampled_from(sorted({
            (row['status'], status)
            for row in rows.values() for status in {
                'available': ('unavailable', 'unclaimable'),
                'unavailable': ('available',),
                'unclaimable': ('available',),
                'claimed': ('gone',), 'allocated': ('gone',)}
            [row['status']]})) if rows else st.none())
        if breakage is None:
            return
        address = data.draw(st.sampled_from(sorted(
            address for address, row in rows.items()
            if row['status'] == breakage[0])))
        for compute in (self.pair.ours, self.pair.nova):
            if breakage[1] == 'gone':
                compute.remove_rows([address])
            else:
                compute.change([address], status=breakage[1])
        self.pair.broken.add(machine_pair.family(rows[address]))
        self.pair.do('start')

    def teardown(self):
        if self.pair:
            self._test.faults.update(self.pair.faults)


class TestTrackerMachine(tests_base.PropertyMixin, base.NovaTestCase):

    log_level = logging.CRITICAL

    def setUp(self):
        super().setUp()
        self.faults = collections.Counter()
        self.counts = collections.Counter()

    def replace(self, name, value):
        self.useFixture(fixtures.MonkeyPatch(name, value))

    def count(self, claimed, kinds):
        """Count a claim, and what kinds it is of."""
        self.counts['claims'] += 1
        for kind, is_it in {'accepted': True, **kinds}.items():
            self.counts[kind] += bool(is_it) and claimed

    def test_properties_hold_whatever_happens(self):
        machine = hypothesis.seed(tests_base.SEED)(
            lambda: TrackerMachine(self))
        stateful.run_state_machine_as_test(machine, settings=(
            hypothesis.settings(
                max_examples=EXAMPLES, stateful_step_count=STEPS,
                deadline=None, database=None, print_blob=True,
                # Shrinking takes minutes; a history is short as it is.
                phases=[hypothesis.Phase.generate],
                suppress_health_check=list(hypothesis.HealthCheck))))
        print(f'tracker machine: {dict(self.counts)}, Nova is wrong in '
              f'{dict(self.faults)}, seed {tests_base.SEED}',
              file=sys.__stdout__, flush=True)
        # Fewer would prove little.
        self.assertGreater(self.counts['accepted'], EXAMPLES / 4)
