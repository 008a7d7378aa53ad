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

"""The check of ``pci-filter-status`` of reservations: see ``status``."""

from __future__ import annotations

import os
import typing

from oslo_config import cfg

from pci_filter.cli.nova import nova_conf
from pci_filter.cmd import results
from pci_filter.db import read_only
from pci_filter.db import services
from pci_filter import exception
from pci_filter import reservations

#: Seconds that the store has to answer.
_PATIENCE: typing.Final = 10

#: The store that each machine has for itself.
_LOCAL: typing.Final = 'local'

_WITHOUT: typing.Final = (
    'requests are served as without reservations, and servers that are asked '
    'for at the same time may be sent to the same device')


def check(conf: cfg.ConfigOpts) -> results.Result:
    """Tell whether reservations can be kept, where all schedulers see them.

    :param conf: the configuration
    """
    name = conf.pci_filter.reservations
    try:
        store = reservations.load(conf)
    except exception.PciFilterError as error:
        return results.failure(f'nova-scheduler does not start: {error}')
    except Exception as error:
        # It may be anybody's.
        return results.failure(
            f'nova-scheduler does not start: the store {name} of [pci_filter]'
            f'reservations cannot be loaded: {type(error).__name__}: {error}. '
            'Correct it or choose another one.')
    if not store.keeps:
        return results.success(
            f'[pci_filter]reservations is {name}: {_WITHOUT}.')
    try:
        found = f'{name}: {store.probe(_PATIENCE)}.'
    except reservations.StoreError as error:
        return results.warning(
            f'The store {name} of [pci_filter]reservations does not work: '
            f'{error}. Until it does, {_WITHOUT}.')
    if name != _LOCAL:
        return results.success(found)
    if not os.geteuid():
        found += ' So must the user of nova-scheduler: run this as that user.'
    return _judge_number(conf, found)


def _judge_number(conf: cfg.ConfigOpts, found: str) -> results.Result:
    """Tell whether more than one machine has a store of its own."""
    cure = (f'Set [pci_filter]reservations to memcached: with {_LOCAL} '
            'each knows only of its own reservations.')
    url = nova_conf.connection(conf, 'database')
    if not url:
        return results.success(
            f'{found} [database]connection is not set, so nobody knows '
            'whether nova-scheduler runs on other machines too.')
    try:
        with read_only.connect(
                url, services.metadata.sorted_tables) as connection:
            up = services.schedulers(connection, nova_conf.down_time(conf))
    except exception.DatabaseUnreadable as error:
        return results.warning(
            f'{found} Whether nova-scheduler runs on other machines too is '
            'not known: the database of [database]connection cannot be read: '
            f'{error}. If it does: {cure}')
    if len(up) > 1:
        return results.warning(
            f'{found} But nova-scheduler is up on {len(up)} hosts: '
            f'{", ".join(up)}. {cure}')
    return results.success(
        f'{found} nova-scheduler is up on '
        + (f'{up[0]} only.' if up else 'no host.'))
