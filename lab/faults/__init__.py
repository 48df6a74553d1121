"""Every fault that can be injected into a lab: a name, what it does, and its changes.

A fault is made for one flow of the lab (who cannot reach whom on which port). What it is
*diagnosed* as is not known here: scenarios say that. A new fault is one function and one
row in the module of its kind.
"""

from __future__ import annotations

from types import MappingProxyType

from harness.errors import UnknownNameError
from lab.faults import firewall, listener, network
from lab.faults.site import Fault, Site, site_of

__all__ = ["FAULTS", "Fault", "Site", "find_fault", "site_of"]

FAULTS = MappingProxyType(
    {fault.name: fault for fault in (*network.FAULTS, *firewall.FAULTS, *listener.FAULTS)}
)


def find_fault(name: str) -> Fault:
    """The fault of that name; raises UnknownNameError."""
    try:
        return FAULTS[name]
    except KeyError:
        hint = f"`azreach lab faults` lists them: {', '.join(FAULTS)}"
        raise UnknownNameError(f"no fault '{name}'", hint=hint) from None
