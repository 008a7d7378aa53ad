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

"""Values for what comes from outside, right ones and odd ones."""

from hypothesis import strategies as st

from pci_filter import model
from pci_filter.tests.fuzz import inputs

PARENT = '0000:81:00.0'

#: Devices as rows know them; summaries and specs are asked about these.
KINDS = tuple(
    model.DeviceKind('8086', product_id, node, dev_type, PARENT,
                     device_address=address, has_card_serial=serial)
    for product_id, dev_type, address in (
        ('154c', 'type-VF', '0000:81:02.1'), ('1572', 'type-PF', PARENT))
    for node in (0, None) for serial in (None, True))

#: What operators say of devices, in pairs of key and value.
_TAGS = (
    ('physical_network', 'net1'), ('physical_network', 'net1'),
    ('physical_network', 'NET2'), ('physical_network', None),
    ('trusted', 'true'), ('trusted', 'false'), ('remote_managed', 'true'),
    ('remote_managed', 'false'), ('remote_managed', 'False'),
    ('managed', 'true'), ('managed', 'no'), ('live_migratable', 'true'),
    ('live_migratable', 'false'), ('tier', 'gold'), ('tier', '5'),
    ('tier', '\N{SNOWMAN}'), ('a"b', 'x'), ('resource_class', 'CUSTOM_A'))

#: Specs as in ``[pci_filter]device_spec``.
_SPECS = inputs.dictionaries(
    (*_TAGS, ('vendor_id', '8086'), ('vendor_id', '*'),
     ('vendor_id', '0x8086'), ('product_id', '154c'),
     ('product_id', ' 154C'), ('product_id', '1572'), ('devname', ''),
     *(('address', where) for where in (
         PARENT, '0000:81:02.1', '*:81:*.*', '81:02.*', '*:*:*.1',
         ':81:02.1', '*', '', None, {'bus': '8[12]'}, {'func': '1'},
         {'domain': '.*', 'bus': '81', 'slot': '.*', 'function': '[0-3]'},
         {'domain': '0000', 'bus': '81', 'slot': '00', 'function': '0'}))),
    4, odd_keys=('count', 'rp_uuid', 'numa_node', '', '\N{SNOWMAN}'))
_BAD_ADDRESSES = inputs.mostly(
    {'bus': 5}, {'slot': '('}, {'slot': '\\\n'}, '1:2:3:4', ':', '.8', '100:')

#: Those that Nova's option has too, and ours alone.
DEVICE_SPECS = inputs.json_texts(
    st.one_of(
        _SPECS, st.lists(_SPECS, max_size=3),
        st.builds(lambda spec, where: {**spec, 'address': where}, _SPECS,
                  _BAD_ADDRESSES)))
HOST_SPECS = inputs.json_texts(
    st.builds(lambda spec, host: {**spec, 'host': host}, _SPECS,
              inputs.mostly('host', 'h*', '*', 'h[a-o]st', '?', '[!h]*')))

#: Pools as in ``compute_nodes.pci_stats``.
_FIELDS = st.fixed_dictionaries({
    'vendor_id': inputs.mostly('8086'),
    'product_id': inputs.mostly('154c', '154c', '1572'),
    'numa_node': inputs.mostly(0, 0, None, '0', True),
    'count': inputs.mostly(0, 1, 4, -1)})
_KEYS = st.fixed_dictionaries({
    'dev_type': inputs.mostly('type-VF', 'type-VF', 'type-PF'),
    'address': inputs.mostly(PARENT)})
_TOLD = inputs.dictionaries(
    (*_TAGS, ('rp_uuid', 'rp1'), ('rp_uuid', 'rp2'),
     ('parent_ifname', 'ens1')), 4,
    odd_keys=('tags', 'count', 'devices', '', 'dev_type', 'vendor_id'))
_POOL_TAGS = st.builds(lambda *parts: {
    key: value for part in parts for key, value in part.items()},
    _KEYS, _TOLD)
_OLD = st.builds(lambda fields, tags: {**fields, **tags}, _FIELDS, _POOL_TAGS)


def _primitive(name, data, version):
    return {'nova_object.name': name, 'nova_object.namespace': 'nova',
            'nova_object.version': version, 'nova_object.data': data}


_VERSIONS = inputs.mostly('1.0', '1.1', '1.1', '1.2', '2.0')
_NEW = st.builds(
    lambda fields, tags, version: _primitive(
        'PciDevicePool', {**fields, 'tags': tags}, version),
    _FIELDS, _POOL_TAGS, _VERSIONS)
_PLAIN_NEW = st.builds(
    lambda fields, tags: _primitive(
        'PciDevicePool', {**fields, 'tags': tags}, '1.1'),
    _FIELDS, _POOL_TAGS)
_ANY = st.sampled_from(inputs.ODD)


def _lists(pools, versions):
    return st.builds(
        lambda found, version: _primitive(
            'PciDevicePoolList', {'objects': found}, version),
        st.lists(pools, max_size=3), versions)


SUMMARIES = inputs.json_texts(
    st.one_of(
        _lists(_PLAIN_NEW, st.just('1.1')), _lists(_NEW, _VERSIONS),
        st.lists(_OLD, max_size=3), _OLD,
        _lists(st.one_of(_NEW, _OLD, _ANY), _VERSIONS),
        st.lists(st.one_of(_OLD, _NEW, _ANY), max_size=3)))

#: Values of ``[pci]alias``, and what flavors make of them.
ALIASES = inputs.json_texts(
    st.builds(
        lambda ids, more: {'name': 'a', **ids, **more},
        st.sampled_from((
            {'vendor_id': '8086', 'product_id': '154c'},
            {'vendor_id': '8086', 'product_id': '154C'},
            {'vendor_id': '8086', 'product_id': '1572'},
            {'vendor_id': '10de', 'product_id': '20b0'})),
        inputs.dictionaries((
            ('device_type', 'type-VF'), ('device_type', 'type-PF'),
            ('device_type', 'type-PCI'), ('capability_type', 'pci'),
            ('numa_policy', 'required'), ('numa_policy', 'preferred'),
            ('numa_policy', 'legacy'), ('numa_policy', 'socket'),
            ('live_migratable', 'yes'), ('live_migratable', 'false'),
            ('live_migratable', ''), ('resource_class', 'CUSTOM_A'),
            ('traits', 'CUSTOM_B')), 3)))
FLAVORS = st.sampled_from(('a:1', 'a:1', 'a:2', 'a:4', 'a:0', 'a:2,a:1'))

#: What ``pci_devices.extra_info`` holds, as Nova writes it: texts.
_TEXTS = st.one_of(
    st.sampled_from(('', 'x', '"', '\\', '\\"', '": "', '"}', '}"', '{', '}',
                     '\n', '/', '\u2603', '\x00', "'", '%', 'x' * 300)),
    st.text('ab"\\}{:, /\n\u00fc', max_size=8))
_NAMES = st.one_of(
    st.sampled_from(('ens1f0np0', 'e', 'enp129s0f0np0v1', 'eth0.1')), _TEXTS)
_UUIDS = st.one_of(
    st.just('4d3c2b1a-0000-4000-8000-1234567890ab'), st.just('rp'), _TEXTS)
_CAPABILITIES = st.sampled_from((
    '{}', '{"vpd": {"card_serial_number": "MT1"}}',
    '{"vpd": {"card_serial_number": ""}}',
    '{"vpd": {"card_serial_number": "\\""}}',
    '{"sriov": {"vf_num": 3, "pf_mac_address": "aa"}}'))
_WRITTEN = st.fixed_dictionaries({}, optional={
    'capabilities': _CAPABILITIES, 'parent_ifname': _NAMES,
    'rp_uuid': _UUIDS, 'mac_address': _TEXTS, 'managed': _TEXTS,
    'live_migratable': _TEXTS, 'vf_num': _TEXTS})
#: Tags as our tracker stores them before all that.
STORED = st.dictionaries(
    st.one_of(st.sampled_from(('physical_network', 'tier', 'rp_uuid')),
              _TEXTS),
    st.one_of(_TEXTS, st.sampled_from(inputs.PLAIN)), max_size=4)
EXTRA_INFO = st.tuples(_WRITTEN, st.one_of(st.none(), STORED))
