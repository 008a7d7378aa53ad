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

"""The same answers, whatever sql_mode a MariaDB or MySQL is set to."""

import importlib
import inspect
import pkgutil

import ddt
import sqlalchemy as sa
import testtools

from pci_filter import db
from pci_filter.tests.functional.db import base
from pci_filter.tests.functional.db import questions

#: What oslo.db sets for Nova, unless [database]mysql_sql_mode is another.
NOVA = 'TRADITIONAL'

#: What MySQL 8 has if nobody sets any.
MYSQL_8 = ('ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,'
           'NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION')

MODES = ('', 'ANSI', f'{NOVA},ONLY_FULL_GROUP_BY', MYSQL_8, *(
    f'{MYSQL_8},{more}' for more in (
        'ANSI_QUOTES', 'NO_BACKSLASH_ESCAPES', 'PIPES_AS_CONCAT',
        'PAD_CHAR_TO_FULL_LENGTH')))

#: They send to PostgreSQL only.
ELSEWHERE = {'timeouts.limit_transaction'}

#: They find nothing where all is well.
FIND_NOTHING = {
    'galera.wait_in_session', 'read_only.require_tables',
    'tables.missing_columns', 'timeouts.limit_session'}


@ddt.ddt
class TestSqlModesMySQL(
        questions.QuestionsMixin, base.MySQLMixin, testtools.TestCase):

    def answers(self, mode):
        """Return the answer to each question, on connections in a mode."""
        engine = sa.create_engine(
            self.server.url(self._name), connect_args={'sql_mode': mode},
            future=True)
        self.addCleanup(engine.dispose)
        answers = {}
        with engine.connect() as connection:
            found = connection.exec_driver_sql('SELECT @@sql_mode').scalar()
            self.assertLessEqual(
                set(filter(None, mode.split(','))), set(found.split(',')))
            for name, question in questions.QUESTIONS.items():
                answers[name] = question(connection, self.asked)
                connection.rollback()
        return answers

    @ddt.data(*MODES)
    def test_answers(self, mode):
        # Not all that is answered can be compared.
        expected, found = (
            {name: repr(answer) for name, answer in answers.items()}
            for answers in (self.answers(NOVA), self.answers(mode)))
        self.assertEqual(expected, found)

    def test_something_is_found(self):
        """Or the answers would be the same because they are empty."""
        self.assertEqual(FIND_NOTHING, {
            name for name, answer in self.answers(NOVA).items()
            if not answer or isinstance(answer, list) and not all(answer)})

    def test_nothing_is_left_out(self):
        senders = {
            f'{module.name}.{name}'
            for module in pkgutil.iter_modules(db.__path__)
            for name, function in inspect.getmembers(importlib.import_module(
                f'{db.__name__}.{module.name}'), inspect.isfunction)
            if not name.startswith('_')
            and function.__module__ == f'{db.__name__}.{module.name}'
            and 'connection' in inspect.signature(function).parameters}
        # This makes a statement for others to send.
        self.assertEqual(senders - ELSEWHERE | {'repairs.statement'},
                         set(questions.QUESTIONS))
