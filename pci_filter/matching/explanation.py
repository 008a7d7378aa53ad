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

"""The record of a decision, and how to say it in words."""

from __future__ import annotations

import typing

from pci_filter.matching import request as request_module

#: What each stage asks of a device, in the words of an operator.
STAGE_TEXTS: typing.Final = {
    'one_pool_per_provider': 'can be told apart by their resource providers',
    'spec': 'match',
    'numa': 'are on the right NUMA node',
    'unrequested_pf': 'are no physical function',
    'unrequested_vdpa': 'are no vDPA device',
    'unrequested_remote_managed': 'are not remote-managed',
    'placement': "are in placement's allocation",
    'live_migratable': 'are live-migratable as asked',
    'whole_allocation': "make up placement's allocation as a whole",
    'relatives': 'are not excluded by a PF or VF in use',
    'promised': 'are certainly left by the requests before it',
}


class StageCount(typing.NamedTuple):
    """How many devices were left after a stage.

    :param stage: name of the constraint, a key of ``STAGE_TEXTS``
    :param left: devices that met it and all before it
    """

    stage: str
    left: int


class RequestExplanation(typing.NamedTuple):
    """What became of one request.

    :param request: the request
    :param offered: devices available when its turn came
    :param stages: devices left after each stage, up to the deciding one
    :param fits: whether the request could be served
    """

    request: request_module.DeviceRequest
    offered: int
    stages: tuple[StageCount, ...]
    fits: bool

    @property
    def failed_stage(self) -> str | None:
        """The stage that left too few devices, None if the request fits."""
        return None if self.fits else self.stages[-1].stage

    @property
    def asks(self) -> str:
        """Who asks for how many."""
        return f'{self.request.label} asks for {self.request.count}'

    @property
    def shortage(self) -> str:
        """What too few devices are."""
        if self.stages[-1].left == self.offered:
            return 'are free'
        return self._words(self.stages[-1].stage)

    def _words(self, stage: str) -> str:
        if stage == 'spec':
            return f'{STAGE_TEXTS[stage]} {self.request.wanted}'
        return STAGE_TEXTS[stage]

    def __str__(self) -> str:
        parts = [f'{self.offered} free']
        left = self.offered
        for stage in self.stages:
            # A stage that took nothing says nothing.
            if stage.left != left:
                parts.append(f'{stage.left} {self._words(stage.stage)}')
            left = stage.left
        return f'{self.asks}: {", ".join(parts)}'


class Explanation(typing.NamedTuple):
    """Why a host's pools can or cannot serve the requests of an instance.

    :param requests: one entry per request, up to the first that fails
    :param note: what else has to be known, such as devices left out
    """

    requests: tuple[RequestExplanation, ...]
    note: str = ''

    @property
    def fits(self) -> bool:
        """Whether all requests can be served together."""
        return all(request.fits for request in self.requests)

    @property
    def failed(self) -> RequestExplanation | None:
        """The request that could not be served, None if all could."""
        return next((r for r in self.requests if not r.fits), None)

    @property
    def reason(self) -> str:
        """One line: why not, or what was found."""
        shown = [self.failed] if self.failed else list(self.requests)
        text = '; '.join(map(str, shown)) or 'nothing is asked for'
        return f'{text} ({self.note})' if self.note else text

    def __str__(self) -> str:
        return self.reason
