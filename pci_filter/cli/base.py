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

"""What the commands of pci-filter have in common."""

import argparse
from collections.abc import Callable
import typing

from cliff import command

from pci_filter import exception

#: Some cell could not be read; what is shown is of the others.
EXIT_CELL_UNREAD: typing.Final = 1

#: The command could not be run: bad input, something missing, broken.
EXIT_NOT_RUN: typing.Final = 2


class CommandError(exception.PciFilterError):
    """A command cannot do what it was asked.

    :param message: one line naming the thing at fault and what to do
    """


class Command(command.Command):
    """Base of the commands: bad arguments cost one line, not a page.

    The docstring of a command is its help, printed as it is written.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        report_in_one_line(parser)
        return parser


def report_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Let a parser report an error without printing its usage first."""
    def error(message: str) -> typing.NoReturn:
        parser.exit(
            EXIT_NOT_RUN,
            f'{parser.prog}: {message} (try "{parser.prog} --help")\n')
    parser.error = error  # type: ignore[method-assign]


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers between two bounds.

    :param lowest: least value that is accepted
    :param highest: greatest value that is accepted
    """
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(
                f'give a whole number from {lowest} to {highest}, '
                f'not {text!r}')
        return number
    return parse
