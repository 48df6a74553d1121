"""A Linux guest's own addresses: reads ``ip -j address``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from harness.network.model import IPAddress

IP_COMMAND = ("ip", "-j", "address")


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    interface: str
    address: IPAddress


def read_addresses(output: str) -> tuple[InterfaceAddress, ...]:
    """Global addresses of an ``ip -j address`` output, in its order; loopback and link-local are left out."""
    try:
        links = json.loads(output)
        return tuple(found for link in links for found in _of(link))
    except (ValueError, TypeError, AttributeError, KeyError):
        return ()


def _of(link: dict[str, Any]) -> list[InterfaceAddress]:
    return [
        InterfaceAddress(str(link["ifname"]), ip_address(info["local"]))
        for info in link.get("addr_info", ())
        if info.get("scope") == "global"
    ]
