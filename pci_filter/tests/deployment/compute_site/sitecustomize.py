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

"""Lets nova-compute find our virt driver.

Nova imports its driver from below ``nova.virt``. Python runs this module at
the start of a process that has this directory in PYTHONPATH, so that the
commands themselves are those that an operator runs. It imports nothing of
Nova, which has to decide first how it runs.
"""

import importlib.abc
import importlib.util
import pathlib
import sys

DRIVER = pathlib.Path(__file__).resolve().parent.parent / 'virt_driver.py'


class DriverFinder(importlib.abc.MetaPathFinder):
    """Finds ``nova.virt.deployment``."""

    def find_spec(self, fullname, path, target=None):
        if fullname != 'nova.virt.deployment':
            return None
        return importlib.util.spec_from_file_location(fullname, DRIVER)


sys.meta_path.append(DriverFinder())
