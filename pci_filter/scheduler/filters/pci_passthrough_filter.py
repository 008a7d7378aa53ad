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

"""The filter that asks the pools made from the device rows."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import typing

import nova.conf
from nova.scheduler import filters
from nova.scheduler.filters import pci_passthrough_filter
from oslo_log import log as logging
from stevedore import driver

from pci_filter import conf
from pci_filter.scheduler import announcements
from pci_filter.scheduler import first_place
from pci_filter.scheduler import late_mapper
from pci_filter.scheduler import pool_mapper
from pci_filter.scheduler import rejections
from pci_filter.scheduler import request_specs
from pci_filter.scheduler import reserver
from pci_filter.scheduler import stages

#: Where Nova logs what becomes of each candidate.
_NOVA_LOG: typing.Final = logging.getLogger(filters.__name__)

HOOK_NAMESPACE: typing.Final = 'pci_filter.scheduler.host_manager'
HOOK: typing.Final = 'pci_pools'


class PciPassthroughFilter(pci_passthrough_filter.PciPassthroughFilter):
    """Passes hosts on which a claim of the request's PCI devices succeeds.

    It takes the in-tree filter's place and asks as that does, but what it
    asks are the pools that the hook has put on the HostStates. Making one
    attaches the hook.

    :raises pci_filter.exception.PciFilterError: when the ``[pci_filter]``
        section is wrong or this Nova is not supported, so that the scheduler
        does not start half-working
    """

    def __init__(self) -> None:
        super().__init__()
        conf.register_opts(nova.conf.CONF)
        #: Found by the hook.
        self.pool_mapper = pool_mapper.PoolMapper(nova.conf.CONF.pci_filter)
        self.reserver = reserver.Reserver(
            nova.conf.CONF, self.pool_mapper.tag_sources)
        driver.DriverManager(HOOK_NAMESPACE, HOOK).driver()
        self._failures = self.pool_mapper.failures
        self._late_mapper = late_mapper.LateMapper(self.pool_mapper)
        announcements.say_active(nova.conf.CONF.pci_filter)

    def filter_all(
        self, filter_obj_list: Iterable[typing.Any], spec_obj: typing.Any,
    ) -> Iterator[typing.Any]:
        """Return the HostStates that pass, and log why the others do not.

        All at once, which Nova asks for anyway, so that it is known when the
        last of them is decided about.
        """
        with stages.deciding(spec_obj) as info:
            host_states = list(filter_obj_list)
            passing = list(self._passing(host_states, spec_obj))
            info.update(hosts=len(host_states), passed=len(passing))
        return iter(passing)

    def _passing(
        self, host_states: Iterable[typing.Any], spec_obj: typing.Any,
    ) -> Iterator[typing.Any]:
        """Yield the HostStates that pass.

        ``_filter_one()`` is Nova's: it lets a rebuild pass.
        """
        passed = 0
        rejected = rejections.Rejections(spec_obj)
        # A rebuild does not, and stays where it is.
        asks = request_specs.asks_for_devices(spec_obj)
        for host_state in self._late_mapper.with_pools(
                host_states, spec_obj):
            try:
                # Nova's filter leaves only the candidates that pass.
                candidates = host_state.allocation_candidates
            except Exception as error:
                candidates = []
                self._failures.decision_failed(host_state, error)
            if self._filter_one(host_state, spec_obj) and (
                    not asks or self._has_place(host_state, spec_obj)):
                passed += 1
                yield host_state
            else:
                self._say(rejected.add, host_state, candidates)
        if not passed:
            self._say(rejected.log_summary, self.pool_mapper.idle_pools)

    def _has_place(self, host_state: typing.Any, spec_obj: typing.Any) -> bool:
        """Tell whether the claim succeeds where it will place the guest.

        Not in host_passes(), so that whoever replaces Nova's, as Nova's own
        tests do, has replaced that of this filter.
        """
        try:
            return not first_place.matters(host_state, spec_obj) or bool(
                self.filter_candidates(
                    host_state, lambda candidate: first_place.can_be_claimed(
                        host_state, spec_obj, candidate['mappings'])))
        except Exception as error:
            self._failures.decision_failed(host_state, error)
            return bool(self._filter_one(host_state, spec_obj))

    def _say(self, say: Callable[..., None], *args: typing.Any) -> None:
        """Let something be logged; that must not fail the request."""
        try:
            say(*args)
        except Exception as error:
            self._failures.report_failed(error)

    def filter_candidates(
        self, host_state: typing.Any,
        filter_func: Callable[[typing.Any], bool],
    ) -> list[typing.Any]:
        """Keep the candidates that pass, on the HostState too.

        Nova's takes longer to put together what it logs at DEBUG of each
        candidate, logged or not, than it takes to decide about it.
        """
        kept: list[typing.Any]
        if _NOVA_LOG.isEnabledFor(logging.DEBUG):
            kept = super().filter_candidates(host_state, filter_func)
            return kept
        try:
            candidates = host_state.allocation_candidates
        except Exception as error:
            self._failures.decision_failed(host_state, error)
            kept = super().filter_candidates(host_state, filter_func)
            return kept
        kept = list(filter(filter_func, candidates))
        host_state.allocation_candidates = kept
        return kept
