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

"""Show texts that others wrote on a terminal."""


def printable(text: str) -> str:
    r"""Return a text on one line that does nothing but be read.

    What cannot be printed, such as a line break or the start of a terminal's
    control sequence, is written as Python would escape it, such as \x1b.

    :param text: such as the name of a host, which anybody may have chosen
    """
    if text.isprintable():
        return text
    return ''.join(
        character if character.isprintable()
        else character.encode('unicode_escape').decode('ascii')
        for character in text)
