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
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import json
import sys
import typing

from cliff import command
from cliff import lister

from pci_filter import exception
from pci_filter import printable

#: Some cell could not be read; what is shown is of the others.
EXIT_CELL_UNREAD: typing.Final = 1

#: No host has what was asked for.
EXIT_NOTHING_FITS: typing.Final = 3

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

    #: What the exit codes mean: the last lines of the help.
    exit_codes = ''

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        report_in_one_line(parser)
        return parser

    def get_epilog(self) -> str:
        """Return what comes last in the help."""
        return '\n'.join(filter(None, (
            self.exit_codes, super().get_epilog())))


class Lister(Command, lister.Lister):
    """Base of the commands that list something in any of cliff's formats."""

    #: What the command returns once its rows are shown.
    exit_code = 0

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Show the rows and return the exit code of the command."""
        super().run(parsed_args)
        return self.exit_code

    def produce_output(
        self, parsed_args: argparse.Namespace,
        column_names: Sequence[str], data: Iterable[Sequence[object]],
    ) -> int:
        """Show the rows: objects as they are only where the format has such.

        :param parsed_args: what :meth:`get_parser` parsed
        :param column_names: names of the columns
        :param data: the rows
        :raises CommandError: if a column is asked for that is none
        """
        for name in (*parsed_args.columns, *parsed_args.sort_columns):
            if name not in column_names:
                raise CommandError(
                    f'there is no column {name!r}; there is: '
                    f'{", ".join(column_names)}')
        as_text = _AS_TEXT.get(parsed_args.formatter)
        if as_text:
            data = ([as_text(value) for value in row] for row in data)
        result: int = super().produce_output(parsed_args, column_names, data)
        return result


def streams_to_terminal(parsed_args: argparse.Namespace) -> bool:
    """Tell whether a lister's rows reach a terminal while others are read."""
    return parsed_args.formatter in _STREAMED and sys.stdout.isatty()


def _for_people(value: object) -> object:
    if value is None:
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, Mapping):
        # As it is written in [pci]device_spec.
        value = [f'{key}={"null" if part is None else part}'
                 for key, part in value.items()]
    if isinstance(value, list):
        return '\n'.join(printable.printable(line) for line in value)
    return _printable(value)


def _for_scripts(value: object) -> object:
    if isinstance(value, (Mapping, list)):
        return json.dumps(value)
    return _printable(value)


def _printable(value: object) -> object:
    """Return what does not control a terminal: databases can have anything."""
    return printable.printable(value) if isinstance(value, str) else value


#: What becomes of the values in formats that have only texts and numbers.
_AS_TEXT: typing.Final[Mapping[str, Callable[[object], object]]] = {
    'table': _for_people, 'csv': _for_scripts, 'value': _for_scripts}

_STREAMED: typing.Final = frozenset(('csv', 'value'))


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
