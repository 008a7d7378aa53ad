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

"""What the tests have in common."""

import importlib.util
import os
import pathlib
import random
import sys
import sysconfig
import threading
import types

import fixtures
import hypothesis
from oslo_config import cfg
import sqlalchemy as sa
from sqlalchemy import engine
import testtools
from testtools import content

from pci_filter import conf


def _seed():
    """Return where the random tests start: the same place in every run.

    A change must not fail for what another one did. ``PCI_FILTER_SEED`` is
    the number of another start, or ``random`` to go where nobody has been.
    """
    given = os.environ.get('PCI_FILTER_SEED') or '20261122'
    return random.randrange(2 ** 32) if given == 'random' else int(given)


SEED = _seed()

#: What part of their examples the random tests try: ``PCI_FILTER_EXAMPLES`` is
#: more than 1 to look for long, less to look into many databases or releases.
PART = float(os.environ.get('PCI_FILTER_EXAMPLES') or 1)


class NoDatabase(fixtures.Fixture):
    """Lets every attempt to reach a database fail."""

    def _setUp(self):
        def refused(*args, **kwargs):
            raise AssertionError('a unit test wants a database')

        for owner, name in (
                (sa, 'create_engine'), (engine, 'create_engine'),
                (engine.Engine, 'connect'), (engine.Engine, 'begin'),
                (engine.Engine, 'raw_connection')):
            self.useFixture(fixtures.MonkeyPatch(
                f'{owner.__module__}.{owner.__qualname__}.{name}'
                if isinstance(owner, type) else f'{owner.__name__}.{name}',
                refused))


class UnitTestCase(testtools.TestCase):
    """A test that has no database."""

    def setUp(self):
        super().setUp()
        self.useFixture(NoDatabase())


def is_standard(name):
    """Tell whether a top-level module comes with Python.

    Python 3.9 has no sys.stdlib_module_names.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:
        # Such as __main__.
        return False
    if spec is None or spec.origin is None:
        return False
    if spec.origin in ('built-in', 'frozen'):
        return True
    library = pathlib.Path(sysconfig.get_path('stdlib'))
    path = pathlib.Path(spec.origin)
    return path.is_relative_to(library) and not {
        'site-packages', 'dist-packages'} & set(path.parts)


def run_in_threads(number, function):
    """Call a function in so many threads at once, and wait for them all."""
    threads = [threading.Thread(target=function) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def fork(function):
    """Call a function in a child process, and return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        function()
        status = 0
    finally:
        os._exit(status)


def options(**values):
    """Return a ``[pci_filter]`` section with these values."""
    parsed = cfg.ConfigOpts()
    conf.register_opts(parsed)
    parsed([], default_config_files=[], default_config_dirs=[])
    for name, value in values.items():
        parsed.set_override(name, value, group='pci_filter')
    # oslo.config keeps the overrides of a group for the whole process.
    try:
        return types.SimpleNamespace(**parsed.pci_filter)
    finally:
        for name in values:
            parsed.clear_override(name, group='pci_filter')


class PropertyMixin:
    """Tells the seed of a test that is decorated with :func:`examples`."""

    def setUp(self):
        super().setUp()
        self.addDetail('seed', content.text_content(
            f'hypothesis seed: {SEED}'))
        # The original, as stestr captures the other.
        print(f'hypothesis seed: {SEED} for {self.id()}',
              file=sys.__stdout__, flush=True)


def examples(count):
    """Run a property with so many examples, from the seed of this run."""
    def decorate(test):
        return hypothesis.seed(SEED)(hypothesis.settings(
            max_examples=max(1, int(count * PART)), deadline=None,
            database=None, print_blob=True, derandomize=False,
            # Neither says anything about the code: one depends on the
            # machine, the other on how many requests happen to fit.
            suppress_health_check=[
                hypothesis.HealthCheck.too_slow,
                hypothesis.HealthCheck.filter_too_much])(test))
    return decorate
