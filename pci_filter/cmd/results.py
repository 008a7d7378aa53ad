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

"""What a check of ``pci-filter-status`` can find."""

from oslo_upgradecheck import upgradecheck

from pci_filter import printable

Result = upgradecheck.Result


def of(code: upgradecheck.Code, details: str) -> Result:
    """Return a result on one line, whatever names it quotes."""
    return Result(code, printable.printable(details))


def success(details: str) -> Result:
    """Return that all is well, or that nothing has to be done."""
    return of(upgradecheck.Code.SUCCESS, details)


def warning(details: str) -> Result:
    """Return that the filter works, but not as well as it could."""
    return of(upgradecheck.Code.WARNING, details)


def failure(details: str) -> Result:
    """Return that the filter would not start, or serve nobody."""
    return of(upgradecheck.Code.FAILURE, details)
