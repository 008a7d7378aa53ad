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

"""Ask Nova's API database about instances that nobody has built yet."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import time
import typing

from nova import context as nova_context
from oslo_log import log as logging

from pci_filter.db import asked_for
from pci_filter import reservations
from pci_filter.scheduler import cell_databases
from pci_filter.scheduler import failures

LOG = logging.getLogger(__name__)

#: Seconds that the database has to answer. Without an answer a host is passed
#: over, and the next one may be better.
_PATIENCE: typing.Final = 1

#: Seconds for which it is not asked again if it did not answer: each host that
#: a request passes over would wait for it.
_PAUSE: typing.Final = 10


class ApiReader:
    """Asks it for all requests; what fails costs an answer, and no more.

    In the background, as Nova waits for its databases as long as the kernel
    does.
    """

    def __init__(self) -> None:
        self._paused_until = 0.0
        self._database = cell_databases.of_api(_PATIENCE)

    def asked(
        self, context: typing.Any, instance_uuids: Sequence[str],
    ) -> Mapping[str, reservations.Asked]:
        """Read what is known of some instances, nothing if that fails.

        :param context: the request context
        :param instance_uuids: the instances
        """
        now = time.monotonic()
        if now < self._paused_until:
            return {}
        try:
            answer = _ask(
                self._database, context, instance_uuids, now + _PATIENCE)
        except Exception as error:
            answer = error
        if isinstance(answer, dict):
            return answer
        if answer is nova_context.did_not_respond_sentinel:
            self._paused_until = time.monotonic() + _PAUSE
        LOG.debug(
            'The API database cannot tell which builds were called off: %s. '
            'The devices of such servers are reserved until '
            '[pci_filter]reservation_timeout is over.',
            failures.failure_text(answer))
        return {}


def _ask(
    database: cell_databases.CellDatabase, context: typing.Any,
    instance_uuids: Sequence[str], deadline: float,
) -> typing.Any:
    def read(connection: typing.Any, _: object) -> typing.Any:
        return asked_for.load(connection, instance_uuids)

    return database.reads.wait(database.reads.join(
        object(), read, (), deadline, context), deadline)
