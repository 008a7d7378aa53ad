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

"""What becomes of hosts whose pools could not be loaded or made."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from nova import context as context_module
from oslo_config import cfg
from oslo_log import log as logging

from pci_filter.db import credentials
from pci_filter import model
from pci_filter import reservations
from pci_filter.scheduler import changes
from pci_filter.scheduler import fallback
from pci_filter.scheduler import guarded_pools
from pci_filter.scheduler import host_states as host_states_module
from pci_filter.scheduler import host_troubles

LOG = logging.getLogger(__name__)

#: Attribute of a HostState without pools since they could not be loaded.
UNREADABLE: typing.Final = 'pci_filter_unreadable'

HostState = typing.Any


class Failures:
    """Does what ``[pci_filter]on_load_failure`` says, and logs it once.

    How often it had to is counted, and told from time to time.

    :param options: the ``[pci_filter]`` section
    """

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        self._reject = options.on_load_failure == 'reject'
        self._troubles = changes.Troubles()
        self._unmade = host_troubles.HostTroubles()
        self._undecided = host_troubles.HostTroubles()
        #: How much is decided like that.
        self.fallback = fallback.FallbackTally(options.on_load_failure)

    def request_began(self, spec_obj: typing.Any) -> None:
        """Note which request is being served in this thread.

        :param spec_obj: nova.objects.RequestSpec or None
        """
        self.fallback.begin(spec_obj)

    def request_mapped(self, cells: Mapping[str, typing.Any]) -> None:
        """Tell of what is decided by fallback, if that is due.

        :param cells: the CellMappings that are known, by UUID
        """
        self._count(self.fallback.tell, cells)

    def cell_failed(
        self, cell_uuid: str, host_states: Sequence[HostState],
        answer: typing.Any, url: str,
    ) -> None:
        """Degrade all hosts of a cell.

        :param cell_uuid: the cell
        :param host_states: its HostStates, none if Nova could not read the
            cell either
        :param answer: an exception, Nova's sentinel for a cell that did not
            answer in time, or None if nobody knows the cell
        :param url: of its database; nothing secret in it is logged
        """
        for host_state in host_states:
            self._degrade(host_state)
        self._count(self.fallback.count, host_states, cell_uuid, True)
        if self._troubles.is_new(cell_uuid, _kind(answer)):
            LOG.warning(
                'The PCI devices of cell %(cell)s could not be read: '
                '%(failure)s. Until they can, %(consequence)s. Hosts of it '
                'in this request: %(count)d.',
                {'cell': cell_uuid, 'failure': failure_text(answer, url),
                 'consequence': self._consequence(),
                 'count': len(host_states)})

    def cell_answered(self, cell_uuid: str) -> None:
        """Note that a cell is well, or well again."""
        self.fallback.cell_answered(cell_uuid)
        if self._troubles.is_over(cell_uuid):
            LOG.info('The PCI devices of cell %s can be read again.',
                     cell_uuid)

    def host_failed(self, host_state: HostState, error: Exception) -> None:
        """Degrade a host of which no pools could be made."""
        self._degrade(host_state)
        self._count_each([host_state])
        self._tell(
            self._unmade, host_state, error, 'could not be made',
            'Until they can, %(consequence)s.')

    def host_succeeded(
        self, cell_uuid: str, node: model.ComputeNode,
    ) -> None:
        """Note that a host is well, or well again."""
        if self._unmade.is_over((cell_uuid, node.host, node.nodename)):
            LOG.info('The PCI pools of host %s can be made again.', node.host)

    def decision_failed(
        self, host_state: HostState, error: Exception,
    ) -> typing.Any:
        """Degrade a host about which its pools could not decide.

        That is told once per host and kind of failure, for a few hosts. It
        depends on the request, too, so that the host is well for another
        tells nothing.

        :returns: what decides instead, as far as in-tree code asks it
        """
        instead = None if self._reject else (
            host_states_module.nova_stats(host_state))
        if instead is None:
            instead = guarded_pools.NoPools()
            setattr(host_state, UNREADABLE, True)
        host_state.pci_stats = instead
        self._count_each([host_state])
        if self._tell(
                self._undecided, host_state, error,
                'could not decide about a request',
                'For such requests, %(consequence)s. Please report this.'):
            LOG.debug('Where that failed:', exc_info=error)
        return instead

    def _tell(
        self, troubles: host_troubles.HostTroubles, host_state: HostState,
        error: Exception, what: str, then: str,
    ) -> bool:
        """Log what is wrong with a host, unless that was told already.

        :param troubles: what was told already
        :param what: went wrong with the pools, in words
        :param then: what follows, with the names of :meth:`_of_host`
        :returns: whether anything was logged of this host
        """
        number = troubles.number(_subject(host_state), _kind(error))
        if number:
            LOG.log(
                _level(number),
                'The PCI pools of host %(host)s, node %(node)s in cell '
                f'%(cell)s {what}: %(failure)s. {then}',
                self._of_host(host_state, error))
        if number == host_troubles.TOLD + 1:
            LOG.warning(
                f'The PCI pools of more than %(told)d hosts {what}: '
                '%(kind)s. The others are told of at DEBUG only.',
                {'told': host_troubles.TOLD, 'kind': _kind(error)})
        return bool(number)

    def reservation_failed(self, error: Exception) -> None:
        """Note that a server goes on without a reservation."""
        # One record that nobody can read is no trouble of the others.
        subject = 'record' if isinstance(
            error, reservations.UnreadableRecord) else 'reservations'
        if self._troubles.is_new(subject, _kind(error)):
            LOG.warning(
                'PCI devices cannot be reserved: %s. Until they can, requests '
                'are served as without reservations: servers that are asked '
                'for at the same time may be sent to the same device, and are '
                'retried. "pci-filter-status upgrade check" tries the store.',
                failure_text(error))
            LOG.debug('Where that failed:', exc_info=error)

    def reservation_succeeded(self) -> None:
        """Note that devices can be reserved, or can again."""
        if self._troubles.is_over('reservations'):
            LOG.info('PCI devices can be reserved again.')

    def report_failed(self, error: Exception) -> None:
        """Note that something could not be logged; no decision needs it."""
        if self._troubles.is_new('report', _kind(error)):
            LOG.warning(
                'What is to be said of PCI devices could not be logged: '
                '%s. No decision depends on it. Please report this.',
                failure_text(error))
            LOG.debug('Where that failed:', exc_info=error)

    def all_failed(
        self, host_states: Sequence[HostState], error: Exception,
    ) -> None:
        """Degrade all hosts of a request that we failed to serve."""
        for host_state in host_states:
            self._degrade(host_state)
        self._count_each(host_states)
        if self._troubles.is_new('all', _kind(error)):
            LOG.exception(
                'The PCI pools of a request could not be made: %(failure)s. '
                'Until they can, %(consequence)s. Please report this.',
                {'failure': failure_text(error),
                 'consequence': self._consequence()})

    def all_succeeded(self) -> None:
        """Note that requests are served, or served again."""
        if self._troubles.is_over('all'):
            LOG.info('The PCI pools of requests can be made again.')

    def _degrade(self, host_state: HostState) -> None:
        if self._reject:
            host_state.pci_stats = guarded_pools.NoPools()
            setattr(host_state, UNREADABLE, True)

    def _count_each(self, host_states: Sequence[HostState]) -> None:
        """Count hosts of which no answer of their cell is going to tell."""
        by_cell: dict[str, list[HostState]] = collections.defaultdict(list)
        for host_state in host_states:
            by_cell[_name(host_state, 'cell_uuid')].append(host_state)
        for cell_uuid, of_cell in by_cell.items():
            self._count(self.fallback.count, of_cell, cell_uuid)

    def _count(self, count: Callable[..., None], *args: typing.Any) -> None:
        """Count or tell something; that must not fail the request."""
        try:
            count(*args)
        except Exception as error:
            self.report_failed(error)

    def _of_host(
        self, host_state: HostState, error: Exception,
    ) -> dict[str, str]:
        cell, host, node = _subject(host_state)
        return {'cell': cell, 'host': host, 'node': node,
                'failure': failure_text(error),
                'consequence': self._consequence()}

    def _consequence(self) -> str:
        if self._reject:
            return 'no PCI request is sent there'
        return "Nova's summary (compute_nodes.pci_stats) decides there"


def _level(number: int) -> int:
    """Return at which level the host with this number is told of."""
    return (logging.WARNING if number <= host_troubles.TOLD
            else logging.DEBUG)


def _subject(host_state: HostState) -> tuple[str, str, str]:
    return (_name(host_state, 'cell_uuid'), _name(host_state, 'host'),
            _name(host_state, 'nodename'))


def _name(host_state: HostState, attribute: str) -> str:
    try:
        return str(getattr(host_state, attribute))
    except Exception:
        # It may be what failed in the first place.
        return 'unknown'


def _kind(answer: typing.Any) -> str:
    # Its text may differ from time to time.
    return type(answer).__name__


def failure_text(answer: typing.Any, url: str = '') -> str:
    """Return one line that says what happened, without credentials."""
    if answer is None:
        return 'the scheduler does not know this cell'
    if answer is context_module.did_not_respond_sentinel:
        return 'it did not answer in time'
    try:
        text = str(answer)
    except Exception:
        text = ''
    line = credentials.mask((text.splitlines() or [''])[0], url)
    return f'{_kind(answer)}: {line}'
