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

"""Count with a store of reservations, in several processes and threads.

Run by processes of their own, with these arguments: nova.conf, the node, how
many processes, how many threads in each, how far each of these counts. Prints
where they end, which is short if one has overwritten what another had counted.
"""

import os
import sys

from pci_filter import reservations
from pci_filter.tests import base as tests
from pci_filter.tests.functional.reservations import base


def count(store, node):
    """Count one further."""
    while True:
        record = store.read(node, base.PATIENCE)
        text = str(int(record.text or 0) + 1)
        if store.write(node, record.token, text, 3600, base.PATIENCE):
            return


def main(path, node, processes, threads, steps):
    """Count, and print where that ends."""
    store = reservations.load(base.configuration(path))
    # So that the parent has connections, which its children must not use.
    store.read(node, base.PATIENCE)
    children = [tests.fork(lambda: tests.run_in_threads(int(threads), lambda: [
        count(store, node) for _ in range(int(steps))]))
        for _ in range(int(processes))]
    failed = [os.waitpid(child, 0)[1] for child in children]
    if any(failed):
        sys.exit(f'processes ended with {failed}')
    print(int(store.read(node, base.PATIENCE).text))


main(*sys.argv[1:])
