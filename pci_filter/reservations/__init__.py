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

"""Devices that are promised to instances whose claims are still to come.

A reservation is what kube-scheduler calls so: it begins when the scheduler
chooses a host and ends when the rows of the host show the claim. Until then
the devices are free in the database, and nobody else may be sent there for
them.

The parts, each in a module of its own: what a reservation is; when it ends;
what fits beside it; how one is made; and where reservations are kept, which is
a plug-in.
"""

from pci_filter.reservations.making import Made
from pci_filter.reservations.making import Refused
from pci_filter.reservations.making import release
from pci_filter.reservations.making import reserve
from pci_filter.reservations.reservation import Reservation
from pci_filter.reservations.sight import Asked
from pci_filter.reservations.sight import Instance
from pci_filter.reservations.sight import Sight
from pci_filter.reservations.store import load
from pci_filter.reservations.store import Store
from pci_filter.reservations.store import StoreError
from pci_filter.reservations.store import UnreadableRecord

__all__ = [
    'Asked',
    'Instance',
    'Made',
    'Refused',
    'Reservation',
    'Sight',
    'Store',
    'StoreError',
    'UnreadableRecord',
    'load',
    'release',
    'reserve',
]
