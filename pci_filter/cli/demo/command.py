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

"""``pci-filter demo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import importlib
import importlib.metadata
import os
import pathlib
import shutil
import typing
import warnings

from pci_filter.cli import base
from pci_filter.cli import interruption
from pci_filter.cli import progress

_MAX_HOSTS: typing.Final = 1000


class Demo(base.Command):
    """Show on made-up hosts who is right about PCI devices.

    In a temporary folder, two cells with hosts that have SR-IOV cards, GPUs
    and vDPA devices are set up by Nova's own code. Then its scheduler decides
    for each host whether instances with PCI requests fit: once with the
    in-tree PciPassthroughFilter, which reads the summary in compute_nodes,
    once with that of pci_filter, which reads the rows of pci_devices. Both
    are held against what a claim by Nova's PciDevTracker really does, first
    with true summaries, then with some that have drifted. In the end many
    servers boot at once, with either filter.

    Nothing needs to be configured, and nothing outside of the temporary
    folder is read or written. Nova must be installed. With --keep the folder
    is one of your choice and stays, to try the other commands on.

    Exit codes: 0 if pci_filter was right about every host and all servers got
    a device at once, 1 if not, 2 if the demo could not be run.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--hosts', type=base.whole_number(1, _MAX_HOSTS), default=30,
            metavar='N', help='number of hosts, 30 by default')
        parser.add_argument(
            '--seed', type=base.whole_number(0, 2 ** 32 - 1), default=1,
            metavar='S', help='what to make the hosts from, 1 by default')
        parser.add_argument(
            '--keep', type=pathlib.Path, metavar='DIR',
            help='leave the databases and a nova.conf in this folder, which '
                 'must be empty or not be there yet')
        parser.add_argument(
            '-f', '--format', choices=('table', 'json'), default='table',
            help='table: some telling hosts per request; json: all of them')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Play the story and show what came of it.

        :param parsed_args: what :meth:`get_parser` parsed
        :returns: exit code
        """
        keep = parsed_args.keep and _empty_folder(parsed_args.keep)
        quiet = not self.app.options.debug
        with _unwarned() if quiet else contextlib.nullcontext():
            nova_version = _find_nova()
            story = importlib.import_module('pci_filter.cli.demo.story')
            with _emptied_if_it_fails(keep), (
                    interruption.deferred()) as stop, (
                        _progress(stop)) as report:
                outcome = story.Story(
                    parsed_args.hosts, parsed_args.seed, report, keep).play()
        self._show(outcome, nova_version, parsed_args.format)
        if keep:
            print(f'Now try: pci-filter audit --config-file {keep}/nova.conf',
                  file=self.app.stderr)
        return 0 if outcome.is_as_promised else 1

    def _show(
        self, outcome: typing.Any, nova_version: str, output_format: str,
    ) -> None:
        report = importlib.import_module('pci_filter.cli.demo.report')
        if output_format == 'json':
            print(report.as_json(outcome, nova_version),
                  file=self.app.stdout)
        else:
            report.Tables(self.app.stdout).show(outcome, nova_version)


def _empty_folder(path: pathlib.Path) -> pathlib.Path:
    """Make a folder unless it is there, and return its absolute path.

    :raises pci_filter.cli.base.CommandError: if it is not empty, or cannot be
        used
    """
    try:
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise base.CommandError(
                f'{path} is not empty: give --keep a new folder')
    except OSError as error:
        raise base.CommandError(
            f'cannot use {path} for --keep: {error.strerror}') from None
    return path.resolve()


@contextlib.contextmanager
def _emptied_if_it_fails(folder: pathlib.Path | None) -> Iterator[None]:
    """Leave a folder as empty as it was if the demo does not come to its end.

    Half of a demo would be of no use, and in the way of the next one.
    """
    try:
        yield
    except BaseException:
        for path in folder.iterdir() if folder else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        raise


def _find_nova() -> str:
    """Import Nova and return its version.

    :raises pci_filter.cli.base.CommandError: if there is no Nova
    """
    # Importing some releases would change the process for eventlet.
    os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', '1')
    try:
        importlib.import_module('nova.scheduler.host_manager')
        return importlib.metadata.version('nova')
    except ImportError as error:
        raise base.CommandError(
            f'the demo runs code of Nova, which cannot be imported ({error}); '
            "install it with: pip install 'pci_filter[nova]'") from error


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Hide what Nova's libraries have to say about their future."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@contextlib.contextmanager
def _progress(
    stop: Callable[[], None],
) -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Show progress on stderr if that is a terminal.

    :param stop: called before each step, to be interrupted there

    Yields what to call with the title of a task and its number of steps; it
    returns what to call after each step.
    """
    with progress.on_terminal() as start:
        def report(title: str, steps: int) -> Callable[[], None]:
            advance = start(title, steps)

            def step() -> None:
                stop()
                advance()

            return step

        yield report
