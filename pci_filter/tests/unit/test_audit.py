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

"""What is a finding, and what Nova does every day."""

import datetime
import json

from pci_filter import audit
from pci_filter.audit import facts
from pci_filter.audit import finding
from pci_filter.audit import kinds
from pci_filter.audit import rows
from pci_filter.audit import summaries
from pci_filter.tests import base

NODE = facts.Node(1, 'host', 'node', None)
NOON = datetime.datetime(2026, 11, 23, 12)
SERVER = '11111111-0000-4000-8000-000000000000'
OTHER = '22222222-0000-4000-8000-000000000000'
PORT = '0000:81:00.0'
RP = '33333333-0000-4000-8000-000000000000'


def device(number, status='available', **values):
    """Return a virtual function."""
    fields = {
        'id': number, 'compute_node_id': 1,
        'address': f'0000:81:02.{number}', 'vendor_id': '8086',
        'product_id': '154c', 'dev_type': 'type-VF', 'status': status,
        'instance_uuid': None, 'request_id': None, 'numa_node': 0,
        'parent_addr': PORT, 'extra_info': '{}', 'updated': None, **values}
    return facts.Device(**fields)


def used(number, owner=SERVER, status='allocated', **values):
    return device(number, status, instance_uuid=owner, **values)


def port(status='available', **values):
    return device(9, status, **{
        'address': PORT, 'product_id': '1572', 'dev_type': 'type-PF',
        'parent_addr': None, **values})


def gpu(number, status='available', **values):
    return device(number, status, **{
        'dev_type': 'type-PCI', 'parent_addr': None, **values})


def server(uuid=SERVER, host='host', node='node', deleted=0):
    return facts.Instance(uuid, host, node, deleted)


def pool(count, **values):
    """Return a pool of the summary as Nova stores it."""
    tags = {'dev_type': 'type-VF', 'address': PORT, **values.pop('tags', {})}
    return {'nova_object.name': 'PciDevicePool', 'nova_object.data': {
        'vendor_id': '8086', 'product_id': '154c', 'numa_node': 0,
        'count': count, 'tags': tags, **values}}


def summary(*pools):
    return json.dumps({
        'nova_object.namespace': 'nova',
        'nova_object.data': {'objects': list(pools)}})


def requests(*counts, ids=None):
    return json.dumps([
        {'count': count, 'request_id': one, 'spec': []}
        for count, one in zip(counts, ids or 'abcdef')])


class AuditTestCase(base.UnitTestCase):

    def examine(
        self, *devices, stats=None, instances=(), wanting=(), migrations=(),
        expected=False, holdings=None, pending=None,
        updated=None,
    ):
        """Return kind and subject of all that is found."""
        moves = {}
        for migration in migrations:
            moves.setdefault(migration.instance_uuid, []).append(migration)
        held = {}
        for one in devices if holdings is None else holdings:
            if one.instance_uuid:
                held.setdefault(one.instance_uuid, []).append(
                    one if isinstance(one, facts.Holding) else facts.Holding(
                        one.id, one.instance_uuid, one.request_id,
                        NODE.host, NODE.hypervisor_hostname))
        self.found = audit.examine(facts.NodeFacts(
            NODE._replace(pci_stats=stats, updated=updated), devices,
            {one.uuid: one for one in instances}, wanting, held, moves),
            expected, pending)
        for one in self.found:
            self.assertIn(one.kind, kinds.KINDS)
            # A statement, or why there is none.
            self.assertNotEqual(bool(one.repairs), bool(one.no_repair), one)
        return [(one.kind, one.subject) for one in self.found]


class TestRows(AuditTestCase):

    def test_statuses(self):
        for status in ('available', 'claimed', 'allocated'):
            self.assertEqual([], self.examine(
                device(1, status, instance_uuid=(
                    None if status == 'available' else SERVER)),
                instances=[server()]))
        for status in ('removed', 'deleted'):
            self.assertEqual(
                [('removed-lingering', '0000:81:02.1')],
                self.examine(device(1, status)))
        for status in ('', 'borrowed', 'Available', "x'; --\n"):
            self.assertEqual(
                [('status-unknown', '0000:81:02.1')],
                self.examine(device(1, status)))

    def test_status_to_be(self):
        for others, owner, expected in (
                ((), None, 'available'), ((), SERVER, 'allocated'),
                ((port('allocated', instance_uuid=OTHER),), None,
                 'unavailable'),
                ((port('allocated', instance_uuid=OTHER),), SERVER, None)):
            self.examine(
                *others, device(1, 'x', instance_uuid=owner),
                instances=[server(), server(OTHER)])
            one, = self.found
            self.assertEqual('status-unknown', one.kind)
            self.assertEqual(
                expected, one.repairs and one.repairs[0].change['status']
                or None)

    def test_extra_info(self):
        for text in ('{}', '{"a": "b"}', '{"a": 1, "b": 2.5, "c": true}',
                     '{"capabilities": "{\\"sriov\\": {}}"}'):
            self.assertEqual(
                [], self.examine(device(1, extra_info=text)), text)
        for text in (None, '', '{', '[]', '"x"', '5', 'null', '{"a": null}',
                     '{"a": {}}', '{"capabilities": "{"}',
                     '{"capabilities": "[]"}', '[' * 100_000):
            self.assertEqual(
                [('extra-info-malformed', '0000:81:02.1')],
                self.examine(device(1, extra_info=text)))

    def test_orphans(self):
        for orphan, repairs in ((device(1), 1), (used(1), 0)):
            for host in ('gone', None):
                one = rows.orphan(facts.Orphan(orphan, host))
                self.assertEqual(
                    ('orphan-row', host or '', 1, repairs),
                    (one.kind, one.host, one.node_id, len(one.repairs)))

    def test_twins(self):
        for other, text in (
                (device(2), 'and id 2 is available below'),
                (used(2), 'and id 2 of instance ')):
            one = rows.twice(facts.Twin(used(1), 'host', other))
            self.assertEqual(
                ('device-twice', 'host', 1, ()),
                (one.kind, one.host, one.node_id, one.repairs))
            self.assertIn(text, one.stored)

    def test_nothing_can_be_smuggled_into_a_line(self):
        self.examine(device(1, 'x\n\x1b[2J' + 'y' * 100))
        self.assertEqual(
            "pci_devices.status is 'x\\n\\x1b[2J" + 'y' * 23 + "...'",
            self.found[0].stored)
        self.assertTrue(self.found[0].stored.isprintable())


class TestOwners(AuditTestCase):

    def test_owner(self):
        for status in ('claimed', 'allocated'):
            for owner, instances, expected in (
                    (SERVER, [server()], []),
                    (SERVER, [server(node=None)], []),
                    (None, [], ['owner-missing']),
                    (SERVER, [], ['owner-missing']),
                    (SERVER, [server(deleted=7)], ['owner-missing']),
                    (SERVER, [server(host='far')], ['owner-elsewhere']),
                    (SERVER, [server(node='far')], ['owner-elsewhere']),
                    (SERVER, [server(host=None, node=None)],
                     ['owner-elsewhere'])):
                self.assertEqual(expected, [kind for kind, _ in self.examine(
                    used(1, owner, status), instances=instances)])

    def test_freed_beside_a_relative(self):
        """What is freed is not offered if its claim would fail."""
        for parent, status in (
                (port(), 'available'),
                (port('allocated', instance_uuid=OTHER), 'unavailable'),
                (port('allocated', instance_uuid=OTHER,
                      address='0000:81:00.1'), 'available')):
            self.examine(parent, used(1), instances=[server(OTHER)])
            self.assertEqual('owner-missing', self.found[0].kind)
            self.assertEqual(
                {'status': status, 'instance_uuid': None,
                 'request_id': None}, self.found[0].repairs[0].change)

    def test_owner_in_flight(self):
        away = server(host='far', node='far')
        for migration, expected in (
                (('host', 'node', 'far', 'far'), []),
                (('far', 'far', 'host', 'node'), []),
                # Nobody has chosen a node yet.
                (('host', 'node', None, None), []),
                (('host', None, 'far', None), []),
                (('third', 'third', 'far', 'far'), ['owner-elsewhere']),
                (('host', 'other', 'far', 'far'), ['owner-elsewhere'])):
            self.assertEqual(expected, [kind for kind, _ in self.examine(
                used(1), instances=[away],
                migrations=[facts.Migration(SERVER, *migration)])])

    def test_available_owned(self):
        here = facts.Wanting(SERVER, 'host', 'node', requests(1))
        for status in ('available', 'unavailable', 'unclaimable'):
            unowned = {'instance_uuid': None, 'request_id': None}
            if status != 'available':
                # Nobody has a relative of it.
                unowned['status'] = 'available'
            for instances, wanting, change in (
                    ([], [], unowned), ([server(deleted=1)], [], unowned),
                    ([server(host='far')], [], None),
                    ([server()], [], None),
                    ([server()], [here], {'status': 'allocated'})):
                self.assertEqual(
                    [('available-owned', '0000:81:02.1')], self.examine(
                        device(1, status, instance_uuid=SERVER,
                               request_id='a'),
                        instances=instances, wanting=wanting))
                repairs = self.found[0].repairs
                self.assertEqual(
                    change, repairs[0].change if repairs else None)

    def test_available_owned_beside_a_relative(self):
        self.examine(
            port('allocated', instance_uuid=OTHER),
            device(1, 'unavailable', instance_uuid=SERVER, request_id='a'),
            instances=[server(), server(OTHER)],
            wanting=[facts.Wanting(SERVER, 'host', 'node', requests(1))])
        one, = self.found
        self.assertEqual(('available-owned', ()), (one.kind, one.repairs))
        self.assertIn('a relative of it is in use', one.no_repair)

    def test_request_id_of_a_failed_claim(self):
        self.assertEqual([], self.examine(device(1, request_id='a')))

    def test_requests(self):
        for wanted, held, met in (
                (requests(2), 'aa', True), (requests(2), 'a', False),
                (requests(1, 1), 'ab', True), (requests(1, 1), 'aa', False),
                (requests(1), '', False), ('[]', '', True),
                # From before there were ids.
                (requests(2), ' a', True), (requests(2), '  ', True),
                (requests(2), ' ', False),
                (requests(1, 1, ids=(None, 'b')), 'xb', True),
                (requests(1, ids=(None,)), '', False),
                # More than was asked for is nothing that one misses.
                (requests(1), 'aa', True),
                # Nobody knows.
                ('{', '', True), ('5', '', True), ('[5]', '', True),
                ('[{"count": null}]', '', True)):
            self.assertEqual(
                [] if met else [('request-unmet', SERVER)], self.examine(
                    *(used(number, request_id=one.strip() or None)
                      for number, one in enumerate(held)),
                    instances=[server()],
                    wanting=[facts.Wanting(SERVER, 'host', 'node', wanted)]),
                (wanted, held))

    def test_requests_in_flight(self):
        wanting = [facts.Wanting(SERVER, 'host', 'node', requests(1))]
        self.assertEqual([], self.examine(
            wanting=wanting, migrations=[facts.Migration(
                SERVER, 'far', 'far', 'host', 'node')]))

    def test_device_on_another_host(self):
        """It is told there that its owner is here."""
        self.assertEqual([], self.examine(
            wanting=[facts.Wanting(SERVER, 'host', 'node', requests(1))],
            holdings=[used(1, request_id='a')]))


class TestRelatives(AuditTestCase):

    def both(self, parent, child, expected):
        """Check a port and a function, with another one that is free."""
        self.assertEqual(expected, [subject for _, subject in self.examine(
            port(parent, instance_uuid=OTHER if parent in facts.IN_USE
                 else None),
            device(1, child, instance_uuid=SERVER if child in facts.IN_USE
                   else None),
            instances=[server(), server(OTHER)])], (parent, child))

    def test_pairs(self):
        child = '0000:81:02.1'
        for in_use in ('claimed', 'allocated'):
            for blocked in ('unavailable', 'unclaimable'):
                self.both(in_use, blocked, [])
                self.both(blocked, in_use, [])
                self.both(blocked, 'available', [PORT])
                self.both('available', blocked, [child])
                self.both(blocked, blocked, [PORT, child])
            self.both('available', in_use, [PORT])
            self.both(in_use, 'available', [child])
            self.both(in_use, in_use, [child])
        self.both('available', 'available', [])

    def test_one_of_many_functions_in_use(self):
        self.assertEqual([], self.examine(
            port('unavailable'), used(1), device(2), device(3),
            instances=[server()]))

    def test_blocked_without_relatives(self):
        for alone in (device(1, 'unavailable'), gpu(1, 'unclaimable'),
                      port('unavailable'),
                      device(1, 'unavailable', dev_type='vdpa')):
            self.assertEqual(
                [('parent-child', alone.address)], self.examine(alone))
            self.assertEqual('available', self.found[0].repairs[0].change[
                'status'])

    def test_no_relatives(self):
        self.assertEqual([], self.examine(
            device(1), used(2), gpu(3, parent_addr=PORT),
            device(4, parent_addr='0000:82:00.0'),
            instances=[server()]))

    def test_relative_that_is_gone(self):
        self.assertEqual(
            [('removed-lingering', PORT), ('parent-child', '0000:81:02.1')],
            self.examine(port('removed'), device(1, 'unavailable')))

    def test_relative_with_a_fault_of_its_own(self):
        """Whether it is in use, nobody knows."""
        self.assertEqual([('available-owned', '0000:81:02.1')], self.examine(
            port('unavailable'), device(1, instance_uuid=SERVER)))
        self.assertEqual([('status-unknown', '0000:81:02.1')], self.examine(
            port(), device(1, 'x')))
        self.assertEqual([('owner-missing', '0000:81:02.1')], self.examine(
            port('unavailable'), used(1)))


class TestSummary(AuditTestCase):

    def test_counts(self):
        devices = [device(1), device(2), used(3)]
        for stats, expected in (
                (summary(pool(2)), []),
                # By their tags.
                (summary(pool(1, tags={'trusted': 'true'}), pool(1)), []),
                (summary(pool(2, tags={'parent_ifname': 'x'})), []),
                (summary(pool(2), pool(0, product_id='1572')), []),
                (summary(pool(3)), ['summary-count']),
                (summary(pool(0)), ['summary-count']),
                (summary(pool(1), pool(2)), ['summary-count']),
                (summary(), ['summary-missing']),
                ('null', ['summary-missing']),
                ('{}', ['summary-missing']),
                (summary(pool(2, numa_node=1)),
                 ['summary-missing', 'summary-extra']),
                (summary(pool(2), pool(1, product_id='1572')),
                 ['summary-extra']),
                (json.dumps([{'vendor_id': '8086', 'product_id': '154c',
                              'numa_node': 0, 'dev_type': 'type-VF',
                              'address': PORT, 'count': 2}]), [])):
            self.assertEqual(sorted(expected), sorted(
                kind for kind, _ in self.examine(
                    *devices, stats=stats, instances=[server()])), stats)

    def test_late(self):
        """Who writes rows only leaves the summary to the next update."""
        minute = datetime.timedelta(minutes=1)
        pending = summaries.Pending(NOON - minute, NOON + minute)
        late, told = [], ['summary-count', 'summary-missing']
        for written, node_written, expected in (
                (NOON, None, late), (NOON, NOON - minute, late),
                # In the same second.
                (NOON, NOON, late), (NOON, NOON + minute, told),
                (NOON - minute, None, told), (None, None, told),
                # By a clock that is wrong.
                (NOON + minute, None, told)):
            def found(**more):
                return [kind for kind, _ in self.examine(
                    device(1, updated=written), port(updated=written),
                    stats=summary(pool(2)), updated=node_written, **more)]

            self.assertEqual(expected, found(pending=pending), written)
            self.assertEqual(told, found())
        # Of another pool it says nothing.
        self.assertEqual(['summary-missing'], [kind for kind, _ in (
            self.examine(device(1, updated=NOON), gpu(2),
                         stats=summary(pool(2)), pending=pending))])

    def test_all_in_use(self):
        """Nova drops such a pool when it is restarted."""
        for stats in (summary(), summary(pool(0))):
            self.assertEqual([], self.examine(
                used(1), stats=stats, instances=[server()]))
        self.assertEqual(
            [('summary-count', f'{PORT} 8086:154c')], self.examine(
                used(1), stats=summary(pool(1)), instances=[server()]))

    def test_null(self):
        tagged = device(1, extra_info=json.dumps({
            'pci_filter_tags': '{"a": "b"}'}))
        for devices, expected, found in (
                ([], True, []), ([device(1)], False, []),
                ([device(1)], True, [('summary-missing', 'pci_stats')]),
                ([device(1), tagged], True, []),
                ([used(1)], True, [])):
            self.assertEqual(found, self.examine(
                *devices, expected=expected, instances=[server()]))

    def test_unreadable(self):
        for text in ('', '{"half": ', '5', '"x"', '[1]',
                     '{"nova_object.data": 5}', '{"nova_object.data": {}}',
                     summary({}), summary({'nova_object.data': 5}),
                     summary(pool(None)), summary(pool(1, vendor_id=None)),
                     '[' * 100_000):
            self.assertEqual(
                [('summary-unreadable', 'pci_stats')],
                self.examine(device(1), stats=text), text)

    def test_faults_of_devices_are_not_told_twice(self):
        self.assertEqual([('status-unknown', '0000:81:02.1')], self.examine(
            device(1, 'x'), device(2), stats=summary(pool(2))))
        self.assertEqual([('status-unknown', '0000:81:02.1')], self.examine(
            device(1, 'x'), device(2), stats=summary(pool(1))))
        self.assertEqual(
            [('status-unknown', '0000:81:02.1'),
             ('summary-count', f'{PORT} 8086:154c')], self.examine(
                 device(1, 'x'), device(2), stats=summary(pool(3))))
        self.assertIn('has 1 to 2 of 2 available', self.found[1].stored)

    def test_extra_info_does_not_count(self):
        self.assertEqual(
            [('extra-info-malformed', '0000:81:02.1'),
             ('summary-count', f'{PORT} 8086:154c')], self.examine(
                 device(1, extra_info='{'), stats=summary(pool(2))))

    def test_deprecated(self):
        extra_info = json.dumps({'pci_filter_tags': '{}'})
        self.assertEqual([('summary-deprecated', 'pci_stats')], self.examine(
            device(1, extra_info=extra_info), stats=summary(pool(1))))
        self.assertEqual([], self.examine(
            device(1, extra_info=extra_info), device(2),
            stats=summary(pool(2))))
        self.assertEqual([], self.examine(stats=summary()))


class TestProviders(AuditTestCase):

    def placed(self, number, rp_uuid=RP, **values):
        return device(number, extra_info=json.dumps(
            {'rp_uuid': rp_uuid} if rp_uuid else {}), **values)

    def test_missing(self):
        subject = f'{PORT} 8086:154c'
        for devices, pools, expected in (
                ([self.placed(1, None)], [pool(1)], []),
                ([self.placed(1)], [pool(1)], []),
                ([self.placed(1), self.placed(2, None)], [pool(2)],
                 [('rp-missing', subject)]),
                ([self.placed(1, None)], [pool(1, tags={'rp_uuid': RP})],
                 [('rp-missing', subject)]),
                # Those are not in placement.
                ([self.placed(1), self.placed(2, None)],
                 [pool(1), pool(1, tags={'physical_network': 'net'})], []),
                # Nobody knows.
                ([self.placed(1, None)],
                 [pool(0, product_id='1572', tags={'rp_uuid': RP}), pool(1)],
                 [])):
            self.assertEqual(expected, self.examine(
                *devices, stats=summary(*pools)))

    def test_missing_is_mended(self):
        self.examine(self.placed(1), self.placed(2, None),
                     self.placed(3, None), stats=summary(pool(3)))
        one, = self.found
        self.assertEqual(
            [(2, f'{{"rp_uuid": "{RP}"}}'), (3, f'{{"rp_uuid": "{RP}"}}')],
            [(repair.id, repair.change['extra_info'])
             for repair in one.repairs])
        self.assertIn('2 of 3 rows', one.stored)

    def test_tags_in_the_rows(self):
        def tagged(number, **tags):
            return device(number, extra_info=json.dumps(
                {'pci_filter_tags': json.dumps(tags)}))

        self.assertEqual([], self.examine(
            self.placed(1), tagged(2, physical_network='net')))
        self.assertEqual(
            [('rp-missing', f'{PORT} 8086:154c')],
            self.examine(self.placed(1), tagged(2)))

    def test_split(self):
        subject = f'{PORT} 8086:154c'
        beside = {'parent_addr': '0000:81:00.1'}
        for devices, pools, expected in (
                ([self.placed(1), self.placed(2, OTHER)], [pool(2)], subject),
                ([self.placed(1)], [pool(1, tags={'rp_uuid': OTHER})],
                 subject),
                ([self.placed(1), self.placed(2, **beside)],
                 [pool(1), pool(1, tags={'address': '0000:81:00.1'})], RP),
                ([self.placed(1), self.placed(2)],
                 [pool(1, tags={'rp_uuid': RP}),
                  pool(1, tags={'rp_uuid': RP, 'color': 'red'})], RP)):
            self.assertEqual([('rp-split', expected)], self.examine(
                *devices, stats=summary(*pools)))

    def test_whole(self):
        self.assertEqual([], self.examine(
            self.placed(1), self.placed(2),
            self.placed(3, OTHER, parent_addr='0000:81:00.1'),
            stats=summary(
                pool(2, tags={'rp_uuid': RP}),
                pool(1, tags={'rp_uuid': OTHER,
                              'address': '0000:81:00.1'}))))

    def test_unreadable_summary(self):
        self.assertEqual(
            [('summary-unreadable', 'pci_stats')],
            self.examine(self.placed(1), stats='{'))


class TestEvidence(AuditTestCase):

    def test_every_write_changes_it(self):
        """Whatever kind it is that nova-compute is at work on."""
        for kind, make in {
                'status-unknown': lambda **new: [device(1, 'x', **new)],
                'owner-missing': lambda **new: [used(1, **new)],
                'available-owned': lambda **new: [
                    device(1, instance_uuid=OTHER, **new)],
                'parent-child': lambda **new: [
                    port(), used(1, **new)],
                'summary-count': lambda **new: [device(1, **new), device(2)],
                'rp-missing': lambda **new: [
                    device(1, **new), device(2, extra_info=json.dumps(
                        {'rp_uuid': RP}))]}.items():
            known = [server()] if kind == 'parent-child' else []
            seen = []
            for minute in (0, 0, 1):
                updated = NOON.replace(minute=minute)
                self.examine(*make(updated=updated), stats=summary(
                    pool(0)), instances=known)
                seen += [one.evidence for one in self.found
                         if one.kind == kind]
            self.assertEqual(3, len(seen), kind)
            self.assertEqual(seen[0], seen[1])
            self.assertNotEqual(seen[1], seen[2])

    def test_numbers(self):
        self.assertEqual(finding.evidence(1, 'a'), finding.evidence(1, 'a'))
        self.assertNotEqual(
            finding.evidence(1, 'a'), finding.evidence(1, 'b'))


class TestCaution(AuditTestCase):
    """Nothing is freed while somebody may use it."""

    def test_migration_that_looks_for_a_host(self):
        moving = facts.Migration(SERVER, 'elsewhere', 'elsewhere', None, None)
        arguments = {'instances': [server(host='elsewhere')]}
        claimed = used(1, status='claimed')
        self.assertEqual([], self.examine(
            claimed, migrations=[moving], **arguments))
        self.assertEqual(
            [('owner-elsewhere', claimed.address)],
            self.examine(claimed, **arguments))

    def test_port_of_a_function_whose_row_is_lost(self):
        lacking = facts.Wanting(SERVER, 'host', 'node', requests(1))
        blocked = port('unavailable')
        self.assertEqual(
            [('parent-child', PORT), ('request-unmet', SERVER)],
            self.examine(blocked, wanting=[lacking]))
        self.assertEqual((), self.found[0].repairs)
        self.assertEqual(
            [('parent-child', PORT)], self.examine(blocked))
        self.assertEqual(1, len(self.found[0].repairs))
