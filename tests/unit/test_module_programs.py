# SPDX-License-Identifier: Apache-2.0
"""The modules that run programs: `script`, and `deb` with the real dpkg on a root of its own."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.module_client import Client
from tests.unit.processes import ended

# -- script ------------------------------------------------------------------------------------------------------------


def scripts(tmp_path: Path, **files: str) -> Client:
    named = {
        name.replace("_", "-"): text.replace("OUT", str(tmp_path / "out")).encode() for name, text in files.items()
    }
    return Client("script", tmp_path / "work").bring(named)


def out(tmp_path: Path) -> str:
    path = tmp_path / "out"
    return path.read_text() if path.exists() else ""


def test_scripts_run_in_the_order_of_their_names(tmp_path: Path) -> None:
    first, last = "#!/bin/sh\necho first $# >>OUT; echo to the log", "echo no first line >>OUT"
    work = scripts(tmp_path, b=last, B=first, a="#!/bin/sh\nreadlink /proc/self/fd/0 >>OUT")
    (work.work / "files" / ".hidden").write_text(f"echo hidden >>{tmp_path}/out")
    assert work.update() == "success"
    assert out(tmp_path) == "first 0\n/dev/null\nno first line\n"


def test_the_first_that_fails_ends_it(tmp_path: Path) -> None:
    work = scripts(tmp_path, a="#!/bin/sh\necho a >>OUT", b="#!/bin/sh\nexit 3", c="#!/bin/sh\necho c >>OUT")
    assert work.update() == "failed"
    assert work.said == "The script b failed with exit code 3.\n"
    assert out(tmp_path) == "a\n"
    assert ("ArtifactRollback", 0) not in work.calls


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/no/such/shell\n", "The script a cannot be run: No such file or directory."),
        ("#!/bin/sh\nkill -9 $$", "The script a was ended by SIGKILL."),
    ],
)
def test_scripts_that_do_not_come_to_their_end(tmp_path: Path, text: str, says: str) -> None:
    work = scripts(tmp_path, a=text)
    assert work.update() == "failed"
    assert work.said == f"{says}\n"


def test_a_script_ends_with_its_module(tmp_path: Path) -> None:
    """A client whose patience ends asks the whole process group to end."""
    work = scripts(tmp_path, a="#!/bin/sh\necho $$ >>OUT\nexec sleep 1000")
    with work.start("ArtifactInstall") as process:
        while not out(tmp_path).endswith("\n"):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    assert ended(int(out(tmp_path)))


# -- deb ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A root for dpkg, as empty as it takes it."""
    if shutil.which("dpkg") is None:
        pytest.skip("dpkg is not installed")
    system = tmp_path / "system"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc"):
        (system / folder).mkdir(parents=True)
    (system / "var/lib/dpkg/status").touch()
    return system


def deb(tmp_path: Path, name: str, version: str, *, depends: str = "", script: str = "") -> bytes:
    tree = tmp_path / "build" / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "etc" / name).write_text(version)
    told = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "Nobody", "Description": "x"}
    more = {"Depends": depends} if depends else {}
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in {**told, **more}.items()))
    (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}\n")
    for folder in (tree, tree / "DEBIAN", tree / "etc"):
        folder.chmod(0o755)
    if script:
        (tree / "DEBIAN/postinst").write_text(script)
        (tree / "DEBIAN/postinst").chmod(0o755)
    packed = tmp_path / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", tree, packed], check=True, capture_output=True)
    return packed.read_bytes()


def packages(tmp_path: Path, system: Path, name: str = "work", **files: bytes) -> Client:
    force = "not-root,bad-path,script-chrootless"
    environment = {"DPKG_ROOT": str(system), "DPKG_FORCE": force, "TMPDIR": str(tmp_path)}
    return Client("deb", tmp_path / name, environment).bring({f"{key}.deb": raw for key, raw in files.items()})


def installed(system: Path) -> dict[str, str]:
    shown = subprocess.run(
        ["dpkg-query", "--admindir", system / "var/lib/dpkg", "-W", "-f", "${Package}=${db:Status-Status}\n"],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    return dict(line.split("=") for line in shown.splitlines())


def test_packages_are_installed_together(tmp_path: Path, system: Path) -> None:
    user, used = deb(tmp_path, "user", "1", depends="used"), deb(tmp_path, "used", "1")
    work = packages(tmp_path, system, a=user, z=used)
    (work.work / "files" / "README").write_text("no package")
    assert work.update() == "success", work.said
    assert installed(system) == {"used": "installed", "user": "installed"}
    assert (system / "etc/user").read_text() == "1"
    assert list((work.work / "tmp").iterdir()) == []


def test_configuration_that_was_changed_on_the_device_stays(tmp_path: Path, system: Path) -> None:
    assert packages(tmp_path, system, "first", a=deb(tmp_path, "app", "1")).update() == "success"
    (system / "etc/app").write_text("mine")
    assert packages(tmp_path, system, "second", a=deb(tmp_path, "app", "2")).update() == "success"
    assert (system / "etc/app").read_text() == "mine"


def test_what_dpkg_refuses(tmp_path: Path, system: Path) -> None:
    broken = packages(tmp_path, system, "broken", a=b"no package")
    assert broken.update() == "failed"
    lines = broken.said.splitlines()
    assert lines[-1].startswith("dpkg failed with exit code ")
    needs = packages(tmp_path, system, "needs", a=deb(tmp_path, "app", "1", depends="missing"))
    assert needs.update() == "failed", "the rest of the way was gone although dpkg could not repair it"
    assert installed(system) == {"app": "unpacked"}


def test_what_a_loss_of_power_has_left_half_done_is_configured(tmp_path: Path, system: Path) -> None:
    """The maintainer script takes the module and dpkg with it, then lets itself be run again."""
    script = (
        f"#!/bin/sh\n[ -e {tmp_path}/once ] && exit 0\n: >{tmp_path}/once\nkill -9 -$(cut -d' ' -f5 /proc/$$/stat)\n"
    )
    work = packages(tmp_path, system, a=deb(tmp_path, "app", "1", script=script))
    assert work.call("ArtifactInstall") == -signal.SIGKILL
    assert installed(system) == {"app": "half-configured"}
    work.recover(can_roll_back=False)
    assert installed(system) == {"app": "installed"}
