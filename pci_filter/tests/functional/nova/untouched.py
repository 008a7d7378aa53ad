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

"""Tell what of Nova changes when our filters become available.

Run as a program, in a process of its own, it prints what changed: once as a
list of names for each step. With ``--enable`` it goes on to enable our
filter.
"""

import json
import logging
import pkgutil
import sys
import types
import typing

import nova.conf
from nova import filters as base_filters
from nova.objects import pci_device_pool
from nova.pci import stats
from nova.scheduler import filters
from nova.scheduler import host_manager
from nova.scheduler import manager

from pci_filter.fixture import cloud as embedded
from pci_filter.fixture import scheduling

Snapshot = dict[str, tuple[int, typing.Any]]


def _owners() -> dict[str, typing.Any]:
    """Return Nova's modules that scheduling goes through, and classes."""
    modules = [host_manager, manager, base_filters, filters, stats,
               pci_device_pool]
    modules += [
        sys.modules[f'{filters.__name__}.{module.name}']
        for module in pkgutil.iter_modules(filters.__path__)
        if f'{filters.__name__}.{module.name}' in sys.modules]
    owners: dict[str, typing.Any] = {}
    for module in modules:
        owners[module.__name__] = module
        owners.update({
            f'{module.__name__}.{name}': value
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__.startswith('nova')
        })
    return owners


def _identity(value: typing.Any) -> tuple[int, typing.Any]:
    function = getattr(value, '__func__', value)
    if not isinstance(function, types.FunctionType):
        return id(value), None
    return id(value), (
        function.__code__.co_code, function.__code__.co_consts,
        function.__defaults__, sorted(vars(function)))


def snapshot() -> Snapshot:
    """Return every attribute by its name: what it is, and its code."""
    return {
        f'{name}.{attribute}': _identity(value)
        for name, owner in _owners().items()
        for attribute, value in vars(owner).items()
        # Python fills these in as modules and classes are used.
        if attribute not in ('__warningregistry__', '__annotations__',
                             '_abc_impl', '__subclasshook__')}


def changed(before: Snapshot) -> list[str]:
    """Return the names of what is not what it was."""
    now = snapshot()
    return sorted(name for name in before.keys() | now.keys()
                  if before.get(name) != now.get(name))


def main() -> None:
    logging.disable(logging.CRITICAL)
    result: dict[str, typing.Any] = {}
    with embedded.EmbeddedCloud() as cloud:
        cloud.add_host(0, 'host0', [], [])
        spec = scheduling.request_spec([scheduling.pci_request({})])
        # Nova loads its filters when it first makes a HostManager.
        scheduling.host_states(cloud.host_manager(), spec)
        before = snapshot()
        result['attributes'] = len(before)
        result['loaded'] = [
            name for name in sys.modules
            if name.startswith('pci_filter.scheduler')]
        from pci_filter.scheduler import filters as ours
        result['classes'] = [
            found.__module__ for found in ours.all_filters()]
        result['imported'] = changed(before)
        in_use = cloud.host_manager(['ComputeFilter'], scheduling.OUR_FILTERS)
        states = scheduling.host_states(in_use, spec)
        result['available'] = changed(before)
        result['pools'] = [type(state.pci_stats).__module__
                           for state in states]
        result['options'] = 'pci_filter' in nova.conf.CONF
        if '--enable' in sys.argv:
            cloud.host_manager(scheduling.PCI_FILTER, scheduling.OUR_FILTERS)
            result['enabled'] = changed(before)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
