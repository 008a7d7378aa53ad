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

"""A fleet in which nothing is wrong, and sixteen ways to change that."""

import json

from nova.pci import manager as pci_manager

from pci_filter.compute import tracker as our_tracker
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import audit_servers
from pci_filter.tests.functional.nova import computes

VF = {'product_id': hardware.INTEL_X710.vf_product_id}
PF = {'product_id': hardware.INTEL_X710.product_id, 'dev_type': 'type-PF'}
GPU = {'vendor_id': hardware.TESLA_V100.vendor_id}

PHYSNET = [{'vendor_id': '8086', 'physical_network': 'physnet1'},
           {'vendor_id': '10de'}]
PLAIN = [{'vendor_id': '8086', 'product_id': VF['product_id']},
         {'vendor_id': '10de'}]


def devices():
    """A card with two ports of eight functions, and four GPUs."""
    return [*hardware.network_card(hardware.INTEL_X710, 0x81, 0, vfs=8),
            *(hardware.gpu(bus, 0) for bus in range(0x3b, 0x3f))]


def ask(spec, count=1):
    return scheduling.pci_request(spec, count, alias_name='alias')


class Fleet:
    """Seven hosts: four of Nova's own, two of ours, one without devices.

    :param test: the test, with a cloud and ``override``
    """

    def __init__(self, test):
        self._test = test
        self._cloud = test.cloud
        self.one = self._add('one')
        self.two = self._add('two')
        self.three = self._add('three')
        self.placed = self._add('placed', PLAIN, in_placement=True)
        self.tagged = self._add(
            'tagged', tracker_class=our_tracker.PciDevTracker)
        test.override('pci_filter', write_pci_stats=False)
        self.bare = self._add(
            'bare', tracker_class=our_tracker.PciDevTracker)
        self.empty = self._add('empty', [], reported=[])
        self.all = (self.one, self.two, self.three, self.placed, self.tagged,
                    self.bare, self.empty)
        self._use()
        audit_servers.age(self._cloud)

    def _add(self, name, device_spec=PHYSNET, reported=None, **more):
        compute = audit_servers.Compute(self._cloud, name=name, **more)
        compute.start(
            device_spec, devices() if reported is None else reported)
        return compute

    def _use(self):
        """Let all happen that happens every day."""
        for compute in (self.one, self.two, self.three, self.tagged,
                        self.bare):
            self._fill(compute)
        self.vm = self.one.boot(ask(VF, 2))
        self.gpu_vm = self.one.boot(ask(GPU))
        self.placed_vm = self.placed.boot(ask(VF), ask(GPU))
        # Its pools that are empty are no longer in the summary.
        self.two.start()
        self._move()
        self._be_at_work()

    def _fill(self, compute):
        """Use a port as a whole, and functions of the other one."""
        compute.boot(ask(PF))
        compute.boot(ask(VF), ask(GPU))
        compute.boot(ask(VF))
        compute.delete(compute.boot(ask(VF)))
        compute.create_server()

    def _move(self):
        """Move servers, and leave them on their way."""
        vf = ask(VF)
        resized = self.two.boot(vf)
        self.two.migrate(resized, self.three, [vf], 'finished', 'resize')
        self.three.allocate(resized)
        self.two.change_server(
            resized, host='three', node='three', vm_state='resized')
        live = self.three.boot(vf)
        self.three.migrate(
            live, self.placed, [vf], 'running', 'live-migration')
        gpu = ask(GPU)
        evacuated = self.two.boot(gpu)
        self.two.migrate(evacuated, self.tagged, [gpu], 'done', 'evacuation')
        self.tagged.allocate(evacuated)
        self.two.change_server(evacuated, host='tagged', node='tagged')
        moved = self.bare.boot(gpu)
        self.bare.migrate(moved, self.placed, [gpu], 'confirmed')
        self.placed.allocate(moved)
        self.placed.change_server(moved, host='placed', node='placed')
        self.bare.free(moved)

    def _be_at_work(self):
        """Leave servers in the middle of something."""
        building = self.two.create_server(
            [vf := ask(VF)], vm_state='building', task_state='spawning')
        self.two.claim([vf], instance_uuid=building)
        self.two.create_server(
            [ask(VF)], vm_state='building', task_state='spawning')
        self.two.create_server(
            [ask(GPU)], host=None, node=None, vm_state='shelved_offloaded')
        self.two.create_server([ask(GPU)], vm_state='error')
        # Unplug something, and plug it in again.
        self.one.report(devices()[:-1])
        self.one.report(devices())

    # What can be wrong. Each returns what the audit is to say: the host and
    # the subject of each finding.

    def plant_summary_count(self):
        self._falsify(self.three, lambda pools: self._pool(
            pools, 'type-PCI', '0000:3e:00.0').update(count=7))
        return [('three', '0000:3e:00.0 10de:1db6')]

    def plant_summary_missing(self):
        self._falsify(self.three, lambda pools: pools.remove(self._pool(
            pools, 'type-PCI', '0000:3d:00.0', parent=True)))
        return [('three', '0000:3d:00.0 10de:1db6')]

    def plant_summary_extra(self):
        def add(pools):
            extra = json.loads(json.dumps(self._pool(
                pools, 'type-PCI', '0000:3e:00.0', parent=True)))
            extra['nova_object.data'].update(product_id='1db5', count=2)
            pools.append(extra)

        self._falsify(self.tagged, add)
        return [('tagged', '0000:3e:00.0 10de:1db5')]

    def plant_summary_unreadable(self):
        self._cloud.store_summary(self.two.host, '{"half": ')
        return [('two', 'pci_stats')]

    def plant_owner_missing(self):
        uuid = self.one.boot(ask(GPU))
        self.one.change_server(uuid, deleted=1)
        return [('one', *self.one.devices_of(uuid))]

    def plant_owner_elsewhere(self):
        gpu = ask(GPU)
        uuid = self.one.boot(gpu)
        self.one.migrate(uuid, self.placed, [gpu], 'error')
        return [('placed', *self.placed.devices_of(uuid))]

    def plant_request_unmet(self):
        self.one.remove_rows(self.one.devices_of(self.gpu_vm))
        return [('one', self.gpu_vm)]

    def plant_available_owned(self):
        address = self.one.devices_of(self.vm)[0]
        self.one.change([address], status='available')
        return [('one', address)]

    def plant_device_twice(self):
        """Let the hypervisor give its node another name."""
        before = self._add('renamed', reported=[hardware.gpu(0x05, 0)])
        before.boot(ask(GPU))
        with before.transaction() as context:
            before.host.load_node(context).destroy()
        after = self._add('new-name', reported=[hardware.gpu(0x05, 0)])
        with after.transaction() as context:
            node = after.host.load_node(context)
            node.host = 'renamed'
            node.save()
        return [('renamed', '0000:05:00.0')]

    def plant_parent_child(self):
        """A function, below a port of which another one is in use."""
        address = self._available(self.three, 'type-VF')
        self.three.change([address], status='unavailable')
        return [('three', address)]

    def plant_orphan_row(self):
        gone = self._add('gone', reported=[hardware.gpu(0x05, 0)])
        with gone.transaction() as context:
            gone.host.load_node(context).destroy()
        return [('gone', '0000:05:00.0')]

    def plant_status_unknown(self):
        address = self._available(self.bare, 'type-PCI')
        self.bare.change([address], status='borrowed')
        return [('bare', address)]

    def plant_extra_info_malformed(self):
        address = self._available(self.bare, 'type-VF')
        self.bare.change([address], extra_info='{"capabilities": ')
        return [('bare', address)]

    def plant_rp_missing(self):
        address = self._available(self.placed, 'type-VF')
        self._change_extra_info(
            self.placed, address, lambda extra: extra.pop('rp_uuid'))
        return [('placed', f'{self._parent(self.placed, address)} 8086:154c')]

    def plant_rp_split(self):
        # Of the other port.
        address = self._available(self.placed, 'type-VF', last=True)
        self._change_extra_info(
            self.placed, address, lambda extra: extra.update(
                rp_uuid=computes.provider('another')))
        return [('placed', f'{self._parent(self.placed, address)} 8086:154c')]

    def mend_rp_split(self):
        """Give the function its provider back; Nova cannot start before."""
        address = self._available(self.placed, 'type-VF', last=True)
        self._change_extra_info(
            self.placed, address, lambda extra: extra.update(
                rp_uuid=computes.provider(
                    self._parent(self.placed, address))))

    def plant_tags_stale(self):
        """Go back to Nova's own tracker, and give the GPU another tag."""
        back = self._add(
            'back', [{**GPU, 'tier': "it's 5% \\ old"}],
            [hardware.gpu(0x05, 0)], tracker_class=our_tracker.PciDevTracker)
        back.replace(pci_manager.PciDevTracker)
        back.start([{**GPU, 'tier': 'new'}])
        audit_servers.age(self._cloud)
        return [('back', 'pci_devices')]

    def plant_removed_lingering(self):
        address = self._available(self.tagged, 'type-VF')
        self.tagged.change([address], status='removed')
        return [('tagged', address)]

    def plant_stories(self):
        """Let several things be wrong with one device, or its relatives.

        :returns: kind and host of each finding
        """
        # Nobody is left who uses the functions of a port.
        functions = {
            address: row['instance_uuid']
            for address, row in self.three.rows().items()
            if row['dev_type'] == 'type-VF' and row['instance_uuid']}
        for uuid in set(functions.values()):
            self.three.change_server(uuid, deleted=1)
        # They have others, and some were on their way.
        dead = [compute.host.name for compute in self.all
                for row in compute.rows().values()
                if row['instance_uuid'] in functions.values()]
        self.blocked_port, = {
            self._parent(self.three, address) for address in functions}
        # One GPU has no owner, and another owner has no GPU.
        ((_, self.dead_gpu),) = self.plant_owner_missing()
        self.plant_request_unmet()
        # Two things are wrong with one row.
        address = self._available(self.bare, 'type-VF')
        self.bare.change([address], status='borrowed', extra_info='{')
        return sorted([
            *(('owner-missing', name) for name in dead),
            ('owner-missing', 'one'), ('request-unmet', 'one'),
            ('status-unknown', 'bare'), ('extra-info-malformed', 'bare')])

    def _available(self, compute, dev_type, last=False):
        """Return the address of some available device."""
        return sorted(
            address for address, row in compute.rows().items()
            if row['status'] == 'available'
            and row['dev_type'] == dev_type)[-1 if last else 0]

    @staticmethod
    def _parent(compute, address):
        return compute.rows()[address]['parent_addr']

    @staticmethod
    def _change_extra_info(compute, address, change):
        extra_info = json.loads(compute.rows()[address]['extra_info'])
        change(extra_info)
        compute.change([address], extra_info=json.dumps(extra_info))

    def _falsify(self, compute, change):
        def change_all(summary):
            change(summary['nova_object.data']['objects'])
            return summary

        self._cloud.falsify_summary(compute.host, change_all)

    @staticmethod
    def _pool(pools, dev_type, address, parent=False):
        """Return the pool of these devices in a summary."""
        for pool in pools:
            data = pool['nova_object.data']
            if (data['tags']['dev_type'], data['tags']['address']) == (
                    dev_type, address):
                return pool if parent else data
        raise AssertionError(f'no pool of {dev_type} {address}')
