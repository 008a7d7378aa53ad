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

"""Signals wait until it is safe to act upon them."""

import signal

import testtools

from pci_filter.cli import interruption


class TestDeferred(testtools.TestCase):

    def setUp(self):
        super().setUp()
        # Test runners have handlers of their own.
        earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, earlier)

    def test_nothing_happens_without_a_signal(self):
        with interruption.deferred() as stop:
            stop()

    def test_signal_waits(self):
        reached = []

        def interrupted():
            with interruption.deferred() as stop:
                signal.raise_signal(signal.SIGINT)
                reached.append('after the signal')
                stop()
                reached.append('after the check')

        self.assertRaises(KeyboardInterrupt, interrupted)
        self.assertEqual(['after the signal'], reached)

    def test_signal_that_nobody_asked_for_is_not_lost(self):
        def interrupted():
            with interruption.deferred():
                signal.raise_signal(signal.SIGINT)

        self.assertRaises(KeyboardInterrupt, interrupted)

    def test_second_signal_does_not_wait(self):
        reached = []

        def interrupted():
            with interruption.deferred():
                signal.raise_signal(signal.SIGINT)
                reached.append('after the first')
                signal.raise_signal(signal.SIGINT)
                reached.append('after the second')

        self.assertRaises(KeyboardInterrupt, interrupted)
        self.assertEqual(['after the first'], reached)

    def test_further_signals_do_not_disturb_the_way_out(self):
        cleaned_up = []

        def interrupted():
            with interruption.deferred() as stop:
                signal.raise_signal(signal.SIGINT)
                try:
                    stop()
                finally:
                    signal.raise_signal(signal.SIGINT)
                    cleaned_up.append(True)

        self.assertRaises(KeyboardInterrupt, interrupted)
        self.assertEqual([True], cleaned_up)

    def test_ignored_signal_stays_ignored(self):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruption.deferred() as stop:
            signal.raise_signal(signal.SIGINT)
            stop()

    def test_handlers_are_given_back(self):
        with interruption.deferred():
            self.assertNotEqual(
                signal.default_int_handler, signal.getsignal(signal.SIGINT))
        self.assertEqual(
            signal.default_int_handler, signal.getsignal(signal.SIGINT))
