# SPDX-License-Identifier: Apache-2.0
"""The operator's commands: accept, upload, deploy, watch. Each talks to a running server and says what has become."""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from server_stub.errors import BadInput

# Seconds between two looks at a deployment.
LOOK_EVERY = 0.5
FAILED = 1
MOST_RETRIES = 100
PHASE = re.compile(r"(wait:)?([0-9]{1,9}(?:\.[0-9]+)?)(%?)(?:\+([0-9]{1,6})([smhd]))?")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
GOOD = frozenset({"success", "already-installed"})


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--dir", type=Path, metavar="DIR", help="the directory of a server that runs on this machine")
    where.add_argument("--database", metavar="URL", help="the server's database, if it is not in the directory")
    where.add_argument("--server", metavar="URL", help="a server elsewhere")
    where.add_argument("--ca", type=Path, metavar="FILE", help="whom to trust for its certificate")
    where.add_argument("--token-file", type=Path, metavar="FILE", help="instead of the variable BOOTPROOF_TOKEN")
    where.add_argument("--json", action="store_true", help="print JSON")

    accept = commands.add_parser("accept", parents=[where], help="let devices in")
    accept.add_argument("devices", nargs="*", metavar="DEVICE", help="the ids of devices that wait")
    accept.add_argument("--all", action="store_true", help="all that wait")
    accept.set_defaults(run=_accept)

    upload = commands.add_parser("upload", parents=[where], help="bring artifacts to the server")
    upload.add_argument("files", nargs="+", type=Path, metavar="FILE")
    upload.add_argument("--description", default="", metavar="TEXT")
    upload.set_defaults(run=_upload)

    deploy = commands.add_parser("deploy", parents=[where], help="begin a deployment")
    deploy.add_argument("artifact", metavar="ARTIFACT", help="the artifact's name")
    deploy.add_argument("--to", action="append", default=[], metavar="DEVICE", help="a device; may be given again")
    deploy.add_argument("--group", metavar="NAME", help="the devices of a group")
    deploy.add_argument("--all", action="store_true", help="all accepted devices")
    deploy.add_argument("--filter", metavar="ID", help="the devices that fit a named filter, now or later")
    deploy.add_argument("--name", metavar="NAME", help="the deployment's name; the artifact's if not said")
    deploy.add_argument("--phase", action="append", default=[], metavar="PHASE", help="10%%, 25, 10%%+2h or wait:50%%")
    deploy.add_argument("--retries", type=_retries, default=0, metavar="N", help="further attempts of a device")
    deploy.add_argument("--halt-at", type=_percent, metavar="PERCENT", help="halt when so many have failed")
    deploy.add_argument("--force", action="store_true", help="install also what runs already")
    deploy.add_argument("--watch", action="store_true", help="go on as the command watch does")
    deploy.set_defaults(run=_deploy)

    watch = commands.add_parser("watch", parents=[where], help="follow a deployment to its end")
    watch.add_argument("deployment", metavar="DEPLOYMENT")
    watch.set_defaults(run=lambda options: _watch(_client(options), options.deployment, options))


def _client(options: argparse.Namespace) -> Any:
    if (options.dir is None) is (options.server is None):
        raise BadInput("Say which server: --dir for one on this machine, or --server.")
    from server_stub import client

    if options.dir is not None:
        return client.beside(options.dir, options.database)
    return client.elsewhere(options.server, options.ca, options.token_file)


def _accept(options: argparse.Namespace) -> int:
    if bool(options.devices) is options.all:
        raise BadInput("Say whom to accept: the ids of devices, or --all.")
    accepted = _client(options).accept(None if options.all else options.devices)
    unknown = sorted(set(options.devices) - set(accepted))
    if accepted or not unknown:
        _say(options, {"accepted": accepted}, "\n".join(f"Accepted {one}" for one in accepted) or "Nobody waits.")
    if unknown:
        raise BadInput(f"No key of {', '.join(unknown)} waits to be accepted.")
    return 0


def _upload(options: argparse.Namespace) -> int:
    server = _client(options)
    for path in options.files:
        found = server.upload(path, options.description)
        fits = ", ".join(found["device_types_compatible"])
        told = {key: found[key] for key in ("id", "name", "size", "signed", "device_types_compatible")}
        _say(options, told, f"{found['name']} for {fits}, {found['size']} bytes ({found['id']})")
    return 0


def _deploy(options: argparse.Namespace) -> int:
    if sum((bool(options.to), bool(options.group), options.all, bool(options.filter))) != 1:
        raise BadInput("Say whom it is for, in one way: --to, --group, --all or --filter.")
    order: dict[str, Any] = {
        "name": options.name or options.artifact,
        "artifact_name": options.artifact,
        "force_installation": options.force,
        "retries": options.retries,
        "phases": [_phase(one) for one in options.phase],
        "all_devices": options.all,
    }
    if options.to:
        order["devices"] = options.to
    if options.group:
        order["group"] = options.group
    if options.filter:
        order["filter_id"] = options.filter
    if options.halt_at is not None:
        order["failure_limit"] = {"percent": options.halt_at}
    server = _client(options)
    deployment = server.deploy(order)
    _say(options, {"deployment": deployment}, f"Deployment {deployment}")
    return _watch(server, deployment, options) if options.watch else 0


def _phase(text: str) -> dict[str, Any]:
    match = PHASE.fullmatch(text)
    size = _share(match[2], is_percent=bool(match[3])) if match else None
    if match is None or size is None:
        raise BadInput(f"{text!r} is no phase: give 10% or 25 devices, +2h until the next, wait: before it.")
    delay = {"delay": int(match[4]), "delayUnit": UNITS[match[5]]} if match[4] else {}
    return {**size, **delay, "pause": bool(match[1])}


def _share(text: str, *, is_percent: bool) -> dict[str, Any] | None:
    """How many devices may begin, as the API words it; None if it cannot be so many."""
    if is_percent:
        return {"batch_size": float(text)} if 0 < float(text) <= 100 else None
    return {"device_count": int(text)} if text.isdigit() and int(text) else None


def _retries(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:9]) <= MOST_RETRIES:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {MOST_RETRIES}")


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0
    if 0 < percent <= 100:
        return percent
    raise argparse.ArgumentTypeError(f"{text!r} is not a percentage above 0 and up to 100")


def _watch(server: Any, deployment: str, options: argparse.Namespace) -> int:
    """Say each change, until nothing can come any more; 1 if a device did not end well."""
    before = None
    while True:
        found = server.deployment(deployment)
        counts = {status: number for status, number in found["statistics"]["status"].items() if number}
        told = {
            "deployment": deployment,
            "status": found["status"],
            "state": found["state"],
            "reason": found["reason"],
            "devices": counts,
        }
        if told != before:
            before = told
            numbers = ", ".join(f"{number} {status}" for status, number in counts.items()) or "no device yet"
            held = "" if found["state"] == "running" else f" ({found['state']}: {found['reason'] or 'by the operator'})"
            _say(options, told, f"{found['status']}{held}: {numbers}")
        if found["status"] == "finished":
            return 0 if set(counts) <= GOOD else FAILED
        time.sleep(LOOK_EVERY)


def _say(options: argparse.Namespace, told: dict[str, Any], sentence: str) -> None:
    print(json.dumps(told) if options.json else sentence, flush=True)
