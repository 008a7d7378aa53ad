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
thrown away. It also parses ``compute_nodes.numa_topology``, which takes longer
than all else that it does for a host, and into which nobody looks unless the
guest has NUMA nodes. What Nova alone would see is the same, only later.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import copy
import enum
import functools
import typing

from nova.objects import base
from nova.objects import numa
from nova.objects import pci_device_pool
from nova.scheduler import host_manager
from oslo_log import log as logging

from pci_filter import objects
from pci_filter.scheduler import changes
from pci_filter.scheduler import request_specs

LOG = logging.getLogger(__name__)

_changes = changes.Changes()


class _Unmade(enum.Enum):
    """What is in the place of what nobody has asked for yet.

    Even a deep copy of a member is that member.
    """

    UNMADE = enum.auto()


_UNMADE: typing.Final = _Unmade.UNMADE

#: Attribute of another package's HostState: Nova's stats that pools replaced.
_REPLACED: typing.Final = 'pci_filter_replaced_stats'


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


class UnreadTopology(numa.NUMATopology):
    """A NUMA topology that is parsed when its cells are first looked at.

    To Nova it has them all the time. What cannot be parsed raises then what
    Nova would have raised for all requests.

    :param text: ``compute_nodes.numa_topology``
    """

    def __init__(self, text: str = '') -> None:
        # Without a text it is going to be filled, as a copy is.
        super().__init__()
        self._text = text

    @classmethod
    def obj_name(cls) -> str:
        """Return the name of what this is to all others."""
        return 'NUMATopology'

    def obj_attr_is_set(self, attrname: str) -> bool:
        """Tell that there are cells, which whoever looks at them gets."""
        return attrname == 'cells' or bool(super().obj_attr_is_set(attrname))

    def obj_what_changed(self) -> set[str]:
        """Return what the stored topology says of that."""
        len(self)
        return set(super().obj_what_changed())

    def obj_reset_changes(
        self, *args: typing.Any, **kwargs: typing.Any,
    ) -> None:
        """Take what is stored, too, for unchanged."""
        len(self)
        super().obj_reset_changes(*args, **kwargs)

    def obj_to_primitive(
        self, *args: typing.Any, **kwargs: typing.Any,
    ) -> typing.Any:
        """Serialize the cells, as those of the version that is stored."""
        len(self)
        return super().obj_to_primitive(*args, **kwargs)

    def obj_load_attr(self, attrname: str) -> None:
        """Parse the topology.

        :raises Exception: what Nova raises if it cannot be parsed
        """
        # Its cells, and what is noted of changes.
        self.__dict__.update(
            numa.NUMATopology.obj_from_db_obj(self._text).__dict__)

    def __bool__(self) -> bool:
        # NUMATopologyFilter asks for it whatever the guest is.
        if not super().obj_attr_is_set('cells') and 'NUMACell' in self._text:
            return True
        return len(self) > 0

    def __deepcopy__(self, memo: typing.Any) -> typing.Any:
        # Nova copies it with each PciDeviceStats that it asks.
        if super().obj_attr_is_set('cells'):
            return super().__deepcopy__(memo)
        return type(self)(self._text)


class HostState(host_manager.HostState):
    """Nova's HostState, with what is costly made when first asked for.

    That is ``pci_stats``, and what is in ``numa_topology``.
    """

    #: The summary in which nobody has looked yet, and what makes Nova's
    #: PciDeviceStats of it; None before the compute node has reported.
    _summary: typing.Any = None
    _make_stats: Callable[[], typing.Any] | None = None
    _pci_stats: typing.Any = None

    @property
    def pci_stats(self) -> typing.Any:
        """What the host has to offer: Nova's PciDeviceStats or our pools."""
        if self._pci_stats is _UNMADE:
            self._pci_stats = self.stats_of_summary()
        return self._pci_stats

    @pci_stats.setter
    def pci_stats(self, stats: typing.Any) -> None:
        self._pci_stats = stats

    def stats_of_summary(self) -> typing.Any:
        """Return Nova's PciDeviceStats of the stored summary.

        :returns: new ones each time; None if there was no summary to read
            yet
        """
        if self._make_stats is None:
            return None
        stats = self._make_stats()
        try:
            self._report(getattr(self._summary, 'failure', None))
        except Exception:
            # Saying so must not be what fails the request.
            LOG.debug('A summary was not reported', exc_info=True)
        return stats

    @property
    def stored_summary(self) -> typing.Any:
        """``compute_nodes.pci_stats``: its text, or its pools as dicts.

        None if there is none.
        """
        if isinstance(self._summary, UnreadSummary):
            return self._summary.text
        return None if self._summary is None else [
            pool.to_dict() for pool in self._summary]

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
        before = self._pci_stats
        with _put_aside(compute, 'pci_device_pools') as summary, _put_aside(
                compute, 'numa_topology') as topology:
            super()._update_from_compute_node(compute, *args, **kwargs)
        made: typing.Any = self._pci_stats
        if made is before:
            # Nova has ignored what was reported.
            return
        if topology is not _UNMADE and topology:
            self.numa_topology = made.numa_topology = UnreadTopology(topology)
        if summary is _UNMADE:
            self._summary = made.to_device_pools_obj()
            self._make_stats = lambda: made
        else:
            # Nova made it of nothing, which costs next to nothing.
            stats_class: typing.Any = type(made)
            self._summary = summary
            self._make_stats = functools.partial(
                stats_class, made.numa_topology, stats=summary)
            self._pci_stats = _UNMADE


@contextlib.contextmanager
def _put_aside(compute: typing.Any, name: str) -> Iterator[typing.Any]:
    """Let Nova see None in the place of what a compute node has reported.

    :param compute: nova.objects.ComputeNode
    :param name: of the attribute
    :returns: what it was; _UNMADE if there is none to put aside, which Nova
        may not mind
    """
    try:
        value = getattr(compute, name)
        setattr(compute, name, None)
    except Exception:
        yield _UNMADE
        return
    try:
        yield value
    finally:
        setattr(compute, name, value)


def read_topologies(
    host_states: Iterable[typing.Any], spec_obj: typing.Any,
) -> None:
    """Parse the NUMA topologies that a request is going to need.

    To do so while something else is waited for. Whatever is wrong raises when
    somebody needs it, and not here.

    :param host_states: HostStates, ours or not
    :param spec_obj: nova.objects.RequestSpec or None
    """
    with contextlib.suppress(Exception):
        if not request_specs.has_numa_guest(spec_obj):
            return
        for host_state in host_states:
            topology = host_state.numa_topology
            if isinstance(topology, UnreadTopology):
                with contextlib.suppress(Exception):
                    len(topology)


def replace_stats(host_state: typing.Any, pools: typing.Any) -> None:
    """Put pools on a HostState, in the place of Nova's stats."""
    if not isinstance(host_state, HostState):
        # Another package's, which cannot make them anew.
        stats = host_state.pci_stats
        if not isinstance(stats, objects.PciDevicePoolList):
            setattr(host_state, _REPLACED, stats)
    host_state.pci_stats = pools


def nova_stats(host_state: typing.Any) -> typing.Any:
    """Return what Nova alone would decide by, None if that is nothing."""
    if isinstance(host_state, HostState):
        return host_state.stats_of_summary()
    return getattr(host_state, _REPLACED, None)
