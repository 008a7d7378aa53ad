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

"""The log lines that the documentation promises.

They stand in "What happens when", each in a block with a name. A test that
brings the situation about says which of them the log must have.
"""

import functools
import pathlib
import re
import textwrap

from nova import utils

_PAGE = pathlib.Path(__file__).resolve().parents[4].joinpath(
    'doc', 'source', 'user', 'what-happens-when.rst')

_BLOCK = re.compile(
    r'^\.\. code-block:: text\n   :name: log-(\S+)\n\n((?: .*\n|\n)+)',
    re.MULTILINE)

#: What the page has in angle brackets differs each time.
_VARIABLE = re.compile(r'<[a-z ]+>')

#: What MySQL says in place of what MariaDB does, which the page has.
_IN_MYSQL = ('table `<database>`.`pci_devices`', "table 'pci_devices'")

#: What some drivers say on eventlet in place of what the page has.
_ON_EVENTLET = (
    ('Connection refused', 'ECONNREFUSED'),
    ('connection to server at "<address>", port <port> failed: '
     'Connection refused', 'Connection refused'),
    ('server closed the connection unexpectedly',
     'FATAL:  terminating connection due to administrator command'),
)

#: The page shows what is logged if the summary decides.
_SUMMARY = "Nova's summary (compute_nodes.pci_stats) decides there"
_REJECT = 'no PCI request is sent there'


@functools.cache
def lines() -> dict[str, str]:
    """Return the lines of the page by name, each as one line."""
    return {name: ' '.join(textwrap.dedent(block).split())
            for name, block in _BLOCK.findall(
                _PAGE.read_text(encoding='utf-8'))}


def _is_on_eventlet() -> bool:
    # Older releases know nothing else.
    in_threads = getattr(utils, 'concurrency_mode_threading', None)
    return not (in_threads and in_threads())


def pattern(name: str, rejects: bool = False) -> 're.Pattern[str]':
    """Return what matches a documented line, and nothing else.

    :param name: of the block, without ``log-``
    :param rejects: whether ``on_load_failure`` is ``reject``
    """
    line = lines()[name]
    if rejects:
        line = line.replace(_SUMMARY, _REJECT)
    alike = [line, line.replace(*_IN_MYSQL)]
    if _is_on_eventlet():
        alike += [line.replace(*words) for words in _ON_EVENTLET]
    return re.compile('|'.join(
        '.+?'.join(map(re.escape, _VARIABLE.split(one))) for one in alike))
