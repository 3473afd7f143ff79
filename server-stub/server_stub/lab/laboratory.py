# SPDX-License-Identifier: Apache-2.0
"""What a server has only when it is started for a laboratory: the journal, and the rules that are in force.

Both live in the memory of the one process that a laboratory runs. Rules are changed from the event loop alone.
"""

from collections.abc import Callable, Mapping, Sequence
from ssl import OP_NO_TICKET, SSLContext, SSLObject, SSLSocket

from server_stub.lab import faults
from server_stub.lab.faults import Asked, Certificate, Fault, InForce, Place, Rule
from server_stub.lab.journal import Entry, Journal

# Who asks for the server by this name meets no wrong certificate: the operator must get in to take the rule away.
SPARED = "localhost"


class Laboratory:
    def __init__(self) -> None:
        self.journal = Journal()
        self.certificates: Mapping[str, SSLContext] = {}
        self._rules: tuple[InForce, ...] = ()
        self._last = 0

    @property
    def rules(self) -> Sequence[InForce]:
        return self._rules

    def append(self, *rules: Rule) -> None:
        """Put rules behind those that are in force."""
        for rule in rules:
            self._last += 1
            self._rules = (*self._rules, InForce(self._last, rule))

    def clear(self) -> None:
        """Nothing goes wrong any more, but what has begun to."""
        self._rules = ()

    def take(self, asked: Asked, entry: Entry | None = None) -> "Firing | None":
        """What goes wrong with a request; `settle` the result in any case."""
        self._rules, taken = faults.decide(self._rules, asked)
        return None if taken is None else Firing(self, taken, entry)

    def security(self, _config: object, own: Callable[[], SSLContext]) -> SSLContext:
        """The server's own side of TLS, which asks the rules at each handshake."""
        context = own()
        context.sni_callback = self._choose_certificate
        # Who resumes a session is shown no certificate.
        context.num_tickets = 0
        context.options |= OP_NO_TICKET
        return context

    def _choose_certificate(self, connection: SSLSocket | SSLObject, name: str | None, _own: SSLContext) -> None:
        """At a TLS handshake: go on with another certificate if a rule says so."""
        firing = None if name == SPARED else self.take(Asked(Place.HANDSHAKE))
        if firing is None:
            return
        assert isinstance(firing.fault, Certificate)
        if context := self.certificates.get(firing.fault.shows):
            connection.context = context
            firing.entry = self.journal.begin("TLS", "", {})
            firing.fire()
        firing.settle()

    def fire(self, number: int) -> None:
        self._rules = faults.fire(self._rules, number)

    def give_back(self, number: int) -> None:
        self._rules = faults.give_back(self._rules, number)


class Firing:
    """A rule that has taken a request. Counted, and named in the journal, once it has had its effect."""

    def __init__(self, laboratory: Laboratory, taken: InForce, entry: Entry | None) -> None:
        self.entry = entry
        self._laboratory = laboratory
        self._taken = taken
        self._fired = False

    @property
    def fault(self) -> Fault:
        return self._taken.rule.fault

    def fire(self) -> None:
        """The device now sees the fault."""
        if not self._fired:
            self._fired = True
            self._laboratory.fire(self._taken.number)
            if self.entry is not None:
                self.entry.fault = self.fault.kind

    def settle(self) -> None:
        """The request has been dealt with."""
        if not self._fired:
            self._laboratory.give_back(self._taken.number)
