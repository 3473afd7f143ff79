# SPDX-License-Identifier: Apache-2.0
"""Tar headers one by one: what lies beyond the form a reader takes."""

import io
import tarfile

import pytest

from tests.unit.artifact_parts import END
from updater.artifact import ArtifactError, read_artifact
from updater.artifact.tarstream import TarReader


def test_sizes_beyond_ustar_are_read() -> None:
    info = tarfile.TarInfo("large")
    info.size = 9 * 1024**3
    entry = TarReader(io.BytesIO(info.tobuf(tarfile.PAX_FORMAT)), "the tar").next_entry()
    assert entry is not None
    assert (entry.name, entry.size) == ("large", 9 * 1024**3)


def tar_header(**changes: object) -> bytes:
    info = tarfile.TarInfo("version")
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT)


def patched(at: int, value: bytes) -> bytes:
    """The header of `version` with bytes replaced and its checksum made right again."""
    block = bytearray(tar_header())
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: bytes) -> bytes:
    """PAX records and the header of `version`."""
    info = tarfile.TarInfo("PaxHeaders/version")
    info.size, info.type = len(records), b"x"
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + tar_header()


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (tar_header(type=tarfile.DIRTYPE), "not a regular file"),
        (tar_header(type=tarfile.SYMTYPE, linkname="x"), "not a regular file"),
        (tar_header(type=tarfile.LNKTYPE, linkname="x"), "not a regular file"),
        (tar_header(type=tarfile.GNUTYPE_LONGNAME), "not a regular file"),
        (tar_header(type=tarfile.XGLTYPE), "not a regular file"),
        (tar_header()[:148] + b"000000\0 " + tar_header()[156:], "checksum does not match"),
        (tarfile.TarInfo("version").tobuf(tarfile.GNU_FORMAT), "not in ustar form"),
        (patched(124, b"\x80"), "malformed number"),
        (patched(124, b"9"), "malformed number"),
        (patched(124, bytes(12)), "malformed number"),
        (patched(8, b"x"), "zero byte"),
        (patched(0, b"\xff"), "not UTF-8"),
        (pax(b"rubbish"), "malformed PAX record"),
        (pax(b"99 path=x\n"), "malformed PAX record"),
        (pax(b"2 \n"), "malformed PAX record"),
        (pax(b"11 path=x\0\n"), "zero byte"),
        (pax(b"12 linkp=xy\n"), "no place in an artifact"),
        (pax(b"10 path=x\n10 path=y\n"), "no place in an artifact"),
        (pax(b"11 size=-1\n"), "malformed PAX size"),
        (pax(b"23 size=99999999999999\n"), "larger than"),
        (pax(bytes(9000)), "bytes of PAX records"),
        (pax(b"10 path=x\n")[:1024] + END, "belong to no entry"),
        (2 * pax(b"10 path=x\n")[:1024] + tar_header(), "not a regular file"),
        (b"", "truncated"),
    ],
)
def test_tar_headers_beyond_the_form(block: bytes, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        read_artifact(io.BytesIO(block))
