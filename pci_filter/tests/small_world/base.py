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

"""What the tests of small worlds have in common."""

import logging
import sys

import fixtures

from pci_filter.tests.functional.nova import base


class SmallWorldTestCase(base.NovaTestCase):

    cells = 1
    log_level = logging.CRITICAL

    def setUp(self):
        super().setUp()
        # Lines that are not kept cost as much as the decisions.
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def replace(self, name, value):
        self.useFixture(fixtures.MonkeyPatch(name, value))

    def tell(self, name, tally):
        # The original, as stestr captures the other.
        print(f'small world, {name}: {tally}', file=sys.__stdout__,
              flush=True)
