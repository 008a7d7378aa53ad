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

"""Where reservations are kept, and how the configured place is found."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from oslo_config import cfg
from stevedore import driver
from stevedore import named

from pci_filter import exception

NAMESPACE: typing.Final = 'pci_filter.reservations'

#: The UUID of no compute node.
_NOBODYS: typing.Final = '00000000-0000-0000-0000-000000000000'


class StoreError(Exception):
    """The store cannot do what it is asked for, whatever the reason.

    Its text is one line that names the store, without credentials.
    """


class UnreadableRecord(StoreError):
    """What the store has of one compute node is no record of this version."""


class Record(typing.NamedTuple):
    """What a store has of a compute node.

    :param token: tells this record from those before and after; None if
        there is none
    :param text: what was written; None if there is none, or it is out of date
    """

    token: typing.Any
    text: str | bytes | None


NO_RECORD: typing.Final = Record(None, None)


class Store(abc.ABC):
    """Keeps one record for each compute node.

    It is made once, at start-up, before the service forks, and asked by many
    threads at a time. Nothing may be connected to before it is first asked,
    and a store that is down must not keep the service from starting.

    A record is replaced by comparing and setting: of several who have read the
    same record at most one succeeds. Nothing else is asked of a store. In
    particular it may forget everything at any time.

    :param conf: nova.conf, for options that others have registered
    :raises pci_filter.exception.PciFilterError: if the options are wrong, or
        a library is missing
    """

    #: Whether reservations are made at all.
    keeps: bool = True

    #: Whether somebody else answers. If not, the time that an answer takes
    #: passes while the thread waits for its turn, on a machine that has much
    #: to do, and no longer if it is not answered.
    remote: bool = True

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        pass

    @abc.abstractmethod
    def read(self, node_uuid: str, seconds: float) -> Record:
        """Return what there is of a compute node.

        :param node_uuid: the compute node
        :param seconds: how long to wait at most
        :raises StoreError: if nothing is known
        """

    @abc.abstractmethod
    def write(
        self, node_uuid: str, token: typing.Any, text: str, lifetime: float,
        seconds: float,
    ) -> bool:
        """Replace the record of a compute node, unless others have.

        :param node_uuid: the compute node
        :param token: of the record that was read
        :param text: what to write
        :param lifetime: seconds after which the record is out of date
        :param seconds: how long to wait at most
        :returns: whether it was replaced; if not, nothing has changed
        :raises StoreError: if nobody knows
        """

    def read_many(
        self, node_uuids: Sequence[str], seconds: float,
    ) -> Mapping[str, str | bytes]:
        """Return the texts of those of some nodes that have a record.

        For people who want to see them. Nothing is written or made by it.

        :raises StoreError: as :meth:`read`
        """
        texts = {}
        for node_uuid in node_uuids:
            text = self.read(node_uuid, seconds).text
            if text is not None:
                texts[node_uuid] = text
        return texts

    def nothing_kept(self) -> str:
        """Return why there cannot be any record, '' if there may be.

        :raises StoreError: if nobody knows
        """
        return ''

    def probe(self, seconds: float) -> str:
        """Find out whether records could be written now, and write none.

        :param seconds: how long to wait at most
        :returns: what was found, as a sentence without its end
        :raises StoreError: if they could not
        """
        self.read(_NOBODYS, seconds)
        return 'it answers'


class NoStore(Store):
    """Makes no reservations: the first claim wins, as with Nova alone."""

    keeps = False

    def read(self, node_uuid: str, seconds: float) -> Record:
        """Return that there is nothing."""
        return NO_RECORD

    def nothing_kept(self) -> str:
        """Return that it keeps nothing."""
        return '[pci_filter]reservations is none, so that none are made'

    def write(
        self, node_uuid: str, token: typing.Any, text: str, lifetime: float,
        seconds: float,
    ) -> bool:
        """Forget it."""
        return True


def load(conf: cfg.ConfigOpts) -> Store:
    """Make the store of ``[pci_filter]reservations``.

    :param conf: nova.conf, with the options of this package
    :raises pci_filter.exception.UnknownStore: if nobody provides it
    :raises pci_filter.exception.PciFilterError: what it finds wrong
    """
    name = conf.pci_filter.reservations
    known = named.NamedExtensionManager(NAMESPACE, []).entry_points_names()
    if name not in known:
        raise exception.UnknownStore(name, known)
    manager: driver.DriverManager[Store] = driver.DriverManager(
        NAMESPACE, name, invoke_on_load=True, invoke_args=(conf,))
    return typing.cast(Store, manager.driver)
