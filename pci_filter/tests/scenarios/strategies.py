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

"""Random hosts and random requests, for hypothesis."""

from hypothesis import strategies as st

from pci_filter.tests.scenarios import builders

_NETS = ('net1', 'NET1', 'net2', None)
_NODES = st.sampled_from((None, 0, 0, 1, 2))
_ABSENT = object()

SOCKETS = st.sampled_from((
    (0, 0, 1, 1), (0, 1, 0, 1), (None,) * 4, (0, 0, 1, None)))
GUESTS = st.sampled_from(((), (), (0,), (1,), (0, 1), (2,)))


@st.composite
def _tags(draw, remote_managed=False):
    drawn = {
        'physical_network': draw(st.sampled_from((_ABSENT, *_NETS))),
        'tier': draw(st.sampled_from((_ABSENT, _ABSENT, 'gold', 'Lead'))),
        'live_migratable': draw(st.sampled_from(
            (_ABSENT, _ABSENT, 'true', 'false'))),
        'remote_managed': 'true' if remote_managed and draw(
            st.integers(0, 5)) == 5 else _ABSENT}
    return {key: value for key, value in drawn.items() if value is not _ABSENT}


@st.composite
def _family(draw, address, rp_uuid):
    """Draw a physical function, and what is carved out of it."""
    more = {'address': address, 'numa': draw(_NODES),
            'rp': draw(st.sampled_from((None, rp_uuid, rp_uuid, rp_uuid)))}
    pools = []
    if draw(st.booleans()):
        pools.append(builders.pf(**more, **draw(_tags())))
    for make in draw(st.lists(
            st.sampled_from((builders.vf, builders.vf, builders.vdpa)),
            max_size=2)):
        pools.append(make(draw(st.integers(1, 3)), **more,
                          **draw(_tags(remote_managed=True))))
    return pools


@st.composite
def hosts(draw):
    """Draw the pools of a host, as in-tree dicts, no two of them alike."""
    pools = []
    for address, rp_uuid in (
            (builders.A, builders.RP1), (builders.B, builders.RP2),
            (builders.C, builders.RP3)):
        pools += draw(_family(address, rp_uuid))
    for slot in range(draw(st.integers(0, 2))):
        pools.append(builders.gpu(
            address=f'0000:41:{slot:02x}.0', numa=draw(_NODES),
            **draw(_tags())))
    return [pool for number, pool in enumerate(pools)
            if not any(_alike(pool, other) for other in pools[:number])]


def _alike(one, other):
    """Tell whether Nova could take the devices of both for one pool.

    A tag that is null counts as missing there (nova.pci.stats, _find_pool),
    so no host has pools that differ in nothing else.
    """
    def holds(pool, device):
        return all(pool.get(key) == value for key, value in device.items()
                   if key not in ('count', 'rp_uuid'))

    return len(one) == len(other) and (
        holds(one, other) or holds(other, one))


@st.composite
def _specs_for(draw, pool):
    """Draw what one of the devices of a pool meets."""
    needed = {'dev_type', 'remote_managed'} & pool.keys()
    more = draw(st.sets(st.sampled_from(sorted(
        pool.keys() - {'count', 'numa_node', 'rp_uuid', 'address'}))))
    return {key: pool[key] for key in sorted(needed | more)}


@st.composite
def _specs(draw):
    """Draw what devices may or may not meet."""
    kind = draw(st.sampled_from((
        builders.A_VF, builders.A_PF, builders.A_VDPA, builders.A_GPU,
        builders.ANY_INTEL, {'vendor_id': '15b3'}, {})))
    return {**kind, **draw(st.sampled_from((
        {}, {}, {}, {'tier': 'GOLD'}, {'physical_network': 'net1'},
        {'physical_network': None}, {'live_migratable': 'true'},
        {'live_migratable': 'false'}, {'remote_managed': 'True'})))}


@st.composite
def requests(draw, pools=(), request_id=builders.ID1):
    """Draw a request of a flavor or of a port, often one for these pools."""
    more = {
        'count': draw(st.sampled_from((1, 1, 1, 2, 3))),
        'policy': draw(st.sampled_from(
            (None, 'required', 'socket', 'legacy', 'preferred'))),
        'request_id': request_id}
    specs = _specs()
    if pools and draw(st.integers(0, 3)):
        specs = st.sampled_from(pools).flatmap(_specs_for)
    if draw(st.booleans()):
        return builders.alias(
            *draw(st.lists(specs, min_size=1, max_size=2)), **more)
    return builders.port(**more, **draw(specs))


@st.composite
def _mappings(draw, pools, wanted):
    """Draw what placement allocated for each flavor request."""
    mapping = {}
    for request in wanted:
        if request.alias_name is None:
            continue
        suitable = [
            pool['rp_uuid'] for pool in pools if 'rp_uuid' in pool and all(
                pool.get(key) == value
                for key, value in request.spec[0].items())]
        if not suitable or not draw(st.integers(0, 9)):
            suitable = [builders.RP1, builders.RP2, builders.RP3]
        # Rarely fewer devices than asked for.
        short = draw(st.integers(0, 9)) == 9
        for number in range(request.count - short):
            mapping[f'{request.request_id}-{number}'] = [
                draw(st.sampled_from(suitable))]
    return mapping


@st.composite
def scenarios(draw):
    """Draw a host and up to three requests; the outcome is not known."""
    pools = draw(hosts())
    wanted = [draw(requests(pools, request_id)) for request_id in (
        builders.ID1, builders.ID2, builders.ID3)[:draw(st.integers(1, 3))]]
    mapping = None
    if draw(st.booleans()):
        mapping = draw(_mappings(pools, wanted))
    return builders.scenario(
        'random', pools, wanted, mapping=mapping, guest=draw(GUESTS),
        sockets=draw(SOCKETS))
