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

"""Tags from the rows themselves, where our tracker has stored them."""

from __future__ import annotations

from collections.abc import Mapping
import functools
import json

from pci_filter.matching import pool as pool_module
from pci_filter import model
from pci_filter.tags import base


class PciDevicesTags(base.TagSource):
    """What nova-compute with our tracker stores with each device.

    It knows nothing of the devices of other hosts.
    """

    stored_tags = True

    def for_node(self, node: model.ComputeNode) -> base.Lookup:
        """Return a look-up in the rows, the same one for all nodes."""
        return stored_tags


def stored_tags(kind: model.DeviceKind) -> model.Tags | None:
    """Return the tags in the rows of devices, None if there are none."""
    return None if kind.stored_tags is None else _unescaped(kind.stored_tags)


@functools.lru_cache(maxsize=1024)
def _unescaped(text: str) -> model.Tags | None:
    """Return tags that are JSON within JSON, as the rows have them."""
    try:
        return from_text(json.loads(f'"{text}"'))
    except (ValueError, RecursionError):
        return None


def to_text(tags: Mapping[str, object]) -> str:
    """Return tags as they are stored: the same text for the same tags.

    What placement alone matches is left out. What is null is not: it serves
    whatever a missing tag serves, but counts when Nova puts pools in order.

    :param tags: what ``[pci]device_spec`` says of a device
    """
    return json.dumps({
        key: value for key, value in tags.items()
        if key not in pool_module.PLACEMENT_KEYS}, sort_keys=True)


def is_readable(text: str) -> bool:
    """Tell whether the scheduler can read a text of :func:`to_text`.

    It reads so many bytes and no more: to group by longer texts databases use
    their disks.
    """
    # With the quote that ends it, not the one before.
    return len(json.dumps(text)) - 1 <= model.STORED_TAGS_LENGTH


def from_text(text: str) -> model.Tags:
    """Return the tags of a text that :func:`to_text` made.

    :raises ValueError: if somebody else has made it
    """
    tags = json.loads(text)
    if not isinstance(tags, dict):
        raise ValueError(f'no JSON object: {text}')
    return tags


def stored(extra_info: Mapping[str, str], text: str | None) -> dict[str, str]:
    """Return what a device's extra_info is to be: the tags come first.

    Only there the scheduler looks for them: that costs next to nothing where
    there are none.

    :param extra_info: as it is; it stays so
    :param text: the tags, None for none
    """
    rest = {key: value for key, value in extra_info.items()
            if key != model.STORED_TAGS_KEY}
    return rest if text is None else {model.STORED_TAGS_KEY: text, **rest}


def is_stored(extra_info: Mapping[str, str], text: str | None) -> bool:
    """Tell whether a device's extra_info is as :func:`stored` makes it."""
    if text is None:
        return model.STORED_TAGS_KEY not in extra_info
    return (next(iter(extra_info), None) == model.STORED_TAGS_KEY
            and extra_info[model.STORED_TAGS_KEY] == text)
