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

"""Trace points for OSprofiler, where Nova has them.

A request is traced if whoever sent it asked for that, and osprofiler is
installed and enabled where Nova looks for that. Without it, each point costs
one look at what belongs to the thread.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import typing

from oslo_log import log as logging
from oslo_utils import importutils

LOG = logging.getLogger(__name__)

#: As in nova.profiler: None if it is not installed.
_profiler: typing.Any = importutils.try_import('osprofiler.profiler')


@contextlib.contextmanager
def point(stage: str) -> Iterator[dict[str, typing.Any]]:
    """Trace a stage of a request.

    :param stage: its name, behind ``pci_filter.``
    :returns: yields what is to be told when it is over. Fill it in, with
        functions for what takes time to find out.
    """
    info: dict[str, typing.Any] = {}
    if _profiler is None or _profiler.get() is None:
        yield info
        return
    _tell(lambda: _profiler.start(f'pci_filter.{stage}'))
    try:
        yield info
    except BaseException as error:
        info['etype'] = type(error).__name__
        raise
    finally:
        # Even if it could not be told that it began, it has for osprofiler:
        # what is not stopped has all that comes later below it.
        told: dict[str, typing.Any] = {}
        _tell(lambda: told.update(found_out(info)))
        _tell(lambda: _profiler.stop(info=told))


def found_out(info: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Return what a point is to tell, and find out what takes time."""
    return {key: value() if callable(value) else value
            for key, value in info.items()}


def _tell(tell: Callable[[], None]) -> None:
    """Tell osprofiler something; that must not fail the request."""
    try:
        tell()
    except Exception as error:
        LOG.debug('A trace point was not told: %s', type(error).__name__)
