# SPDX-License-Identifier: Apache-2.0
"""The QEMU command line: a pure function of what the board is and where it runs."""

from __future__ import annotations

from collections.abc import Iterator

from harness.board.spec import SSH_PORT, BoardSpec, Wiring
from images.layout import SECTOR, Window

QEMU = "qemu-system-aarch64"
REQUESTS = ("virtio_blk_handle_read", "virtio_blk_handle_write")  # names of QEMU's trace events


def command_line(spec: BoardSpec, wiring: Wiring) -> tuple[str, ...]:
    """All words of the command, the program first."""
    return (QEMU, *_machine(spec), *_media(spec, wiring), *_network(spec), *_stick(spec), *_lines(wiring))


def _machine(spec: BoardSpec) -> Iterator[str]:
    yield from ("-nodefaults", "-no-user-config", "-display", "none")
    yield from ("-name", spec.name, "-M", spec.machine, "-accel", "tcg", "-cpu", spec.cpu, "-m", str(spec.memory))
    yield from ("-bios", str(spec.uboot))
    if spec.watchdog:
        yield from ("-device", "i6300esb", "-action", "watchdog=reset")


def _media(spec: BoardSpec, wiring: Wiring) -> Iterator[str]:
    """One image below one log, cut into windows, so that all writes stand in one order.

    Host flushes are switched off: what counts as durable is decided from the log, not by this machine's disk.
    Nor may QEMU merge what the board asked for: each request of its own can be lost alone.
    """
    yield from _blockdev(driver="file", node_name="image-file", filename=wiring.overlay, cache__no_flush="on")
    yield from _blockdev(driver="qcow2", node_name="image", file="image-file", cache__no_flush="on")
    yield from _blockdev(driver="file", node_name="log-file", filename=wiring.log, cache__no_flush="on")
    yield from _blockdev(
        driver="blklogwrites",
        node_name="log",
        file="image",
        log="log-file",
        log_sector_size=SECTOR,
        log_super_update_interval=1,
    )
    for window in spec.layout.windows:
        yield from _window(window)
    yield from ("-device", "sdhci-pci", "-device", f"sd-card,drive={spec.layout.card.name}")
    for window in (spec.layout.disk, spec.layout.marks):
        yield from (
            "-device",
            f"virtio-blk-pci,drive={window.name},serial={window.name},share-rw=on,discard=off,write-zeroes=off,"
            "request-merging=off",
        )


def _window(window: Window) -> Iterator[str]:
    yield from _blockdev(driver="raw", node_name=window.name, file="log", offset=window.start, size=window.size)


def _blockdev(**options: object) -> Iterator[str]:
    words = (f"{name.replace('__', '.').replace('_', '-')}={_escaped(str(value))}" for name, value in options.items())
    yield from ("-blockdev", ",".join(words))


def _escaped(value: str) -> str:
    """A comma within a value is doubled."""
    return value.replace(",", ",,")


def _network(spec: BoardSpec) -> Iterator[str]:
    """User network; SSH is reached on a port of the loopback that QEMU chooses."""
    yield from ("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:0-:{SSH_PORT}")
    yield from ("-device", f"virtio-net-pci,netdev=net,id=nic,mac={spec.mac},romfile=")


def _stick(spec: BoardSpec) -> Iterator[str]:
    """A disk that comes last, so that the others keep their names; what is written to it is in no log."""
    if spec.stick is not None:
        server = {"server__type": "unix", "server__path": spec.stick}
        yield from _blockdev(driver="nbd", node_name="stick", read_only="on", **server)
        yield from ("-device", "virtio-blk-pci,drive=stick,serial=stick")


def _lines(wiring: Wiring) -> Iterator[str]:
    yield from ("-chardev", f"socket,id=console,path={_escaped(str(wiring.console))},server=on,wait=on")
    yield from ("-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=monitor,path={_escaped(str(wiring.monitor))},server=on,wait=off")
    yield from ("-mon", "chardev=monitor,mode=control")
    if wiring.requests is not None:
        yield from ("-D", str(wiring.requests), *(word for event in REQUESTS for word in ("-trace", event)))
