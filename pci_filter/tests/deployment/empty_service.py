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

"""What stands in for Neutron and Glance: there is nothing in it.

Nova asks Neutron for the ports of each server, also of those without networks.
It asks nothing of Glance for servers without an image, but wants its address.
"""

import json


def application(environ, start_response):
    """Answer that a collection is empty."""
    collection = environ['PATH_INFO'].rpartition('/')[2].replace('-', '_')
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({collection: []}).encode()]
