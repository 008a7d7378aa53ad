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

"""What is to be done about several findings of one device together."""

import dataclasses
import json

import hypothesis
from hypothesis import strategies as st

from pci_filter import audit
from pci_filter.audit import facts
from pci_filter.audit import finding
from pci_filter.audit import requests
from pci_filter.audit import rows
from pci_filter.audit import stories
from pci_filter.tests import base
from pci_filter.tests.unit import test_audit as plain

DEAD = '99999999-0000-4000-8000-000000000000'
VF = '0000:81:02.1'
FREE = {'status': 'available', 'instance_uuid': None, 'request_id': None}
OTHER_RP = '44444444-0000-4000-8000-000000000000'
BAD = {'extra_info': '{'}
EMPTY = {'extra_info': '{}'}

#: A server here that lacks a device, by what it asked for.
ANY, INTEL, NVIDIA = 'any', '8086', '10de'


def lacking(vendor_id=ANY, **more):
    spec = [] if vendor_id == ANY else [{'vendor_id': vendor_id}]
    return facts.Wanting(plain.SERVER, 'host', 'node', json.dumps(
        [{'count': 1, 'request_id': 'a', 'spec': spec}]), **more)


def dead(number=1, status='allocated', **values):
    return plain.used(number, DEAD, status, **values)


def elsewhere(pci_requests=None):
    return plain.server(plain.OTHER, host='far', node='far')._replace(
        pci_requests=pci_requests)


class StoriesTestCase(plain.AuditTestCase):

    def repairs(self):
        """Return what is changed, by the address of the device."""
        changes = {}
        for one in self.found:
            for repair in one.repairs:
                # Each row is changed once.
                self.assertNotIn(self.addresses[repair.id], changes)
                changes[self.addresses[repair.id]] = dict(repair.change)
        return changes

    def examine(self, *devices, **more):
        self.addresses = {device.id: device.address for device in devices}
        return super().examine(*devices, **more)

    def told(self, kind):
        one, = [one for one in self.found if one.kind == kind]
        return one.no_repair


class TestPairs(StoriesTestCase):
    """All pairs of kinds that can meet on one device."""

    def pair(self, devices, kinds, repairs, **more):
        """Check which findings there are, and what is printed for them."""
        self.examine(*devices, instances=[plain.server(), elsewhere()],
                     **more)
        self.assertEqual(
            sorted(kinds), sorted({one.kind for one in self.found}))
        self.assertEqual(repairs, self.repairs(), devices)

    def test_request_unmet(self):
        """It contradicts all that gives a device away, and nothing else."""
        for device, kind, change in (
                (dead(), 'owner-missing', FREE),
                (plain.used(1, None), 'owner-missing', FREE),
                (plain.used(1, plain.OTHER), 'owner-elsewhere', FREE),
                (plain.device(1, instance_uuid=DEAD), 'available-owned',
                 {'instance_uuid': None, 'request_id': None}),
                (plain.device(1, 'x'), 'status-unknown',
                 {'status': 'available'}),
                (plain.device(1, 'unavailable'), 'parent-child',
                 {'status': 'available'}),
                (plain.device(1, 'removed'), 'removed-lingering',
                 {'deleted', 'deleted_at'})):
            for wanting, withheld in (
                    ([], False), ([lacking()], True),
                    ([lacking(INTEL)], True), ([lacking(NVIDIA)], False),
                    ([lacking(at_rest=False)], True)):
                self.examine(
                    device, wanting=wanting,
                    instances=[plain.server(), elsewhere()])
                found = {one.kind for one in self.found}
                self.assertIn(kind, found)
                self.assertEqual(
                    bool(wanting) and wanting[0].at_rest,
                    'request-unmet' in found)
                if not withheld:
                    self.assertEqual(set(change), set(self.repairs()[VF]))
                    continue
                self.assertEqual({}, self.repairs())
                self.assertIn(
                    f'server {plain.SERVER} lacks 1 of the devices',
                    self.told(kind))
                self.assertIn('as request-unmet does', self.told(kind))
                if 'request-unmet' in found:
                    self.assertIn(
                        f'one of them: {VF} ({kind})',
                        self.told('request-unmet'))

    def test_what_a_server_has_elsewhere(self):
        """A row of another host is of no use to the guest."""
        mine = {'instance_uuid': plain.SERVER, 'request_id': 'a'}
        for host, node, here in (
                ('host', 'node', True), ('far', 'far', False),
                ('host', 'other', False), (None, None, False)):
            self.examine(
                dead(), wanting=[lacking()], instances=[plain.server()],
                holdings=[facts.Holding(
                    7, host=host, node=node, **mine)])
            self.assertEqual(
                ['owner-missing'], [one.kind for one in self.found])
            self.assertEqual({VF: FREE} if here else {}, self.repairs())
            if not here:
                self.assertIn(
                    f'server {plain.SERVER} lacks 1 of the devices that it '
                    'asked for where it is', self.told('owner-missing'))

    def test_request_unmet_and_what_gives_nothing_away(self):
        unmet = {'wanting': [lacking()]}
        self.pair([plain.device(1, **BAD)], [
            'extra-info-malformed', 'request-unmet'], {VF: EMPTY}, **unmet)
        self.pair([plain.port(), plain.used(1, status='claimed')],
                  ['parent-child'], {plain.PORT: {'status': 'unavailable'}})
        # One that serves the server.
        self.pair([plain.device(1, instance_uuid=plain.SERVER,
                                request_id='a')], ['available-owned'],
                  {VF: {'status': 'allocated'}}, **unmet)

    def test_extra_info_malformed(self):
        """The rest of the row has nothing to do with that."""
        for device, kind, change in (
                (dead(**BAD), 'owner-missing', FREE),
                (plain.used(1, plain.OTHER, **BAD), 'owner-elsewhere', FREE),
                (plain.device(1, instance_uuid=DEAD, **BAD),
                 'available-owned',
                 {'instance_uuid': None, 'request_id': None}),
                (plain.device(1, 'x', **BAD), 'status-unknown',
                 {'status': 'available'}),
                (plain.device(1, 'unavailable', **BAD), 'parent-child',
                 {'status': 'available'})):
            self.pair([device], [kind, 'extra-info-malformed'],
                      {VF: {**change, **EMPTY}})
        self.examine(plain.device(1, 'removed', **BAD))
        self.assertEqual(['deleted', 'deleted_at'], [*self.repairs()[VF]])
        self.assertIn('another finding', self.told('extra-info-malformed'))

    def test_rp_missing(self):
        """What has no readable row is told of next time, and mended now."""
        placed = plain.device(2, extra_info=json.dumps({'rp_uuid': plain.RP}))
        mended = {'extra_info': json.dumps({'rp_uuid': plain.RP})}
        stats = plain.summary(plain.pool(2))
        self.pair([plain.device(1, **BAD), placed], ['extra-info-malformed'],
                  {VF: mended}, stats=stats)
        self.pair([dead(), placed], ['owner-missing'],
                  {VF: {**FREE, **mended}}, stats=stats)

    def test_tags_stale(self):
        """Tags go, a provider comes, and the row is changed once."""
        stale = {'extra_info': json.dumps(
            {'pci_filter_tags': '{"a": "b"}', 'x': 'y'})}
        gone = {'extra_info': '{"x": "y"}'}
        mended = {'extra_info': json.dumps({'x': 'y', 'rp_uuid': plain.RP})}
        more = {'stats': plain.summary(plain.pool(1, tags={'a': 'c'}))}
        placed = {'stats': plain.summary(
            plain.pool(1, tags={'a': 'c', 'rp_uuid': plain.RP}))}
        self.pair([plain.device(1, **stale)], ['tags-stale'],
                  {VF: gone}, **more)
        self.pair([plain.device(1, **stale)], ['rp-missing', 'tags-stale'],
                  {VF: mended}, **placed)
        self.pair([plain.device(1, **stale)], ['request-unmet', 'tags-stale'],
                  {VF: gone}, wanting=[lacking()], **more)
        self.pair([dead(**stale)], ['owner-missing', 'tags-stale'],
                  {VF: {**FREE, **gone}}, **more)
        self.pair([dead(**stale)],
                  ['owner-missing', 'request-unmet', 'tags-stale'],
                  {VF: gone}, wanting=[lacking()], **more)
        self.pair([plain.device(1, 'x', **stale)],
                  ['status-unknown', 'tags-stale'],
                  {VF: {'status': 'available', **gone}}, **more)
        self.pair([plain.device(1, **stale), plain.device(2, **BAD)],
                  ['extra-info-malformed', 'tags-stale'],
                  {VF: gone, '0000:81:02.2': EMPTY},
                  stats=plain.summary(plain.pool(2, tags={'a': 'c'})))

    def test_status_unknown_of_a_dead_owner(self):
        self.pair([plain.device(1, 'x', instance_uuid=DEAD)],
                  ['status-unknown'], {VF: FREE})
        self.pair([plain.device(1, 'x', instance_uuid=plain.OTHER)],
                  ['status-unknown'], {VF: FREE})

    def test_relatives(self):
        """Who is blocked by what is freed is freed with it."""
        blocked = plain.port('unavailable')
        port = {plain.PORT: {'status': 'available'}}
        self.pair([blocked, dead()], ['owner-missing'], {VF: FREE, **port})
        self.pair([blocked, dead(), dead(2)], ['owner-missing'],
                  {VF: FREE, '0000:81:02.2': FREE, **port})
        self.pair([blocked, dead(), plain.used(2)], ['owner-missing'],
                  {VF: FREE})
        self.pair([plain.port('allocated', instance_uuid=DEAD), dead()],
                  ['owner-missing'], {VF: FREE, plain.PORT: FREE})
        self.pair([blocked, plain.device(1, 'x')], ['status-unknown'],
                  {VF: {'status': 'available'}, **port})

    def test_relatives_that_would_both_be_in_use(self):
        """Each might be made allocated if the other were not."""
        self.pair(
            [plain.port(instance_uuid=plain.SERVER, request_id='a'),
             plain.device(1, 'x', instance_uuid=plain.SERVER)],
            ['available-owned', 'status-unknown'], {},
            wanting=[lacking()._replace(
                pci_requests=plain.requests(1, ids='a'))])
        for kind in ('available-owned', 'status-unknown'):
            self.assertIn('parent-child would be found', self.told(kind))

    def test_owner_elsewhere_that_has_no_other_device(self):
        for held, missing in (((), 1), (('far',), 0), (('third',), 1)):
            device = plain.used(1, plain.OTHER, request_id='a')
            self.examine(
                device, instances=[elsewhere(plain.requests(1))], holdings=[
                    device, *(facts.Holding(7, plain.OTHER, 'a', host, host)
                              for host in held)])
            self.assertEqual({} if missing else {VF: FREE}, self.repairs())
            if missing:
                self.assertIn('lacks 1 of the devices',
                              self.told('owner-elsewhere'))


class TestEnd(StoriesTestCase):

    def test_repair_that_mends_nothing(self):
        """It comes to an end all the same."""
        device = plain.device(1, extra_info='{')
        node_facts = facts.NodeFacts(
            facts.Node(1, 'host', 'node', None), [device], {}, [], {}, {})
        asked = []

        def look(changed):
            asked.append(changed)
            return [finding.Finding(
                'extra-info-malformed', 'host', 1, device.address,
                'no JSON object', 0,
                (rows.row_repair(device, EMPTY),))]

        one, = stories.settle(node_facts, look, lambda one: True)
        self.assertEqual([EMPTY], [
            dict(repair.change) for repair in one.repairs])
        self.assertLess(len(asked), 40)


class TestCost(StoriesTestCase):

    def test_many_servers_that_lack_devices(self):
        """Whether one may use a device is asked once for each kind."""
        may_use = requests.Lacking.may_use
        asked = []

        def counted(server, named):
            asked.append((server.server.uuid, named))
            return may_use(server, named)

        self.patch(requests.Lacking, 'may_use', counted)
        number = 20
        wanting = [lacking()._replace(uuid=f'server-{i}')
                   for i in range(number)]
        self.examine(*(dead(i) for i in range(number)),
                     plain.gpu(number, 'allocated', instance_uuid=DEAD),
                     wanting=wanting, holdings=[])
        self.assertEqual({}, self.repairs())
        unmet = [one for one in self.found if one.kind == 'request-unmet']
        self.assertEqual(number, len(unmet))
        for one in unmet:
            self.assertIn(' (owner-missing) and 18 more', one.no_repair)
        self.assertEqual(2 * number, len(asked))
        self.assertEqual(2 * number, len(set(asked)))


class TestOtherFamilies(StoriesTestCase):

    def test_repair_that_brings_up_all_rows(self):
        """The statements for them are the first finding's."""
        removed, *others = devices = [
            plain.device(1, 'removed'), plain.device(2), plain.gpu(3)]
        node_facts = facts.NodeFacts(plain.NODE, devices, {}, [], {}, {})

        def look(changed):
            if removed in changed.devices:
                return list(rows.check(changed))
            repairs = tuple(rows.row_repair(one, {'extra_info': '{"a": 1}'})
                            for one in changed.devices
                            if one.extra_info == '{}')
            return [finding.Finding(
                'tags-stale', 'host', 1, 'pci_devices', '', 0, repairs)
                ] if repairs else []

        one, = stories.settle(node_facts, look, lambda one: True)
        self.assertEqual('removed-lingering', one.kind)
        self.assertEqual(
            [1, *(other.id for other in others)],
            [repair.id for repair in one.repairs])


class TestWhatIsTold(StoriesTestCase):

    def test_only_told_findings_are_relied_on(self):
        """The other function is not freed, so the port stays blocked."""
        devices = [plain.port('unavailable'), dead(), dead(2)]
        node_facts = facts.NodeFacts(plain.NODE, devices, {}, (), {}, {})
        found = audit.examine(
            node_facts, False, None, lambda one: one.subject == VF)
        told = {one.subject: one for one in found}
        self.assertEqual([1], [
            repair.id for repair in told[VF].repairs])

    def test_kinds_of_devices(self):
        """A GPU is no function, whatever a server lacks."""
        gpu = plain.gpu(1, 'allocated', instance_uuid=DEAD)
        for spec, withheld in (
                ({}, True), ({'vendor_id': '8086'}, True),
                ({'product_id': '154C'}, True),
                ({'product_id': '1572'}, False),
                ({'dev_type': 'type-VF'}, False),
                ({'physical_network': 'net'}, True)):
            wanting = lacking()._replace(pci_requests=json.dumps(
                [{'count': 1, 'request_id': 'a', 'spec': [spec]}]))
            self.examine(gpu, wanting=[wanting], instances=[plain.server()])
            self.assertEqual(withheld, not self.repairs(), spec)


OWNERS = (None, None, plain.SERVER, plain.OTHER, DEAD)
STATUSES = ('available', 'available', 'allocated', 'allocated', 'claimed',
            'unavailable', 'unclaimable', 'removed', 'x')


@st.composite
def fleets(draw):
    """Draw the facts of a host where anything can be wrong."""
    def fields(**more):
        owner = draw(st.sampled_from(OWNERS))
        return {
            'status': draw(st.sampled_from(STATUSES)), 'instance_uuid': owner,
            'request_id': draw(st.sampled_from(('a', 'b', None))),
            'extra_info': draw(st.sampled_from((
                '{}', '{}', '{', *(json.dumps(one) for one in (
                    {'rp_uuid': plain.RP}, {'rp_uuid': OTHER_RP},
                    {'pci_filter_tags': '{"a": "b"}'},
                    {'pci_filter_tags': '{"a": "c"}'},
                    {'pci_filter_tags': '{}'}))))), **more}

    devices = [plain.device(number, **fields()) for number in range(
        draw(st.integers(0, 4)))]
    if draw(st.booleans()):
        devices.append(plain.port(**fields()))
    devices += [plain.gpu(20 + number, **fields(
        vendor_id=draw(st.sampled_from(('8086', '10de')))))
        for number in range(draw(st.integers(0, 2)))]
    asked = [plain.requests(draw(st.integers(1, 2))) if draw(st.booleans())
             else '[]' for _ in range(2)]
    instances = [
        plain.server()._replace(pci_requests=asked[0]), elsewhere(asked[1])]
    wanting = [facts.Wanting(plain.SERVER, 'host', 'node', asked[0],
                             draw(st.booleans()))]
    holdings = {}
    for device in devices:
        holdings.setdefault(device.instance_uuid, []).append(facts.Holding(
            device.id, device.instance_uuid, device.request_id, 'host',
            'node'))
    for number, uuid in enumerate((plain.SERVER, plain.OTHER)):
        if draw(st.booleans()):
            holdings.setdefault(uuid, []).append(facts.Holding(
                50 + number, uuid, draw(st.sampled_from(('a', None))),
                draw(st.sampled_from(('far', 'third'))), 'far'))
    return facts.NodeFacts(
        plain.NODE._replace(pci_stats=draw(st.sampled_from((
            None, plain.summary(plain.pool(1)),
            plain.summary(plain.pool(1, tags={'a': 'b'})),
            plain.summary(plain.pool(1, tags={'rp_uuid': plain.RP})))))),
        devices, {one.uuid: one for one in instances}, wanting, holdings, {})


def mended(node_facts, found):
    """Return the facts when all the statements were run."""
    changes = {repair.id: repair.change for one in found
               for repair in one.repairs if repair.table == 'pci_devices'}
    devices = [device._replace(**changes.get(device.id, {}))
               for device in node_facts.devices
               if 'deleted' not in changes.get(device.id, ())]
    holdings = {}
    here = {device.id for device in node_facts.devices}
    for uuid, held in node_facts.holdings.items():
        holdings[uuid] = [one for one in held if one.id not in here]
    for device in devices:
        holdings.setdefault(device.instance_uuid, []).append(facts.Holding(
            device.id, device.instance_uuid, device.request_id, 'host',
            'node'))
    return dataclasses.replace(
        node_facts, devices=devices, holdings=holdings)


class TestStoriesProperty(base.PropertyMixin, StoriesTestCase):

    #: What is about a pool, of which a row with a finding is no evidence.
    NOT_OF_DEVICES = ('summary-', 'rp-split', 'rp-missing')

    @base.examples(500)
    @hypothesis.given(node_facts=fleets())
    def test_statements_together(self, node_facts):
        found = audit.examine(node_facts, False)
        for one in found:
            self.assertNotEqual(bool(one.repairs), bool(one.no_repair), one)
        self.no_device_of_a_server_is_freed(node_facts, found)
        before = {one.identity for one in found}
        after = audit.examine(mended(node_facts, found), False)
        self.assertEqual([], [
            (one.kind, one.subject, one.stored) for one in after
            if one.identity not in before
            and (one.repairs
                 or not one.kind.startswith(self.NOT_OF_DEVICES))])
        # What is told to be mended is.
        left = {one.identity for one in after}
        for one in found:
            if one.repairs and one.kind != 'rp-missing':
                self.assertNotIn(one.identity, left)

    def no_device_of_a_server_is_freed(self, node_facts, found):
        """Whoever lives and may use a device has it afterwards."""
        devices = {device.id: device for device in node_facts.devices}
        wanted = {uuid: sum(one['count'] for one in json.loads(
            instance.pci_requests))
            for uuid, instance in node_facts.instances.items()}
        there = {uuid: [
            one for one in node_facts.holdings.get(uuid, ())
            if one.host == instance.host and one.request_id in ('a', None)]
            for uuid, instance in node_facts.instances.items()}
        lacks = len(there[plain.SERVER]) < wanted[plain.SERVER]
        for one in found:
            for repair in one.repairs:
                if repair.table != 'pci_devices':
                    continue
                device = devices[repair.id]
                gives = ('deleted' in repair.change
                         or repair.change.get('status') == 'available'
                         and device.status != 'available'
                         or 'instance_uuid' in repair.change)
                if gives:
                    # The specs name nothing, so it may be any device.
                    self.assertFalse(lacks, one)
                    self.assertNotEqual(
                        plain.SERVER, device.instance_uuid, one)
                if gives and device.instance_uuid == plain.OTHER:
                    self.assertLessEqual(
                        wanted[plain.OTHER], len(there[plain.OTHER]), one)
