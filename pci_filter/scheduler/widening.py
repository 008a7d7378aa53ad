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

"""Ask placement for hosts beyond those that its limit lets it name.

Placement returns at most ``[scheduler]max_placement_results`` allocation
requests, by default the same first ones each time. It knows nothing of the
devices of ports and of aliases without a resource class, so in a large cloud
it may name a thousand hosts without any, and never those that have some. The
rows know. If the list came back full, and few of its hosts have what is asked
for, placement is asked for some that do, one by one and by ``in_tree``: all
that it asks of a host it asks of those, too.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import contextvars
import copy
import random
import time
import typing

import nova.conf
from oslo_config import cfg
from oslo_log import log as logging

from pci_filter.scheduler import candidates
from pci_filter.scheduler import failures
from pci_filter.scheduler import prefilter
from pci_filter.scheduler import request_specs

LOG = logging.getLogger(__name__)

#: Seconds after which placement is asked for no further host: each is a
#: request of its own, and Nova alone would have gone on long ago.
_PATIENCE: typing.Final = 5

#: What placement's client gives: allocation requests, summaries, version.
Candidates = tuple[typing.Any, typing.Any, typing.Any]


class Widener:
    """Finds the hosts that placement is asked for.

    :param options: the ``[pci_filter]`` section
    :param prefilter_: asks the cells
    """

    def __init__(
        self, options: cfg.ConfigOpts.GroupAttr,
        prefilter_: prefilter.Prefilter,
    ) -> None:
        self.most: int = options.widen_to
        self._prefilter = prefilter_

    def fitting(
        self, context: typing.Any, manager: typing.Any, spec_obj: typing.Any,
    ) -> prefilter.Fitting | None:
        """Return the compute nodes of all cells that can fit.

        :returns: None if that is not known
        """
        if not self.most or not request_specs.asks_for_devices(spec_obj) or (
                request_specs.names_hosts(spec_obj)):
            return None
        return self._prefilter.fitting_everywhere(context, manager, spec_obj)


class _Request:
    """One run of select_destinations().

    :param widener: finds the hosts
    :param manager: the HostManager
    :param spec_obj: nova.objects.RequestSpec
    """

    def __init__(
        self, widener: Widener, manager: typing.Any, spec_obj: typing.Any,
    ) -> None:
        self._widener = widener
        self._manager = manager
        self._spec_obj = spec_obj
        self._fitting: prefilter.Fitting | None = None

    def fitting(self, spec_obj: typing.Any) -> prefilter.Fitting | None:
        """Return what the cells were asked already.

        :param spec_obj: what is asked about
        :returns: None if that is another request, or they were not asked
        """
        return self._fitting if spec_obj is self._spec_obj else None

    def widen(
        self, found: typing.Any, context: typing.Any, resources: typing.Any,
        ask: Callable[[typing.Any], typing.Any],
    ) -> typing.Any:
        """Return what placement gave, and more if that is too little.

        :param found: what it gave, None if it could not be asked
        :param context: the request context
        :param resources: what it was asked for, a ResourceRequest
        :param ask: asks it for something else
        """
        try:
            given = len(found[0] or ()) if found else 0
            is_full = given >= nova.conf.CONF.scheduler.max_placement_results
            noted = candidates.PlacementList(given, is_full)
            try:
                if is_full:
                    found, noted = self._widen(found, context, resources, ask)
            finally:
                candidates.note(noted)
        except Exception as error:
            LOG.debug('Placement is not asked for more hosts: %s',
                      failures.failure_text(error))
        return found

    def _widen(
        self, found: Candidates, context: typing.Any, resources: typing.Any,
        ask: Callable[[typing.Any], typing.Any],
    ) -> tuple[Candidates, candidates.PlacementList]:
        requests, summaries, version = found
        given = len(requests)
        if self._fitting is None:
            self._fitting = self._widener.fitting(
                context, self._manager, self._spec_obj)
        if self._fitting is None:
            return found, candidates.PlacementList(given, True)
        fitting = self._fitting.everywhere
        named = fitting & summaries.keys()
        beyond = sorted(fitting - named)
        # Not the same ones each time: that is what is wrong with the list.
        chosen = random.sample(
            beyond, max(0, min(self._widener.most - len(named), len(beyond))))
        requests, summaries = list(requests), dict(summaries)
        answers = _ask_each(ask, resources, chosen)
        for more in answers:
            if more and more[0]:
                requests += more[0]
                summaries.update(more[1])
        if chosen:
            LOG.debug(
                'Placement named %(limit)d candidates, which is its limit. '
                '%(named)d of their hosts, and %(beyond)d others, can have '
                'the devices for instance %(instance)s. Of %(chosen)d of '
                'those that it was asked for it named %(got)d candidates.',
                {'limit': given, 'named': len(named),
                 'beyond': len(beyond), 'chosen': len(answers),
                 'instance': self._spec_obj.instance_uuid,
                 'got': len(requests) - given})
        is_known = self._fitting.is_complete and all(map(_is_known, answers))
        was_slow = is_known and len(answers) < len(chosen)
        # It may have left out candidates of a host that it names, and with
        # devices in placement one may do where others do not.
        is_cut = not is_known or len(answers) < len(beyond) or (
            bool(named) and request_specs.is_tracked(self._spec_obj))
        return (requests, summaries, version), candidates.PlacementList(
            given, is_cut, len(answers), len(beyond) if is_known else None,
            was_slow)


def _ask_each(
    ask: Callable[[typing.Any], typing.Any], resources: typing.Any,
    node_uuids: Sequence[str],
) -> list[typing.Any]:
    """Ask placement for hosts until it fails, or that takes too long."""
    until = time.monotonic() + _PATIENCE
    answers: list[typing.Any] = []
    for node_uuid in node_uuids:
        answers.append(ask(_in_tree(resources, node_uuid)))
        if not _is_known(answers[-1]) or time.monotonic() > until:
            break
    return answers


def _is_known(answer: typing.Any) -> bool:
    """Tell whether placement has answered; Nova makes None of an error."""
    return bool(answer) and answer[0] is not None


def _in_tree(resources: typing.Any, node_uuid: str) -> typing.Any:
    """Return the same request for one host.

    A candidate is of one tree, so it suffices to say it of one group.
    """
    asked = copy.deepcopy(resources)
    asked.get_request_group(None).in_tree = node_uuid
    return asked


_current: contextvars.ContextVar[_Request | None] = contextvars.ContextVar(
    'pci_filter_widening', default=None)


def current() -> _Request | None:
    """Return the request that is being served here, if any."""
    return _current.get()


@contextlib.contextmanager
def serving(
    widener: Widener, manager: typing.Any, spec_obj: typing.Any,
) -> Iterator[None]:
    """Let placement's answers be widened meanwhile.

    :param widener: finds the hosts
    :param manager: the HostManager
    :param spec_obj: nova.objects.RequestSpec, None if it is not known
    """
    token = _current.set(
        None if spec_obj is None else _Request(widener, manager, spec_obj))
    try:
        with candidates.noting():
            yield
    finally:
        _current.reset(token)
