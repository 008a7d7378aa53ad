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

"""Which Nova this package knows, and whether the one at hand is like it.

All that differs between these releases is here. A check of the version or of
an attribute anywhere else is in the wrong place.
"""

from collections.abc import Sequence
import inspect
import typing

from pci_filter import exception

#: Releases that the tests run against, by Nova's major version. No test runs
#: against 2024.2 (30), which an upgrade from 2024.1 may skip.
RELEASES: typing.Final = {
    29: '2024.1', 31: '2025.1', 32: '2025.2', 33: '2026.1', 34: '2026.2'}

#: The same for people.
SUPPORTED: typing.Final = ', '.join(
    f'Nova {name} ({major})' for major, name in RELEASES.items())


def is_known(release: str) -> bool:
    """Tell whether the tests run against a release.

    :param release: what Nova calls itself, such as ``34.0.1``
    """
    return release.partition('.')[0] in map(str, RELEASES)


def find(
    owner: typing.Any, name: str, known: Sequence[str], instead: str,
    guess: str = '',
) -> typing.Any:
    """Return something of Nova's that is called like one that is known.

    :param owner: the class or module that has it
    :param name: its name there
    :param known: the names of the parameters that it is known to take
    :param instead: what to do with another Nova
    :param guess: how it may have come to take others
    :raises pci_filter.exception.UnsupportedNova: if it is missing, or takes
        other parameters
    """
    found = getattr(owner, name, None)
    place = owner.__name__.rpartition('.')[2]
    if found is None:
        raise exception.UnsupportedNova(
            f'its {place} has no {name}()', SUPPORTED, instead)
    parameters = list(inspect.signature(found).parameters)
    if parameters != known:
        raise exception.UnsupportedNova(
            f'{place}.{name}() takes {", ".join(parameters)} instead '
            f'of {", ".join(known)}{guess}', SUPPORTED, instead)
    return found


def removed_when_freed(tracker: typing.Any) -> dict[str, typing.Any]:
    """Return what Nova's tracker removes as soon as it is freed, by address.

    It is the tracker's own dictionary. A Nova without the remedy for bug
    2115905, such as 2024.1 (29), has none.

    :param tracker: a nova.pci.manager.PciDevTracker
    """
    found: dict[str, typing.Any] = getattr(
        tracker, 'to_be_removed_when_freed', {})
    return found
