#!/usr/bin/env python3
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

"""Write the part of the documentation that tells of each kind of finding.

The texts are those that the command shows. Run it after they were changed.
"""

import pathlib
import textwrap

from pci_filter.audit import kinds

TARGET = (pathlib.Path(__file__).resolve().parent.parent / 'doc' / 'source'
          / '_generated' / 'audit-kinds.inc')

BUG = 'https://bugs.launchpad.net/nova/+bug/{0}'


def section(kind: kinds.Kind) -> str:
    """Return what there is to say about a kind."""
    paragraphs = [
        kind.what, f'*Severity:* {kind.severity}.', f'*Cause:* {kind.cause}',
        f'*Effect:* {kind.meaning}', f'*Cure:* {kind.cure}']
    if kind.bugs:
        paragraphs.insert(3, '*Bugs of Nova:* ' + ', '.join(
            f'`{number} <{BUG.format(number)}>`__' for number in kind.bugs)
            + '.')
    return '\n\n'.join([
        f'.. _audit-{kind.name}:',
        f'{kind.name}\n{"-" * len(kind.name)}',
        *(textwrap.fill(
            text.replace('--sql', '``--sql``'), 79, break_on_hyphens=False,
            break_long_words=False) for text in paragraphs)])


def content() -> str:
    """Return the whole part."""
    return '\n\n'.join([
        '.. Written by tools/audit_kinds.py: change pci_filter/audit/kinds.py',
        *map(section, kinds.KINDS.values())]) + '\n'


if __name__ == '__main__':
    TARGET.write_text(content())
