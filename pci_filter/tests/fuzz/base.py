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

"""How many inputs the fuzz tests try, and what becomes of them.

Hypothesis makes the inputs, and shrinks what fails to the one that does it.
Coverage would guide it nowhere: the parsers are short, and one of them is SQL.
PCI_FILTER_FUZZ_INPUTS is how many inputs each test tries.
"""

import collections
import os
import sys

import hypothesis
from hypothesis import strategies as st

from pci_filter.tests import base
from pci_filter.tests.fuzz import inputs

#: Inputs for each test.
INPUTS = int(os.environ.get('PCI_FILTER_FUZZ_INPUTS') or 500)

#: Examples after which hypothesis starts anew: it remembers all of them.
_ROUND = 500


class FuzzMixin(base.PropertyMixin):
    """Tries inputs, and tells how many."""

    #: How many inputs a check is given at a time, and how many of them are
    #: mutants of one text.
    batch = 10
    mutants = 10

    #: How many inputs of a quicker test take as long as one of this.
    cost = 1

    def for_all(self, drawn, check, each=1):
        """Call a check with lists of inputs until all are tried.

        :param drawn: strategy for what hypothesis draws
        :param check: fails if one of a list makes trouble; may return what
            became of each, to be counted
        :param each: how many inputs the check makes of what is drawn
        """
        tried = collections.Counter()

        def count(batch):
            tried.update(check(batch) or {'tried': len(batch) * each})

        wanted = max(INPUTS // self.cost, self.batch)
        batches = st.lists(drawn, min_size=self.batch // each,
                           max_size=self.batch // each)
        number = 0
        while sum(tried.values()) < wanted:
            missing = wanted - sum(tried.values())
            self._round(number, -(-missing // self.batch), batches, count)
            number += 1
        # The original, as stestr captures the other.
        print(f'fuzz: {sum(tried.values())} inputs, {dict(tried)}: '
              f'{self.id()}', file=sys.__stdout__, flush=True)

    def for_texts(self, texts, check):
        """Do the same with texts and their mutants.

        Those are not drawn, which would take longer than to try them.
        """
        def check_all(batch):
            return check([
                one for text, number in batch for one in (text, *(
                    inputs.mutant(text, number + more)
                    for more in range(1, self.mutants)))])

        self.for_all(
            st.tuples(texts, inputs.NUMBERS), check_all, self.mutants)

    def _round(self, number, examples, batches, check):
        hypothesis.seed(base.SEED + number)(hypothesis.settings(
            max_examples=min(examples, _ROUND), deadline=None, database=None,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck))(
            hypothesis.given(batches)(check)))()
