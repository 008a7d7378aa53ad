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

"""Report devices of which nobody knows the tags, and tags out of date."""

from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
import math
import time
import typing

from oslo_log import log as logging

from pci_filter import model
from pci_filter.scheduler import changes

LOG = logging.getLogger(__name__)

#: How many hosts a log line names before it only counts them.
_NAMED: typing.Final = 5


class Reporter:
    """Logs what is not known, once until it changes.

    Nova may have read the summary before a device was freed, and we the rows
    afterwards. So what is unknown to one request is passed over, and to all
    those that began before that one was served: they may have read the same.
    """

    def __init__(self) -> None:
        self._seen = changes.Changes()
        self._seen_at: dict[Hashable, float] = {}
        self._reported = changes.Changes()

    def report(
        self, cell_uuid: str, host_states: Iterable[typing.Any],
        began: float,
    ) -> None:
        """Log a line for each kind of news, all hosts in it.

        :param cell_uuid: the cell of the hosts
        :param host_states: HostStates with pools
        :param began: when the request began, by time.monotonic()
        """
        news: list[dict[str, frozenset[str]]] = [{} for _ in _KINDS]
        for host_state in host_states:
            node = (cell_uuid, host_state.host, host_state.nodename)
            for (kind, state_of, _), found in zip(_KINDS, news):
                state = state_of(host_state.pci_stats)
                if self._is_news((kind, *node), state, began):
                    found[host_state.host] = state
        for (_, _, line), found in zip(_KINDS, news):
            if found:
                LOG.warning(line, _values(cell_uuid, found))

    def _is_news(
        self, subject: Hashable, state: frozenset[str], began: float,
    ) -> bool:
        if not state:
            if self._seen.changed(subject, None):
                self._seen_at.pop(subject, None)
            self._reported.changed(subject, None)
            return False
        if self._seen.changed(subject, state):
            self._seen_at[subject] = time.monotonic()
            return False
        if began < self._seen_at.get(subject, math.inf):
            return False
        return self._reported.changed(subject, state)


def _unknown(pools: typing.Any) -> frozenset[str]:
    """Return the kinds of devices whose tags nobody knows."""
    return frozenset(
        f'{kind.vendor_id}:{kind.product_id} ({kind.dev_type})'
        for kind, *_ in getattr(pools, 'unknown', ()))


def _differing(pools: typing.Any) -> frozenset[str]:
    """Return the tags of which nobody knows which device has which."""
    tags: frozenset[str] = getattr(pools, 'unknown_tags', frozenset())
    return tags


def _stale(pools: typing.Any) -> frozenset[str]:
    """Return something if tags in the rows are out of date."""
    stored = getattr(pools, 'stored_tags', None)
    return frozenset(('stale',) if stored is model.StoredTags.STALE else ())


#: What there is to tell of a host, how it is found out, and the line.
_KINDS: typing.Final = (
    ('left out', _unknown,
     'Devices whose tags no source knows are left out in cell %(cell)s: '
     '%(what)s on %(hosts)s. Give their tags in [pci_filter]device_spec.'),
    ('differing', _differing,
     'Functions of one physical function differ in tags in cell %(cell)s: '
     '%(what)s on %(hosts)s. The summary does not tell which is which, so no '
     'request for these tags gets them. Give their tags in '
     '[pci_filter]device_spec.'),
    ('stale', _stale,
     'Tags that pci-filter-nova-compute stored with devices are out of date '
     "in cell %(cell)s on %(hosts)s: Nova's own nova-compute runs there now, "
     'and its summary (compute_nodes.pci_stats) has other tags, which decide. '
     '"pci-filter audit --sql" prints what removes the old ones.'),
)


def _values(
    cell_uuid: str, news: dict[str, frozenset[str]],
) -> dict[str, str]:
    hosts: Sequence[str] = list(news)
    more = f' and {len(hosts) - _NAMED} more hosts' if (
        len(hosts) > _NAMED) else ''
    return {
        'cell': cell_uuid,
        'what': ', '.join(sorted(frozenset().union(*news.values()))),
        'hosts': ', '.join(hosts[:_NAMED]) + more}
