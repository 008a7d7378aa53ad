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

"""Rows of devices that earlier bugs of Nova's PCI tracker left wrong.

Ours ends right in each; where Nova's own still does not, its test shows that
beside ours.
"""

from nova.db.main import api as main_db

from pci_filter.fixture import hardware
from pci_filter.tests.functional.nova import bugs
from pci_filter.tests.functional.nova import computes
from pci_filter.tests.functional.nova import nova_release
from pci_filter.tests.functional.nova import row_states


class TestBug1633120(bugs.BugTestCase):
    """device_spec forgot devices that are in use.

    A renamed option or a typing error made nova-compute believe that none of
    its devices may be used. It deleted the rows of all of them; when the
    option was put right they were created anew, and a device that still
    belonged to an instance was given to another one.
    """

    def test_device_in_use_keeps_its_owner(self):
        compute = self.ours([bugs.NVIDIA], bugs.gpus())
        owner, (used,) = compute.claim([bugs.gpu()], allocate=True)
        for _ in range(2):
            compute.start(device_spec=[])
            self.assertEqual({used: 'allocated'}, compute.statuses())
            self.check(compute, [])
            self.refused(compute, bugs.gpu())
        compute.start(device_spec=[bugs.NVIDIA])
        self.assertEqual(owner, compute.rows()[used]['instance_uuid'])
        other, = set(bugs.GPUS) - {used}
        self.check(compute, [other])
        self.assertEqual([other], compute.claim([bugs.gpu()])[1])
        self.refused(compute, bugs.gpu())
        compute.free(owner)
        self.check(compute, [used])


class TestBug1892361(bugs.BugTestCase):
    """A pool did not notice that a device had become another kind.

    When SR-IOV was switched on, the row of a plain network card became one of
    a physical function, but the pool in memory went on to offer a plain
    device: claims failed, or gave it to somebody who wanted something else.
    """

    def test_sriov_is_switched_on_and_off(self):
        plain = {**bugs.card()[0], 'dev_type': hardware.PCI}
        compute = self.ours([bugs.INTEL], [plain])
        self.check(compute, [bugs.PORT])
        for change in (compute.report,
                       lambda devices: compute.start(devices=devices)):
            change(bugs.card())
            self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])
            self.refused(compute, bugs.gpu())
            owner, claimed = compute.claim([bugs.function(2)])
            self.assertEqual(bugs.FUNCTIONS, sorted(claimed))
            compute.free(owner)
            owner, claimed = compute.claim([bugs.port()])
            self.assertEqual([bugs.PORT], claimed)
            compute.free(owner)
            change([plain])
            self.check(compute, [bugs.PORT])
            self.refused(compute, bugs.port())

    def test_type_is_all_that_nova_minds(self):
        """A renamed netdev or a new NUMA node still passes Nova by."""
        def renamed():
            return [{**device, 'parent_ifname': 'new0', 'numa_node': 1}
                    for device in bugs.card()]

        ours = self.ours([bugs.INTEL], bugs.card())
        ours.report(renamed())
        self.check(ours, [bugs.PORT, *bugs.FUNCTIONS])
        self.assertEqual({1}, {pool['numa_node'] for pool in ours.pools()})
        nova = self.nova([bugs.INTEL], bugs.card())
        nova.report(renamed())
        self.assertEqual({0}, {pool['numa_node'] for pool in nova.pools()})
        self.assertEqual({1}, {
            pool['numa_node'] for pool in nova.fresh_pools()})
        ours.claim([bugs.port()])
        error = self.assertRaises(computes.Refused, nova.claim, [bugs.port()])
        self.assertEqual('PciDevicePoolEmpty', error.reason)


class TestBug1899541(bugs.BugTestCase):
    """Archiving deleted instances took the rows of their devices with it.

    A row of pci_devices names its owner, so "nova-manage db
    archive_deleted_rows" took it for one of the many that die with the
    instance, if nova-compute had not freed the device yet.
    """

    def archive(self, compute, uuid):
        """Delete an instance in the database, and archive it."""
        if self.cloud.engine(
                compute.host.cell).dialect.name == 'postgresql':
            self.skipTest('Nova cannot archive instances on PostgreSQL: a '
                          'type of the shadow table has another name')
        with compute.transaction() as context:
            main_db.instance_create(context, {
                'uuid': uuid, 'host': compute.host.name})
        with compute.transaction() as context:
            main_db.instance_destroy(context, uuid)
        with self.cloud.target(compute.host.cell) as context:
            archived, _, _ = main_db.archive_deleted_rows(context, 1000)
        self.assertEqual(1, archived['instances'])

    def without_rows_in_use(self, make, request):
        """Return a compute that lost the rows of a claim, and restarted."""
        compute = make([bugs.INTEL], bugs.card())
        _, claimed = compute.claim([request], allocate=True)
        compute.remove_rows(claimed)
        compute.start()
        return compute

    def test_rows_outlive_their_owner(self):
        compute = self.ours([bugs.INTEL], bugs.card())
        uuid, claimed = compute.claim([bugs.function()], allocate=True)
        self.archive(compute, uuid)
        compute.report()
        self.check(compute, set(bugs.FUNCTIONS) - set(claimed))
        self.assertEqual(uuid, compute.rows()[claimed[0]]['instance_uuid'])
        compute.clean_usage([])
        self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])

    def test_row_of_a_function_is_gone(self):
        """Nova lets nobody have the port until a function is claimed."""
        for make, right in ((self.nova, False), (self.ours, True)):
            compute = self.without_rows_in_use(make, bugs.function())
            if not right:
                self.assertEqual(
                    {bugs.PORT: 'blocked'},
                    row_states.wrong_states(compute.rows()))
                continue
            self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])
            self.assertEqual([bugs.PORT], compute.claim([bugs.port()])[1])

    def test_row_of_a_port_is_gone(self):
        """Nova lets nobody have the functions, ever."""
        for make, right in ((self.nova, False), (self.ours, True)):
            compute = self.without_rows_in_use(make, bugs.port())
            if not right:
                self.assertEqual(
                    dict.fromkeys(bugs.FUNCTIONS, 'blocked'),
                    row_states.wrong_states(compute.rows()))
                continue
            self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])
            compute.claim([bugs.function(2)])


class TestBug1969496(bugs.BugTestCase):
    """Functions stayed unavailable below a port that nobody has.

    Nobody found out how the rows came to that after a hardware fault. The
    scheduler offered the port, and its claim failed.
    """

    def broken(self, **statuses):
        """Return a compute whose rows were falsified before it started."""
        compute = self.ours([bugs.INTEL], bugs.card())
        for status, addresses in statuses.items():
            compute.change(addresses, status=status)
        compute.start()
        return compute

    def check_port(self, compute):
        owner, claimed = compute.claim([bugs.port()], allocate=True)
        self.assertEqual([bugs.PORT], claimed)
        self.assertEqual({
            bugs.PORT: 'allocated',
            **dict.fromkeys(bugs.FUNCTIONS, 'unavailable')},
            compute.statuses())
        self.check(compute, [])
        compute.free(owner)
        self.check(compute, [bugs.PORT, *bugs.FUNCTIONS])
        compute.claim([bugs.function(2)])
        self.check(compute, [])

    def test_all_functions(self):
        self.check_port(self.broken(unavailable=bugs.FUNCTIONS))

    def test_some_functions(self):
        self.check_port(self.broken(unavailable=bugs.FUNCTIONS[:1]))
        self.cloud.reset()
        self.check_port(self.broken(unclaimable=bugs.FUNCTIONS[1:]))

    def test_port_with_function_in_use(self):
        compute = self.ours([bugs.INTEL], bugs.card())
        owner, claimed = compute.claim([bugs.function()], allocate=True)
        other = set(bugs.FUNCTIONS) - set(claimed)
        compute.change([bugs.PORT], status='available')
        compute.change(other, status='unavailable')
        compute.start()
        self.refused(compute, bugs.port())
        compute.free(owner)
        self.check_port(compute)

    def test_unavailable_functions_are_gone(self):
        """The way out that operators had: have no functions any more."""
        compute = self.broken(unavailable=bugs.FUNCTIONS)
        compute.start(devices=bugs.card()[:1])
        self.check(compute, [bugs.PORT])
        compute.claim([bugs.port()], allocate=True)
        compute.start(devices=bugs.card())
        self.check(compute, [])


class TestBug2115905(bugs.BugTestCase):
    """A device that device_spec has dropped could be claimed once more.

    As long as an instance has it, it must be kept. When the instance was
    deleted, the device was made available like any other until the next start
    of nova-compute.
    """

    @staticmethod
    def check_nova(check):
        """Do a check if it is a Nova that has a remedy for this bug."""
        if nova_release.REMOVES_WHEN_FREED:
            check()

    def test_device_goes_with_its_owner(self):
        compute = self.ours([bugs.NVIDIA], bugs.gpus())
        owner, (used,) = compute.claim([bugs.gpu()], allocate=True)
        other, = set(bugs.GPUS) - {used}
        compute.start(device_spec=[{'address': other}])
        self.assertEqual(
            {used: 'allocated', other: 'available'}, compute.statuses())
        compute.free(owner)
        self.assertEqual({other: 'available'}, compute.statuses())
        self.check(compute, [other])
        self.refused(compute, bugs.gpu(2))

    def test_functions_of_a_port_that_goes(self):
        """Nova keeps the functions out of its pools until it restarts."""
        for make, right in ((self.nova, False), (self.ours, True)):
            compute = make([bugs.INTEL], bugs.card())
            owner, _ = compute.claim([bugs.port()], allocate=True)
            compute.start(device_spec=[{**bugs.INTEL, 'product_id': '154c'}])
            compute.free(owner)
            if not right:
                self.check_nova(lambda: self.assertEqual(
                    (dict.fromkeys(bugs.FUNCTIONS, 'available'), []),
                    (compute.statuses(), compute.pools())))
                continue
            self.check(compute, bugs.FUNCTIONS)
            compute.claim([bugs.function(2)])

    def test_device_is_reported_again_in_time(self):
        """Nova removes it all the same."""
        for make, right in ((self.nova, False), (self.ours, True)):
            compute = make([bugs.NVIDIA], bugs.gpus())
            owner, (used,) = compute.claim([bugs.gpu()], allocate=True)
            compute.report(
                [one for one in bugs.gpus() if one['address'] != used])
            compute.report(bugs.gpus())
            compute.free(owner)
            if not right:
                self.check_nova(lambda: self.assertNotIn(
                    used, compute.statuses()))
                continue
            self.check(compute, bugs.GPUS)
            compute.claim([bugs.gpu(2)])
