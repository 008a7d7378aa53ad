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

"""Tags in the rows that the summary denies."""

import datetime
import json

from pci_filter.audit import summaries
from pci_filter.tests.unit import test_audit as plain


def tagged(number, tags, **values):
    return plain.device(number, extra_info=json.dumps(
        {'pci_filter_tags': json.dumps(tags), 'parent_ifname': 'eth0'}),
        **values)


def pools(*tags, **values):
    return plain.summary(*(plain.pool(1, tags=one, **values) for one in tags))


class TestTagsStale(plain.AuditTestCase):

    def stale(self, *devices, **more):
        """Tell how many rows have tags that are stale."""
        self.examine(*devices, instances=[plain.server()], **more)
        one = next((one for one in self.found if one.kind == 'tags-stale'),
                   None)
        return len(one.repairs) if one else 0

    def test_one_device(self):
        net = {'physical_network': 'net1'}
        for stored, summary, stale in (
                (net, pools(net), False),
                (net, pools({'physical_network': 'net2'}), True),
                (net, pools({}), True), ({}, pools(net), True),
                # Nobody knows which of them the device is in.
                (net, pools({}, {'a': 'b'}), False),
                # What no operator has set, or nobody can tell from nothing.
                ({}, pools({'remote_managed': 'false', 'parent_ifname': 'x',
                            'rp_uuid': plain.RP}), False),
                ({'a': None, 'remote_managed': 'False'}, pools({}), False),
                ({'a': 5}, pools({'a': '5'}), False),
                ({'a': 'B'}, pools({'a': 'b'}), True),
                ({}, pools({'remote_managed': 'true'}), True),
                # There is nothing that could deny them.
                (net, None, False), (net, '[]', False), (net, '{', False),
                (net, pools({}, vendor_id='15b3'), False)):
            self.assertEqual(
                stale, bool(self.stale(tagged(1, stored), stats=summary)),
                (stored, summary))

    def test_devices_with_several_tags(self):
        """Those in use are in no pool."""
        devices = [tagged(1, {'a': 'x'}), tagged(
            2, {'a': 'y'}, status='allocated', instance_uuid=plain.SERVER)]
        self.assertEqual(0, self.stale(*devices, stats=pools({'a': 'x'})))
        self.assertEqual(2, self.stale(*devices, stats=pools({'a': 'z'})))

    def test_what_is_gone_vouches_for_nothing(self):
        """The scheduler does not read it; its row is mended like others."""
        for status in ('removed', 'deleted'):
            for owner in (None, plain.SERVER):
                gone = tagged(1, {'a': 'x'}, status=status,
                              instance_uuid=owner)
                left = tagged(2, {'a': 'y'})
                gpu = tagged(3, {'b': 'z'}, dev_type='type-PCI',
                             parent_addr=None)
                self.assertEqual(3 if owner else 2, self.stale(
                    gone, left, gpu, stats=pools({'a': 'x'})))
                # Nor does it deny anything.
                self.assertEqual(0, self.stale(
                    gone, gpu, stats=pools({'a': 'y'})))
                # When it was written has nothing to do with the others.
                pending = summaries.Pending(
                    plain.NOON, plain.NOON + datetime.timedelta(minutes=2))
                self.assertNotEqual(0, self.stale(
                    gone._replace(updated=plain.NOON + datetime.timedelta(
                        minutes=1)), left, stats=pools({'a': 'x'}),
                    pending=pending))

    def test_tags_of_what_is_gone(self):
        """They tell nothing about who writes the rows."""
        gone = tagged(1, {'a': 'x'}, status='removed',
                      instance_uuid=plain.SERVER)
        for devices, stats, kinds in (
                ([gone, plain.device(2)], None, ['summary-missing']),
                ([gone, tagged(2, {'a': 'x'})], None, []),
                ([gone._replace(extra_info='{}'), tagged(2, {'a': 'x'})],
                 plain.summary(plain.pool(1, tags={'a': 'x'})),
                 ['summary-deprecated']),
                ([gone], plain.summary(plain.pool(1, tags={'a': 'x'})), [])):
            self.examine(*devices, stats=stats, expected=True,
                         instances=[plain.server()])
            self.assertEqual(
                ['removed-lingering', *kinds],
                [one.kind for one in self.found])

    def test_one_tells_of_all(self):
        devices = [tagged(1, {'a': 'x'}), plain.device(2), tagged(
            3, {}, dev_type='type-PCI', parent_addr=None)]
        self.assertEqual(2, self.stale(*devices, stats=pools({'a': 'y'})))
        one = self.found[-1]
        self.assertEqual(
            ('tags-stale', 'pci_devices',
             '2 rows of pci_devices have tags in extra_info; '
             'compute_nodes.pci_stats denies those of 0000:81:02.1'),
            (one.kind, one.subject, one.stored))
        for repair in one.repairs:
            self.assertEqual(
                {'extra_info': '{"parent_ifname": "eth0"}'}, repair.change)

    def test_nothing_is_deprecated_there(self):
        device = tagged(1, {'a': 'x'})
        self.examine(device, stats=pools({'a': 'y'}))
        self.assertEqual(['tags-stale'], [one.kind for one in self.found])
        self.examine(device, stats=pools({'a': 'x'}))
        self.assertEqual(
            ['summary-deprecated'], [one.kind for one in self.found])

    def test_late(self):
        """As for the counts: the next update may bring the other half."""
        minute = datetime.timedelta(minutes=1)
        pending = summaries.Pending(plain.NOON - minute, plain.NOON + minute)
        for written, node_written, stale in (
                (plain.NOON, None, 0), (plain.NOON, plain.NOON, 0),
                (plain.NOON, plain.NOON + minute, 1),
                (plain.NOON - minute, None, 1), (None, None, 1)):
            self.assertEqual(stale, self.stale(
                tagged(1, {'a': 'x'}, updated=written),
                stats=pools({'a': 'y'}), pending=pending,
                updated=node_written), written)

    def test_evidence(self):
        """Each half that is written changes it; what is counted does not."""
        def evidence(tags, summary):
            self.stale(tagged(1, tags), stats=summary)
            return self.found[-1].evidence

        first = evidence({'a': 'x'}, pools({'a': 'y'}))
        self.assertEqual(first, evidence(
            {'a': 'x'}, plain.summary(plain.pool(7, tags={'a': 'y'}))))
        self.assertNotEqual(first, evidence({'a': 'x'}, pools({'a': 'z'})))
        self.assertNotEqual(first, evidence({'a': 'w'}, pools({'a': 'y'})))
