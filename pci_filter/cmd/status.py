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

"""``pci-filter-status``: is this deployment ready for the filter?"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from collections.abc import Sequence
import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import traceback
import types
import typing
import warnings

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from pci_filter.cli import base
from pci_filter.cli.nova import cells
from pci_filter.cli.nova import nova_conf
from pci_filter.cli import process
from pci_filter.cmd import cell_checks
from pci_filter.cmd import reservation_checks
from pci_filter.cmd import results
from pci_filter.objects import tag_coverage

_NAME: typing.Final = 'pci-filter-status'

#: The checks could not be run. Each of the codes of upgradecheck says that
#: they were.
_EXIT_ERROR: typing.Final = 255

#: Hosts that are named in a table.
_HOSTS: typing.Final = 10

_DESCRIPTION: typing.Final = """\
Check whether this deployment of Nova is ready for the filter of pci_filter.
Run it where nova-scheduler runs, with the configuration of nova-scheduler.
Nothing is changed: the databases are only read.
"""
_EXIT_CODES: typing.Final = """\
exit codes:
  0    all checks passed; there is nothing to do
  1    a check gave a warning; the filter works, but look at the details
  2    a check failed; do what the details say before you use the filter
  255  the checks could not be run; a line on stderr says why
"""

_NO_NOVA: typing.Final = (
    'Not checked: Nova is not installed in this environment. Run '
    f'{_NAME} in the one that nova-scheduler runs in.')
_NOT_MEASURED: typing.Final = (
    'Not checked: see the failure of "Tag Sources" or "Cell Databases".')


class UpgradeChecks(upgradecheck.UpgradeCommands):
    """The checks in the order in which they are shown.

    :param conf: the configuration
    :param all_hosts: name all hosts in the results, not only the first few
    """

    def __init__(self, conf: cfg.ConfigOpts, all_hosts: bool) -> None:
        super().__init__()
        self._conf = conf
        self._all_hosts = all_hosts

    def _check_with_nova(self, name: str) -> results.Result:
        """Run a check of ``nova_checks``, if there is a Nova."""
        if importlib.util.find_spec('nova') is None:
            return results.warning(_NO_NOVA)
        try:
            return typing.cast(
                results.Result, getattr(self._nova_checks, name)())
        except ImportError as error:
            return results.failure(
                f'Nova cannot be imported: {error}. Install it anew, with '
                'the constraints of its release.')

    @functools.cached_property
    def _nova_checks(self) -> types.ModuleType:
        # Importing some releases would change the process for eventlet.
        os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')
        module = importlib.import_module('pci_filter.cmd.nova_checks')
        module.configure(self._conf.config_file, self._conf.config_dir)
        return module

    @functools.cached_property
    def _sources(self) -> tuple[cell_checks.Sources, results.Result]:
        return cell_checks.load_sources(self._conf)

    def _check_sources(self) -> results.Result:
        return self._sources[1]

    @functools.cached_property
    def _cells(self) -> tuple[list[cells.Cell], list[str], results.Result]:
        return cell_checks.find_cells(self._conf)

    def _check_cells(self) -> results.Result:
        return self._cells[2]

    @functools.cached_property
    def _coverage(self) -> tuple[tag_coverage.TagCoverage, list[str]] | None:
        sources, found = self._sources[0], self._cells[0]
        if not sources or not found:
            return None
        return cell_checks.measure(self._conf, sources, found)

    def _check_devices(self, check: cell_checks.Check) -> results.Result:
        """Run a check of what the cells have, if they can be read."""
        if self._coverage is None:
            return results.warning(_NOT_MEASURED)
        coverage, problems = self._coverage
        result = check(coverage, self._name)
        details = ' '.join([*problems, result.details or ''])
        if left_out := self._cells[1]:
            details += f' (without {", ".join(left_out)})'
        return results.of(
            upgradecheck.Code.FAILURE if problems else result.code, details)

    def _check_reservations(self) -> results.Result:
        return reservation_checks.check(self._conf)

    def _name(self, hosts: Collection[str]) -> str:
        """Put the names of hosts into a text."""
        names = sorted(hosts)
        if self._all_hosts or len(names) <= _HOSTS:
            return ', '.join(names)
        return (f'{", ".join(names[:_HOSTS])} and {len(names) - _HOSTS} more '
                '(--json names all)')

    _upgrade_checks = (
        ('Nova Release',
         (_check_with_nova, {'name': 'check_release'})),
        ('Scheduler Hook',
         (_check_with_nova, {'name': 'check_hook'})),
        ('Scheduler Filters',
         (_check_with_nova, {'name': 'check_filters'})),
        ('PCI Aliases',
         (_check_with_nova, {'name': 'check_aliases'})),
        ('Tag Sources', _check_sources),
        ('Cell Databases', _check_cells),
        ('Device Tags',
         (_check_devices, {'check': cell_checks.check_tags})),
        ('Stale Tags',
         (_check_devices, {'check': cell_checks.check_stale})),
        ('Use of pci_stats',
         (_check_devices, {'check': cell_checks.check_summary})),
        ('Reservations', _check_reservations),
    )


class _Parser(argparse.ArgumentParser):
    """A parser whose exit code is none of those of the checks."""

    def error(self, message: str) -> typing.NoReturn:
        """Exit without printing the usage first."""
        self.exit(_EXIT_ERROR,
                  f'{self.prog}: {message} (try "{self.prog} --help")\n')


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments: files are named before the command or after it."""
    files = _Parser(prog=_NAME, add_help=False)
    nova_conf.add_arguments(files)
    named, rest = files.parse_known_args(argv)
    return argparse.Namespace(
        **{**vars(_parser().parse_args(rest)), **vars(named)})


def _parser() -> _Parser:
    """Return the parser of all arguments; the files are only in its help."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=_NAME, description=_DESCRIPTION,
                     epilog=_EXIT_CODES, formatter_class=layout)
    parser.add_argument(
        '--version', action='version',
        version=importlib.metadata.version('pci_filter'))
    nova_conf.add_arguments(parser)
    categories = parser.add_subparsers(metavar='upgrade', required=True)
    commands = categories.add_parser(
        'upgrade', help=f'see "{_NAME} upgrade check --help"',
    ).add_subparsers(metavar='check', required=True)
    check = commands.add_parser(
        'check', description=_DESCRIPTION, epilog=_EXIT_CODES,
        formatter_class=layout, help='check the deployment')
    check.add_argument(
        '--json', action='store_true',
        help='print JSON with the names of all hosts, not a table')
    nova_conf.add_arguments(check)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    """Run the checks and print what they found."""
    # The checks say what is wrong. What Nova and its libraries have to say
    # besides is not for whoever runs this.
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter('ignore')
    try:
        conf = nova_conf.load(arguments.config_files, arguments.config_dirs,
                              required=False)
        if not conf.config_file and not conf.config_dir:
            return _fail('there is no nova.conf in the usual places, such as '
                         '/etc/nova: name it with --config-file')
        # That is where it looks whether JSON is wanted. Its own main() would
        # print a traceback, with lines of a faulty file in it.
        parsed: typing.Any = types.SimpleNamespace(command=arguments)
        upgradecheck.CONF = parsed
        return int(UpgradeChecks(conf, arguments.json).check())
    except base.CommandError as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except Exception as error:
        # Its text could have anything in it, even a password.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return _fail(f'unexpected {type(error).__name__} at {where.filename}:'
                     f'{where.lineno}; please report it')


def _fail(message: str) -> int:
    print(f'{_NAME}: {message}', file=sys.stderr)
    return _EXIT_ERROR


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pci-filter-status``.

    :param argv: arguments, those of the process by default
    :returns: exit code
    """
    arguments = _parse(argv)
    return process.run(_NAME, lambda: _check(arguments))


if __name__ == '__main__':
    sys.exit(main())
