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

"""Say at start whose filter decides PCI requests, and by which options."""

from __future__ import annotations

from collections.abc import Sequence
import importlib.metadata
import typing

from oslo_config import cfg
from oslo_log import log as logging

from pci_filter.scheduler import changes

LOG = logging.getLogger(__name__)

FILTER: typing.Final = 'PciPassthroughFilter'
OUR_FILTERS: typing.Final = 'pci_filter.scheduler.filters.all_filters'
NOVA_FILTERS: typing.Final = 'nova.scheduler.filters.all_filters'

#: What brings Nova's filter, as it may stand in ``available_filters``.
_BRINGS_NOVAS: typing.Final = (
    NOVA_FILTERS, f'nova.scheduler.filters.pci_passthrough_filter.{FILTER}')

#: What is wrong with the order of the lines and what to do, for
#: ``pci-filter-status`` too.
OVERRULED: typing.Final = (
    f"Another {FILTER} takes the place of pci_filter's: put the line "
    f'"available_filters = {OUR_FILTERS}" after the others in '
    '[filter_scheduler].')

#: What this process was told already.
_changes = changes.Changes()


def say_active(options: cfg.ConfigOpts.GroupAttr) -> None:
    """Log that our filter decides, once per process and configuration.

    :param options: the ``[pci_filter]`` section
    """
    values = {
        'version': importlib.metadata.version('pci_filter'),
        'filter': FILTER, 'sources': ','.join(options.tag_sources),
        'decides': options.on_load_failure, 'load_for': options.load_for,
        'timeout': options.load_timeout,
        'narrow': str(options.narrow).lower(),
        'widen_to': options.widen_to,
        'reservations': options.reservations}
    if _changes.changed('active', tuple(values.values())):
        LOG.info(
            'pci_filter active: version=%(version)s. %(filter)s of pci_filter '
            'decides PCI requests from pci_devices, with '
            'tag_sources=%(sources)s on_load_failure=%(decides)s '
            'load_for=%(load_for)s load_timeout=%(timeout)s '
            'narrow=%(narrow)s widen_to=%(widen_to)s '
            'reservations=%(reservations)s', values)


def say_overruled(available: Sequence[str], enabled: Sequence[str]) -> None:
    """Log that Nova's filter decides in place of ours, if so.

    The configured names tell it. What they stand for is not loaded here: this
    runs while Nova loads them, and one that calls ``all_filters()`` of ours
    would not come to an end. So a filter of a third package is left to
    ``pci-filter-status``, which loads them all.

    :param available: ``[filter_scheduler]available_filters``
    :param enabled: ``[filter_scheduler]enabled_filters``
    """
    overruled = FILTER in enabled and is_overruled(available)
    if _changes.changed('overruled', overruled or None) and overruled:
        LOG.warning(
            '%s Until nova-scheduler is restarted with that, Nova decides PCI '
            'requests from its summary (compute_nodes.pci_stats), and '
            'pci_filter does nothing.', OVERRULED)


def is_overruled(available: Sequence[str]) -> bool:
    """Tell whether Nova's filter comes after ours, so that Nova takes it.

    :param available: ``[filter_scheduler]available_filters``
    """
    known = [name for name in available
             if name == OUR_FILTERS or name in _BRINGS_NOVAS]
    return OUR_FILTERS in known and known[-1] != OUR_FILTERS


def forget() -> None:
    """Forget what this process was told; for tests."""
    for subject in ('active', 'overruled'):
        _changes.changed(subject, None)
