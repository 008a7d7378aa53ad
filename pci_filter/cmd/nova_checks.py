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

"""Checks of ``pci-filter-status`` that need Nova: see ``status``."""

from __future__ import annotations

from collections.abc import Sequence
import json

import nova.conf
from nova import exception as nova_exception
from nova import objects
from nova.pci import request as pci_request
from nova.scheduler import filters
from nova import version
from oslo_utils import uuidutils

from pci_filter.cmd import results
from pci_filter import exception
from pci_filter import known_nova
from pci_filter.scheduler import announcements
from pci_filter.scheduler.filters import pci_passthrough_filter
from pci_filter.scheduler import host_manager

CONF = nova.conf.CONF

_FILTER = pci_passthrough_filter.PciPassthroughFilter
_OUR_FILTERS = announcements.OUR_FILTERS
_NOVA_FILTERS = announcements.NOVA_FILTERS


def configure(files: Sequence[str], folders: Sequence[str]) -> None:
    """Let Nova read the configuration of nova-scheduler.

    :param files: the files that were found, in their order
    :param folders: the folders with more of them
    """
    CONF([], project='nova', default_config_files=list(files),
         default_config_dirs=list(folders))
    objects.register_all()


def check_release() -> results.Result:
    """Tell whether the tests run against the Nova that is installed."""
    release = version.version_string()
    if known_nova.is_known(release):
        return results.success(f'Nova {release} is installed.')
    return results.warning(
        f'Nova {release} is installed, with which pci_filter is not tested; '
        f'it is with {known_nova.SUPPORTED}. Try the scheduler in a test '
        'environment first. pci-filter-nova-compute refuses to start with '
        f'Nova {release}.')


def check_hook() -> results.Result:
    """Tell whether the filter could attach; nothing is attached."""
    try:
        found = host_manager.find_replaced()
    except exception.UnsupportedNova as error:
        return results.failure(
            f'nova-scheduler does not start with the filter: {error}')
    if found.missing:
        return results.warning(
            'The filter attaches to this Nova, but not to all of it: '
            f'{"; ".join(found.missing)}. {" ".join(found.costs)}')
    return results.success(
        "Nova's HostManager is one that the filter can attach to.")


def check_filters() -> results.Result:
    """Tell whether nova-scheduler would use our filter."""
    options = CONF.filter_scheduler
    try:
        classes = filters.HostFilterHandler().get_matching_classes(
            options.available_filters)
    except Exception as error:
        # They may be anybody's, and they are imported.
        return results.failure(
            'nova-scheduler does not start: [filter_scheduler]'
            f'available_filters cannot be loaded: {_first_line(error)}. '
            f'Write a line "available_filters = {_NOVA_FILTERS}" and after '
            f'it another one "available_filters = {_OUR_FILTERS}".')
    problems = _filter_problems(classes, options.enabled_filters)
    if problems:
        return results.failure(' '.join(problems))
    return results.success(
        'PciPassthroughFilter is enabled, and it is the one of pci_filter.')


def _filter_problems(
    classes: Sequence[type], enabled: Sequence[str],
) -> list[str]:
    """Return what keeps our filter from deciding.

    :param classes: the available ones; the last one of a name is taken
    :param enabled: names of those that are used
    """
    problems = []
    name = _FILTER.__name__
    by_name = {found.__name__: found for found in classes}
    if not any(issubclass(found, _FILTER) for found in classes):
        problems.append(
            'The filter of pci_filter is not available: [filter_scheduler] '
            f'needs the line "available_filters = {_NOVA_FILTERS}" and after '
            f'it the line "available_filters = {_OUR_FILTERS}".')
    elif not issubclass(by_name[name], _FILTER):
        problems.append(announcements.OVERRULED)
    if name not in enabled:
        problems.append(
            f'The filter is not enabled: add {name} to '
            '[filter_scheduler]enabled_filters, anywhere in the list.')
    missing = [other for other in enabled
               if other not in by_name and other != name]
    if missing:
        problems.append(
            'nova-scheduler does not start: [filter_scheduler]'
            f'enabled_filters names {", ".join(missing)}, which is not '
            f'available. Is the line "available_filters = {_NOVA_FILTERS}" '
            'there?')
    return problems


def check_aliases() -> results.Result:
    """Tell whether Nova can parse ``[pci]alias``."""
    if not CONF.pci.alias:
        return results.success(
            'There is no [pci]alias here. nova-api and nova-compute read '
            'it: if they have a nova.conf of their own, check that too.')
    try:
        _parse_aliases()
    except nova_exception.PciInvalidAlias as error:
        return results.failure(
            f'[pci]alias{_quoted(_not_json(CONF.pci.alias))}: '
            f'{_first_line(error)}. Nova refuses every flavor that has an '
            'alias. Correct it wherever nova-api and nova-compute read it.')
    return results.success(
        f'Nova can parse all values of [pci]alias: {len(CONF.pci.alias)}.')


def _parse_aliases() -> None:
    """Let Nova parse all aliases; it has no public function just for that.

    :raises nova.exception.PciInvalidAlias: if it cannot
    """
    nobodys = uuidutils.generate_uuid()
    try:
        pci_request.get_pci_requests_from_flavor(objects.Flavor(
            extra_specs={'pci_passthrough:alias': f'{nobodys}:1'}))
    except nova_exception.PciRequestAliasNotDefined:
        # It looks for one alias after it has parsed all.
        pass


def _not_json(values: Sequence[str]) -> str | None:
    """Return the value that is not JSON; Nova does not say which it is."""
    for value in values:
        try:
            json.loads(value)
        except ValueError:
            return value
    return None


def _quoted(value: str | None) -> str:
    return '' if value is None else f' = {value}'


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip('.') if lines else type(error).__name__
