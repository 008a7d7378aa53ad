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

"""``pci-filter-nova-compute``: Nova's nova-compute, with our tracker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys

from pci_filter import exception


def main() -> int | None:
    """Run nova-compute with the arguments of the command line.

    :returns: 1 if there is no Nova here, or none that is supported; a line on
        stderr says so. Otherwise what Nova's own main returns.
    """
    if importlib.util.find_spec('nova') is None:
        return _fail('Nova is not installed in this environment. Install '
                     'pci_filter into the one that nova-compute runs in.')
    # It tells Nova and oslo.config which files to read, nova-compute.conf
    # among them.
    sys.argv[0] = os.path.join(os.path.dirname(sys.argv[0]), 'nova-compute')
    # Nova decides about eventlet when this is imported, so it comes before
    # anything else of Nova.
    compute = importlib.import_module('nova.cmd.compute')
    activation = importlib.import_module('pci_filter.compute.activation')
    try:
        activation.activate()
    except exception.UnsupportedNova as error:
        return _fail(str(error))
    result: int | None = compute.main()
    return result


def _fail(message: str) -> int:
    print(f'pci-filter-nova-compute: {message}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
