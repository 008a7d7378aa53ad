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

"""When devices with unknown tags are reported, and how."""

import math
import time
import types

import fixtures

from pci_filter import model
from pci_filter import objects
from pci_filter.scheduler import unknown_tags
from pci_filter.tests import base
from pci_filter.tests.scenarios import builders

NAME = 'pci_filter.scheduler.unknown_tags'
ADVICE = 'Give their tags in [pci_filter]device_spec.'


def _group(dev_type='type-VF', product_id='154c'):
    return builders.device_group(dev_type=dev_type, product_id=product_id)


def _host(name, *unknown, pools=(), **more):
    return types.SimpleNamespace(
        host=name, nodename=name, pci_stats=objects.PciDevicePoolList(
            builders.to_pools(pools), unknown=unknown, **more))


class TestReporter(base.UnitTestCase):

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(fixtures.FakeLogger(
            format='%(levelname)s %(name)s %(message)s'))
        self.reporter = unknown_tags.Reporter()

    def report(self, *hosts, cell='cell1', began=math.inf):
        """Return the lines that one request makes."""
        before = len(self.log.output.splitlines())
        self.reporter.report(cell, hosts, began)
        return self.log.output.splitlines()[before:]

    def test_second_sight(self):
        host = _host('host0', _group(), _group('type-PF', '1572'))
        self.assertEqual([], self.report(host))
        self.assertEqual([
            f'WARNING {NAME} Devices whose tags no source knows are left '
            'out in cell cell1: 8086:154c (type-VF), 8086:1572 (type-PF) on '
            f'host0. {ADVICE}'], self.report(host))
        for _ in range(3):
            self.assertEqual([], self.report(host))

    def test_differing(self):
        host = _host('host0', pools=[
            builders.vf(trusted=model.UNKNOWN, tier=model.UNKNOWN)])
        self.assertEqual([], self.report(host))
        self.assertEqual([
            f'WARNING {NAME} Functions of one physical function differ in '
            'tags in cell cell1: tier, trusted on host0. The summary does '
            'not tell which is which, so no request for these tags gets '
            f'them. {ADVICE}'], self.report(host))
        self.assertEqual([], self.report(host))

    def test_stale(self):
        host = _host('host0', stored_tags=model.StoredTags.STALE)
        self.assertEqual([], self.report(host))
        line, = self.report(host)
        self.assertIn('are out of date in cell cell1 on host0: ', line)
        self.assertEqual([], self.report(host))
        for other in (model.StoredTags.CURRENT, model.StoredTags.NONE):
            for _ in range(2):
                self.assertEqual(
                    [], self.report(_host('host0', stored_tags=other)))

    def test_both(self):
        host = _host('host0', _group(), pools=[
            builders.vf(tier=model.UNKNOWN)])
        self.report(host)
        first, second = self.report(host)
        self.assertIn('are left out', first)
        self.assertIn('differ in tags', second)

    def test_only_once_is_nothing(self):
        for _ in range(3):
            self.assertEqual([], self.report(_host('host0', _group())))
            self.assertEqual([], self.report(_host('host0')))

    def test_requests_at_a_time(self):
        """They may all have read the summary of before the rows changed."""
        host = _host('host0', _group())
        began = time.monotonic()
        for _ in range(3):
            self.assertEqual([], self.report(host, began=began))
        self.assertEqual(1, len(self.report(host, began=time.monotonic())))
        self.assertEqual([], self.report(host, began=began))

    def test_again_after_a_change(self):
        one, other = _host('host0', _group()), _host(
            'host0', _group(product_id='1889'))
        self.report(one)
        self.assertEqual(1, len(self.report(one)))
        self.assertEqual([], self.report(other))
        line, = self.report(other)
        self.assertIn('8086:1889 (type-VF)', line)
        self.assertNotIn('154c', line)
        self.assertEqual([], self.report(other))

    def test_again_after_all_was_well(self):
        host = _host('host0', _group())
        self.report(host)
        self.assertEqual(1, len(self.report(host)))
        self.assertEqual([], self.report(_host('host0')))
        self.assertEqual([], self.report(host))
        self.assertEqual(1, len(self.report(host)))

    def test_request_for_others_in_between(self):
        one, other = _host('host0', _group()), _host('host1', _group())
        self.assertEqual([], self.report(one))
        self.assertEqual([], self.report(other))
        self.assertEqual([], self.report(one, cell='cell2'))
        self.assertIn('on host0.', self.report(one)[0])
        self.assertIn('on host1.', self.report(one, other)[0])

    def test_hosts_are_counted(self):
        for number, text in ((5, 'host4. '), (6, 'host4 and 1 more hosts. '),
                             (9, 'host4 and 4 more hosts. ')):
            self.reporter = unknown_tags.Reporter()
            hosts = [_host(f'host{n}', _group()) for n in range(number)]
            self.report(*hosts)
            line, = self.report(*hosts)
            self.assertIn('on host0, host1, host2, host3, ' + text, line)
            self.assertNotIn('host5', line)

    def test_pools_of_nova(self):
        host = types.SimpleNamespace(
            host='host0', nodename='host0', pci_stats=None)
        for _ in range(3):
            self.assertEqual([], self.report(host))
