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

from hypothesis import strategies as st

#: What makes trouble where it does not belong.
_TOKENS = (
    '"', '\\', '\\"', '\\\\', '{', '}', '[', ']', ',', ':', ', ', ': ', '"}',
    '}"', '\\"}', 'null', 'true', 'NaN', '-Infinity', '1e999', '-', '-0', '5',
    '0.5', '007', '9' * 5000, '[' * 500, '[' * 5000, '{"a": ' * 5000,
    '"a": ' + '[' * 900 + ']' * 900 + ',', '{}', '[]', '""', '\\u0000',
    '\\ud800', '\\udc00\\ud800', '\\u00e9', '\\x', '\\u12', '\n', '\r\n',
    '\t', ' ', '\x00', '\x1c', '\x85', '/', '*', '.', '..', "'", '%', '%s',
    ':x', '--', ';', '$', '(', ')', '?', '|', '^', '+', 'a{2', '(?i)', '(?P<',
    '{999999999999}', '\\1', '0x', '_', '\N{SNOWMAN}', '\N{PILE OF POO}',
    '\N{SUPERSCRIPT TWO}', '\N{ARABIC-INDIC DIGIT THREE}',
    '\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}', '\ufeff', '\u2028',
    'x' * 300, '\N{SNOWMAN}' * 200)


#: How many letters are replaced.
_LENGTHS = 0, 0, 1, 1, 2, 8, 40, 10 ** 6

_CHANGES = st.lists(st.integers(0, 2 ** 32), max_size=4)


@st.composite
def mutated(draw, texts, tokens=()):
    """Draw one of some texts and change it in up to four places.

    :param texts: strategy for texts that are right
    :param tokens: what is put into them, beside the usual
    """
    text = draw(texts)
    tokens = '', '', *tokens, *tokens, *_TOKENS
    # A change is one number, since each draw takes its time.
    for number in draw(_CHANGES):
        number, token = divmod(number, len(tokens))
        number, length = divmod(number, len(_LENGTHS))
        start = number % (len(text) + 1)
        text = (text[:start] + tokens[token]
                + text[start + _LENGTHS[length]:])
    return text


def json_texts(values, tokens=()):
    """Return a strategy for JSON texts of values: right and mutated ones."""
    right = values.map(json.dumps)
    tight = values.map(
        lambda value: json.dumps(value, separators=(',', ':')))
    return st.one_of(right, tight, mutated(right, tokens))


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
