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

"""The scheduler filters of this package and of those that extend it."""

from __future__ import annotations

import typing

import nova.conf
from stevedore import extension

from pci_filter.scheduler import announcements

NAMESPACE: typing.Final = 'pci_filter.scheduler.filters'


def all_filters() -> list[type]:
    """Return the filter classes of the namespace.

    For ``[filter_scheduler]available_filters``. Nova keeps filters by class
    name and the later one wins, so those of a name that Nova has take its
    place when this comes after ``nova.scheduler.filters.all_filters``. Where
    it comes before, nothing else of ours runs in nova-scheduler, so it is
    said from here.

    :raises Exception: whatever keeps a filter from being loaded. Leaving it
        out would let Nova's filter of that name decide unnoticed.
    """
    options = nova.conf.CONF.filter_scheduler
    announcements.say_overruled(
        options.available_filters, options.enabled_filters)

    def broken(
        manager: typing.Any, entry_point: typing.Any, error: BaseException,
    ) -> None:
        raise error

    manager = extension.ExtensionManager(
        NAMESPACE, on_load_failure_callback=broken)
    return [found.plugin for found in manager]
