# SPDX-License-Identifier: Apache-2.0
"""What becomes of Debian's packages when they are unpacked for the board."""

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from images.rootfs import unpack

UMASK = 0o077  # whatever whoever builds has


def member(name: str, kind: bytes, mode: int, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.mode, made.linkname, made.mtime = kind, mode, link, 1_000_000
    return made


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    file = tmp_path / "root.tar"
    with tarfile.open(file, "w") as tar:
        for one in (
            member("./dev", tarfile.DIRTYPE, 0o755),
            member("./dev/null", tarfile.CHRTYPE, 0o666),
            member("./dev/initctl", tarfile.FIFOTYPE, 0o600),
            member("./tmp", tarfile.DIRTYPE, 0o1777),
            member("./usr", tarfile.DIRTYPE, 0o555),
            member("./usr/su", tarfile.REGTYPE, 0o4755),
            member("./usr/table", tarfile.REGTYPE, 0o664),
            member("./usr/rmt", tarfile.SYMTYPE, 0o777, "/usr/sbin/rmt"),
            member("./usr/same", tarfile.LNKTYPE, 0o664, "./usr/table"),
        ):
            tar.addfile(one, io.BytesIO())
    return file


@pytest.fixture
def oldest_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12's 3.11.2, in which extracting takes no filter."""
    extract = tarfile.TarFile.extractall

    def extractall(
        tar: tarfile.TarFile,
        path: Path,
        members: Iterable[tarfile.TarInfo] | None = None,
        *,
        numeric_owner: bool = False,
    ) -> None:
        extract(tar, path, members, numeric_owner=numeric_owner)

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)


@pytest.mark.usefixtures("oldest_python")
def test_devices_and_high_modes_are_left_out(packages: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    before = os.umask(UMASK)
    try:
        unpack(packages, tree)
    finally:
        os.umask(before)
    found = {str(path.relative_to(tree)): path.lstat() for path in tree.rglob("*")}
    modes = {name: oct(stat.S_IMODE(one.st_mode)) for name, one in found.items() if not stat.S_ISLNK(one.st_mode)}
    assert modes == {
        "dev": "0o755", "tmp": "0o755", "usr": "0o555", "usr/su": "0o755", "usr/table": "0o644", "usr/same": "0o644",
    }  # fmt: skip
    assert (tree / "usr/rmt").readlink() == Path("/usr/sbin/rmt"), "it is meant for the board"
    assert found["usr/same"].st_ino == found["usr/table"].st_ino
    assert found["usr"].st_mtime == found["usr/su"].st_mtime == 1_000_000
