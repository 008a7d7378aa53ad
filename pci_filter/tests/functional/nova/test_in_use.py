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

"""Devices that nova-compute came to know while others were in use."""

import dataclasses
import json

from pci_filter.fixture import compute_host
from pci_filter.fixture import hardware
from pci_filter.fixture import scheduling
from pci_filter.tests.functional.nova import base


class TestInUse(base.NovaTestCase):

    def check(self, first_spec, first, then):
        """The verdict is what the claim does.

        :param first_spec: the host's device_spec in the beginning
        :param first: the first request, which is served
        :param then: the request once all devices are in device_spec
        """
        devices = hardware.network_card(
            hardware.INTEL_X710, 0x81, 0, ports=1, vfs=3)
        host = self.cloud.add_host(0, 'host0', devices, [first_spec])
        self.cloud.claim(host, [first])
        host = dataclasses.replace(
            host, device_spec=('{"vendor_id": "8086"}',))
        with self.cloud.target(host.cell) as context:
            tracker = compute_host.new_tracker(context, host)
            tracker.update_devices_from_hypervisor_resources(
                json.dumps(devices))
            compute_host.save(context, host, tracker)
        manager = self.our_manager()
        spec = scheduling.request_spec([then])
        passing = scheduling.passing_hosts(
            manager, scheduling.host_states(manager, spec), spec)
        self.assertEqual(
            self.cloud.claim_error(host, [then]) is None, bool(passing),
            self.cloud.claim_error(host, [then]))

    def port(self):
        return scheduling.pci_request(
            {'vendor_id': '8086', 'dev_type': 'type-PF'}, alias_name='pf')

    def test_port_added_while_function_in_use(self):
        self.check('{"product_id": "154c"}', base.vf_request(), self.port())

    def test_functions_added_while_port_in_use(self):
        self.check('{"product_id": "1572"}', self.port(), base.vf_request())
