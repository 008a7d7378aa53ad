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

"""Every exception this package raises on purpose.

Each carries its data as attributes, and its text is one line that names the
thing at fault and what to do about it.
"""

from collections.abc import Iterable


class PciFilterError(Exception):
    """Base of all exceptions of this package."""


class InvalidDeviceSpec(PciFilterError):
    """A ``[pci_filter]device_spec`` value is not Nova's syntax.

    :param value: the value as configured
    :param reason: what is wrong with it
    """

    def __init__(self, value: object, reason: str) -> None:
        self.value = value
        self.reason = reason
        # oslo.config keeps the line breaks of a value, and the reason may
        # quote a part of it.
        line = ' '.join(f'{value}: {reason}'.split())
        super().__init__(
            f'[pci_filter]device_spec = {line}. '
            'Correct the value and restart the service.')


class UnknownPlugin(PciFilterError):
    """An option names a plug-in that nobody provides.

    :param name: the unknown name
    :param known: the names that are installed
    """

    #: The option, and what it names.
    option: str
    kind: str

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(
            f'{self.option} names the unknown {self.kind} {name!r}. '
            f'Choose from: {", ".join(self.known)}.')


class UnknownTagSource(UnknownPlugin):
    """``[pci_filter]tag_sources`` names a source nobody provides."""

    option = '[pci_filter]tag_sources'
    kind = 'source'


class NoTagSource(PciFilterError):
    """``[pci_filter]tag_sources`` is empty, so no device could be used."""

    def __init__(self) -> None:
        super().__init__(
            '[pci_filter]tag_sources is empty: no PCI device could be used. '
            'Name a source, or remove the option to have the default.')


class UnknownStore(UnknownPlugin):
    """``[pci_filter]reservations`` names a store nobody provides."""

    option = '[pci_filter]reservations'
    kind = 'store'


class MissingLibrary(PciFilterError):
    """An option asks for what needs a library that is not installed.

    :param option: the option as configured
    :param library: the library
    :param extra: the extra of this package that installs it
    """

    def __init__(self, option: str, library: str, extra: str) -> None:
        self.option = option
        self.library = library
        self.extra = extra
        super().__init__(
            f'{option} needs {library}, which is not installed. Run '
            f"pip install 'pci_filter[{extra}]', with the constraints of your "
            'OpenStack release, and restart the service.')


class InvalidStoreOption(PciFilterError):
    """The store of reservations cannot work as it is configured.

    :param option: the option
    :param reason: what is wrong with it; has no credentials in it
    """

    def __init__(self, option: str, reason: str) -> None:
        self.option = option
        self.reason = ' '.join(reason.split())
        super().__init__(
            f'{option}: {self.reason}. Correct it and restart the service.')


class DatabaseUnreadable(PciFilterError):
    """A database cannot be connected to, or not be read.

    :param reason: what is wrong with it; has no credentials in it
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class NodeBehind(PciFilterError):
    """A node of Galera did not apply in time what was committed before."""

    def __init__(self) -> None:
        super().__init__(
            'the node of Galera that was asked has not applied what was '
            'committed before within its repl.causal_read_timeout; see '
            'wsrep_local_recv_queue there')


class PciRequestsNotSupported(PciFilterError):
    """A host's pools cannot serve the requests that were to be consumed.

    :param reason: which request failed and at which constraint
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UnsupportedNova(PciFilterError):
    """The installed Nova does not look like one this package knows.

    :param found: what is different
    :param supported: the releases that are supported
    :param instead: what to do with another Nova
    """

    def __init__(self, found: str, supported: str, instead: str) -> None:
        self.found = found
        self.supported = supported
        self.instead = instead
        super().__init__(
            f'pci_filter cannot attach to this Nova: {found}. '
            f'Supported releases: {supported}. {instead} or '
            'install a pci_filter that supports this Nova.')
