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

"""Show where in a text the fault is."""

import re
import typing

from pci_filter.cli import base
from pci_filter import printable

#: Columns of a line that are shown to either side of the fault.
_WINDOW: typing.Final = 60
_MORE: typing.Final = '...'


def at(
    source: str, text: str, position: int, reason: str,
) -> base.CommandError:
    """Return an error that quotes a line with a caret at the fault.

    :param source: where the text comes from, such as an option
    :param text: all of it
    :param position: of the fault, in characters
    :param reason: what is wrong there
    """
    start = text.rfind('\n', 0, position) + 1
    line = text[start:].partition('\n')[0].replace('\t', ' ')
    column = position - start
    first = max(column - _WINDOW, 0)
    before = printable.printable(line[first:column])
    after = printable.printable(line[column:column + _WINDOW])
    if first:
        before = _MORE + before
    return base.CommandError(
        f'{source}: {printable.printable(reason)}\n'
        f'  {before}{after}\n  {" " * len(before)}^')


def position_of(text: str, key: str, value: bool = False) -> int:
    """Return where a key of a flat JSON object is, 0 if it is not found.

    :param text: JSON
    :param key: as it is written there
    :param value: rather where its value is
    """
    found = re.search(rf'("{re.escape(key)}")\s*:\s*', text)
    if found is None:
        return 0
    return found.end() if value else found.start()
