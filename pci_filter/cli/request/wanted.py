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

"""The PCI requests that a command is about."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
import difflib
import typing
import uuid

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import nova_conf
from pci_filter.cli.request import aliases
from pci_filter.db import read_only
from pci_filter.db import request_specs
from pci_filter import exception
from pci_filter import printable


class GuestCell(typing.NamedTuple):
    """A NUMA node of the guest, placed on one of the host's.

    :param id: number of the host's
    """

    id: int


class Wanted(typing.NamedTuple):
    """What an instance asks of a host.

    :param requests: its PCI requests, in their order
    :param numa_cells: where the guest is, None if nobody has said
    :param numa_guest: whether the guest has NUMA nodes
    """

    requests: Sequence[request_specs.PciRequest]
    numa_cells: Sequence[GuestCell] | None
    numa_guest: bool

    @property
    def by_socket(self) -> bool:
        """Whether it matters which NUMA nodes share a socket."""
        return self.numa_cells is not None and any(
            request.numa_policy == 'socket' for request in self.requests)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is asked for."""
    group = parser.add_argument_group('requests')
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        '--alias', action='extend', type=_aliases, dest='aliases',
        metavar='NAME[:COUNT][,...]',
        help='so many devices of aliases in [pci]alias, as a flavor has them '
             'in pci_passthrough:alias; may be repeated')
    which.add_argument(
        '--request', action='append', metavar='JSON', dest='json_requests',
        help='devices in the syntax of [pci]alias, with a count and any tags '
             'that they have to have; repeat it for more. A port asks for '
             '\'{"count": 1, "physical_network": "physnet1", '
             '"remote_managed": "false"}\'')
    which.add_argument(
        '--instance', type=_uuid, metavar='UUID',
        help='what the scheduler was asked for this server, which need not '
             'have found a host: the request_specs of the API database')
    group.add_argument(
        '--numa-cells', type=_numa_cells, metavar='N[,N...]',
        help='where on the host the guest is. By default that is not taken '
             'into account; of a guest with NUMA nodes the filter also looks '
             'where Nova would place it, if devices that exclude each other '
             'are asked for, and may not pass a host that passes here')
    group.add_argument(
        '--numa-policy', choices=aliases.NUMA_POLICIES, metavar='POLICY',
        help='how near to it the devices have to be, in place of what is '
             f'asked for: {", ".join(aliases.NUMA_POLICIES)}. It needs '
             '--numa-cells')


def require(parsed_args: argparse.Namespace) -> None:
    """Refuse a command line that asks for nothing.

    argparse would say so of one with an option that it does not know, and not
    name that.

    :param parsed_args: with the options that :func:`add_arguments` added
    :raises pci_filter.cli.base.CommandError: if it does
    """
    if not (parsed_args.aliases or parsed_args.json_requests
            or parsed_args.instance):
        raise base.CommandError(
            'say what is asked for: by --alias, --request or --instance')


def find(
    parsed_args: argparse.Namespace, some_cells: cells.Cells,
) -> Wanted:
    """Return what is asked for.

    :param parsed_args: with the options that :func:`add_arguments` added
    :param some_cells: has the configuration
    :raises pci_filter.cli.base.CommandError: if that cannot be found out, or
        is nothing
    """
    numa_cells = parsed_args.numa_cells
    numa_guest = numa_cells is not None
    if parsed_args.numa_policy and not numa_guest:
        # Nova asks no policy of a guest that has no place on the host.
        raise base.CommandError(
            '--numa-policy needs --numa-cells: the NUMA nodes of the host '
            'that the guest is on')
    if parsed_args.aliases:
        requests = _of_aliases(parsed_args.aliases, some_cells)
    elif parsed_args.json_requests:
        requests = [_of_json(number, text) for number, text in enumerate(
            parsed_args.json_requests, start=1)]
    else:
        stored = _stored(parsed_args.instance, some_cells)
        requests = stored.pci_requests
        numa_guest |= stored.numa_guest
    if parsed_args.numa_policy:
        requests = [
            dataclasses.replace(request, numa_policy=parsed_args.numa_policy)
            for request in requests]
    if not any(request.count > 0 for request in requests):
        raise base.CommandError(
            f'server {parsed_args.instance} asks for no PCI devices')
    return Wanted(requests, numa_cells, numa_guest)


def _of_aliases(
    wanted: Sequence[tuple[str, int]], some_cells: cells.Cells,
) -> list[request_specs.PciRequest]:
    conf = some_cells.conf
    known = aliases.parse_aliases(
        conf.pci.alias, conf.filter_scheduler.pci_in_placement)
    requests = []
    for name, count in wanted:
        if name not in known:
            raise base.CommandError(_no_such_alias(name, list(known)))
        numa_policy, specs = known[name]
        requests.append(request_specs.PciRequest(
            count, specs, alias_name=name, numa_policy=numa_policy))
    return requests


def _no_such_alias(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        hint = f'did you mean {near[0]}?'
    elif known:
        hint = f'there is: {", ".join(known)}'
    else:
        hint = 'it is not set in the configuration'
    return printable.printable(f'[pci]alias has no {name!r}; {hint}')


def _of_json(number: int, text: str) -> request_specs.PciRequest:
    name, count, (numa_policy, specs) = aliases.parse_request(
        '--request', text)
    return request_specs.PciRequest(
        count, specs, alias_name=name, request_id=str(number),
        numa_policy=numa_policy)


def _stored(
    instance_uuid: str, some_cells: cells.Cells,
) -> request_specs.StoredRequest:
    url = nova_conf.connection(some_cells.conf, 'api_database')
    if not url:
        raise base.CommandError(
            'the requests of servers are in the API database, and '
            '[api_database]connection is not set in the configuration')
    try:
        with read_only.connect(
                url, request_specs.metadata.sorted_tables,
                some_cells.timeout) as connection:
            stored = request_specs.load(connection, instance_uuid)
    except exception.DatabaseUnreadable as error:
        raise base.CommandError(
            f'cannot read the API database: {error}') from None
    except ValueError as error:
        raise base.CommandError(
            f'the request of server {instance_uuid} cannot be read: {error}'
        ) from None
    if stored is None:
        raise base.CommandError(
            f'the API database has no request of a server {instance_uuid}')
    return stored


def _aliases(text: str) -> list[tuple[str, int]]:
    return [_alias(part) for part in text.split(',')]


def _alias(text: str) -> tuple[str, int]:
    name, colon, count = text.partition(':')
    try:
        return name.strip(), base.whole_number(1, 2 ** 31 - 1)(
            count if colon else '1')
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r}: {error} as count') from None


def _numa_cells(text: str) -> list[GuestCell]:
    number = base.whole_number(0, 2 ** 31 - 1)
    return [GuestCell(number(part)) for part in text.split(',')]


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f'not a UUID: {text!r}') from None
