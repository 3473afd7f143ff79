# SPDX-License-Identifier: Apache-2.0
"""The command line: starts the server, adds users. Bad input ends with 2, a problem of the host with 4.

Heavy imports wait until the words are understood, so that a mistake is answered at once.
"""

import argparse
import gc
import os
import re
import signal
import sys
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NoReturn

from server_stub import operate
from server_stub.domain.limits import Limits
from server_stub.errors import BadInput, ServerError

LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
DEFAULTS = Limits()
INTERRUPTED = 128 + signal.SIGINT
UNHEARD = 128 + signal.SIGPIPE
SIZE = re.compile("([0-9]{1,12})([KMGT]?)")
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[:1].upper()}{message[1:]}: see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    # The database holds the key under every token.
    os.umask(0o077)
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except ServerError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read has heard enough; the interpreter must not try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    return code


def _parser() -> Parser:
    parser = Parser(prog="bootproof server", description="An update server in one process, and commands for it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="run the server in the foreground")
    start.add_argument("--dir", type=Path, required=True, help="the server's directory, made at first start")
    start.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT", help="port 0 takes a free one")
    start.add_argument("--host", action="append", default=[], help="one more name devices know the server by")
    start.add_argument("--accept-all", action="store_true", help="accept new devices at once")
    start.add_argument("--json", action="store_true", help="print where the server listens as JSON")
    start.add_argument(
        "--laboratory", action="store_true", help="keep a journal of what devices ask, and let faults in"
    )
    start.add_argument(
        "--database", metavar="URL", help="postgresql://user@host/name, instead of a file in the directory"
    )
    start.add_argument(
        "--artifacts", metavar="URL", help="s3://bucket/prefix or another object store, for the artifacts"
    )
    start.add_argument(
        "--artifact-key", type=Path, action="append", default=[], metavar="FILE", help="take only artifacts it verifies"
    )
    start.add_argument("--certificate", type=Path, metavar="FILE", help="PEM, instead of one of the server's own CA")
    start.add_argument("--key", type=Path, metavar="FILE", help="the certificate's private key, PEM")
    start.add_argument("--plain", action="store_true", help="without TLS, for behind a proxy that has it")
    start.add_argument(
        "--proxy",
        action="append",
        type=_network,
        default=[],
        metavar="ADDRESS",
        help="a proxy whose X-Forwarded-Proto and -For count with --plain; one on this machine, if not given",
    )
    start.add_argument("--max-devices", type=_count, default=0, metavar="N", help="accept at most so many")
    start.add_argument(
        "--max-waiting", type=_count, default=DEFAULTS.waiting, metavar="N", help="devices that wait to be let in"
    )
    start.add_argument(
        "--max-artifact-size",
        type=_size,
        default=DEFAULTS.artifact,
        metavar="SIZE",
        help="such as 500M or 10G, its default",
    )
    start.add_argument(
        "--max-payload-size", type=_size, default=DEFAULTS.payload, metavar="SIZE", help="of an artifact when unpacked"
    )
    start.add_argument("--max-connections", type=_count, default=DEFAULTS.connections, metavar="N")
    start.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    start.set_defaults(run=_start)
    user = commands.add_parser("user", help="users of the management interface")
    add = user.add_subparsers(required=True, metavar="COMMAND").add_parser("add", help="add a user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--password-stdin", action="store_true", required=True, help="read it from standard input")
    add.add_argument("--role", choices=("read-only", "deployer", "admin"), default="admin")
    add.add_argument("--dir", type=Path, required=True, help="the server's directory")
    add.add_argument("--database", metavar="URL", help="the server's database, if it is not in the directory")
    add.set_defaults(run=_add_user)
    operate.add(commands)
    return parser


def _add_user(options: argparse.Namespace) -> int:
    from server_stub.domain.users import Role, User, check_name, check_password, remember

    name = check_name(options.name)
    try:
        # As bytes: in some locales the text stream would let through what is no UTF-8, and fail later.
        password = check_password(sys.stdin.buffer.readline().decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise BadInput("The password is not valid text: give it as UTF-8 on standard input.") from None

    from server_stub.clock import now, stamp
    from server_stub.errors import Unprocessable
    from server_stub.home import open_home
    from server_stub.storage import users
    from server_stub.storage.database import Database, explained, read_url, sqlite_at

    home = open_home(options.dir)
    url = read_url(options.database) if options.database else sqlite_at(home.root)
    database = Database(url)
    try:
        with explained(url), database.writing() as connection:
            users.add(connection, User(name, remember(password), Role(options.role), stamp(now())))
    except Unprocessable as problem:
        raise BadInput(str(problem)) from None
    finally:
        database.close()
    return 0


def _start(options: argparse.Namespace) -> int:
    address, port = _read_listen(options.listen)
    hosts = tuple(_check_host(host) for host in options.host)
    if (options.certificate is None) is not (options.key is None):
        raise BadInput("A certificate needs its key: give both --certificate and --key.")
    if options.proxy and not options.plain:
        raise BadInput("What a proxy forwards counts only where it brings the TLS: give --proxy with --plain.")

    # What is imported stays: looking for garbage in it is a tenth of the time until the server listens, and would be
    # a pause of every later collection.
    gc.disable()
    from server_stub.start import start

    gc.freeze()
    gc.enable()
    return start(options, address, port, hosts)


def _read_listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    try:
        address = str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        address = ""
    if not (colon and address and port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise BadInput(f"{text!r} is not an address and a port: give --listen as 127.0.0.1:8443.")
    return address, int(port)


def _check_host(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        if HOST_NAME.fullmatch(host):
            return host
    raise BadInput(f"{host!r} is neither a host name nor an address: give --host as board-lab.example.")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address or a network such as 192.0.2.0/24") from None


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of at most nine digits")


def _size(text: str) -> int:
    match = SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 10G")
    return int(match[1]) << UNITS[match[2]]
