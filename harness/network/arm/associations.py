"""What ties the objects of one snapshot together, whichever of two objects declares it.

Filled by the readers of all families, settled by the family that owns the association.
"""

from __future__ import annotations

from harness.network.claims import Claims
from harness.network.fields import Fields


class Associations:
    """All associations, and what the readers leave out of the model (``unmodelled``: key -> type, id)."""

    def __init__(self) -> None:
        self.subnet_nsgs = Claims("subnet", "network security group")
        self.subnet_tables = Claims("subnet", "route table")
        self.subnet_nats = Claims("subnet", "NAT gateway")
        self.vnet_nats = Claims("virtual network", "NAT gateway")
        self.nic_nsgs = Claims("network interface", "network security group")
        self.nic_vms = Claims("network interface", "virtual machine")
        self.configuration_subnets = Claims("IP configuration", "subnet")
        self.configuration_public_ips = Claims("IP configuration", "public IP address")
        self.frontend_public_ips = Claims("frontend IP configuration", "public IP address")
        self.frontend_prefixes = Claims("frontend IP configuration", "public IP prefix")
        self.public_ip_nats = Claims("public IP address", "NAT gateway")
        self.prefix_nats = Claims("public IP prefix", "NAT gateway")
        self.nat_rule_targets = Claims("inbound NAT rule", "IP configuration")
        self.pool_members: list[tuple[str, str, Fields, str]] = []
        """(backend pool, IP configuration, and the property that says so); any number of either."""
        self.asg_references: list[tuple[str, Fields, str]] = []
        """(application security group, and the property that names it)."""
        self.unmodelled: dict[str, tuple[str, str]] = {}
