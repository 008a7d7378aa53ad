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

"""What an operator reads."""

from pci_filter import matching
from pci_filter import model
from pci_filter import objects
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders

_HOST = (builders.pf(builders.A), builders.vf(4, address=builders.A),
         builders.vf(2, address=builders.B, numa=1), builders.gpu())


def _explain(requests, pools=_HOST, guest=(), **more):
    listed = objects.PciDevicePoolList(builders.to_pools(pools), **more)
    return listed.explain_requests(
        requests, None, [builders.Cell(node) for node in guest])


class TestExplanation(base.UnitTestCase):

    def test_why_not(self):
        request = builders.alias(
            builders.ANY_INTEL, count=7, policy='required')
        self.assertEqual(
            'alias asks for 7: 8 free, 7 match vendor_id=8086, '
            '5 are on the right NUMA node',
            _explain([request], guest=(0,)).reason)

    def test_stages_that_took_nothing_are_not_told(self):
        request = builders.alias(builders.ANY_INTEL, count=7)
        self.assertEqual(
            'alias asks for 7: 8 free, 7 match vendor_id=8086, '
            '6 are no physical function', _explain([request]).reason)

    def test_too_few_to_begin_with(self):
        explained = _explain([builders.alias({}, count=9)])
        self.assertEqual('alias asks for 9: 8 free', explained.reason)
        self.assertEqual('are free', explained.failed.shortage)

    def test_what_too_few_devices_are(self):
        self.assertEqual('match vendor_id=10de, product_id=20b0', _explain(
            [builders.alias(builders.A_GPU, count=2)]).failed.shortage)
        self.assertEqual('are no physical function', _explain(
            [builders.alias(builders.ANY_INTEL, count=7)]).failed.shortage)

    def test_alternatives(self):
        request = builders.alias({'tier': 'Gold'}, {'tier': None}, count=9)
        self.assertEqual(
            'match tier=Gold or tier=None',
            _explain([request], [builders.gpu(9, tier='lead')])
            .failed.shortage)

    def test_who_asks_for_how_many(self):
        requests = [builders.alias(builders.A_GPU), builders.port(count=2)]
        self.assertEqual(
            ['alias asks for 1', f'port {builders.PORT} asks for 2'],
            [one.asks for one in _explain(requests).requests])

    def test_only_matters_to_placement(self):
        request = builders.alias(
            {**builders.A_GPU, 'resource_class': 'X', 'rp_uuids': 'y'},
            count=2)
        self.assertNotIn('rp_uuids', _explain([request]).reason)
        self.assertNotIn('resource_class', _explain([request]).reason)

    def test_fits(self):
        explained = _explain([builders.alias(builders.A_GPU)])
        self.assertIn('alias asks for 1: 8 free, 1 match', explained.reason)
        self.assertEqual(explained.reason, str(explained))

    def test_relatives(self):
        request = builders.alias(builders.A_PF, builders.A_VF, count=2)
        self.assertEqual(
            'alias asks for 2: 8 free, 7 match '
            'vendor_id=8086, product_id=1572, dev_type=type-PF or '
            'vendor_id=8086, product_id=154c, dev_type=type-VF, '
            '1 are not excluded by a PF or VF in use',
            _explain([request]).reason)

    def test_relatives_count_what_was_taken_before(self):
        request = builders.alias(builders.A_VF, builders.A_PF, count=3)
        self.assertEqual(
            'alias asks for 3: 3 free, 2 are not excluded by a PF or VF '
            'in use', _explain([request], pools=(
                builders.vf(2), builders.pf())).reason)

    def test_only_the_request_that_fails_is_told(self):
        explained = _explain([
            builders.alias(builders.A_GPU, request_id=builders.ID1),
            builders.port(request_id=builders.ID2, physical_network='x'),
            builders.alias(builders.A_GPU, request_id=builders.ID3)])
        self.assertEqual(
            f'port {builders.PORT} asks for 1: 7 free, 0 match '
            'remote_managed=False, physical_network=x',
            explained.reason)
        self.assertEqual(2, len(explained.requests))

    def test_requests_before_it(self):
        requests = [builders.alias(builders.A_PF),
                    builders.alias(builders.A_VF, count=3)]
        self.assertEqual(
            'alias asks for 3: 3 free, 2 match '
            'vendor_id=8086, product_id=154c, dev_type=type-VF '
            '(requests before it took or excluded its devices)',
            _explain(requests).reason)

    def test_request_before_it_is_not_to_blame(self):
        requests = [builders.alias(builders.A_GPU),
                    builders.alias(builders.A_VF, count=7)]
        self.assertEqual('', _explain(requests).note)

    def test_notes_add_up(self):
        group = builders.device_group()
        explained = _explain(
            [builders.alias(builders.A_GPU, count=2)], unknown=[group],
            pools=[builders.gpu(tier=model.UNKNOWN, color=model.UNKNOWN)])
        self.assertEqual(
            'alias asks for 2: 1 free (devices whose tags are unknown are '
            'left out, functions of one PF differ in color, tier)',
            explained.reason)

    def test_nothing_asked_for(self):
        self.assertTrue(_explain([]).fits)
        self.assertEqual('nothing is asked for', _explain([]).reason)

    def test_one_line(self):
        for requests in ([], [builders.alias(builders.A_VF, count=9)]):
            self.assertEqual(
                1, len(_explain(requests).reason.splitlines()))

    def test_labels(self):
        def label(request):
            return _explain([request]).requests[0].request.label

        self.assertEqual('alias', label(builders.alias({})))
        self.assertEqual(f'port {builders.PORT}', label(builders.port()))
        nameless = builders.Request(1, [{}], None, builders.ID1, None)
        self.assertEqual(f'request {builders.ID1}', label(nameless))

    def test_verdict_of_parts(self):
        request = matching.DeviceRequest.compile('x', 1, [{}])
        part = matching.RequestExplanation(
            request, 0, (matching.StageCount('spec', 0),), False)
        fine = matching.RequestExplanation(
            request, 1, (matching.StageCount('spec', 1),), True)
        whole = matching.Explanation((fine, part))
        self.assertFalse(whole.fits)
        self.assertIs(part, whole.failed)
        self.assertEqual('spec', part.failed_stage)
        self.assertIsNone(fine.failed_stage)
        self.assertTrue(matching.Explanation(()).fits)
