"""What azure-cli prints of a resource, in ARM's own shape.

``az network ... list`` lifts the properties of a resource, and of the children in it, one level up,
and older versions spell some of them otherwise (``privateIpAddress``). Resources that have their
``properties`` pass as they are. Not for what a property means (:mod:`harness.network.arm`).
"""

from __future__ import annotations

from typing import Any

_OUTSIDE = frozenset(
    {
        "id", "name", "type", "kind", "location", "extendedLocation", "sku", "zones", "tags", "etag",
        "identity", "plan", "managedBy", "resourceGroup", "systemData",
    }
)  # fmt: skip
"""What stands beside ``properties`` in ARM."""

_SPELLINGS = {
    name.lower(): name
    for name in (
        "backendIPConfiguration", "backendIPConfigurations", "enableFloatingIP", "enableIPForwarding",
        "frontendIPConfiguration", "frontendIPConfigurations", "networkInterfaceIPConfiguration",
        "privateIPAddress", "privateIPAddressVersion", "privateIPAllocationMethod", "publicIPAddress",
        "publicIPPrefix", "publicIpAddresses", "publicIpAddressesV6", "publicIpPrefixes",
        "publicIpPrefixesV6", "loadBalancerFrontendIpConfiguration", "ipAddress", "ipPrefix",
        "nextHopIpAddress", "nextHopIpAddresses",
    )
}  # fmt: skip
"""ARM's own spelling of names that azure-cli's versions spell differently."""


def arm_shape(resource: Any) -> Any:
    """The resource with its ``properties`` in their place; what is none is returned as it is."""
    if not isinstance(resource, dict) or "properties" in resource:
        return resource
    return _unflattened(resource)


def _unflattened(body: dict[str, Any]) -> dict[str, Any]:
    """An object with an id or a name is a resource, a child or a reference; all others hold values."""
    named = "id" in body or "name" in body
    outside: dict[str, Any] = {}
    inside: dict[str, Any] = {}
    for name, value in body.items():
        if named and name in _OUTSIDE:
            outside[name] = value
        else:
            inside.setdefault(_SPELLINGS.get(name.lower(), name), _inner(value))
    return {**outside, "properties": inside} if named else inside


def _inner(value: Any) -> Any:
    if isinstance(value, list):
        return [_inner(item) for item in value]
    if isinstance(value, dict):
        return value if "properties" in value else _unflattened(value)
    return value
