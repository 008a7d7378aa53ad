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

"""The process of these tests is one like nova-scheduler's."""

import _thread
import os
import sys
import threading

from nova import version
import testtools

GREEN = 'eventlet.green.thread'


def _native():
    """Return whether Nova is to run on native threads.

    That is nova-scheduler's default since 2026.1 (33).
    """
    chosen = os.environ.get('OS_NOVA_DISABLE_EVENTLET_PATCHING')
    if chosen:
        return chosen == '1'
    return int(version.version_string().partition('.')[0]) >= 33


class TestProcess(testtools.TestCase):

    def test_threads(self):
        started = _thread.start_new_thread.__module__
        # Called otherwise since Python 3.13.
        of_threading = getattr(
            threading, '_start_joinable_thread',
            getattr(threading, '_start_new_thread', None)).__module__
        if _native():
            self.assertNotIn(GREEN, (started, of_threading))
        else:
            self.assertEqual([GREEN] * 2, [started, of_threading])
            self.assertIn('eventlet', sys.modules)
