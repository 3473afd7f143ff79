# SPDX-License-Identifier: Apache-2.0
"""The command line: starts the server, adds users. Bad input ends with 2, a problem of the host with 4.

Heavy imports wait until the words are understood, so that a mistake is answered at once.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from server_stub.errors import BadInput, HostProblem, ServerError

LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
INTERRUPTED = 128 + signal.SIGINT
# Seconds that running downloads get when the server is told to end.
GRACE = 1


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message[:1].upper()}{message[1:]}: see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
    except ServerError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser() -> Parser:
    parser = Parser(prog="bootproof server", description="An update server for a laboratory, in one process.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="run the server in the foreground")
    start.add_argument("--dir", type=Path, required=True, help="the server's directory, made at first start")
    start.add_argument("--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT", help="port 0 takes a free one")
    start.add_argument("--host", action="append", default=[], help="one more name devices know the server by")
    start.add_argument("--accept-all", action="store_true", help="accept new devices at once")
    start.add_argument("--json", action="store_true", help="print where the server listens as JSON")
    start.set_defaults(run=_start)
    user = commands.add_parser("user", help="users of the management interface")
    add = user.add_subparsers(required=True, metavar="COMMAND").add_parser("add", help="add a user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--password-stdin", action="store_true", required=True, help="read it from standard input")
    add.add_argument("--dir", type=Path, required=True, help="the server's directory")
    add.set_defaults(run=_add_user)
    return parser


def _add_user(options: argparse.Namespace) -> int:
    from server_stub.domain.users import check_name, check_password, remember

    name = check_name(options.name)
    try:
        password = check_password(sys.stdin.readline().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise BadInput("The password is not valid text: give it as UTF-8 on standard input.") from None

    from sqlalchemy.exc import IntegrityError

    from server_stub.home import open_home
    from server_stub.storage import users
    from server_stub.storage.database import Database

    database = Database(open_home(options.dir).database)
    try:
        with database.writing() as connection:
            users.add(connection, name, remember(password))
    except IntegrityError:
        raise BadInput(f"There is already a user {name!r}: choose another name.") from None
    finally:
        database.close()
    return 0


def _start(options: argparse.Namespace) -> int:
    address, port = _read_listen(options.listen)
    hosts = tuple(_check_host(host) for host in options.host)

    from server_stub.home import claim, open_home

    home = open_home(options.dir)
    with claim(home), _bind(address, port) as listener:
        return _serve(options, home, listener, hosts)


def _serve(options: argparse.Namespace, home: Any, listener: socket.socket, hosts: tuple[str, ...]) -> int:
    import uvicorn

    from server_stub import app, tls
    from server_stub.clock import now

    address, port = listener.getsockname()[:2]
    anywhere = ip_address(address).is_unspecified
    files = tls.prepare(home.tls, hosts if anywhere else (*hosts, address), now())
    config = uvicorn.Config(
        app.build(app.open_services(home, accept_all=options.accept_all)),
        ssl_certfile=files.certificate,
        ssl_keyfile=str(files.key),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
    shown = "127.0.0.1" if anywhere else address
    url = f"https://[{shown}]:{port}" if ":" in shown else f"https://{shown}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            _announce(url, files.ca, as_json=options.json)

    return _run(Server(config), listener)


def _run(server: Any, listener: socket.socket) -> int:
    """Run until a signal. The server hands the signal back when it has ended; these handlers then take it."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    server.run(sockets=[listener])
    return INTERRUPTED if signal.SIGINT in received else 0


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """A download cut off because the server ends is no defect, and gets no traceback."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _announce(url: str, ca: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"url": url, "ca": str(ca), "pid": os.getpid()}), flush=True)
    else:
        print(f"Listening on {url} (certificate authority: {ca}, process {os.getpid()})", flush=True)


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


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=2048)
        # asyncio sets this only on sockets it opens itself; without it small answers wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as problem:
        raise HostProblem(
            f"Cannot listen on {address} port {port} ({problem.strerror}): choose another with --listen."
        ) from None
