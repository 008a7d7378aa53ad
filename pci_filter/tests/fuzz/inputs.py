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

"""Texts that are right, and what becomes of them."""

import json
import random
import sys

from hypothesis import strategies as st

from pci_filter import model

#: How deep something is nested. A Python before 3.10 ends the process if its
#: limit of recursion is reached while it collects garbage, at which hypothesis
#: looks.
_DEEPEST = 5000 if sys.version_info >= (3, 10) else 500
_DEEP_CLOSED = min(900, _DEEPEST)

#: What makes trouble where it does not belong.
_TOKENS = (
    *[''] * 20, '"address": "', '"vendor_id": "', '"devname": ""', '"*"',
    '0000:', '"host": "', '"name": "a"', '"numa_policy": "', '[!', '[^',
    '[z-a]', '"numa_node": ', '"count": ', '"rp_uuid": "', '"tags": {',
    '"nova_object.data": {', '"nova_object.namespace": ',
    '"live_migratable": "', '"parent_ifname": "',
    f'"{model.STORED_TAGS_KEY}": "', '{"' + model.STORED_TAGS_KEY + '": "{',
    'card_serial_number\\": \\"', '\\"}"', '\\\\\\"', 'a:', 'a:1',
    '"', '\\', '\\"', '\\\\', '{', '}', '[', ']', ',', ':', ', ', ': ', '"}',
    '}"', '\\"}', 'null', 'true', 'NaN', '-Infinity', '1e999', '-', '-0', '5',
    '0.5', '007', '9' * 5000, '[' * 500, '[' * _DEEPEST, '{"a": ' * _DEEPEST,
    '"a": ' + '[' * _DEEP_CLOSED + ']' * _DEEP_CLOSED + ',', '{}', '[]', '""',
    '\\u0000', '\\ud800', '\\udc00\\ud800', '\\u00e9', '\\x', '\\u12', '\n',
    '\r\n', '\t', ' ', '\x00', '\x1c', '\x85', '/', '*', '.', '..', "'", '%',
    '%s', ':x', '--', ';', '$', '(', ')', '?', '|', '^', '+', 'a{2', '(?i)',
    '(?P<', '{999999999999}', '\\1', '0x', '_', '\N{SNOWMAN}',
    '\N{PILE OF POO}',
    '\N{SUPERSCRIPT TWO}', '\N{ARABIC-INDIC DIGIT THREE}',
    '\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}', '\ufeff', '\u2028',
    'x' * 300, '\N{SNOWMAN}' * 200)


#: How many letters are replaced.
_LENGTHS = 0, 0, 1, 1, 2, 8, 40, 10 ** 6

#: What a mutant is made from, beside its text.
NUMBERS = st.integers(0, 2 ** 32)


def mutant(text, number):
    """Return a text that is changed in up to four places."""
    chance = random.Random(number)
    for _ in range(chance.randrange(5)):
        start = chance.randrange(len(text) + 1)
        text = (text[:start] + chance.choice(_TOKENS)
                + text[start + chance.choice(_LENGTHS):])
    return text


def mutated(texts):
    """Return a strategy for mutants of these texts."""
    return st.builds(mutant, texts, NUMBERS)


def json_texts(values):
    """Return a strategy for JSON texts of these values."""
    return st.one_of(
        values.map(json.dumps), values.map(
            lambda value: json.dumps(value, separators=(',', ':'))))


_DEEP = json.loads('[' * 500 + ']' * 500)

#: JSON values of all types, some that no JSON can hold.
PLAIN = (
    None, True, False, 0, 1, -1, 2 ** 63, 10 ** 30, 0.5, 1e308, float('nan'),
    float('inf'), '', ' ', '0', 'true', 'x', 'X', '\x00', '\ud800', '"', '\\',
    '\N{SNOWMAN}', 'x' * 500)
ODD: tuple[object, ...] = (
    *PLAIN, [], ['x'], [None, 5], _DEEP, {}, {'a': 'b'}, {'tags': {}},
    {'objects': [{}]})


def mostly(*values, odd=ODD):
    """Return a strategy for these values, and seldom for odd ones.

    One draw, not one_of() or the like, which takes much longer.
    """
    return st.sampled_from(values * (30 * len(odd) // len(values)) + odd)


def dictionaries(items, most, odd_keys=()):
    """Return a strategy for dictionaries of some (key, value) items."""
    keys = *(key for key, _ in items), *odd_keys
    return st.lists(mostly(*items, odd=tuple(
        (key, value) for key in keys for value in ODD)),
        max_size=most).map(dict)
