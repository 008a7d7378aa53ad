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

"""The hosts that a command looks at, with their pools."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import fnmatch
import functools
import logging
import typing

import sqlalchemy as sa

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli import progress
from pci_filter.db import compute_nodes
from pci_filter.db import node_lists
from pci_filter.db import numa_topologies
from pci_filter import model
from pci_filter import objects
from pci_filter import printable
from pci_filter.tags import base as tags_base

LOG = logging.getLogger(__name__)

_ByNode = dict[str, objects.PciDevicePoolList]


class Host(typing.NamedTuple):
    """A compute node and its devices.

    :param cell: name of its cell
    :param node: what else it is called
    :param pools: what it has to offer, as the scheduler sees it
    :param if_idle: what it would have to offer without instances
    """

    cell: str
    node: model.ComputeNode
    pools: objects.PciDevicePoolList
    if_idle: objects.PciDevicePoolList


class Names:
    """The names of the hosts that a command was asked for.

    :param parsed_args: with the options that :func:`add_arguments` added
    """

    def __init__(self, parsed_args: argparse.Namespace) -> None:
        self._wanted = _Patterns(parsed_args.host)
        self._left_out = _Patterns(parsed_args.without_host)

    def __bool__(self) -> bool:
        return bool(self._wanted or self._left_out)

    def match(self, name: str | None) -> bool:
        """Tell whether a host was asked for, and note that it is there."""
        left_out = self._left_out.match(name or '')
        return (not self._wanted or self._wanted.match(name or '')) and (
            not left_out)

    def check(self, some_cells: cells.Cells) -> None:
        """Tell which names no host has, once all were matched.

        :param some_cells: where they were looked for; nobody knows what those
            have that could not be read
        :raises pci_filter.cli.base.CommandError: if no host has any of them
        """
        if some_cells.failed:
            return
        if self._wanted and not self._wanted.matched:
            raise base.CommandError('; '.join(self._wanted.complaints()))
        for some in self._wanted, self._left_out:
            for line in some.complaints():
                LOG.warning('%s', line)


class _Patterns:
    """Shell-style patterns of names, and which of them matched any."""

    def __init__(self, patterns: Sequence[str] | None) -> None:
        # Each once, in their order.
        self._patterns = dict.fromkeys(patterns or ())
        self.matched: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, name: str) -> bool:
        matched = [pattern for pattern in self._patterns
                   if fnmatch.fnmatchcase(name, pattern)]
        self.matched.update(matched)
        return bool(matched)

    def complaints(self) -> list[str]:
        """Return a line for each pattern that matched nothing."""
        return [printable.printable(f'no host matches {pattern!r}')
                for pattern in self._patterns if pattern not in self.matched]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which hosts to look at."""
    cells.add_arguments(parser)
    parser.add_argument(
        '--host', action='extend', type=_patterns, metavar='GLOB[,GLOB...]',
        help='only hosts whose name matches one of these shell-style '
             'patterns, such as net-0?; may be repeated')
    parser.add_argument(
        '--without-host', action='extend', type=_patterns,
        metavar='GLOB[,GLOB...]',
        help='leave out hosts whose name matches one of these, such as those '
             'that are going to be drained; may be repeated')


def _patterns(text: str) -> list[str]:
    return [pattern.strip() for pattern in text.split(',')]


class Hosts:
    """The hosts that a command was asked for, read as they are iterated.

    :param parsed_args: with the options that :func:`add_arguments` added
    :param some_cells: the cells they are in
    :param numa_guest: whether it is about a guest with NUMA nodes
    :param by_socket: whether it matters which NUMA nodes share a socket
    :raises pci_filter.exception.PciFilterError: if the sources of tags are
        not configured well
    """

    def __init__(
        self, parsed_args: argparse.Namespace, some_cells: cells.Cells,
        numa_guest: bool = False, by_socket: bool = False,
    ) -> None:
        self._names = Names(parsed_args)
        self._quiet = base.streams_to_terminal(parsed_args)
        self._cells = some_cells
        self._tag_sources = tags_base.load(some_cells.conf.pci_filter)
        self._numa_guest = numa_guest
        self._by_socket = by_socket

    def __iter__(self) -> Iterator[Host]:
        """Yield the hosts of one cell after the other, by their names.

        :raises pci_filter.cli.base.CommandError: if none matches
        """
        with progress.on_terminal(not self._quiet) as start:
            yield from self._cells.each(
                functools.partial(self._read, start))
        self._names.check(self._cells)

    def _read(
        self, start: progress.Start,
        cell: cells.Cell, connection: sa.engine.Connection,
    ) -> Iterator[Host]:
        """Yield the hosts of a cell, many of them read at a time."""
        nodes = sorted(
            (node for node in compute_nodes.load_names(connection)
             if self._names.match(node.host)),
            key=lambda node: (node.host, node.nodename))
        step = start(f'cell {cell.name}', len(nodes))
        for first in range(0, len(nodes), node_lists.PER_STATEMENT):
            uuids = [node.uuid for node in nodes[
                first:first + node_lists.PER_STATEMENT]]
            loaded = {node.uuid: node
                      for node in compute_nodes.load(connection, uuids)}
            chosen = [loaded[uuid] for uuid in uuids if uuid in loaded]
            pools = self._load(connection, chosen, False)
            if_idle = self._load(connection, chosen, True)
            # Who reads what is shown may take his time.
            connection.rollback()
            for node in chosen:
                yield Host(cell.name, node, pools.pop(node.uuid),
                           if_idle.pop(node.uuid))
                step()

    def _load(
        self, connection: sa.engine.Connection,
        nodes: Sequence[model.ComputeNode], if_idle: bool,
    ) -> _ByNode:
        topologies = numa_topologies.load(
            connection, [node.uuid for node in nodes]
        ) if self._by_socket else {}
        pool_list = objects.PciDevicePoolList
        if len(nodes) == 1:
            uuid = nodes[0].uuid
            return {uuid: pool_list.get_by_compute_node(
                connection, nodes[0], self._tag_sources,
                topologies.get(uuid), self._numa_guest, if_idle)}
        return pool_list.get_all(
            connection, nodes, self._tag_sources, topologies,
            self._numa_guest, if_idle)
