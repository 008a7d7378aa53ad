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

"""Checks of ``pci-filter-status`` that do without Nova: see ``status``."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import typing

from oslo_config import cfg

from pci_filter.cli import base as cli_base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import nova_conf
from pci_filter.cmd import results
from pci_filter.db import tables
from pci_filter import exception
from pci_filter.objects import tag_coverage
from pci_filter.tags import base

#: The tag sources by name, in their order.
Sources = dict[str, base.TagSource]

#: Puts names of hosts into a text.
Name = Callable[[Collection[str]], str]

#: Says what was found.
Check = Callable[[tag_coverage.TagCoverage, Name], results.Result]

_CURE: typing.Final = (
    'Describe the devices in [pci_filter]device_spec, or run '
    'pci-filter-nova-compute on these hosts.')


def load_sources(conf: cfg.ConfigOpts) -> tuple[Sources, results.Result]:
    """Load the tag sources, and tell whether they can work.

    :returns: no sources if they cannot be loaded
    """
    options = conf.pci_filter
    try:
        sources = dict(zip(options.tag_sources, base.load(options)))
    except exception.PciFilterError as error:
        return {}, results.failure(f'nova-scheduler does not start: {error}')
    except Exception as error:
        # They may be anybody's.
        return {}, results.failure(
            'nova-scheduler does not start: a source of [pci_filter]'
            f'tag_sources cannot be loaded: {type(error).__name__}: {error}. '
            'Correct it or take it out.')
    return sources, _judge_sources(list(sources), options.device_spec)


def _judge_sources(
    names: Sequence[str], device_spec: Sequence[str],
) -> results.Result:
    if device_spec and 'device_spec' not in names:
        return results.warning(
            '[pci_filter]device_spec is set but not used: add device_spec to '
            '[pci_filter]tag_sources, or remove it.')
    if names == ['device_spec'] and not device_spec:
        return results.failure(
            'device_spec is the only one of [pci_filter]tag_sources, and '
            '[pci_filter]device_spec is empty: no request could get a '
            'device. Set it, or add pci_devices and pci_stats to '
            'tag_sources.')
    return results.success(f'Tags are looked up in: {", ".join(names)}.')


def find_cells(
    conf: cfg.ConfigOpts,
) -> tuple[list[cells.Cell], list[str], results.Result]:
    """Find the cells, and tell whether each has what is read.

    :returns: those that can be read, and the names of those that cannot
    """
    try:
        if not nova_conf.connection(conf, 'api_database'):
            raise cli_base.CommandError(
                '[api_database]connection is not set. Name the file that has '
                'it with --config-file, beside that of nova-scheduler')
        found = cells.find(conf)
    except cli_base.CommandError as error:
        return [], [], results.failure(f'No cell is found: {error}.')
    problems = {cell: _problem(cell) for cell in found}
    readable = [cell for cell, problem in problems.items() if not problem]
    left_out = [cell.name for cell, problem in problems.items() if problem]
    if left_out:
        return readable, left_out, results.failure(' '.join(filter(
            None, problems.values())))
    return readable, [], results.success(
        'All tables and columns that are read are there, in: '
        f'{", ".join(cell.name for cell in found)}.')


def _problem(cell: cells.Cell) -> str | None:
    """Return why a cell cannot be read and what to do, None if it can."""
    try:
        with cell.connect() as connection:
            missing = tables.missing_columns(connection)
    except exception.DatabaseUnreadable as error:
        return (f'Cell {cell.name} cannot be read: {error}. Is its database '
                'up, and its URL right ("nova-manage cell_v2 list_cells")?')
    if missing:
        return (f'Cell {cell.name} has no {", ".join(missing)}. Run '
                '"nova-manage db sync" of a Nova that pci_filter supports.')
    return None


def measure(
    conf: cfg.ConfigOpts, sources: Sources, some: Sequence[cells.Cell],
) -> tuple[tag_coverage.TagCoverage, list[str]]:
    """Read the devices of cells.

    :returns: what is known of them, and what went wrong
    """
    coverage = tag_coverage.TagCoverage(
        sources, conf.filter_scheduler.pci_in_placement)
    problems = []
    for cell in some:
        try:
            with cell.connect() as connection:
                coverage.add_cell(connection)
        except exception.DatabaseUnreadable as error:
            problems.append(
                f'Cell {cell.name} could not be read to its end: {error}.')
    return coverage, problems


def check_tags(
    coverage: tag_coverage.TagCoverage, name: Name,
) -> results.Result:
    """Tell which part of the devices has tags, and from where."""
    unknown = sum(coverage.unknown.values())
    total = sum(coverage.known.values()) + unknown
    if not total:
        return results.success(
            'No PCI device is available, so no tags are looked up.')
    share = (f'{total - unknown} of {total} groups of available devices '
             f'have their tags{_by_source(coverage.known)}.')
    if unknown:
        found = results.warning if coverage.known else results.failure
        return found(
            f'{share} No request can get the others, on '
            f'{name(coverage.unknown)}. {_CURE}')
    if coverage.divided:
        return results.warning(
            f'{share} In {sum(coverage.divided.values())} groups there are '
            'tags that not all of the devices have, and nobody knows which '
            'have them: requests for these tags are not served from them, on '
            f'{name(coverage.divided)}. {_CURE}')
    return results.success(share)


def check_stale(
    coverage: tag_coverage.TagCoverage, name: Name,
) -> results.Result:
    """Tell which hosts went back to Nova's own tracker with tags left."""
    if not coverage.stale:
        return results.success(
            'Nowhere does pci_stats deny the tags in the rows of pci_devices.')
    return results.warning(
        "These hosts seem to run Nova's own nova-compute again, but still "
        'have tags in pci_devices.extra_info that pci_stats denies: '
        f'{name(coverage.stale)}. Take them out with what "pci-filter audit '
        '--kind tags-stale --sql" prints, or run pci-filter-nova-compute '
        'there.')


def _by_source(known: Mapping[str, int]) -> str:
    if not known:
        return ''
    return ': ' + ', '.join(
        f'{number} from {name}' for name, number in known.items())


def check_summary(
    coverage: tag_coverage.TagCoverage, name: Name,
) -> results.Result:
    """Tell whether ``pci_stats`` could be NULL; nobody has to want that."""
    total = len(coverage.hosts)
    if not total:
        return results.success('No host has PCI devices.')
    now = (f'It is NULL on {len(coverage.hosts_without_summary)} of the '
           f'{total} hosts with PCI devices.')
    if coverage.hosts_in_need:
        return results.success(
            f'{now} Nothing else knows all tags and providers of the devices '
            f'on {len(coverage.hosts_in_need)} hosts: '
            f'{name(coverage.hosts_in_need)}. They stand in the way if you '
            'want to retire pci_stats; run pci-filter-nova-compute there '
            'then.')
    return results.success(
        f'{now} It could be NULL on all of them today. See "Retiring '
        'pci_stats" in the documentation before you set '
        '[pci_filter]write_pci_stats to false.')
