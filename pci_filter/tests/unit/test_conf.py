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

"""The [pci_filter] section as operators and tools see it."""

import os
import pathlib
import re
import tempfile

import ddt
from oslo_config import cfg
from oslo_config import generator

import pci_filter
from pci_filter import conf
from pci_filter.tests import base

PAGE = pathlib.Path(pci_filter.__file__).resolve().parent.parent.joinpath(
    'doc', 'source', 'user', 'configuration.rst')


def told_options():
    """Return what the page says is the default of each option."""
    _, _, section = PAGE.read_text(encoding='utf-8').partition(
        '\nAt a glance\n===========\n')
    _, _, body, _ = re.split(
        r'^=+ +=+ +=+\n', section, maxsplit=3, flags=re.MULTILINE)
    second, third = (column.start() for column in re.finditer(
        r'(?<= )=', re.search(r'^=+ +=+ +=+$', section, re.MULTILINE)[0]))
    found = {}
    for line in body.splitlines():
        option, default = line[:second].strip(), line[second:third].strip()
        if option:
            name = option.strip('`')
            found[name] = default
        else:
            found[name] = f'{found[name]} {default}'.strip()
    return found


def in_words(default):
    """Return a default as the page writes it."""
    values = default if isinstance(default, list) else [default]
    return ', '.join(f'``{str(value).lower()}``' for value in values)


@ddt.ddt
class TestConf(base.UnitTestCase):

    def _parse(self, text):
        with tempfile.NamedTemporaryFile('w', suffix='.conf') as nova_conf:
            nova_conf.write(text)
            nova_conf.flush()
            parsed = cfg.ConfigOpts()
            conf.register_opts(parsed)
            parsed(['--config-file', nova_conf.name])
            return parsed.pci_filter

    def test_defaults(self):
        section = self._parse('')
        self.assertEqual(
            {'tag_sources': ['pci_devices', 'device_spec', 'pci_stats'],
             'device_spec': [], 'on_load_failure': 'summary',
             'load_for': 'pci_requests', 'load_timeout': 10, 'narrow': True,
             'causal_reads': True,
             'write_tags': True, 'write_pci_stats': True,
             'reservations': 'local', 'widen_to': 20,
             'reservation_timeout': 60, 'reservation_store_timeout': 500,
             'reservation_file': None, 'reservation_servers': []},
            dict(section))

    def test_values(self):
        section = self._parse(
            '[pci_filter]\n'
            'tag_sources = pci_stats , device_spec\n'
            'device_spec = {"vendor_id": "8086",\n'
            '               "tier": "gold"}\n'
            'device_spec = [{"vendor_id": "10de"}]\n'
            'on_load_failure = reject\n'
            'load_for = all_requests\n')
        self.assertEqual(['pci_stats', 'device_spec'], section.tag_sources)
        self.assertEqual(
            ['{"vendor_id": "8086",\n"tier": "gold"}',
             '[{"vendor_id": "10de"}]'], section.device_spec)
        self.assertEqual('reject', section.on_load_failure)
        self.assertEqual('all_requests', section.load_for)

    @ddt.data('on_load_failure', 'load_for')
    def test_no_such_choice(self, name):
        section = self._parse(f'[pci_filter]\n{name} = maybe\n')
        error = self.assertRaises(
            cfg.ConfigFileValueError, getattr, section, name)
        self.assertIn('maybe', str(error))
        self.assertIn(name, str(error))

    def test_register_twice(self):
        parsed = cfg.ConfigOpts()
        conf.register_opts(parsed)
        parsed.set_override('load_for', 'all_requests', group='pci_filter')
        self.addCleanup(parsed.clear_override, 'load_for', group='pci_filter')
        conf.register_opts(parsed)
        parsed([], default_config_files=[], default_config_dirs=[])
        self.assertEqual('all_requests', parsed.pci_filter.load_for)

    def test_list_opts(self):
        listed = {str(getattr(group, 'name', group)): opts
                  for group, opts in conf.list_opts()}
        self.assertEqual(['pci_filter'], list(listed))
        parsed = cfg.ConfigOpts()
        conf.register_opts(parsed)
        self.assertEqual(set(parsed.pci_filter),
                         {opt.dest for opt in listed['pci_filter']})

    def test_every_option_has_a_help(self):
        (_, opts), = conf.list_opts()
        for opt in opts:
            self.assertTrue(opt.help.strip(), opt.name)

    def test_page_has_every_option(self):
        (_, opts), = conf.list_opts()
        found = told_options()
        self.assertEqual({opt.dest for opt in opts}, set(found))
        for opt in opts:
            if opt.default in (None, []):
                # It says so, or what is used then.
                self.assertRegex(found[opt.dest], '^(empty|in|those of)')
            else:
                self.assertEqual(
                    in_words(opt.default), found[opt.dest], opt.dest)

    def test_generator_writes_a_sample(self):
        parsed = cfg.ConfigOpts()
        generator.register_cli_opts(parsed)
        with tempfile.TemporaryDirectory() as folder:
            sample = os.path.join(folder, 'sample.conf')
            parsed(['--namespace', 'pci_filter', '--output-file', sample],
                   default_config_files=[], default_config_dirs=[])
            generator.generate(parsed)
            with open(sample) as written:
                text = written.read()
        self.assertIn('[pci_filter]', text)
        for name in ('tag_sources', 'device_spec', 'on_load_failure',
                     'load_for'):
            self.assertIn(f'#{name} =', text)
