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

"""[pci_filter]device_spec means what [pci]device_spec means to Nova.

Set PCI_FILTER_SEED to the seed of an earlier run to repeat it.
"""

import contextlib
import json
from unittest import mock

import ddt
import hypothesis
from hypothesis import strategies as st
from nova import exception as nova_exception
from nova import objects
from nova.pci import utils
from nova.pci import whitelist
import testtools

from pci_filter import exception
from pci_filter import model
from pci_filter.tags import device_spec
from pci_filter.tests import base
from pci_filter.tests.functional.nova import nova_release

#: What Nova raises for a value that it does not take. Some faults it does
#: not expect at all.
_REFUSED = (
    nova_exception.PciConfigInvalidSpec,
    nova_exception.PciDeviceWrongAddressFormat,
    nova_exception.PciDeviceInvalidDeviceName,
    AttributeError, TypeError, OverflowError, RecursionError)

_PFS = ('0000:81:00.0', '0000:82:00.0', '0000:82:00.1')

#: Address, parent, vendor, product, and whether the card tells its serial.
_DEVICES = tuple(
    (address, parent, vendor, product, serial)
    for address, parent, product in (
        *((pf, None, '1572') for pf in _PFS),
        ('0000:81:02.0', _PFS[0], '154c'), ('0000:81:02.1', _PFS[0], '154c'),
        ('0000:82:02.0', _PFS[1], '154c'), ('0000:82:0a.7', _PFS[2], '154d'),
        ('0001:82:02.0', None, '20b0'), ('0000:8a:00.0', None, '20b0'))
    for vendor, serial in (('8086', False), ('15b3', True)))


def _is_physical_function(domain, bus, slot, function):
    """Answer as a host with these devices would from its /sys."""
    return utils.get_pci_address(domain, bus, slot, function) in _PFS


def in_tree(values):
    """Return the tags that Nova gives each device; None if it refuses."""
    with mock.patch.object(
            utils, 'is_physical_function', _is_physical_function):
        try:
            allowed = whitelist.Whitelist(values)
        except _REFUSED:
            return None
        found = []
        for address, parent, vendor, product, serial in _DEVICES:
            capabilities = {'vpd': {'card_serial_number': 'MT1'}}
            pci_device = objects.PciDevice.create(None, {
                'address': address, 'parent_addr': parent,
                'vendor_id': vendor, 'product_id': product,
                'capabilities': capabilities if serial else {}})
            spec = allowed.get_devspec(pci_device)
            found.append(spec and dict(spec.get_tags()))
        return found


def ours(values):
    """Return the tags that we give each device; None if we refuse."""
    try:
        source = device_spec.DeviceSpecTags(base.options(device_spec=values))
    except exception.InvalidDeviceSpec:
        return None
    lookup = source.for_node(model.ComputeNode('uuid', 'host', 'node'))
    return [
        lookup(model.DeviceKind(
            vendor, product, 0, 'any', parent or address, None,
            address if source.by_device else None,
            serial if source.by_device else None))
        for address, parent, vendor, product, serial in _DEVICES]


def _often(common, *rare):
    """Draw what is right three times out of four, else what may not be."""
    return st.integers(0, 3).flatmap(
        lambda number: common if number else st.one_of(*rare))


_IDS = _often(
    st.sampled_from(('8086', '15b3', '15B3', '0x8086', ' 8086', '008086',
                     '*', '154c', '154d', '1572', '20b0')),
    st.sampled_from(('', 'zz', '18086', '8 6', '0x')),
    st.text('0123456789abcdefx', max_size=6))

_FIELD = st.sampled_from((
    '*', '', '0000', '0001', '0', '81', '82', '8a', '8A', '02', '2', '00',
    '0a', '7', ' *', ' 82 '))
_GLOB = st.tuples(
    st.lists(_FIELD, max_size=3).map(':'.join),
    st.sampled_from(('', '.', '.*', '.0', '.1', '.7'))).map(''.join)
_FULL = st.sampled_from((
    *_PFS, *(address for address, *_ in _DEVICES), '0000:8A:00.0',
    '0:81:0.0'))
_TEXT = st.sampled_from((
    '8', '20', '100', '10000', 'h', '9', '-', '0?', '1.2', '0:0:0:0'))
_STRING = _often(
    st.one_of(_GLOB, _FULL),
    st.tuples(_GLOB, _TEXT).map(''.join), st.tuples(_TEXT, _GLOB).map(
        ':'.join), st.text(':.*0189afx', max_size=13))

_REGEX_FIELD = _often(
    st.sampled_from((
        '.*', '', '0', '0000', '000[01]', '8[12]', '81', '82', '8', '8A',
        '8a', '00', '02', '0[02]', '[0-3]', '0|7', '1', '^0', '0a$', '.')),
    st.sampled_from(('*', '[', '(', 'a{2', '+', '0{999999999999}', 5, None)),
    st.text('0128.*[]()|^$', max_size=5))
_REGEX = st.dictionaries(
    st.sampled_from(('domain', 'bus', 'slot', 'function', 'func')),
    _REGEX_FIELD, max_size=4)
_FULL_REGEX = st.sampled_from(_PFS + ('0000:82:0a.7',)).map(
    lambda address: dict(zip(
        ('domain', 'bus', 'slot', 'function'),
        address.replace('.', ':').split(':'))))

_ADDRESS = _often(
    st.one_of(_STRING, _STRING, _REGEX, _FULL_REGEX),
    st.sampled_from((None, 5, ['0000'], True, [], {}, 0)))
_BOOLEAN = _often(
    st.sampled_from(('true', 'False', 'yes', '0', 1, True, None)),
    st.sampled_from(('maybe', '', 2, 0.5)))
_REMOTE = st.sampled_from(('true', 'True', 'yes', 'false', 'no', '', None))

_SPEC = st.fixed_dictionaries({}, optional={
    'vendor_id': _IDS, 'product_id': _IDS, 'address': _ADDRESS,
    'devname': st.sampled_from(('', None)),
    **({'managed': _BOOLEAN, 'live_migratable': _BOOLEAN}
       if nova_release.HAS_LIVE_MIGRATABLE else {}),
    'trusted': st.sampled_from(('true', True)),
    'physical_network': st.sampled_from(('net1', 'NET2', None))})
_PLAIN_SPEC = st.fixed_dictionaries(
    {'tier': st.sampled_from(('gold', 'lead'))},
    optional={'vendor_id': st.sampled_from(('8086', '15b3', '*')),
              'product_id': st.sampled_from(('154c', '1572')),
              'address': st.one_of(_GLOB, _FULL, _FULL_REGEX)})
#: Nova looks at the host's devices when it is the address of a PF, so not
#: together with an address.
_REMOTE_SPEC = st.fixed_dictionaries(
    {'remote_managed': _REMOTE},
    optional={'vendor_id': st.sampled_from(('8086', '15b3', '*')),
              'product_id': st.sampled_from(('154c', '20b0'))})
_SPECS = _often(st.one_of(_PLAIN_SPEC, _REMOTE_SPEC), _SPEC)
_VALUES = st.lists(
    st.one_of(_SPECS, _SPECS, st.lists(_SPECS, max_size=3)).map(json.dumps),
    min_size=1, max_size=3)
_ODD_VALUES = st.lists(st.sampled_from((
    '', '{', 'null', '5', '[5]', '[]', '{}', '"x"', '[[]]', '[{}, null]')),
    max_size=1)


class _AnyHost:
    """What these tests need Nova to know."""

    def setUp(self):
        super().setUp()
        objects.register_all()


class TestDeviceSpecProperty(
        _AnyHost, base.PropertyMixin, testtools.TestCase):

    @base.examples(1500)
    @hypothesis.given(_VALUES, _ODD_VALUES)
    def test_same_tags(self, values, odd):
        expected = in_tree(values + odd)
        hypothesis.event('refused' if expected is None else 'taken')
        self.assertEqual(expected, ours(values + odd))

    @base.examples(1000)
    @hypothesis.given(_SPEC)
    def test_one_spec(self, spec):
        expected = in_tree([json.dumps(spec)])
        hypothesis.event('refused' if expected is None else 'taken')
        self.assertEqual(expected, ours([json.dumps(spec)]))


_NET = {'physical_network': 'hr_net'}


@ddt.ddt
class TestNovasExamples(_AnyHost, testtools.TestCase):
    """The values of Nova's own unit tests, test_devspec, test_whitelist."""

    @ddt.data(
        {'vendor_id': '8086', 'address': '*: *: *.6', 'product_id': '5057'},
        {'vendor_id': '8086', 'address': '*: *: *.5', 'product_id': '5057'},
        {'vendor_id': '8087', 'address': '*: *: *.5', 'product_id': '5057'},
        {'vendor_id': '80860', 'address': '*:*:*.5', 'product_id': '5057'},
        {'vendor_id': '8086', 'address': '*:*:*.5', 'product_id': '50570'},
        {'vendor_id': '8086', 'product_id': '5057'},
        {'product_id': '0001', 'vendor_id': '8086'},
        {'address': '0000:0a:0b:00.5'}, {'address': '0000:h4.12:6'},
        {'address': '0000:0a:00.8'}, {'address': '10000:0a:00.5'},
        {'address': '0000:100:00.5'}, {'address': '0000:0a:20.5'},
        {'address': ':0a:00.'}, {'address': '.5'},
        {'address': '0000:0a:00.0'}, {'address': '0000:0a:00.5'},
        {'address': '*:00:0a.*'}, {'address': '*:00:0b.*'},
        {'address': ['.*', '.*', '00', '[6-7]']},
        {'address': {'domain': '.*', 'bus': '.*', 'slot': '00',
                     'function': '[5-6]'}},
        {'address': {'domain': '.*', 'bus': '.*', 'slot': '0a',
                     'function': '[0-1]'}},
        {'address': {'domain': '.*', 'bus': '.*', 'slot': '00',
                     'function': '[6[-7]'}},
        {'address': {'domain': '*', 'bus': '*', 'slot': '00',
                     'function': '[6-7]'}},
        {'address': {'domain': '.*', 'slot': '00', 'function': '[5-6]'}},
        {'address': {'domain': '.*', 'bus': '.*', 'slot': '00'}},
        {'address': {'domain': '0000', 'bus': '0a', 'slot': '00',
                     'function': '0'}},
        {'address': {'domain': '*', 'bus': '02', 'slot': '01',
                     'function': '[0-2]'}},
        {'devname': ''}, {'devname': 'eth0', 'address': '*:*:*.5'},
        {'vendor_id': '8086', 'address': '0000:0a:00.0',
         'product_id': '5057', 'remote_managed': 'false'},
        {'vendor_id': '8086', 'address': '0000:0a:00.2',
         'product_id': '5057', 'remote_managed': 'true'},
        {'managed': 'invalid'}, {'live_migratable': 'invalid'},
        {'managed': 'yes'}, {'managed': '0'}, {'live_migratable': 'no'},
        {'live_migratable': '1'})
    def test_example(self, spec):
        if not nova_release.HAS_LIVE_MIGRATABLE and (
                spec.keys() & {'managed', 'live_migratable'}):
            self.skipTest('these are tags like others to this Nova')
        devices = tuple(
            (address, parent, '8086', product, serial)
            for address, parent in (
                ('0000:0a:00.5', '0000:0a:00.0'), ('0000:0a:00.0', None),
                ('0000:0a:00.2', '0000:0a:00.1'), ('0000:00:0a.1', None))
            for product in ('5057', '0001') for serial in (True, False))
        values = [json.dumps({**_NET, **spec})]
        with contextlib.ExitStack() as patches:
            for name, value in (('_DEVICES', devices),
                                ('_PFS', ('0000:0a:00.0',))):
                patches.enter_context(
                    mock.patch(f'{__name__}.{name}', value))
            self.assertEqual(in_tree(values), ours(values))
