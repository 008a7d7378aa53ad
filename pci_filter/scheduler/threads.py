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

"""Run functions in the background.

Without these a request would read the cells before or after Nova reads them,
not meanwhile. An executor of concurrent.futures would not do: the process
could not end while one of its threads hangs, and a child would wait for
threads that only its parent has.

A thread is not started for each of the functions: to ask a cell can take less
time than that does, and what starts a thread waits for a ``threading.Event``,
of which tests of Nova let only one caller have any.
"""

from collections.abc import Callable
import os
import queue
import threading
import typing

_Job = Callable[[], None]

#: Threads that are kept for later when nothing is to be done.
_KEPT: typing.Final = 64

# What each of those gets its next job from.
_idle: list['queue.SimpleQueue[_Job]'] = []

# A child has none of its parent's threads.
os.register_at_fork(after_in_child=_idle.clear)


def run(job: _Job) -> None:
    """Let a function run, in a green thread where Nova runs on those.

    :param job: must not raise anything
    :raises RuntimeError: if a thread is needed and cannot be started
    """
    try:
        jobs = _idle.pop()
    except IndexError:
        jobs = queue.SimpleQueue()
        threading.Thread(
            target=_work, args=(jobs,), name='pci_filter', daemon=True).start()
    jobs.put(job)


def _work(jobs: 'queue.SimpleQueue[_Job]') -> None:
    while True:
        jobs.get()()
        if len(_idle) >= _KEPT:
            break
        _idle.append(jobs)
