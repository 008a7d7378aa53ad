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

"""Serve a WSGI application on loopback: MODULE PORT.

As in any WSGI server the application is the module's ``application``, and it
finds its configuration through the environment.
"""

import importlib
import socketserver
import sys
from wsgiref import simple_server


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    """A thread for each request."""

    daemon_threads = True
    request_queue_size = 128


def main():
    module, port = sys.argv[1:]
    # Nova takes the arguments for its own.
    del sys.argv[1:]
    application = importlib.import_module(module).application
    with simple_server.make_server(
            '127.0.0.1', int(port), application, Server) as server:
        server.serve_forever()


if __name__ == '__main__':
    main()
