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

"""Report devices that cannot be used because nobody knows their tags."""

from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence
import math
import time
import typing

from oslo_log import log as logging

from pci_filter.scheduler import changes

LOG = logging.getLogger(__name__)

#: How many hosts a log line names before it only counts them.
_NAMED: typing.Final = 5

_ADVICE: typing.Final = 'Give their tags in [pci_filter]device_spec.'


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
        left_out: dict[str, frozenset[str]] = {}
        differing: dict[str, frozenset[str]] = {}
        for host_state in host_states:
            pools = host_state.pci_stats
            node = (cell_uuid, host_state.host, host_state.nodename)
            kinds = frozenset(
                f'{kind.vendor_id}:{kind.product_id} ({kind.dev_type})'
                for kind, *_ in getattr(pools, 'unknown', ()))
            if self._is_news(('left out', *node), kinds, began):
                left_out[host_state.host] = kinds
            tags: frozenset[str] = getattr(
                pools, 'unknown_tags', frozenset())
            if self._is_news(('differing', *node), tags, began):
                differing[host_state.host] = tags
        if left_out:
            LOG.warning(
                'Devices whose tags no source knows are left out in cell '
                '%(cell)s: %(what)s on %(hosts)s. %(advice)s',
                _line(cell_uuid, left_out))
        if differing:
            LOG.warning(
                'Functions of one physical function differ in tags in cell '
                '%(cell)s: %(what)s on %(hosts)s. The summary does not tell '
                'which is which, so no request for these tags gets them. '
                '%(advice)s', _line(cell_uuid, differing))

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


def _line(
    cell_uuid: str, news: dict[str, frozenset[str]],
) -> dict[str, str]:
    hosts: Sequence[str] = list(news)
    more = f' and {len(hosts) - _NAMED} more hosts' if (
        len(hosts) > _NAMED) else ''
    return {
        'cell': cell_uuid,
        'what': ', '.join(sorted(frozenset().union(*news.values()))),
        'hosts': ', '.join(hosts[:_NAMED]) + more,
        'advice': _ADVICE}
