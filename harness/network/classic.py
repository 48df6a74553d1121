"""Classic (ASM) deployments as data: cloud services, their endpoints and access control lists.

A classic VM is a :class:`~harness.network.model.VirtualMachine` with one NIC like any other; what
is special about it is that the world outside its virtual network reaches it by an endpoint of its
cloud service only (azure-facts, "Classic").
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.network.words import Access, IPAddress, IPNetwork, RuleProtocol


@dataclass(frozen=True, slots=True)
class EndpointAclRule:
    """Lowest ``order`` first, the first match decides; Allow is Azure's ``permit``."""

    order: int
    access: Access
    remote_subnet: IPNetwork
    description: str = ""


@dataclass(frozen=True, slots=True)
class ClassicEndpoint:
    """Public port -> private port of ``nic`` (key). Members of a load-balanced set share name and ports."""

    id: str
    name: str
    protocol: RuleProtocol
    public_port: int
    private_port: int
    nic: str
    acl: tuple[EndpointAclRule, ...] = ()
    load_balanced_set: str | None = None


@dataclass(frozen=True, slots=True)
class CloudService:
    """``address`` is its virtual IP; ``nics`` (keys) are those of its VMs."""

    id: str
    name: str
    address: IPAddress | None
    nics: tuple[str, ...] = ()
    endpoints: tuple[ClassicEndpoint, ...] = ()
