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

"""What OSprofiler is told of a request, by a nova-scheduler of its own."""

import json
import os
import subprocess
import sys

from oslo_utils import importutils
import testtools

from pci_filter.scheduler import tracing
from pci_filter.tests.functional.nova import processes
from pci_filter.tests.functional.nova import test_reserving_processes

#: Not imported here: it is optional, and that is what a skip is about.
PROCESS = 'pci_filter.tests.functional.nova.tracing_process'

OURS = 'pci_filter.'


class Span:
    """A point that was traced.

    :param started: what was told when it began
    :param stopped: what was told when it ended
    """

    def __init__(self, started, stopped):
        self.name = started['name'].removesuffix('-start')
        self.trace_id = started['trace_id']
        self.parent_id = started['parent_id']
        self.base_id = started['base_id']
        self.info = stopped['info']


def spans(told):
    """Return the spans by their IDs, in the order in which they began."""
    stopped = {info['trace_id']: info for info in told
               if info['name'].endswith('-stop')}
    return {info['trace_id']: Span(info, stopped[info['trace_id']])
            for info in told if info['name'].endswith('-start')}


class TestPoint(testtools.TestCase):

    def setUp(self):
        if importutils.try_import('osprofiler') is None:
            self.skipTest('osprofiler is not installed')
        super().setUp()
        from osprofiler import notifier
        from osprofiler import profiler

        self.told = []
        self.addCleanup(notifier.set, notifier.get())
        notifier.set(self.told.append)
        profiler.init('key')
        self.addCleanup(profiler.clean)

    def test_what_cannot_be_found_out(self):
        """The span ends nevertheless, or the next one would be in it."""
        for stage in 'one', 'two':
            with tracing.point(stage) as info:
                info['broken'] = lambda: 1 / 0
        self.assertEqual(
            [f'pci_filter.{stage}-{what}' for stage in ('one', 'two')
             for what in ('start', 'stop')],
            [info['name'] for info in self.told])
        self.assertEqual(1, len({
            info['parent_id'] for info in self.told}))


class TestTracing(test_reserving_processes.ProcessesTestCase):

    def setUp(self):
        if importutils.try_import('osprofiler') is None:
            self.skipTest('osprofiler is not installed')
        super().setUp()
        for number in range(2):
            self.add_host(f'host{number}')
        self.let_read_and_write()

    def trace(self, enabled=True, breaks=False):
        """Return the host that is chosen, and what is told of that."""
        from pci_filter.tests.functional.nova import tracing_process

        with (self.directory / processes.NOVA_CONF).open('a') as conf:
            conf.write(tracing_process.CONF.format(
                enabled=str(enabled).lower()))
        ended = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m', PROCESS,
             str(self.directory), 'breaks' if breaks else 'works'],
            text=True, capture_output=True, check=False, env={
                **os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(
                    test_reserving_processes.NATIVE).lower()})
        self.assertEqual(0, ended.returncode, ended.stderr)
        answer = json.loads(ended.stdout.splitlines()[-1])
        _, host = answer['found']
        self.assertIn(host, self.cloud.hosts)
        return answer['told']

    def test_spans(self):
        found = spans(self.trace())
        ours = [span for span in found.values()
                if span.name.startswith(OURS)]
        self.assertEqual(
            [f'pci_filter.{stage}' for stage in (
                'narrowing', 'loading', 'waiting', 'deciding')],
            [span.name for span in ours])
        narrowing, loading, waiting, deciding = [
            {key: value for key, value in span.info.items() if key != 'host'}
            for span in ours]
        self.assertEqual({'cells': 1, 'asked': 2, 'left': 2}, narrowing)
        self.assertEqual({'loaded': 2}, loading)
        self.assertEqual(
            {'fallback': 0, 'shared': 1, 'groups': 4, 'devices': 10}, waiting)
        self.assertEqual({'hosts': 2, 'passed': 2}, deciding)
        self.assertEqual(1, len({span.base_id for span in found.values()}))

    def test_nested_in_novas(self):
        found = spans(self.trace())

        def above(span):
            while span.parent_id in found:
                span = found[span.parent_id]
                yield span

        # Of Nova's managers select_destinations() is all that is called.
        for span in found.values():
            if span.name.startswith(OURS):
                self.assertEqual(
                    ['rpc'], [outer.name for outer in above(span)])
        # What Nova asks the database for while it loads is in ours.
        self.assertNotEqual([], [
            span for span in found.values() if span.name == 'db' and any(
                outer.name == 'pci_filter.loading' for outer in above(span))])

    def test_collector_is_gone(self):
        told = self.trace(breaks=True)
        self.assertIn('pci_filter.deciding-stop',
                      [info['name'] for info in told])

    def test_disabled(self):
        self.assertEqual([], self.trace(enabled=False))
