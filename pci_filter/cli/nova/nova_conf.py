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

"""What the commands read of nova.conf, without Nova."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import importlib.util
import os
import typing

from oslo_config import cfg

from pci_filter.cli import base
from pci_filter import conf as pci_filter_conf

#: The service whose configuration decides.
_PROJECT: typing.Final = 'nova'
_SERVICE: typing.Final = 'nova-scheduler'

_SECTIONS: typing.Final = (
    'api_database', 'database', 'pci', 'filter_scheduler', 'pci_filter')

_INTERVAL: typing.Final = cfg.IntOpt('update_resources_interval', default=0)

#: How Nova knows whether a service is up.
_SERVICE_OPTS: typing.Final = (
    cfg.IntOpt('service_down_time', default=60),
    cfg.StrOpt('servicegroup_driver', default='db'),
)

#: Seconds that Nova takes for 0.
_USUAL_INTERVAL: typing.Final = 60

#: Nova sets no limit. A day is as good as never.
_LONGEST_INTERVAL: typing.Final = 24 * 3600

_DATABASE_OPTS: typing.Final = (
    cfg.StrOpt('connection', secret=True),
    cfg.StrOpt('connection_parameters', default='', secret=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every service of Nova has for its files."""
    group = parser.add_argument_group('configuration')
    group.add_argument(
        '--config-file', action='append', dest='config_files', metavar='FILE',
        help="nova.conf of nova-scheduler; repeat it for more files, later "
             'ones win. By default those that nova-scheduler would find, '
             'such as /etc/nova/nova.conf')
    group.add_argument(
        '--config-dir', action='append', dest='config_dirs', metavar='DIR',
        help='folder with more of them, such as /etc/nova/nova.conf.d')


def load(
    config_files: Sequence[str] | None = None,
    config_dirs: Sequence[str] | None = None,
    required: bool = True,
) -> cfg.ConfigOpts:
    """Read the configuration, apart from that of a Nova in this process.

    :param config_files: those named; None for the usual ones
    :param config_dirs: those named; None for the usual ones
    :param required: whether there has to be a file
    :raises pci_filter.cli.base.CommandError: if there is none, or it cannot
        be read; without a line of it, which may have a password
    """
    usual_files: list[str] = []
    usual_dirs: list[str] = []
    if not config_files and not config_dirs:
        usual_files = cfg.find_config_files(_PROJECT, _SERVICE)
        usual_dirs = cfg.find_config_dirs(_PROJECT, _SERVICE)
        if required and not usual_files and not usual_dirs:
            raise base.CommandError(
                'there is no nova.conf in the usual places, such as '
                '/etc/nova: name it with --config-file, or a database with '
                '--database-connection')
    conf = cfg.ConfigOpts()
    for section in ('api_database', 'database'):
        conf.register_opts(_DATABASE_OPTS, group=section)
    conf.register_opt(cfg.MultiStrOpt('alias', default=[]), group='pci')
    conf.register_opt(
        cfg.BoolOpt('pci_in_placement', default=False),
        group='filter_scheduler')
    conf.register_opt(_INTERVAL)
    conf.register_opts(_SERVICE_OPTS)
    conf.register_opts(_path_opts())
    pci_filter_conf.register_opts(conf)
    arguments = [
        *(f'--config-file={path}' for path in config_files or ()),
        *(f'--config-dir={path}' for path in config_dirs or ())]
    with _readable([*(config_files or usual_files)]):
        conf(args=arguments, project=_PROJECT, prog=_SERVICE,
             default_config_files=usual_files, default_config_dirs=usual_dirs)
    _check_values(conf)
    return conf


def connection(conf: cfg.ConfigOpts, section: str) -> str | None:
    """Return the URL of ``[api_database]`` or ``[database]``, if it is set.

    :param section: name of the section
    """
    url: str | None = conf[section].connection
    return url and with_parameters(conf, section, url)


def with_parameters(conf: cfg.ConfigOpts, section: str, url: str) -> str:
    """Append what ``connection_parameters`` of a section says to a URL."""
    parameters = conf[section].connection_parameters
    if not parameters:
        return url
    return f'{url}{"&" if "?" in url else "?"}{parameters}'


def update_interval(conf: cfg.ConfigOpts) -> int:
    """Return the seconds after which nova-compute looks at its host again.

    It is configured for nova-compute, but mostly alike everywhere.

    :param conf: what :func:`load` returned
    """
    interval: int = conf.update_resources_interval
    return min(interval, _LONGEST_INTERVAL) if interval > 0 else (
        _USUAL_INTERVAL)


def down_time(conf: cfg.ConfigOpts) -> int | None:
    """Return the seconds after which Nova takes a service to be down.

    :param conf: what :func:`load` returned
    :returns: None if its database does not tell, as with memcached
    """
    if conf.servicegroup_driver != 'db':
        return None
    seconds: int = conf.service_down_time
    return seconds


def _path_opts() -> list[cfg.Opt]:
    """Return the options that say where Nova keeps what it must not lose.

    Unless they are set it is the folder that Nova is installed in. Where it
    is not it is the one that packages of Nova set.
    """
    folder = '/var/lib/nova'
    with contextlib.suppress(ImportError):
        nova = importlib.util.find_spec('nova')
        if nova and nova.origin:
            folder = os.path.dirname(os.path.dirname(nova.origin))
    return [cfg.StrOpt('pybasedir', default=folder),
            cfg.StrOpt('state_path', default='$pybasedir')]


def _check_values(conf: cfg.ConfigOpts) -> None:
    """Read every option, so that a wrong value shows at once."""
    options = [*(('DEFAULT', conf, name)
                 for name in (_INTERVAL.name, 'state_path',
                              'service_down_time')), *(
        (section, conf[section], name)
        for section in _SECTIONS for name in conf[section])]
    for section, group, name in options:
        try:
            group[name]
        except cfg.ConfigSourceValueError as error:
            raise base.CommandError(
                f'[{section}]{name}: {error.__context__}') from None
        except cfg.Error:
            # What it says has part of the value, maybe of a password.
            raise base.CommandError(
                f'[{section}]{name}: a $ in the value stands for another '
                'option, which there is not; write $$ for a $') from None


@contextlib.contextmanager
def _readable(files: Sequence[str]) -> Iterator[None]:
    """Say in one line what is wrong with a file, but quote nothing of it."""
    try:
        yield
    except cfg.ConfigFileParseError as error:
        # It says: at <file>:<line>, <what>: <the line>
        where, _, what = str(error.msg).removeprefix('at ').partition(', ')
        raise base.CommandError(
            f'{where}: {what.partition(": ")[0]}') from None
    except (cfg.ConfigFilesNotFoundError,
            cfg.ConfigFilesPermissionDeniedError) as error:
        raise base.CommandError(
            f'cannot read {", ".join(error.config_files)}: does it exist, '
            'and may you read it?') from None
    except cfg.ConfigDirNotFoundError as error:
        raise base.CommandError(
            f'cannot read the folder {error.config_dir}') from None
    except OSError as error:
        raise base.CommandError(
            f'cannot read {error.filename}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise base.CommandError(
            f'{" or ".join(files)} is not text in UTF-8') from None
