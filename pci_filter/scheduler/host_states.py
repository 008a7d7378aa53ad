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

"""HostStates that make nothing of the summary until somebody asks.

For each host of a request Nova parses ``compute_nodes.pci_stats`` and makes a
PciDeviceStats of it. The pools of the rows take its place, so both would be
thrown away. What Nova alone would see is the same, only later.
"""

from __future__ import annotations

from collections.abc import Callable
import copy
import typing

from nova.objects import base
from nova.objects import pci_device_pool
from nova.scheduler import host_manager
from oslo_log import log as logging

from pci_filter.scheduler import changes

LOG = logging.getLogger(__name__)

_changes = changes.Changes()


class UnreadSummary(pci_device_pool.PciDevicePoolList):
    """A summary that is parsed when its pools are first looked at.

    :param parse: gives what nova.objects.pci_device_pool.from_pci_stats
        makes of the text
    :param text: the stored text
    """

    def __init__(
        self, parse: Callable[[], typing.Any], text: str,
    ) -> None:
        # Not ObjectListBase's, which would set an empty list.
        base.NovaObject.__init__(self)
        self._parse = parse
        self.text = text
        #: Why it could not be parsed, if so.
        self.failure: Exception | None = None

    @classmethod
    def obj_name(cls) -> str:
        """Return the name of what this is to all others."""
        return 'PciDevicePoolList'

    def obj_load_attr(self, attrname: str) -> None:
        """Parse the summary.

        What it cannot parse makes Nova drop the whole cell. That must not
        become a failed request now that it comes later: such a summary has
        no pools.
        """
        try:
            self.objects = self._parse().objects
        except Exception as error:
            self.failure = error
            self.objects = []
        self.obj_reset_changes()

    def obj_to_primitive(
        self, *args: typing.Any, **kwargs: typing.Any,
    ) -> typing.Any:
        """Serialize the pools; what nobody has looked at would be left out."""
        len(self)
        return super().obj_to_primitive(*args, **kwargs)

    def __deepcopy__(self, memo: typing.Any) -> typing.Any:
        return pci_device_pool.PciDevicePoolList(
            objects=copy.deepcopy(list(self.objects), memo))


class HostState(host_manager.HostState):
    """Nova's HostState, with ``pci_stats`` made when first asked for."""

    #: The summary in which nobody has looked yet, and what makes
    #: PciDeviceStats of it.
    _summary: typing.Any = None
    _summary_pools: typing.Any = None
    _make_stats: typing.Any = None
    _pci_stats: typing.Any = None

    @property
    def pci_stats(self) -> typing.Any:
        """What the host has to offer: Nova's PciDeviceStats or our pools."""
        if self._make_stats is not None:
            self.pci_stats = self._make_stats(
                self.numa_topology, stats=self._summary)
            self._report(getattr(self._summary, 'failure', None))
        return self._pci_stats

    @pci_stats.setter
    def pci_stats(self, stats: typing.Any) -> None:
        self._pci_stats = stats
        self._make_stats = None

    @property
    def stored_summary(self) -> typing.Any:
        """``compute_nodes.pci_stats``: its text, or its pools as dicts.

        None if there is none.
        """
        if isinstance(self._summary, UnreadSummary):
            return self._summary.text
        if self._summary_pools is None:
            if self._summary is None and self._make_stats is None:
                # Nova made its pools in another way than is known.
                self._summary_pools = getattr(self._pci_stats, 'pools', None)
            else:
                self._summary_pools = [
                    pool.to_dict() for pool in self._summary or ()]
        return self._summary_pools

    def _report(self, failure: Exception | None) -> None:
        if _changes.changed(
                (self.cell_uuid, self.host, self.nodename),
                failure and type(failure).__name__) and failure:
            LOG.warning(
                'The summary in compute_nodes.pci_stats of host %(host)s, '
                'node %(node)s in cell %(cell)s cannot be parsed: '
                '%(failure)s. It counts as one without pools.',
                {'host': self.host, 'node': self.nodename,
                 'cell': self.cell_uuid, 'failure': type(failure).__name__})

    def _update_from_compute_node(
        self, compute: typing.Any, *args: typing.Any, **kwargs: typing.Any,
    ) -> None:
        if 'pci_device_pools' not in compute:
            super()._update_from_compute_node(compute, *args, **kwargs)
            return
        before = self._pci_stats
        summary = compute.pci_device_pools
        compute.pci_device_pools = None
        try:
            super()._update_from_compute_node(compute, *args, **kwargs)
        finally:
            compute.pci_device_pools = summary
        if self._pci_stats is not before:
            # Nova made it of nothing, which costs next to nothing.
            self._summary = summary
            self._summary_pools = None
            self._make_stats = type(self._pci_stats)
