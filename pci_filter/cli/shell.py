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

"""The ``pci-filter`` command."""

from __future__ import annotations

from collections.abc import Sequence
import importlib.metadata
import logging
import sys
import typing

from cliff import app
from cliff import commandmanager

from pci_filter.cli import base
from pci_filter.cli import process
from pci_filter import printable


class _Formatter(logging.Formatter):
    """Let no message control the terminal, whatever name it quotes.

    Its lines stay as they are: a wrong JSON text is shown on its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return '\n'.join(map(
            printable.printable, super().formatMessage(record).split('\n')))


class Shell(app.App):
    """Find and run the commands in the namespace ``pci_filter.cli``.

    A command that was run returns its own exit code, which its help
    explains. One that could not be run gives ``base.EXIT_NOT_RUN``.
    """

    # cliff would take the name of the running script, whatever that is.
    NAME = 'pci-filter'
    LOG = logging.getLogger(__name__)
    CONSOLE_MESSAGE_FORMAT = 'pci-filter: %(message)s'

    def __init__(self) -> None:
        super().__init__(
            description='Look at PCI passthrough in Nova as the filter '
                        'pci_filter sees it.',
            version=importlib.metadata.version('pci_filter'),
            command_manager=commandmanager.CommandManager('pci_filter.cli'),
            deferred_help=True)
        base.report_in_one_line(self.parser)
        self._failed = False

    def configure_logging(self) -> None:
        """Send log lines to stderr: those of libraries only with -v."""
        super().configure_logging()
        for handler in logging.getLogger().handlers:
            if getattr(handler, 'stream', None) is self.stderr:
                handler.setFormatter(_Formatter(self.CONSOLE_MESSAGE_FORMAT))
        if self.options.verbose_level < 2 and not self.options.debug:
            # Libraries log much that nobody asked for who wants an answer.
            logging.getLogger().setLevel(logging.CRITICAL + 1)
            for name in ('cliff', 'pci_filter'):
                logging.getLogger(name).setLevel(logging.WARNING)

    def interact(self) -> None:
        """Refuse to run without a command; there is no interactive mode."""
        self.parser.error(f'name a command: {self._command_names()}')

    def run_subcommand(self, argv: Sequence[str]) -> int:
        """Run the command that argv names.

        :param argv: command and its arguments
        :returns: exit code
        """
        try:
            self.command_manager.find_command(list(argv))
        except ValueError:
            self.parser.error(
                f'no command {argv[0]!r}; there is: {self._command_names()}')
        result = super().run_subcommand(list(argv))
        return base.EXIT_NOT_RUN if self._failed else int(result or 0)

    def clean_up(
        self, cmd: typing.Any, result: int, err: BaseException | None,
    ) -> None:
        """Note whether the command failed; cliff has reported why."""
        self._failed = err is not None

    def _command_names(self) -> str:
        return ', '.join(sorted(
            name for name, _ in self.command_manager if name != 'complete'))


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pci-filter``.

    :param argv: arguments, those of the process by default
    :returns: exit code
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return process.run(
        Shell.NAME, lambda: int(Shell().run(arguments)))


if __name__ == '__main__':
    sys.exit(main())
