# SPDX-License-Identifier: Apache-2.0
"""The options of `bootproof artifact`, named as mender-artifact names them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from updater.artifact import Compression
from updater.artifacttool.exits import ExitCode, Failure, sentence

EPILOGUE = """\
exit codes:
  0 done     1 an option is wrong     2 the format version is not 3     3 an output cannot be created
  4 an input cannot be opened     5 the file is no valid artifact     6 not supported     7 this machine failed
"""
COMPRESSIONS: dict[str, tuple[Compression, int | None]] = {
    "none": (Compression.NONE, None),
    "gzip": (Compression.GZIP, None),
    "lzma": (Compression.XZ, None),
    "xz": (Compression.XZ, None),
    "zstd": (Compression.ZSTD, None),
    # The names are mender-artifact's; its library says which of zstd's levels they stand for.
    "zstd_fastest": (Compression.ZSTD, 1),
    "zstd_fast": (Compression.ZSTD, 3),
    "zstd_better": (Compression.ZSTD, 7),
    "zstd_best": (Compression.ZSTD, 11),
}
REMOTE_KEYS = (
    "--gcp-kms-key", "--key-pkcs11", "--keyfactor-signserver-worker", "--vault-transit-key", "--azure-vault-key",
)  # fmt: skip
AUGMENTS = ("--augment-type", "--augment-file", "--augment-meta-data", "--augment-provides", "--augment-depends")

Commands = Any  # what argparse gives out has no public name


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Failure(ExitCode.PARAMETERS, sentence(message), f"See '{self.prog} --help'.")


class Unsupported(argparse.Action):
    """An option mender-artifact has and this tool does not; its value may look like an option itself."""

    def __call__(self, _: object, __: object, ___: object, option: str | None = None) -> NoReturn:
        raise Failure(ExitCode.FEATURE, f"The option {option} is not supported.", "Leave it out.")


def parser(perform: Callable[[str], Callable[[argparse.Namespace], ExitCode]]) -> Parser:
    """All commands; `perform` gives the work of a command by its name."""
    made = Parser(
        prog="bootproof artifact",
        description="Write, read, validate, sign and take apart artifacts.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND", dest="command")
    kinds = commands.add_parser("write", help="write an artifact").add_subparsers(
        required=True, metavar="KIND", dest="kind"
    )
    for add_kind in (_add_rootfs_image, _add_module_image, _add_bootstrap_artifact):
        add_kind(kinds, perform)
    for add_command in (_add_read, _add_validate, _add_sign, _add_dump):
        add_command(commands, perform)
    return made


def _add_rootfs_image(kinds: Commands, perform: Callable[[str], Any]) -> None:
    made = kinds.add_parser("rootfs-image", help="an image of a root file system")
    made.set_defaults(perform=perform("write_rootfs_image"))
    made.add_argument("-f", "--file", required=True, metavar="FILE", help="the image")
    _add_common(made)
    _add_payload(made)
    made.add_argument("--no-checksum-provide", action="store_true", help="do not provide the image's checksum")
    made.add_argument(
        "--legacy-rootfs-image-checksum",
        action="store_true",
        help="provide the checksum as rootfs_image_checksum, for the oldest clients",
    )
    made.add_argument("-S", "--ssh-args", action=Unsupported, nargs="?", help=argparse.SUPPRESS)


def _add_module_image(kinds: Commands, perform: Callable[[str], Any]) -> None:
    made = kinds.add_parser("module-image", help="files for an update module")
    made.set_defaults(perform=perform("write_module_image"))
    made.add_argument("-T", "--type", required=True, help="type of the payload: the name of the update module")
    made.add_argument(
        "-f", "--file", action="append", default=[], metavar="FILE", help="a file of the payload (repeatable)"
    )
    made.add_argument("-m", "--meta-data", type=Path, metavar="FILE", help="a JSON object for the update module")
    _add_common(made)
    _add_payload(made)
    _add_unsupported(made, AUGMENTS)


def _add_bootstrap_artifact(kinds: Commands, perform: Callable[[str], Any]) -> None:
    made = kinds.add_parser("bootstrap-artifact", help="no payload: it tells a new device what it provides")
    made.set_defaults(perform=perform("write_bootstrap_artifact"))
    _add_common(made)


def _add_common(made: argparse.ArgumentParser) -> None:
    made.add_argument("-n", "--artifact-name", required=True, metavar="NAME", help="name of the artifact")
    made.add_argument(
        "-t", "--compatible-types", "--device-type", action="append", required=True, metavar="TYPE",
        help="a device type it is for (repeatable)",
    )  # fmt: skip
    made.add_argument(
        "-o", "--output-path", type=Path, default=Path("artifact.mender"), metavar="FILE",
        help="the artifact (artifact.mender)",
    )  # fmt: skip
    made.add_argument("-k", "--key", type=Path, metavar="FILE", help="private key to sign with")
    made.add_argument("--compression", choices=list(COMPRESSIONS), default="gzip", help="(gzip)", metavar="NAME")
    made.add_argument("-v", "--version", type=int, default=3, help="format version: 3")
    made.add_argument("-g", "--provides-group", metavar="GROUP", help="the group it provides")
    _add_repeatable(made, "-N", "--artifact-name-depends", "NAME", "an artifact that must be installed (repeatable)")
    _add_repeatable(made, "-G", "--depends-groups", "GROUP", "a group the device must be in (repeatable)")
    _add_repeatable(made, "-p", "--provides", "KEY:VALUE", "what it provides (repeatable)")
    _add_repeatable(made, "-d", "--depends", "KEY:VALUE", "what it depends on (repeatable; one key: any of its values)")
    _add_repeatable(made, None, "--clears-provides", "PATTERN", "what it makes a device forget (repeatable)")
    made.add_argument("--no-progress", action="store_true", help=argparse.SUPPRESS)
    _add_unsupported(made, REMOTE_KEYS)


def _add_payload(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "-s", "--script", action="append", type=Path, default=[], metavar="PATH",
        help="a state script, or a directory of them (repeatable)",
    )  # fmt: skip
    made.add_argument("--software-filesystem", metavar="NAME", help="first part of the version's key (rootfs-image)")
    made.add_argument("--software-name", metavar="NAME", help="second part of the version's key")
    made.add_argument("--software-version", metavar="VERSION", help="version of the software (the artifact's name)")
    made.add_argument("--no-default-software-version", action="store_true", help="provide no version, clear nothing")
    made.add_argument("--no-default-clears-provides", action="store_true", help="clear only what is given")


def _add_repeatable(made: argparse.ArgumentParser, short: str | None, long: str, metavar: str, told: str) -> None:
    names = [long] if short is None else [short, long]
    made.add_argument(*names, action="append", default=[], metavar=metavar, help=told)


def _add_unsupported(made: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for name in names:
        made.add_argument(name, action=Unsupported, nargs="?", help=argparse.SUPPRESS)


def _add_verified(made: argparse.ArgumentParser) -> None:
    made.add_argument("artifact", type=Path, metavar="ARTIFACT")
    made.add_argument(
        "-k", "--key", action="append", type=Path, default=[], metavar="FILE",
        help="public key, one of which must verify its signature (repeatable)",
    )  # fmt: skip
    made.add_argument("--no-progress", action="store_true", help=argparse.SUPPRESS)
    _add_unsupported(made, REMOTE_KEYS)


def _add_read(commands: Commands, perform: Callable[[str], Any]) -> None:
    made = commands.add_parser("read", help="print what an artifact says of itself")
    made.set_defaults(perform=perform("read"))
    _add_verified(made)
    made.add_argument("--json", action="store_true", help="for programs")


def _add_validate(commands: Commands, perform: Callable[[str], Any]) -> None:
    made = commands.add_parser("validate", help="read an artifact to its last byte")
    made.set_defaults(perform=perform("validate"))
    _add_verified(made)


def _add_sign(commands: Commands, perform: Callable[[str], Any]) -> None:
    made = commands.add_parser("sign", help="sign an artifact")
    made.set_defaults(perform=perform("sign"))
    made.add_argument("artifact", type=Path, metavar="ARTIFACT")
    made.add_argument("-k", "--key", type=Path, required=True, metavar="FILE", help="private key to sign with")
    made.add_argument("-o", "--output-path", type=Path, metavar="FILE", help="the signed artifact (in place)")
    made.add_argument("-f", "--force", action="store_true", help="replace a signature")
    _add_unsupported(made, REMOTE_KEYS)


def _add_dump(commands: Commands, perform: Callable[[str], Any]) -> None:
    made = commands.add_parser("dump", help="take an artifact apart")
    made.set_defaults(perform=perform("dump"))
    made.add_argument("artifact", type=Path, metavar="ARTIFACT")
    for name, told in (("--files", "payload files"), ("--meta-data", "meta-data"), ("--scripts", "state scripts")):
        made.add_argument(name, type=Path, metavar="DIR", help=f"where to put the {told}")
    printed = made.add_mutually_exclusive_group()
    printed.add_argument("--print-cmdline", action="store_true", help="print what writes such an artifact")
    printed.add_argument("--print0-cmdline", action="store_true", help="the same, each word ended by a zero byte")
