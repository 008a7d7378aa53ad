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

"""The kinds of findings: what they are, mean and come from.

The documentation is made of this too (tools/audit_kinds.py), so all texts are
plain prose.
"""

import enum
import typing


class Severity(str, enum.Enum):
    """How much a finding matters.

    An error misleads a scheduler or a claim, or stops a service. A warning
    costs devices, or will be an error some day. Information is neither.
    """

    ERROR = 'error'
    WARNING = 'warning'
    INFORMATION = 'information'

    def __str__(self) -> str:
        return self.value


class Kind(typing.NamedTuple):
    """A kind of findings.

    :param name: what it is called everywhere
    :param severity: how much it matters
    :param what: what disagrees with what
    :param cause: how that comes about
    :param meaning: what it means for scheduling
    :param cure: what to do about it
    :param bugs: numbers of Nova's bugs that are known to cause it
    """

    name: str
    severity: Severity
    what: str
    cause: str
    meaning: str
    cure: str
    bugs: tuple[int, ...] = ()


_RESTART: typing.Final = (
    "Restart nova-compute on the host: it makes the summary anew from the "
    "rows. If it comes back, look for errors of the resource tracker in "
    "nova-compute's log.")

_ALL: typing.Final = (
    Kind(
        'summary-count', Severity.ERROR,
        'The summary offers another number of devices of a pool than are '
        'available by the rows.',
        'nova-compute keeps the summary in memory beside the devices and '
        'counts up and down. A claim that failed half-way, a device that '
        'changed its kind, or a change of the rows behind its back leaves '
        'the two apart until it is restarted.',
        "Nova's own filter decides by the summary: it picks the host for "
        'devices that are not there, or passes it by although they are. '
        'pci_filter counts the rows and is not affected.',
        _RESTART, (1892361,)),
    Kind(
        'summary-missing', Severity.ERROR,
        'Devices are available by the rows, and the summary does not have '
        'their pool.',
        'As with summary-count; also, nova-compute does not put a physical '
        'function back into its pools when the last function below it is '
        'freed and removed at once. For the whole host: somebody has set '
        'pci_stats to NULL, though it is Nova that runs there.',
        "Nova's own filter never picks the host for these devices. "
        'pci_filter knows their tags only from the rows or from '
        '[pci_filter]device_spec then, and leaves them out if neither has '
        'them.',
        _RESTART + ' Where the tracker of pci_filter runs without tags and '
        'without a summary, set [pci_filter]write_pci_stats = false in the '
        'configuration that the audit reads too.', (2115729,)),
    Kind(
        'summary-extra', Severity.ERROR,
        'The summary offers devices of a pool of which there is no row.',
        'Rows were deleted behind the back of nova-compute, or a device '
        'became another kind, or moved to another NUMA node, while it ran.',
        "Nova's own filter picks the host, and the claim fails. pci_filter "
        'is not affected.',
        _RESTART, (1892361,)),
    Kind(
        'summary-unreadable', Severity.ERROR,
        'The summary is nothing that Nova can read.',
        'It was cut off or changed by hand. The column holds 64 KB on '
        'MySQL.',
        'If it is not JSON, Nova takes the host for one without devices. If '
        'it is something else in JSON, Nova cannot load any compute node of '
        'the cell, so nothing is scheduled there.',
        'Set it to NULL as --sql prints, and start nova-compute: it writes '
        'a new one.'),
    Kind(
        'owner-missing', Severity.WARNING,
        'A device is claimed or allocated, and there is no such instance.',
        'The instance was deleted while nova-compute was down, or its row '
        'was archived before the device was freed. A nova-compute that runs '
        'frees such devices with its next update.',
        'Nobody can have the device.',
        'See whether nova-compute runs on the host, and whether its log has '
        'errors of update_available_resource. If the host will not come '
        'back, delete its compute service. Before you free the device with '
        'what --sql prints, see that no guest on the host has it. None is '
        'printed while a server there lacks devices and may be using this '
        'one: the comment names it.',
        (1899541,)),
    Kind(
        'owner-elsewhere', Severity.WARNING,
        'A device is claimed or allocated by an instance that is on another '
        'host, and not on its way from or to this one.',
        'A move that failed, or that was ended by hand, left a claim behind: '
        'nova-compute keeps what belongs to a migration in status error. '
        'Or the instance was moved in the database.',
        'Nobody else can have the device, and the instance may start with '
        'it in its description although it is on another host.',
        'See where the guest really runs, and that none on this host has '
        'the device. Then free it with what --sql prints. None is printed '
        'if the instance lacks devices where it is, or if a server here '
        'does and may be using this one.', (1641750,)),
    Kind(
        'request-unmet', Severity.ERROR,
        'A server at rest has fewer devices than it asked for.',
        'The rows of its devices were deleted or given away while it had '
        'them: an older nova-compute did so when [pci]device_spec no longer '
        'named them, and archiving deleted rows took some along.',
        'The devices may be offered and given to another server while a '
        'guest uses them; after the next start this one lacks them.',
        'See on the host which devices the guest has. If it has none, '
        'migrate or resize the server so that it claims anew. If it has '
        'some, keep others from them first: take them out of '
        '[pci]device_spec. Until then nothing is printed that gives away a '
        'device on the host which the server may be using.',
        (1633120, 1899541)),
    Kind(
        'available-owned', Severity.ERROR,
        'A device is free by its status, and names an instance.',
        'The row was changed by hand, or restored from a backup in part. '
        'Nova writes both at once.',
        'The device is offered, and given to a second server while a guest '
        'may be using it.',
        'See on the host whether the guest has the device. What --sql '
        'prints makes it allocated if the instance is here and asked for '
        'it, and takes the owner out if there is no such instance.'),
    Kind(
        'device-twice', Severity.ERROR,
        'A device is in use by a server on its host, and the host has it a '
        'second time, below another compute node.',
        'The hypervisor gives its node another name (hypervisor_hostname) '
        'than before, so that Nova has made a compute node anew, with new '
        'rows of the same devices.',
        'The device is offered, and given to a second server while a guest '
        'uses it.',
        'Keep the device from others first: take it out of '
        '[pci]device_spec of the host. See there which guest has it. '
        'Migrate that server to another host, where it claims anew, and '
        'then delete the row of the device below the old compute node.'),
    Kind(
        'parent-child', Severity.ERROR,
        'The statuses of a physical function and of a function below it '
        'contradict each other: one is in use and the other is available '
        'or in use, or one is unavailable and the other is not in use.',
        'The rows of the one were lost or freed while those of the other '
        'were not, as after a hardware fault. Nova also creates a device as '
        'available although a relative is in use, for example when a '
        'physical function is added to [pci]device_spec later.',
        'What is available beside a relative in use is offered by Nova, and '
        'its claim fails; pci_filter leaves it out. What is unavailable '
        'without reason is lost: nobody can have it.',
        "Stop nova-compute, change the status as --sql prints, and start it "
        'again. pci-filter-nova-compute settles such devices by itself. If '
        'both are in use, see on the host who has what, and move one.',
        (1969496, 1567549, 1899541)),
    Kind(
        'orphan-row', Severity.WARNING,
        'A device belongs to a compute node that is gone.',
        'The compute service was deleted: Nova deletes its compute nodes '
        'and leaves their devices.',
        'None, as no host is left to be picked; where the host goes on '
        'below another compute node, see device-twice. But an instance that '
        'such a row names takes the device for its own wherever it is now.',
        'Delete the rows as --sql prints. If one names an instance, see '
        'first where that is.'),
    Kind(
        'status-unknown', Severity.ERROR,
        'The status of a device is none that Nova knows.',
        'The row was changed by hand, or by another release.',
        'nova-compute cannot load its devices, so it cannot claim any nor '
        'report what is left. Nobody can have the device.',
        'Set the status as --sql prints.'),
    Kind(
        'extra-info-malformed', Severity.ERROR,
        'The extra_info of a device is no JSON object of texts.',
        'It was cut off or changed by hand, or is NULL in a row that is '
        'older than Nova Kilo.',
        'nova-compute cannot load its devices, so it cannot claim any nor '
        'report what is left. pci_filter knows neither the interface nor '
        'the resource provider of the device.',
        'Empty it as --sql prints: nova-compute fills it again when the '
        'device is reported, or freed if it is in use.'),
    Kind(
        'rp-missing', Severity.WARNING,
        'Devices lack the placement resource provider that others of their '
        'pool, or the summary, have.',
        'nova-compute notes the provider in memory, but does not save it '
        'unless something else of the device changes; so rows from before '
        '[pci]report_in_placement was set lack it.',
        'As long as the summary names the provider, none. Without it a '
        'request that placement allocated does not find the devices, and '
        'the host is passed by.',
        'Write it as --sql prints, or run pci-filter-nova-compute, which '
        'saves it.'),
    Kind(
        'rp-split', Severity.ERROR,
        'The devices of one pool have several placement resource providers, '
        'or those of several pools have one.',
        'Functions of one physical function have different tags in '
        '[pci]device_spec; or the provider was deleted and made anew, and '
        'some rows still name the old one; or a device has come back to a '
        'new pool beside its old one.',
        'If several pools have one provider, nova-compute refuses every '
        'request that placement allocated on the host; if one pool has '
        'several, it can neither start nor update its resources. pci_filter '
        'passes the host by for such requests.',
        'Give the functions of one physical function the same tags, or '
        'leave tags to placement as traits. Otherwise compare with '
        '"openstack resource provider list", correct the rows while '
        'nova-compute is stopped, and start it.', (2098496,)),
    Kind(
        'tags-stale', Severity.WARNING,
        'The rows have tags that the tracker of pci_filter stored, and the '
        'summary has others for the same devices.',
        "The host ran pci-filter-nova-compute and went back to Nova's own "
        'nova-compute without write_tags = false before. Then [pci]'
        'device_spec of the host changed. Only the summary follows that.',
        "Nova's own filter is not affected. pci_filter goes by the summary "
        'on such a host as soon as it sees that the two disagree. As long '
        'as they agree, or where the summary does not know the devices, it '
        'goes by the tags in the rows.',
        'Take the tags out of the rows as --sql prints, or run '
        'pci-filter-nova-compute, which stores the right ones.'),
    Kind(
        'removed-lingering', Severity.WARNING,
        'A device is marked as removed, and its row is still there.',
        'The row was changed by hand, or nova-compute failed between the '
        'two. Nova itself never stores that status: it deletes the row.',
        'Nobody can have the device, even when it is there again.',
        'Delete the row as --sql prints: nova-compute creates a new one if '
        'the device is there.'),
    Kind(
        'summary-deprecated', Severity.INFORMATION,
        'A summary is written though nothing needs it.',
        'All rows of the host have the tags of their devices, so it runs '
        'pci-filter-nova-compute.',
        'None.',
        'When all hosts are like that, set [pci_filter]write_pci_stats = '
        'false: see "Retiring pci_stats".'),
)

#: All kinds by their names, in the order of the documentation.
KINDS: typing.Final = {kind.name: kind for kind in _ALL}

#: Those that are faults: the others are shown only if they are asked for.
FAULTS: typing.Final = tuple(
    kind.name for kind in _ALL if kind.severity != Severity.INFORMATION)
