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

"""What operators do wrong, and what breaks: one line, and no traceback."""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import fixtures
import sqlalchemy as sa
import testtools

from pci_filter.db import cell_mappings
from pci_filter.tests.functional.db import base as db_base
from pci_filter.tests.functional.nova import commands
from pci_filter.tests import installed

#: A command that needs nothing but the databases, and one that needs more.
POOL_LIST = ('pool', 'list', '-f', 'json')
EXPLAIN = ('explain', '-f', 'json')


def screen(shown):
    """Return the lines that are on a terminal in the end."""
    lines, column = [''], 0
    for part in re.findall('\x1b\\[K|.', shown, re.DOTALL):
        if part == '\x1b[K':
            lines[-1] = lines[-1][:column]
        elif part == '\r':
            column = 0
        elif part == '\n':
            lines.append('')
            column = 0
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + 1:]
            column += 1
    return lines


class TestErrors(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fleet = commands.FleetFixture()
        cls.fleet.setUp()
        cls.addClassCleanup(cls.fleet.cleanUp)

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = self.fleet.conf.path

    def refused(self, *arguments, command=POOL_LIST, lines=1, **options):
        """Run a command that cannot be run; return what it says."""
        result = commands.run(*command, *arguments, **options)
        self.assertEqual('', result.stdout)
        self.assertEqual(2, result.returncode, result.stderr)
        self.assertEqual(lines, len(result.stderr.splitlines()),
                         result.stderr)
        self.assertNotIn('Traceback', result.stderr)
        self.assertNotIn('s3cret', result.stderr)
        self.assertEqual('pci-filter', result.stderr[:len('pci-filter')])
        return result.stderr

    def write(self, text, name='nova.conf'):
        path = self.folder / name
        path.write_text(text)
        return path

    def api_database(self, *cells):
        """Make an API database with these (name, URL); return nova.conf."""
        engine = sa.create_engine(f'sqlite:///{self.folder}/api.db')
        cell_mappings.metadata.create_all(engine)
        table = cell_mappings.metadata.tables['cell_mappings']
        with engine.begin() as connection:
            for name, url in cells:
                connection.execute(sa.insert(table).values(
                    uuid=name, name=name, database_connection=url,
                    disabled=False))
        engine.dispose()
        return self.write(
            f'[api_database]\nconnection = sqlite:///{self.folder}/api.db\n')

    def good_cell(self):
        return 'good', self.fleet.cloud.cells[0].database_connection

    def test_no_configuration(self):
        installed.require_no_nova_conf()
        self.assertIn('there is no nova.conf in the usual places',
                      self.refused(HOME=str(self.folder)))

    def test_missing_configuration(self):
        path = self.folder / 'missing.conf'
        self.assertIn(f'cannot read {path}',
                      self.refused(f'--config-file={path}'))

    def test_unreadable_configuration(self):
        path = self.write('[database]\nconnection s3cret\n')
        self.assertIn(f"{path}:2: No ':' or '=' found in assignment",
                      self.refused(f'--config-file={path}'))

    def test_forbidden_configuration(self):
        if not os.geteuid():
            self.skipTest('root may read all files')
        path = self.write('[DEFAULT]\n')
        path.chmod(0)
        self.assertIn(f'cannot read {path}',
                      self.refused(f'--config-file={path}'))

    def test_no_databases_in_the_configuration(self):
        path = self.write('[DEFAULT]\n')
        self.assertIn('[api_database]connection is not set',
                      self.refused(f'--config-file={path}'))

    def test_empty_api_database(self):
        self.write('', 'api.db')
        path = self.write(
            f'[api_database]\nconnection = sqlite:///{self.folder}/api.db\n')
        self.assertIn('cannot read the API database: it has no table '
                      'cell_mappings', self.refused(f'--config-file={path}'))

    def _check_wrong_password(self, server):
        server.require()
        url = server.url().set(password='s3cret')
        path = self.write('[api_database]\nconnection = '
                          + url.render_as_string(hide_password=False))
        self.assertRegex(
            self.refused(f'--config-file={path}'),
            'cannot read the API database: .*(denied|authentication)')

    def test_wrong_password_of_the_api_database_MySQL(self):
        self._check_wrong_password(db_base.MYSQL)

    def test_wrong_password_of_the_api_database_PostgreSQL(self):
        self._check_wrong_password(db_base.POSTGRESQL)

    def test_options_that_exclude_each_other(self):
        self.assertIn('not allowed with', self.refused(
            '--cell=a', '--database-connection=sqlite://'))

    def test_wrong_tag_sources(self):
        path = self.write(
            f'{self.conf.read_text()}[pci_filter]\ntag_sources = nobody\n')
        self.assertIn("unknown source 'nobody'",
                      self.refused(f'--config-file={path}'))

    def test_no_such_host(self):
        self.assertEqual(
            "pci-filter: no host matches 'nett-*'\n",
            self.refused(f'--config-file={self.conf}', '--host=nett-*'))

    def test_no_such_cell(self):
        self.assertIn("there is no cell 'cell3'; did you mean cell2?",
                      self.refused(f'--config-file={self.conf}',
                                   '--cell=cell3'))

    def test_no_such_alias(self):
        self.assertEqual(
            "pci-filter: [pci]alias has no 'gpuu'; did you mean gpu?\n",
            self.refused('--alias=gpuu', f'--config-file={self.conf}',
                         command=EXPLAIN))

    def test_count_of_an_alias(self):
        for alias in ('gpu:0', 'gpu:x', 'gpu:1:2'):
            self.assertIn(f"'{alias}': give a whole number from 1",
                          self.refused(f'--alias={alias}', command=EXPLAIN))

    def test_nothing_asked_for(self):
        for command in EXPLAIN, ('capacity',):
            self.assertIn('by --alias, --request or --instance',
                          self.refused(command=command))

    def test_no_such_option(self):
        """It is what is named, not what is missing without it."""
        for command in EXPLAIN, ('capacity',), ('audit',):
            self.assertIn('unrecognized arguments: --flavor=x',
                          self.refused('--flavor=x', command=command))

    def test_no_such_column(self):
        for command in (('pool', 'list'), ('explain', '--alias=gpu'),
                        ('capacity', '--alias=gpu'),
                        ('audit', '--grace=0'), ('reservations', 'list')):
            for option in '-c', '--sort-column':
                self.assertRegex(
                    self.refused(option, 'nope', '-f', 'json', command=(
                        *command, f'--config-file={self.conf}')),
                    "there is no column 'nope'; there is: cell, host, ")

    def test_hosts_that_are_not_there(self):
        """The others are shown."""
        for arguments in (('--host=gpu-0,nett-1,gpu-*',),
                          ('--host=gpu-0', '--host', 'nett-1')):
            result = commands.run(
                *POOL_LIST, *arguments, f'--config-file={self.conf}')
            self.assertEqual(
                (0, "pci-filter: no host matches 'nett-1'\n"),
                (result.returncode, result.stderr))
            self.assertEqual({'gpu-0'}, {
                row['host'] for row in json.loads(result.stdout)})

    def test_statements_in_a_format(self):
        self.assertIn('--sql prints statements, which -f json', self.refused(
            '--sql', '-f', 'json', command=('audit',)))

    def test_key_of_a_port(self):
        message = self.refused(
            '--request={"vnic_type": "direct"}',
            f'--config-file={self.conf}', command=EXPLAIN, lines=3)
        self.assertIn('vnic_type is not known; a port asks for its '
                      'physical_network', message)

    def test_fault_in_an_alias(self):
        path = self.write(
            f'{self.conf.read_text()}[pci]\n'
            'alias = {"name": "x", "product_id": "154", "vendor_id": "80"}\n')
        self.assertEqual(
            'pci-filter: [pci]alias: product_id is not a text of four '
            'hexadecimal digits\n'
            '  {"name": "x", "product_id": "154", "vendor_id": "80"}\n'
            '                              ^\n',
            self.refused('--alias=gpu', f'--config-file={path}',
                         command=EXPLAIN, lines=3))

    def test_fault_in_a_request(self):
        self.assertEqual(
            "pci-filter: --request: not JSON: Expecting ',' delimiter\n"
            '  {"vendor_id": "8086" "product_id": "154c"}\n'
            '                       ^\n',
            self.refused(
                '--request={"vendor_id": "8086" "product_id": "154c"}',
                f'--config-file={self.conf}', command=EXPLAIN, lines=3))

    def test_servers(self):
        unknown = '11111111-2222-3333-4444-555555555555'
        self.assertIn(
            f'the API database has no request of a server {unknown}',
            self.refused(f'--instance={unknown}',
                         f'--config-file={self.conf}', command=EXPLAIN))
        without = self.fleet.store_request([])
        self.assertIn(
            f'server {without} asks for no PCI devices',
            self.refused(f'--instance={without}',
                         f'--config-file={self.conf}', command=EXPLAIN))
        self.assertIn("not a UUID: 'x'", self.refused(
            '--instance=x', command=EXPLAIN))

    def test_policy_of_a_guest_without_a_place(self):
        for command in (EXPLAIN, ('capacity', '-f', 'json')):
            message = self.refused(
                '--request={"vendor_id": "8086"}', '--numa-policy=required',
                f'--config-file={self.conf}', command=command)
            self.assertIn('--numa-policy', message)
            self.assertIn('--numa-cells', message)

    def test_cells_down(self):
        """One is not there, one empty, one is something else."""
        self.write('', 'empty.db')
        path = self.api_database(
            ('gone', f'sqlite:///{self.folder}/gone.db'), self.good_cell(),
            ('empty', f'sqlite:///{self.folder}/empty.db'),
            ('other', f'sqlite:///{self.folder}/api.db'),
            ('refused', 'mysql+pymysql://u:s3cret@127.0.0.1:1/nova'))
        for command in (POOL_LIST, ('capacity', '--alias=gpu', '-f', 'json'),
                        (*EXPLAIN, '--alias=gpu')):
            result = commands.run(
                *command, f'--config-file={path}',
                f'--config-file={self.with_aliases()}')
            table = ('it has no table compute_nodes or pci_devices, so it is '
                     'another database or was not set up by Nova yet')
            self.assertEqual([
                'pci-filter: cell gone cannot be read: unable to open '
                'database file',
                f'pci-filter: cell empty cannot be read: {table}',
                f'pci-filter: cell other cannot be read: {table}',
                "pci-filter: cell refused cannot be read: Can't connect to "
                "MySQL server on '127.0.0.1' ([Errno 111] Connection "
                'refused) (2003)'], result.stderr.splitlines())
            self.assertEqual(1, result.returncode)
            self.assertIn('"gpu-0"', result.stdout)

    def test_cell_whose_name_would_control_the_terminal(self):
        path = self.api_database(
            ('a\x1b[2J\nb', f'sqlite:///{self.folder}/gone.db'))
        result = commands.run(*POOL_LIST, f'--config-file={path}')
        self.assertEqual(
            (1, 'pci-filter: cell a\\x1b[2J\\nb cannot be read: '
             'unable to open database file\n'),
            (result.returncode, result.stderr))
        self.assertEqual(
            "pci-filter: there is no cell 'c'; there is: a\\x1b[2J\\nb\n",
            self.refused('--cell=c', f'--config-file={path}'))

    def with_aliases(self):
        return self.write(
            '[pci]\nalias = {"name": "gpu", "vendor_id": "10de", '
            '"product_id": "1db6"}\n', 'aliases.conf')

    def _silent_server(self):
        """Return the port of a server that says nothing."""
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)
        return server.getsockname()[1]

    def _at_terminal(self, *arguments, columns=0, command=(commands.COMMAND,)):
        """Run a command whose stderr is a terminal.

        :param columns: that it has; 0 if it does not tell
        :returns: exit code, stdout, what was sent to the terminal
        """
        terminal, stderr = pty.openpty()
        fcntl.ioctl(stderr, termios.TIOCSWINSZ,
                    struct.pack('HHHH', 0, columns, 0, 0))
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=stderr,
            text=True, env={**os.environ, 'TERM': 'xterm'})
        os.close(stderr)
        shown = b''
        # Linux has an error for the end of a terminal.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 4096):
                shown += part
        os.close(terminal)
        stdout, _ = process.communicate(timeout=60)
        return process.returncode, stdout, shown.decode()

    def test_progress_on_a_terminal(self):
        """It leaves nothing there but what goes wrong."""
        _, url = self.good_cell()
        # Longer than what is logged then.
        name = 'x' * 50
        path = self.api_database(
            (f'good [/b]\x1b]0;{name}', url),
            ('gone', f'sqlite:///{self.folder}/gone.db'))
        for command in (commands.COMMAND,), commands.WITHOUT_RICH:
            code, stdout, shown = self._at_terminal(
                *POOL_LIST, f'--config-file={path}', command=command)
            self.assertEqual(1, code)
            self.assertIn('"gpu-0"', stdout)
            self.assertNotIn('\x1b', stdout)
            self.assertIn(f'cell good [/b]\\x1b]0;{name} 3/3', shown)
            self.assertEqual(
                ['pci-filter: cell gone cannot be read: unable to open '
                 'database file', ''], screen(shown))

    def test_progress_on_a_narrow_terminal(self):
        """It never fills a line, which would move the cursor to the next."""
        _, url = self.good_cell()
        path = self.api_database(('of the long name', url))
        _, _, shown = self._at_terminal(
            *POOL_LIST, f'--config-file={path}', columns=12)
        self.assertEqual([''], screen(shown))
        self.assertEqual(
            {'cell of the'},
            {text for text in re.split('\r|\x1b\\[K', shown) if text})

    def test_progress_of_an_audit(self):
        code, stdout, shown = self._at_terminal(
            'audit', '--grace', '0', '-f', 'json',
            f'--config-file={self.conf}', command=commands.WITHOUT_RICH)
        self.assertIn(code, (0, 3))
        self.assertIsInstance(json.loads(stdout), list)
        self.assertRegex(shown, r'cell1 (\d+)/\1\x1b')
        self.assertEqual([''], screen(shown))

    def test_cell_that_does_not_answer(self):
        path = self.api_database(self.good_cell(), (
            'silent', 'mysql+pymysql://u:s3cret@127.0.0.1:'
            f'{self._silent_server()}/nova?read_timeout=1'))
        result = commands.run(*POOL_LIST, f'--config-file={path}')
        self.assertEqual(1, result.returncode)
        self.assertRegex(
            result.stderr, r'^pci-filter: cell silent cannot be read: .*\n$')
        self.assertNotIn('s3cret', result.stderr)
        self.assertIn('"gpu-0"', result.stdout)

    def test_how_long_an_answer_may_take(self):
        path = self.api_database(self.good_cell(), (
            'silent', 'mysql+pymysql://u:s3cret@127.0.0.1:'
            f'{self._silent_server()}/nova'))
        for seconds, told in (('1', 0), ('3', 1)):
            result = commands.run(
                *POOL_LIST, f'--config-file={path}', '--timeout', seconds)
            self.assertEqual(1, result.returncode)
            *waiting, unread = result.stderr.splitlines()
            self.assertEqual(
                ['pci-filter: waiting for cell silent, for 3 seconds in all; '
                 'see --timeout'] * told, waiting)
            self.assertIn('cell silent cannot be read', unread)
        self.assertIn("from 1 to 3600, not '0'", self.refused(
            '--timeout=0', f'--config-file={path}'))

    def test_interrupt(self):
        self.assertEqual(
            (130, 'pci-filter: interrupted\n'), self._stop(signal.SIGINT))

    def test_terminate(self):
        self.assertEqual((143, ''), self._stop(signal.SIGTERM))

    def _stop(self, number):
        """Stop a command while it waits; return exit code and stderr."""
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)
        path = self.api_database((
            'silent', 'mysql+pymysql://u:p@127.0.0.1:'
            f'{server.getsockname()[1]}/nova'))
        process = subprocess.Popen(
            [commands.COMMAND, *POOL_LIST, f'--config-file={path}'],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            # Whoever runs the tests in the background ignores SIGINT.
            preexec_fn=functools.partial(
                signal.signal, number, signal.SIG_DFL))
        self.addCleanup(process.kill)
        connection, _ = server.accept()
        self.addCleanup(connection.close)
        # It reads now, or is about to.
        time.sleep(0.2)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    def test_closed_pipe(self):
        for output_format in ('json', 'csv', 'table'):
            process = subprocess.Popen(
                [commands.COMMAND, 'pool', 'list', '-f', output_format,
                 f'--config-file={self.conf}'], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            process.stdout.close()
            stderr = process.stderr.read()
            process.stderr.close()
            self.assertEqual((141, ''), (process.wait(timeout=60), stderr))
