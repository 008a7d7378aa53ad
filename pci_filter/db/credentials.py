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

"""Keep the credentials of databases out of what is shown.

A mask must not tell what it hides. To replace a password wherever its letters
are would: one that reads "n" would make "***ot i***stalled" of "not
installed". So what is replaced is what stands where a credential can stand,
whatever it is, and a quoted text that is nothing but a part of the password.
"""

from __future__ import annotations

import re
import typing
from urllib import parse

_MASK: typing.Final = '***'

_QUOTES: typing.Final = '"\'`'

#: What stands where a URL or a connection string has a password: all of a URL
#: up to its last '@'; what a quoted text has before an '@', and a word; the
#: value of an option such as passwd. Too much rather than too little.
_PLACES: typing.Final = (
    (re.compile('//.*@'), f'{_MASK}@'),
    (re.compile(f'(?<=[{_QUOTES}])[^{_QUOTES}]+@(?=[^{_QUOTES}]*[{_QUOTES}])'),
     f'{_MASK}@'),
    (re.compile(rf'[^\s({_QUOTES}]+@'), f'{_MASK}@'),
    (re.compile(rf'(?i)(pass\w*=)[^\s&{_QUOTES}]+'), rf'\1{_MASK}'),
)

#: A quoted text, but not that of a host in 'user'@'host', nor the '@'.
_QUOTED: typing.Final = re.compile(
    f'(?<=[{_QUOTES}])(?<!@.)(?!@[{_QUOTES}])[^{_QUOTES}]+(?=[{_QUOTES}])')

#: Where URLs are cut into parts, and where quoted texts end.
_CUT: typing.Final = rf'[][@/:?#,{_QUOTES}]'


def mask(text: str, url: str = '') -> str:
    """Hide in a text whatever may be secret in the URL of a database.

    Drivers quote what they take for the name of the host, for the port or for
    the database, which is part of the password where somebody did not escape
    an ``@`` in it.

    :param text: what is to be shown
    :param url: that of the database, well-formed or not; empty if there is
        none
    """
    password, public = _parts(url)

    def hide(quoted: re.Match[str]) -> str:
        part = quoted[0]
        is_secret = part not in public and any(
            re.search(f'(?:^|{_CUT}){re.escape(form)}(?:{_CUT}|$)', password)
            for form in (part, parse.quote(part), parse.quote_plus(part)))
        return _MASK if is_secret else part

    if password:
        text = _QUOTED.sub(hide, text)
    for place, instead in _PLACES:
        text = place.sub(instead, text)
    return text


def _parts(url: str) -> tuple[str, set[str]]:
    """Return the password in a URL, and the parts that anybody may see."""
    account, _, rest = url.partition(':')[2].lstrip('/').rpartition('@')
    user, _, password = account.partition(':')
    return password, {user, *re.split(_CUT, rest)}
