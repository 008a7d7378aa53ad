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

"""The ``[pci_filter]`` section of nova.conf."""

from oslo_config import cfg

pci_filter_group = cfg.OptGroup(
    'pci_filter',
    title='PCI pools from device rows',
    help="""
Options of the out-of-tree package ``pci_filter``. They are read by
nova-scheduler when ``PciPassthroughFilter`` is enabled and
``pci_filter.scheduler.filters.all_filters`` is among
``[filter_scheduler] available_filters``. Those that begin with ``write_`` are
read by ``pci-filter-nova-compute``.
""")

pci_filter_opts = [
    cfg.ListOpt(
        'tag_sources',
        default=['pci_devices', 'device_spec', 'pci_stats'],
        help="""
Where the tags of devices are looked up, in this order.

``physical_network``, ``trusted``, ``remote_managed`` and custom tags come from
``[pci] device_spec`` of each compute host. Nova does not store them in the
rows of ``pci_devices``; ``pci-filter-nova-compute`` does. For each group of
equal devices the first source that knows all its tags decides. Devices that no
source knows are left out: no request can get them, so they are never promised
in vain, and one log line names them.

Possible values:

* ``pci_devices``: what ``pci-filter-nova-compute`` stored in the rows. Knows
  nothing of the devices of hosts that run Nova's own ``nova-compute``.
* ``device_spec``: the values of ``[pci_filter] device_spec`` below. Knows
  nothing while that option is empty.
* ``pci_stats``: the summary that nova-compute stores in
  ``compute_nodes.pci_stats``. Tags are taken from it, and resource providers
  of hosts that run Nova's own ``nova-compute``; counts never.
* the name of any entry point in the namespace ``pci_filter.tag_sources``

Related options:

* ``[pci_filter] device_spec``
* ``[pci_filter] write_tags``
"""),
    cfg.MultiStrOpt(
        'device_spec',
        default=[],
        help="""
Tags of the devices, as ``[pci] device_spec`` of the compute hosts gives them.

Needed where the summary cannot tell: when ``compute_nodes.pci_stats`` is
empty or not trusted, and when virtual functions of one physical function
carry different tags. Not needed otherwise.

Possible values:

* A JSON dictionary, or a list of such, in the syntax of ``[pci] device_spec``
  with ``vendor_id``, ``product_id``, ``address`` (a string, a string with
  wildcards, or a dictionary of regular expressions) and tags. Repeat the
  option for more values; the first that matches a device decides, so keep
  the order that the compute hosts have.
* ``host``: a shell-style pattern of compute host names that the value is
  for. Without it the value is for all hosts.

``devname`` cannot be used here: only the compute host itself can resolve it.
As soon as any value has an ``address`` or ``remote_managed``, every host is
read device by device, which takes longer.

For example::

    device_spec = {"host": "net-*", "vendor_id": "8086", "product_id": "1515",
                   "physical_network": "physnet1"}
    device_spec = {"host": "gpu-0[1-4]", "vendor_id": "10de"}

A faulty value stops the service at start-up with a message that quotes it.

Related options:

* ``[pci_filter] tag_sources``
"""),
    cfg.StrOpt(
        'on_load_failure',
        default='summary',
        choices=[
            ('summary', 'keep the pools that Nova took from '
                        '``compute_nodes.pci_stats``'),
            ('reject', 'let none of these hosts pass a PCI request'),
        ],
        help="""
What decides for the hosts of a cell whose device rows could not be read.

It also decides for a single host about which something unexpected goes wrong,
in whatever of ours Nova's filters and weighers ask.

Choose ``reject`` if a wrong promise costs you more than an unused host.
"""),
    cfg.IntOpt(
        'load_timeout',
        default=10,
        min=1,
        help="""
For how many seconds a request waits for the device rows of a cell.

They are read while Nova loads the compute nodes, and the seconds are counted
from when it has. When they are over, ``on_load_failure`` decides for the hosts
of the cell.

The cells are read by connections that nobody else uses, at most 16 to each
cell and worker, and for some seconds twice as many while one hangs. A database
that takes a second longer than this to answer is told to stop, and the
connection is closed, so that nothing has to be done when it is well again.
What the URL of the cell in ``cell_mappings`` or ``[database]
connection_parameters`` say of timeouts comes first, and a lower limit of the
server or the account stays.

Related options:

* ``[pci_filter] on_load_failure``
"""),
    cfg.BoolOpt(
        'causal_reads',
        default=True,
        help="""
Let what is read of a Galera cluster have all that was committed before it.

A node applies what was committed on another one some moments later. Without
this, nova-scheduler may choose a device that was claimed on another node a
moment before, or miss one that was freed. The node that is asked applies all
of that first, which takes a fraction of a millisecond unless it lags behind
("At scale" in the documentation has the figures). If it takes longer than the
``repl.causal_read_timeout`` of the node or ``[pci_filter] load_timeout``,
``on_load_failure`` decides.

Only the connections of this package do so, and only where the server says
that it is a node of Galera: other databases, and Nova's own reads, are not
affected. What ``[database] mysql_wsrep_sync_wait`` asks for besides is done as
well. A driver that takes no timeouts, see ``load_timeout``, reads on Nova's
connections, and so as that option alone says. The commands wait in any case.

Set it to false if all schedulers read from the node that is written to, and
every fraction of a millisecond counts.

Related options:

* ``[pci_filter] on_load_failure``
* ``[database] mysql_wsrep_sync_wait``
"""),
    cfg.StrOpt(
        'load_for',
        default='pci_requests',
        choices=[
            ('pci_requests', 'requests that ask for PCI devices'),
            ('all_requests', 'every request'),
        ],
        help="""
Which scheduling requests read the device rows.

Requests without PCI devices do not need them. Choose ``all_requests`` if the
PCI weigher and the NUMA topology filter should keep such requests away from
hosts by fresh counts too; every request then costs one more query per cell.
"""),
    cfg.BoolOpt(
        'narrow',
        default=True,
        help="""
Leave out hosts that have too few available devices before nova-scheduler
loads them.

One statement for each cell counts the devices with the vendor, product and
type that are asked for. Most of the time of a request is what Nova takes to
load hosts, so where few of many hosts have the devices it takes a tenth of it;
where all have them the statement comes on top. The verdicts are those of the
rows: a host whose pools cannot be made, so that ``on_load_failure`` decides,
is left out too if it has too few.

Set it to false if another filter or weigher has to see hosts that cannot serve
the request, and to compare. Nothing is left out if the request names a host,
while a cell cannot be read, and with ``load_for = all_requests``. Nor is it if
placement names fewer than 32 providers for each cell, unless its list was cut
and the devices were counted for that (see ``widen_to``).

Related options:

* ``[pci_filter] load_for``
* ``[pci_filter] widen_to``
"""),
    cfg.IntOpt(
        'widen_to',
        default=20,
        min=0,
        help="""
To how many hosts that can have the devices nova-scheduler widens the list of
placement when that was cut.

Placement names at most ``[scheduler] max_placement_results`` candidates, by
default the same first ones each time, and knows nothing of the devices of
ports and of aliases without a resource class. If it names as many, and fewer
hosts of these than this can have the devices, it is asked for others that do,
chosen at random, in one request each. 0 turns that off.

Related options:

* ``[scheduler] max_placement_results``
"""),
    cfg.StrOpt(
        'reservations',
        default='local',
        help="""
Where nova-scheduler keeps the devices that it has promised to servers whose
claims are not in the database yet.

Without reservations, servers that are asked for at the same time are all sent
to the host that looks best: the device is free in the database until the first
of them claims it, and the others fail there.

Possible values:

* ``local``: a file that all workers of nova-scheduler on this machine share;
  see ``reservation_file``. For deployments with one nova-scheduler service.
* ``memcached``: memcached servers, for several nova-scheduler services; see
  ``reservation_servers``. Needs the extra ``pci_filter[memcached]``.
* ``none``: no reservations are made.
* the name of any entry point in the namespace ``pci_filter.reservations``

If the store does not work, requests are served as with ``none``, and one line
of the log says so.

Related options:

* ``[pci_filter] reservation_timeout``
* ``[pci_filter] reservation_store_timeout``
"""),
    cfg.IntOpt(
        'reservation_timeout',
        default=60,
        min=1,
        help="""
For how many seconds a device is reserved at most.

Normally a reservation ends as soon as nova-compute has claimed the device, or
the server is deleted, in error or on another host. This is for the others: a
server whose build ends before nova-compute hears of it.

Raise it if it takes longer from nova-scheduler to the claim of nova-compute:
with long message queues, and where many servers are sent to the same host.
nova-compute builds ``[DEFAULT] max_concurrent_builds`` servers at a time, and
claims the devices of a server when its build begins. The clock is that of the
cell's database; those of the members of a Galera cluster must not differ by as
much as this.
"""),
    cfg.IntOpt(
        'reservation_store_timeout',
        default=500,
        min=1,
        help="""
For how many milliseconds the store may keep a server waiting that is to be
sent to a host.

When they are over the request goes on without a reservation. What a file has
answered does not count, since a busy worker takes longer to come back than the
file to answer.
"""),
    cfg.StrOpt(
        'reservation_file',
        help="""
The file of the store ``local``; unless set, ``pci_filter-reservations.sqlite``
in ``state_path``.

All workers of nova-scheduler on a machine use the same file. It must be on a
local file system, and nova-scheduler must be allowed to make files beside it.
It may be deleted while nova-scheduler is stopped.
"""),
    cfg.ListOpt(
        'reservation_servers',
        default=[],
        help="""
The servers of the store ``memcached``; unless set, those of ``[cache]
memcache_servers``.

Name the same servers, spelled the same, for every nova-scheduler, by addresses
that all of them reach: ``localhost`` is another server on each machine, and
looking up a name may take longer than ``reservation_store_timeout``. Each
compute node has its record on one of them; if that one is lost its
reservations are forgotten, and new ones are made on another server.

The servers are talked to as ``[cache]`` says: with TLS if ``tls_enabled`` is
set, with a user name and a password if ``memcache_sasl_enabled`` is.

A reservation for one PCI request takes about 400 bytes, for
``reservation_timeout`` and a minute more. What memcached drops because it is
full is no longer reserved, so do not use servers that are always full.

Possible values:

* ``host:port``, or ``host`` for port 11211, with an IPv6 address in brackets;
  ``inet6:`` or ``inet:`` before it, as in ``[cache] memcache_servers``, takes
  addresses of that family only

Related options:

* ``[pci_filter] reservations``
* ``[cache] memcache_servers``
"""),
    cfg.BoolOpt(
        'write_tags',
        default=True,
        help="""
Store the tags of each device in its row of ``pci_devices``.

Read by ``pci-filter-nova-compute``. With the tags in the rows nova-scheduler
needs nothing of ``compute_nodes.pci_stats``.

Set it to false, and restart ``pci-filter-nova-compute`` once, before you go
back to Nova's own ``nova-compute``: that takes the tags out of the rows.
Nova's service would leave them there. While the summary has the same tags,
nova-scheduler would take the host for one that still runs
``pci-filter-nova-compute``.

Related options:

* ``[pci_filter] tag_sources`` of nova-scheduler
"""),
    cfg.BoolOpt(
        'write_pci_stats',
        default=True,
        help="""
Store the summary of the pools in ``compute_nodes.pci_stats``.

Read by ``pci-filter-nova-compute``. Nova's own filter decides from the
summary, so keep it while any nova-scheduler may run without ours, or while you
may want to go back. Set it to false when every scheduler runs the filter of
this package with ``pci_devices`` among its ``tag_sources``; the summary is
NULL then. Requests without PCI devices see no PCI devices on the host then:
where the PCI weigher or the NUMA topology filter is to keep them away from
these, set ``load_for`` of nova-scheduler to ``all_requests``.

Related options:

* ``[pci_filter] write_tags``
* ``[pci_filter] load_for`` of nova-scheduler
* ``[pci_filter] tag_sources`` of nova-scheduler
"""),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the section on ``conf``; doing so again changes nothing."""
    conf.register_group(pci_filter_group)
    conf.register_opts(pci_filter_opts, group=pci_filter_group)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator and the docs."""
    return [(pci_filter_group, pci_filter_opts)]
