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

from __future__ import annotations

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
) -> typing.Any:
    """Return something of Nova's that is exactly as it is known.

    For what is overridden, which has to take whatever Nova gives it.

    :param owner: the class or module that has it
    :param name: its name there
    :param known: the names of the parameters that it is known to take
    :param instead: what to do with another Nova
    :raises pci_filter.exception.UnsupportedNova: if it is missing, or takes
        other parameters
    """
    found = _existing(owner, name, instead)
    if _parameters(found) != list(known):
        raise _other_parameters(owner, name, found, known, instead)
    return found


def find_callable(
    owner: typing.Any, name: str, known: Sequence[str], instead: str,
    guess: str = '', by_keyword: Sequence[str] = (),
) -> typing.Any:
    """Return something of Nova's that can be called like one that is known.

    For what is wrapped: a wrapper hands on whatever it is called with, so it
    may take more, as long as a call need not give that.

    :param owner: the class or module that has it
    :param name: its name there
    :param known: the names of the parameters that it is known to take by
        position
    :param instead: what to do with another Nova
    :param guess: how it may have come to take others
    :param by_keyword: the names of those that Nova gives by keyword
    :raises pci_filter.exception.UnsupportedNova: if it is missing, or cannot
        be called so
    """
    found = _existing(owner, name, instead)
    try:
        # Each is given its own name, to see which parameter gets which.
        given = inspect.signature(found).bind(
            *known, **{keyword: keyword for keyword in by_keyword}).arguments
    except (TypeError, ValueError):
        given = {'': None}
    if any(parameter != value for parameter, value in given.items()
           if not isinstance(value, (tuple, dict))):
        raise _other_parameters(
            owner, name, found, [*known, *by_keyword], instead, guess)
    return found


def _existing(owner: typing.Any, name: str, instead: str) -> typing.Any:
    found = getattr(owner, name, None)
    if found is None:
        raise exception.UnsupportedNova(
            f'its {_place(owner)} has no {name}()', SUPPORTED, instead)
    return found


def _other_parameters(
    owner: typing.Any, name: str, found: typing.Any, known: Sequence[str],
    instead: str, guess: str = '',
) -> exception.UnsupportedNova:
    takes = ', '.join(_parameters(found)) or 'nothing'
    return exception.UnsupportedNova(
        f'{_place(owner)}.{name}() takes {takes} instead '
        f'of {", ".join(known)}{guess}', SUPPORTED, instead)


def _parameters(found: typing.Any) -> list[str]:
    try:
        return list(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        # It cannot be called, or does not tell how.
        return []


def _place(owner: typing.Any) -> str:
    name: str = owner.__name__
    return name.rpartition('.')[2]


def removed_when_freed(tracker: typing.Any) -> dict[str, typing.Any]:
    """Return what Nova's tracker removes as soon as it is freed, by address.

    It is the tracker's own dictionary. A Nova without the remedy for bug
    2115905, such as 2024.1 (29), has none.

    :param tracker: a nova.pci.manager.PciDevTracker
    """
    found: dict[str, typing.Any] = getattr(
        tracker, 'to_be_removed_when_freed', {})
    return found
