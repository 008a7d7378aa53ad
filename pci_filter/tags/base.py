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

"""What a tag source is, and how the configured ones are found."""

from __future__ import annotations

import abc
from collections.abc import Callable
from collections.abc import Sequence
import typing

from oslo_config import cfg
from stevedore import named

from pci_filter import exception
from pci_filter import model

NAMESPACE: typing.Final = 'pci_filter.tag_sources'

#: Tells the tags of one kind of devices, None if it does not know them.
Lookup = Callable[[model.DeviceKind], 'model.Tags | None']

#: Kinds of devices of one node with the tags that are stored with them.
StoredTags = Sequence[tuple[model.DeviceKind, model.Tags]]


class TagSource(abc.ABC):
    """Something that knows tags of devices.

    It is made once, at start-up, and then asked by many threads at a time.

    :param options: the ``[pci_filter]`` section
    :raises pci_filter.exception.PciFilterError: if the options it depends on
        are wrong
    """

    #: Whether devices that are alike but for their address can differ to this
    #: source, so that the rows must be read device by device.
    by_device: bool = False

    #: Whether this source needs the tags that our tracker stores in the rows.
    stored_tags: bool = False

    def __init__(self, options: cfg.ConfigOpts.GroupAttr) -> None:
        pass

    @abc.abstractmethod
    def for_node(self, node: model.ComputeNode) -> Lookup:
        """Return what tells the tags of this compute node's devices.

        Nodes that this source cannot tell apart should be given one and the
        same object: what it tells of a kind of devices is then asked once per
        request, not once per node. A tag with the value ``UNKNOWN`` is one
        that the devices have different values of.
        """

    def rp_uuid(
        self, node: model.ComputeNode, kind: model.DeviceKind,
    ) -> str | None:
        """Return the placement resource provider of some devices, if known.

        Asked where the rows do not tell it, because nova-compute wrote them
        before it reported the devices to placement, and where Nova's own
        nova-compute runs and they and the summary differ in the providers
        that they have, or the rows have several for one address.
        """
        return None

    def denies_stored_tags(
        self, node: model.ComputeNode, stored: StoredTags,
    ) -> bool:
        """Tell whether tags are stored in the rows that are out of date.

        If so nothing that is stored on this compute node is believed.
        """
        return False


class Needs(typing.NamedTuple):
    """What has to be read of the rows for some sources.

    :param by_device: as in TagSource, if one of them says so
    :param stored_tags: as in TagSource, if one of them says so
    """

    by_device: bool
    stored_tags: bool


def needs(sources: Sequence[TagSource]) -> Needs:
    """Return what has to be read for these sources together."""
    return Needs(any(source.by_device for source in sources),
                 any(source.stored_tags for source in sources))


def load(options: cfg.ConfigOpts.GroupAttr) -> list[TagSource]:
    """Make the sources of ``[pci_filter]tag_sources``, in that order.

    :param options: the ``[pci_filter]`` section
    :raises pci_filter.exception.NoTagSource: if there are none
    :raises pci_filter.exception.UnknownTagSource: if nobody provides one
    :raises pci_filter.exception.PciFilterError: what a source finds wrong
    """
    if not options.tag_sources:
        raise exception.NoTagSource()
    known = named.NamedExtensionManager(NAMESPACE, []).entry_points_names()
    for name in options.tag_sources:
        if name not in known:
            raise exception.UnknownTagSource(name, known)

    def broken(
        manager: typing.Any, entry_point: typing.Any, error: BaseException,
    ) -> None:
        raise error

    sources: named.NamedExtensionManager[TagSource]
    sources = named.NamedExtensionManager(
        NAMESPACE, options.tag_sources, invoke_on_load=True,
        invoke_args=(options,), name_order=True,
        on_load_failure_callback=broken)
    return [source.obj for source in sources if source.obj is not None]
