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

"""Find out what our code reads of objects, and let such a read fail."""

from __future__ import annotations

import os
import sys
import typing

import fixtures

import pci_filter

_PACKAGE = os.path.dirname(pci_filter.__file__) + os.sep
_NOT_OURS = tuple(
    _PACKAGE + name + os.sep for name in ('tests', 'fixture'))


class Point(typing.NamedTuple):
    """A place in our code that reads an attribute.

    :param cls: name of the class that was read of
    :param attribute: what was read; ``in`` before it if only whether it is
        there
    :param file: of our code, relative to the package
    :param line: in it
    """

    cls: str
    attribute: str
    file: str
    line: int


class Injection(fixtures.Fixture):
    """Watches classes, and raises at one point when told.

    :param classes: whose instances are watched
    """

    def __init__(self, classes: typing.Iterable[type]) -> None:
        self._classes = list(classes)
        #: What was read, in this order, and the functions that led there.
        self.found: dict[Point, frozenset[str]] = {}
        self._point: Point | None = None
        self._error: Exception | None = None
        self._only_once = True
        self._on = False
        #: How often it was raised.
        self.raised = 0

    def _setUp(self) -> None:
        for cls in self._classes:
            self._patch(cls, '__getattribute__', '')
            if hasattr(cls, '__contains__'):
                self._patch(cls, '__contains__', 'in ')

    def _patch(self, cls: type, name: str, prefix: str) -> None:
        original = getattr(cls, name)
        inherited = name not in vars(cls)

        def read(watched: typing.Any, attribute: str) -> typing.Any:
            if self._on:
                self._note(cls.__name__, prefix + attribute)
            return original(watched, attribute)

        setattr(cls, name, read)
        if inherited:
            self.addCleanup(delattr, cls, name)
        else:
            self.addCleanup(setattr, cls, name, original)

    def watch(self) -> None:
        """Note what is read from now on."""
        self.found = {}
        self._point, self._on = None, True

    def fail_at(
        self, point: Point, error: Exception, only_once: bool = True,
    ) -> None:
        """Raise at a point from now on.

        :param point: where
        :param error: what to raise
        :param only_once: whether reading it again is going to succeed; else
            it fails wherever our code reads it
        """
        self._point, self._error, self._only_once = point, error, only_once
        self.raised, self._on = 0, True

    def stop(self) -> None:
        """Leave all alone."""
        self._on = False

    def _note(self, cls: str, attribute: str) -> None:
        frame = sys._getframe(2)
        path = frame.f_code.co_filename
        if not path.startswith(_PACKAGE) or path.startswith(_NOT_OURS):
            return
        name = attribute.removeprefix('in ')
        # What is not Nova's is never missing.
        if name.startswith(('_', 'pci_filter_')):
            return
        point = Point(cls, attribute, path.removeprefix(_PACKAGE),
                      frame.f_lineno)
        if self._point is None:
            if point not in self.found:
                self.found[point] = _callers(frame)
        elif self._is_hit(point):
            self.raised += 1
            raise typing.cast(Exception, self._error)

    def _is_hit(self, point: Point) -> bool:
        if self._only_once:
            return point == self._point and not self.raised
        return self._point is not None and point[:2] == self._point[:2]


def _callers(frame: typing.Any) -> frozenset[str]:
    """Return the names of our functions that a frame was called from."""
    names = set()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            names.add(frame.f_code.co_name)
        frame = frame.f_back
    return frozenset(names)
