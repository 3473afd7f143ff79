# SPDX-License-Identifier: Apache-2.0
"""A rig whose line to the server breaks and mends when the story says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.clock import Deadline, pause, poll
from harness.errors import Inconclusive
from harness.faults.gate import Gate
from harness.faults.network import State
from harness.faults.power import Moment, Watch
from harness.judge import Slot
from harness.lab.rig import LOOK_SECONDS, Rig

OTHER: dict[Slot, Slot] = {"a": "b", "b": "a"}


class LineRig(Rig):
    """A rig that can be stopped at a moment, and whose line can be broken."""

    @contextlib.contextmanager
    def at(self, moment: Moment, says: str = "") -> Iterator[None]:
        """Stop the board at a moment for as long as the block lasts.

        What the board sends after the moment reaches the server only after the block.

        Raises:
            Inconclusive: the moment did not come.
        """
        layout = self.board.spec.layout
        log, moment = self.board.log, moment.within(f"rootfs-{OTHER[self.running]}")
        gate = Gate(Watch(moment, log, layout), log, self._looked)
        self.relay.hold_when(gate)
        try:
            with self.events.step(says or f"Stop the board {moment}"):
                if not poll(gate, Deadline(self.timeouts.settle), every=0.001):
                    self._must_be_on()
                    raise Inconclusive(f"The board never came to the moment {moment}.")
                self.hold()
            assert gate.position is not None
            self._looked = gate.position
            yield
            self.let_go()
        finally:
            self.relay.release()

    def break_download(self, received: int, *, silently: bool = False) -> None:
        """Break the connection that brings the board `received` bytes, and keep the line down until it is mended.

        Silently: the connection stays open, and no byte passes any more.
        """
        says = "falls silent" if silently else "breaks"
        self.events.emit("fault", says=f"The line {says} after {received} bytes and stays so")
        self.relay.break_after(received, State.SILENT if silently else State.DOWN)

    def break_line(self, *, silently: bool = False) -> None:
        """Break the line now, and keep it down until it is mended."""
        self.events.emit("fault", says=f"The line {'falls silent' if silently else 'goes down'} and stays so")
        self.relay.go(State.SILENT if silently else State.DOWN)

    def heal_network(self, *, after: float = 0.0, tries: int = 0) -> None:
        """Mend the line `after` seconds after it has broken, and once the board has tried it so often in vain.

        Raises:
            Inconclusive: it never broke, or the board did not try.
        """
        with self.events.step(_waiting(after, tries)):
            self.wait_broken()
            if not poll(lambda: self.relay.turned_away >= tries, Deadline(self.timeouts.fault), every=LOOK_SECONDS):
                raise Inconclusive(f"The board tried the broken line {self.relay.turned_away} times, not {tries}.")
            pause(after)
            self.relay.heal()

    def wait_broken(self) -> None:
        """Wait until the line has broken.

        Raises:
            Inconclusive: it never did.
        """
        if not poll(lambda: self.relay.broken, Deadline(self.timeouts.fault), every=LOOK_SECONDS):
            raise Inconclusive("The line was never broken: the board did not download as much as was expected.")


def _waiting(after: float, tries: int) -> str:
    words = [f"for {after:.0f} s"] * bool(after) + [f"until the board has tried it {tries} times"] * bool(tries)
    return f"Keep the line down {' and '.join(words)} once it has broken" if words else "Mend the line"
