# SPDX-License-Identifier: Apache-2.0
"""`bootproof server start`: opens what was chosen, listens, announces it, and ends cleanly at a signal."""

import argparse
import json
import os
import resource
import signal
import socket
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn

from server_stub import app, tls
from server_stub.clock import now
from server_stub.domain.artifacts import load_keys
from server_stub.domain.limits import Limits
from server_stub.errors import BadInput, HostProblem
from server_stub.front import logs
from server_stub.front.protocol import BoundedProtocol, bounded
from server_stub.home import Home, claim, open_home
from server_stub.lab import certificates
from server_stub.lab.laboratory import Laboratory
from server_stub.lab.wire import wired
from server_stub.services import Policy, Services
from server_stub.storage import artifacts, settings
from server_stub.storage.database import Database, explained, read_url, sqlite_at
from server_stub.storage.store import ArtifactStore, Directory

INTERRUPTED = 128 + signal.SIGINT
LOOPBACK = ("127.0.0.1", "::1")
# Seconds that running downloads get when the server is told to end.
GRACE = 1
# Seconds after which a connection that asks nothing is closed.
KEEP_ALIVE = 15


def start(options: argparse.Namespace, address: str, port: int, hosts: tuple[str, ...]) -> int:
    logs.start(options.log_level)
    _raise_file_limit()
    home = open_home(options.dir)
    policy = _policy(options)
    with _claimed(home, options.database), _bind(address, port) as listener:
        url = read_url(options.database) if options.database else sqlite_at(home.root)
        database = Database(url)
        with explained(url), database.writing() as connection:
            secret = settings.secret(connection, home.former_secret())
        store = _open_store(options.artifacts, home)
        with explained(url):
            store.sweep(partial(_known_artifacts, database))
        laboratory = Laboratory() if options.laboratory else None

        async def open_services() -> Services:
            return Services(database, store, secret, policy, laboratory)

        built = app.build(open_services, laboratory=options.laboratory)
        return _serve(app.Front(built), options, home, listener, hosts, policy, laboratory)


def _known_artifacts(database: Database) -> set[str]:
    with database.reading() as connection:
        return artifacts.all_ids(connection)


def _claimed(home: Home, database: str | None) -> AbstractContextManager[None]:
    """A directory belongs to one server, unless what they share lies elsewhere."""
    return nullcontext() if database else claim(home)


def _policy(options: argparse.Namespace) -> Policy:
    limits = Limits(
        artifact=options.max_artifact_size,
        payload=options.max_payload_size,
        devices=options.max_devices,
        waiting=options.max_waiting,
        connections=options.max_connections,
    )
    try:
        pems = [path.read_bytes() for path in options.artifact_key]
    except OSError as problem:
        raise BadInput(
            f"{problem.filename} cannot be read ({problem.strerror}): give --artifact-key a PEM file."
        ) from None
    return Policy(options.accept_all, limits, load_keys(pems))


def _open_store(url: str | None, home: Home) -> ArtifactStore:
    if url is None:
        return Directory(home.artifacts)
    try:
        from server_stub.storage.objectstore import open_objects
    except ImportError:
        raise HostProblem("Object stores need a library: install bootproof[objectstore].") from None
    return open_objects(url)


def _serve(
    front: Any,
    options: argparse.Namespace,
    home: Home,
    listener: socket.socket,
    hosts: tuple[str, ...],
    policy: Policy,
    laboratory: Laboratory | None,
) -> int:
    address, port = listener.getsockname()[:2]
    anywhere = ip_address(address).is_unspecified
    security: dict[str, Any] = {}
    ca = None
    if not options.plain:
        names = hosts if anywhere else (*hosts, address)
        files = tls.choose(home.tls, options.certificate, options.key, names, now())
        security = {"ssl_certfile": files.certificate, "ssl_keyfile": str(files.key)}
        ca = files.ca
        if laboratory is not None and options.certificate is None:
            laboratory.certificates = certificates.make(home.tls, names, now())
            security["ssl_context_factory"] = laboratory.security
    # A laboratory's journal and faults must see every request.
    protocol = bounded(policy.limits, BoundedProtocol.nothing_for if options.laboratory else front.nothing_for)
    config = uvicorn.Config(
        front,
        **security,
        http=protocol if laboratory is None else wired(protocol),
        # A laboratory dates its answers itself.
        date_header=laboratory is None,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Else links would lead past the proxy's TLS, and all devices would come from one address.
        proxy_headers=options.plain,
        forwarded_allow_ips=options.proxy or list(LOOPBACK),
        server_header=False,
        limit_concurrency=policy.limits.connections,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        backlog=2048,
    )
    shown = "127.0.0.1" if anywhere else address
    host = f"[{shown}]" if ":" in shown else shown
    url = f"{'http' if options.plain else 'https'}://{host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if not self.should_exit:
                home.write_address(url, ca, os.getpid())
                _announce(url, ca, as_json=options.json)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            front.let_listeners_go()
            await super().shutdown(sockets=sockets)

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


def _announce(url: str, ca: Path | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"url": url, "ca": str(ca) if ca else None, "pid": os.getpid()}), flush=True)
    else:
        authority = f"certificate authority: {ca}, " if ca else ""
        print(f"Listening on {url} ({authority}process {os.getpid()})", flush=True)


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=2048)
        # asyncio sets this only on sockets it opens itself; without it small answers wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as problem:
        raise HostProblem(
            # Without what Python adds to the system's words.
            f"Cannot listen on {address} port {port} ({os.strerror(problem.errno or 0)}): choose another with --listen."
        ) from None


def _raise_file_limit() -> None:
    """As many connections as this machine allows: each is a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
