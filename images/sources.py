# SPDX-License-Identifier: Apache-2.0
"""Where Debian packages come from: the archives this machine's own apt is set up with.

Lists and archives live in a private state directory, so that nothing of the machine's apt is changed
and no root is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.errors import ImageError
from images.run import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURE = "arm64"


@dataclass(frozen=True)
class Source:
    """One component of one suite of one archive."""

    uri: str
    suite: str
    component: str
    signed_by: str

    def line(self, kind: str, arch: str | None = None) -> str:
        options = [f"arch={arch}"] if arch else []
        options += [f"signed-by={self.signed_by}"] if self.signed_by else []
        return f"{kind} [{' '.join(options)}] {self.uri} {self.suite} {self.component}"


def host_sources() -> list[Source]:
    """The Debian archives that this machine knows, in its own order.

    Raises:
        ImageError: there are none, or apt is not there.
    """
    tokens = ("REPO_URI", "RELEASE", "COMPONENT", "SIGNED_BY", "ORIGIN")
    form = "|".join(f"$({token})" for token in tokens)
    found: dict[Source, None] = {}
    for line in run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines():
        uri, suite, component, signed_by, origin = line.split("|")
        if origin == "Debian":
            keyring = signed_by if signed_by.startswith("/") else str(KEYRING) if KEYRING.exists() else ""
            found[Source(uri, suite, component, keyring)] = None
    if not found:
        raise ImageError("This machine's apt knows no Debian archive.", "Add one and run 'apt-get update'.")
    return list(found)


class Apt:
    """apt for another architecture, with a state directory of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        for needed in ("lists/partial", "archives/partial"):
            (state / needed).mkdir(parents=True, exist_ok=True)
        self.list = state / "sources.list"
        sources = host_sources()
        self.binary_lines = [source.line("deb", ARCHITECTURE) for source in sources]
        self.list.write_text("\n".join([*self.binary_lines, *(s.line("deb-src") for s in sources)]) + "\n")
        self._run("apt-get", "update", "-q")

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        settings = {
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            "APT::Sandbox::User": "",
            "Dir::Cache": str(self.state),
            "Dir::Etc::SourceList": str(self.list),
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": str(self.state / "lists"),
            "Dir::State::status": "/dev/null",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return run([program, *options, *words], cwd=cwd)

    def download(self, package: str, into: Path) -> Path:
        """The newest .deb of `package`, in `into`."""
        before = set(into.glob("*.deb"))
        self._run("apt-get", "download", "-q", package, cwd=into)
        return (set(into.glob("*.deb")) - before).pop()

    def depends(self, package: str) -> list[str]:
        """What a package depends on, first level, by name."""
        lines = self._run("apt-cache", "depends", package).splitlines()
        return [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("Depends:")]

    def source(self, package: str, into: Path) -> Path:
        """The unpacked and patched source tree of `package`, in `into`."""
        self._run("apt-get", "source", "-q", package, cwd=into)
        return next(path for path in sorted(into.iterdir()) if path.is_dir())
