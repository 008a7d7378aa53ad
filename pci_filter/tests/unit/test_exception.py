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

"""Exceptions carry data, and say in one line what to do."""

import inspect

from pci_filter import exception
from pci_filter.tests import base


class TestExceptions(base.UnitTestCase):

    def test_invalid_device_spec(self):
        error = exception.InvalidDeviceSpec('{"a":\n  1}', 'it is bad')
        self.assertEqual(('{"a":\n  1}', 'it is bad'),
                         (error.value, error.reason))
        self.assertEqual(
            '[pci_filter]device_spec = {"a": 1}: it is bad. Correct the '
            'value and restart the service.', str(error))

    def test_invalid_device_spec_with_a_line_break_in_the_reason(self):
        error = exception.InvalidDeviceSpec('{}', 'a\x85b\nc is no tag')
        self.assertEqual(
            '[pci_filter]device_spec = {}: a b c is no tag. Correct the '
            'value and restart the service.', str(error))

    def test_unknown_tag_source(self):
        error = exception.UnknownTagSource('x', iter(['b', 'a']))
        self.assertEqual(('x', ['a', 'b']), (error.name, error.known))
        self.assertEqual(
            "[pci_filter]tag_sources names the unknown source 'x'. "
            'Choose from: a, b.', str(error))

    def test_missing_library(self):
        error = exception.MissingLibrary('[a]b = c', 'lib', 'extra')
        self.assertEqual(('[a]b = c', 'lib', 'extra'),
                         (error.option, error.library, error.extra))
        self.assertEqual(
            "[a]b = c needs lib, which is not installed. Run pip install "
            "'pci_filter[extra]', with the constraints of your OpenStack "
            'release, and restart the service.', str(error))

    def test_invalid_store_option(self):
        error = exception.InvalidStoreOption('[a]b', 'no\nfile')
        self.assertEqual(('[a]b', 'no file'), (error.option, error.reason))
        self.assertEqual(
            '[a]b: no file. Correct it and restart the service.', str(error))

    def test_requests_not_supported(self):
        error = exception.PciRequestsNotSupported('too few')
        self.assertEqual(('too few', 'too few'), (error.reason, str(error)))

    def test_unsupported_nova(self):
        error = exception.UnsupportedNova(
            'it has no filters', 'Nova 7', 'Do without')
        self.assertEqual(
            ('it has no filters', 'Nova 7', 'Do without'),
            (error.found, error.supported, error.instead))
        self.assertIn('it has no filters', str(error))
        self.assertIn('Supported releases: Nova 7. Do without or install',
                      str(error))
        self.assertEqual(1, len(str(error).splitlines()))

    def test_one_base(self):
        # Whoever embeds the package catches one exception.
        found = [
            one for _, one in inspect.getmembers(exception, inspect.isclass)
            if issubclass(one, Exception)]
        self.assertGreater(len(found), 4)
        for one in found:
            self.assertTrue(issubclass(one, exception.PciFilterError), one)
