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

"""The clock of a database."""

from __future__ import annotations

import typing

import sqlalchemy as sa
from sqlalchemy.ext import compiler


class now(sa.sql.functions.FunctionElement[float]):  # noqa: N801
    """Seconds since 1970 by the server's clock, with their fraction.

    Each database says it in its own words, and none that they have in common
    is free of time zones.
    """

    type = sa.Float()
    inherit_cache = True


def _words(text: str) -> typing.Any:
    def compiled(
        element: typing.Any, of_dialect: typing.Any, **_kwargs: typing.Any,
    ) -> str:
        return text
    return compiled


compiler.compiles(now, 'sqlite')(_words(
    "((julianday('now') - 2440587.5) * 86400.0)"))
compiler.compiles(now, 'postgresql')(_words(
    'EXTRACT(EPOCH FROM clock_timestamp())'))
for _name in ('mysql', 'mariadb'):
    # Not UNIX_TIMESTAMP(), which jumps with the summer time of the session.
    compiler.compiles(now, _name)(_words(
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        ' / 1000000)'))
