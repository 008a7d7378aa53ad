#!/usr/bin/env python3
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

"""Run commands on a fresh Debian: nothing is there but Python, pip and git.

debootstrap makes the machine in memory, in namespaces of its own. The commands
run in a clone of this checkout, of its committed files alone, by a shell of
root, one after the other until one fails. They see no program, no cache and no
environment of the machine outside, only its network. However this ends, none
of their processes is left, nothing is mounted and no file is there. The exit
code is that of the last command.

  tools/debian_tree.py bullseye 'python3 --version'

bullseye has Python 3.9, bookworm 3.11, trixie 3.13. Only root may do this.
"""

from __future__ import annotations

import argparse
import collections.abc
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent

# Whoever has a clone has git and what it needs, and pbr asks git for the
# version.
PACKAGES = ('ca-certificates', 'git', 'python3', 'python3-venv')

# Where the clone is on the fresh machine.
CLONE = '/root/pci_filter'

# These name a file with certificates, which goes where it is outside.
CERTIFICATES = ('CURL_CA_BUNDLE', 'GIT_SSL_CAINFO', 'PIP_CERT',
                'REQUESTS_CA_BUNDLE', 'SSL_CERT_FILE')

# These say how to reach what is not on this machine.
NETWORK = ('http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY',
           'HTTPS_PROXY', 'NO_PROXY', 'PIP_DEFAULT_TIMEOUT', 'PIP_INDEX_URL',
           'PIP_EXTRA_INDEX_URL', 'PIP_RETRIES', 'PIP_TRUSTED_HOST')

# With the first process in there all others end, then nothing needs the
# mounts any more. Whoever kills this tool kills that process.
NAMESPACES = ('setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid',
              '--fork', '--kill-child')


def _say(suite: str, text: str) -> None:
    print(f'{suite}: {text}', flush=True)


def _mount(tree: pathlib.Path, folder: str, *arguments: str) -> None:
    subprocess.run(['mount', *arguments, str(tree / folder)], check=True)


def _bootstrap(
    tree: pathlib.Path, suite: str, mirror: str | None, packages: list[str],
) -> None:
    made = subprocess.run(
        ['debootstrap', '--variant=minbase',
         f'--include={",".join((*PACKAGES, *packages))}', suite, str(tree),
         *([mirror] if mirror else [])],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        sys.exit(f'{made.stdout}debootstrap has failed')


def _environment() -> dict[str, str]:
    return {
        'HOME': '/root', 'LC_ALL': 'C.UTF-8',
        'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        **{name: os.environ[name] for name in (*CERTIFICATES, *NETWORK)
           if os.environ.get(name)}}


def _copy_in(tree: pathlib.Path, environment: dict[str, str]) -> None:
    """Copy the clone, and what is needed to reach the network as outside."""
    certificates = (environment.get(name) for name in CERTIFICATES)
    for file in {'/etc/hosts', '/etc/resolv.conf', *certificates}:
        if file and os.path.isfile(file):
            copy = tree / file.lstrip('/')
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)
            shutil.copyfile(file, copy)
    subprocess.run(
        ['git', 'clone', '--quiet', str(CHECKOUT),
         str(tree / CLONE.lstrip('/'))], check=True)


def _run_inside(
    tree: pathlib.Path, suite: str, mirror: str | None, packages: list[str],
    commands: collections.abc.Iterable[str],
) -> int:
    """Make the machine and run the commands, in the namespaces."""
    started = time.monotonic()
    environment = _environment()
    _mount(tree, '.', '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs')
    _bootstrap(tree, suite, mirror, packages)
    _copy_in(tree, environment)
    _mount(tree, 'dev', '--rbind', '/dev')
    _mount(tree, 'proc', '-t', 'proc', 'proc')
    _say(suite, f'made in {time.monotonic() - started:.0f} s')
    for command in commands:
        _say(suite, f'$ {command}')
        started = time.monotonic()
        status = subprocess.run(
            ['chroot', str(tree), '/bin/bash', '-c',
             f'cd {CLONE} && eval "$0"', command],
            stdin=subprocess.DEVNULL, env=environment, check=False).returncode
        _say(suite, f'exit code {status} after '
             f'{time.monotonic() - started:.0f} s')
        if status:
            return status
    return 0


def _run_outside() -> int:
    """Run this tool once more, in namespaces and with a place to mount on."""
    # So that what it has started ends then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with tempfile.TemporaryDirectory(prefix='pci-filter-tree-') as tree:
            return subprocess.run(
                [*NAMESPACES, sys.executable, __file__, '--inside', tree,
                 *sys.argv[1:]], check=False).returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--mirror', help="of Debian (default: debootstrap's own)")
    parser.add_argument(
        '--package', action='append', default=[], dest='packages',
        help='one more to install; may be repeated')
    parser.add_argument(
        '--inside', type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument('suite', help='of Debian')
    parser.add_argument('commands', nargs='+', metavar='command')
    arguments = parser.parse_args()
    if os.geteuid():
        parser.error('only root can make a machine')
    if not shutil.which('debootstrap'):
        parser.error('debootstrap is not installed')
    if not arguments.inside:
        return _run_outside()
    return _run_inside(
        arguments.inside, arguments.suite, arguments.mirror,
        arguments.packages, arguments.commands)


if __name__ == '__main__':
    sys.exit(main())
