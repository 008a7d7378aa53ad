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

"""What the states of devices must be, given who uses which."""

USED = ('claimed', 'allocated')


def wrong_states(rows):
    """Tell what is wrong with the states of devices.

    :param rows: the columns of the rows of one compute node, by address
    :returns: one word for what is wrong, by address; empty if all is right
    """
    wrong = {}
    for address, row in rows.items():
        used = row['status'] in USED
        beside_used = any(
            other['status'] in USED for other in _relatives(row, rows))
        if used != (row['instance_uuid'] is not None):
            wrong[address] = 'unowned' if used else 'owned'
        elif used and beside_used:
            wrong[address] = 'shared'
        elif not used and (row['status'] == 'available') == beside_used:
            wrong[address] = 'blocked' if not beside_used else 'offered'
    return wrong


def _relatives(row, rows):
    """Return the rows that exclude this one: its port, or its functions."""
    if row['dev_type'] == 'type-PF':
        return [other for other in rows.values()
                if other['dev_type'] in ('type-VF', 'vdpa')
                and other['parent_addr'] == row['address']]
    parent = rows.get(row['parent_addr'], {})
    return [parent] if row['dev_type'] in ('type-VF', 'vdpa') and (
        parent.get('dev_type') == 'type-PF') else []
