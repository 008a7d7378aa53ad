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

"""What the commands make of [pci]alias is what Nova makes of it."""

import collections
import json

import hypothesis
from hypothesis import strategies as st
import nova.conf
from nova import exception
from nova.pci import request
import testtools

from pci_filter.cli import base as cli_base
from pci_filter.cli.request import aliases
from pci_filter.fixture import databases
from pci_filter.tests import base
from pci_filter.tests.functional.nova import nova_release

#: From which release on Nova wants ids in every alias.
CHECKS_IDS = hasattr(request, '_validate_required_ids')

_parse = getattr(request, 'get_alias_from_config', None) or (
    request._get_alias_from_config)


def _mostly(usual, *odd):
    """A usual value, and now and then another one."""
    return st.sampled_from((usual,) * (4 * len(odd) or 1) + odd)


_alias = st.fixed_dictionaries({
    'name': _mostly('a', 'b', ' a ', '', 5, 'x' * 257),
    'vendor_id': _mostly('8086', '80860', '10DE', 8086, '8086\n'),
    'product_id': _mostly('154c', 'xyz1', '\u0661\u0661\u0661\u0661'),
}, optional={
    'device_type': _mostly('type-VF', 'type-PF', 'vdpa', ''),
    'numa_policy': _mostly('legacy', 'required', 'strict'),
    'capability_type': _mostly('pci', 'usb'),
    'resource_class': _mostly('CUSTOM_A', 1),
    'traits': st.just('CUSTOM_T'),
    **({'live_migratable': _mostly('yes', '0', 'maybe', True)}
       if nova_release.HAS_LIVE_MIGRATABLE else {}),
    'managed': st.just('yes'),
})


@st.composite
def _texts(draw):
    texts = []
    for _ in range(draw(st.integers(1, 3))):
        alias = draw(_alias)
        if not draw(st.sampled_from((True, False, False, False))):
            alias.pop('managed', None)
        if CHECKS_IDS and draw(_mostly(False, True)):
            alias.pop(draw(st.sampled_from(('vendor_id', 'product_id'))))
        texts.append(draw(_mostly(json.dumps(alias), '{', '[]', '""')))
    return texts


class TestAliases(base.PropertyMixin, testtools.TestCase):

    def test_as_nova(self):
        verdicts = collections.Counter()

        @base.examples(1500)
        @hypothesis.given(_texts(), st.booleans())
        def compare(texts, pci_in_placement):
            pci_in_placement &= CHECKS_IDS
            theirs = self._theirs(texts, pci_in_placement)
            try:
                ours = {name: tuple(alias) for name, alias in (
                    aliases.parse_aliases(texts, pci_in_placement).items())}
            except cli_base.CommandError:
                ours = None
            self.assertEqual(theirs, ours)
            verdicts[ours is not None] += 1

        compare()
        # How many are of each kind differs between releases of hypothesis.
        self.assertGreater(
            min(verdicts[True], verdicts[False]), 50 * base.PART)

    def _theirs(self, texts, pci_in_placement):
        with databases.overriding('pci', alias=texts), databases.overriding(
                'filter_scheduler', pci_in_placement=pci_in_placement):
            if CHECKS_IDS:
                _parse.cache_clear()
                self.addCleanup(_parse.cache_clear)
            try:
                return _parse()
            except exception.PciInvalidAlias:
                return None

    def test_requests_as_nova(self):
        """What --alias asks for is what a flavor asks for."""
        text = ('{"name": "a", "vendor_id": "8086", "product_id": "154c", '
                '"device_type": "type-VF", "numa_policy": "preferred"}')
        with databases.overriding('pci', alias=[text]):
            if CHECKS_IDS:
                _parse.cache_clear()
                self.addCleanup(_parse.cache_clear)
            theirs, = request._translate_alias_to_requests('a:3')
        numa_policy, specs = aliases.parse_aliases([text])['a']
        self.assertEqual(
            (3, 'a', theirs.numa_policy, theirs.spec),
            (theirs.count, theirs.alias_name, numa_policy, specs))
        self.assertEqual([], nova.conf.CONF.pci.alias)
