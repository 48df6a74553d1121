"""The errors that azreach shows to its users: what happened, to what, and what to do next.

Every error that can follow from input or from the outside world is a subclass of
:class:`AzreachError`; the command line prints it without a traceback and ends with its
``exit_status``. Anything else that escapes is a bug of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.transport.known_hosts import ShownKey


class AzreachError(Exception):
    """What happened (``message``), and what to do next (``hint``, may be empty)."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(AzreachError):
    """A file or an argument that cannot be used; the message names the place (file, line, key)."""


class SnapshotError(InputError):
    """A snapshot of ARM resources that is unreadable or contradicts itself."""


class UnknownNameError(InputError):
    """A name (machine, VM, lab, fault, cause) that matches nothing."""


class TransportError(AzreachError):
    """A machine that cannot be reached or logged in to."""

    def __init__(self, machine: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{machine}: {message}", hint=hint)
        self.machine = machine


class HostKeyError(TransportError):
    """A host key that is unknown or differs from the recorded one; ``shown`` is what the host showed."""

    def __init__(self, machine: str, message: str, *, hint: str = "", shown: ShownKey | None = None) -> None:
        super().__init__(machine, message, hint=hint)
        self.shown = shown


class AuthenticationError(TransportError):
    """A log-in that the machine refused."""


class AgentError(AzreachError):
    """An agent that died, answered out of protocol, or refused a request."""

    exit_status = 3

    def __init__(self, machine: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{machine}: {message}", hint=hint)
        self.machine = machine


class InconclusiveError(AzreachError):
    """A diagnosis that cannot tell was used as a truth value."""

    exit_status = 3


class DisruptiveError(AzreachError):
    """A change to a machine or a network that was not permitted."""
