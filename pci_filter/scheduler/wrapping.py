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

"""Wrap functions of Nova's, as far as they are as known."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import functools
import typing

from pci_filter import exception
from pci_filter import known_nova

_INSTEAD: typing.Final = (
    'Remove PciPassthroughFilter of pci_filter from '
    '[filter_scheduler]available_filters')
_GUESS: typing.Final = ', as it does when another package has wrapped it'


class Replaced(typing.NamedTuple):
    """Something of Nova's that is wrapped.

    :param owner: the class or module that has it
    :param name: its name there
    :param known: its parameters that are known
    :param by_keyword: what Nova gives it by keyword
    :param replacement: is called with a function that calls the original,
        and with what that would be called with
    :param cost: what it costs to do without it; nothing if it cannot be done
    """

    owner: typing.Any
    name: str
    known: Sequence[str]
    by_keyword: Sequence[str]
    replacement: Callable[..., typing.Any]
    cost: str = ''


class Found(typing.NamedTuple):
    """What there is to wrap.

    :param originals: what is there now, ours if it is wrapped already
    :param missing: in words, what is not as known but can be done without
    :param costs: what that costs
    """

    originals: Sequence[tuple[Replaced, typing.Any]]
    missing: Sequence[str]
    costs: Sequence[str]


def find(wanted: Iterable[Replaced]) -> Found:
    """Return what is to be replaced, and change nothing.

    :raises pci_filter.exception.UnsupportedNova: if something is missing that
        cannot be done without
    """
    originals: list[tuple[Replaced, typing.Any]] = []
    missing: list[str] = []
    costs: dict[str, None] = {}
    for replaced in wanted:
        try:
            originals.append((replaced, known_nova.find_callable(
                replaced.owner, replaced.name, replaced.known, _INSTEAD,
                _GUESS, replaced.by_keyword)))
        except exception.UnsupportedNova as error:
            if not replaced.cost:
                raise
            missing.append(error.found)
            costs[replaced.cost] = None
    return Found(originals, missing, list(costs))


def wrap(found: Found) -> None:
    """Replace what was found, unless it is ours already."""
    for replaced, original in found.originals:
        if not hasattr(original, 'pci_filter_original'):
            setattr(replaced.owner, replaced.name,
                    _wrapped(original, replaced.replacement))


def unwrap(wanted: Iterable[Replaced]) -> None:
    """Undo :func:`wrap` unless somebody wrapped a wrapper."""
    for replaced in wanted:
        found = vars(replaced.owner).get(replaced.name)
        original = getattr(found, 'pci_filter_original', None)
        # functools.wraps hands our attribute on to a wrapper of ours.
        if original is not None and found.__wrapped__ is original:
            setattr(replaced.owner, replaced.name, original)


def _wrapped(original: typing.Any, replacement: typing.Any) -> typing.Any:
    @functools.wraps(original)
    def wrapper(*args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        return replacement(
            functools.partial(original, *args, **kwargs), *args, **kwargs)

    wrapper.pci_filter_original = original  # type: ignore[attr-defined]
    return wrapper
