"""By what a packet leaves to the internet, once its route has said Internet.

Azure's order (nat-overview): NAT gateway of the subnet, public IP address of the instance, outbound
rules, load-balancing rules with SNAT, default outbound access. The load balancer's document
(load-balancer-outbound-connections) says that an instance's public IP address "takes precedence over
the others"; it is read as: over all but the NAT gateway, whose documents name it expressly.

A NAT gateway carries TCP and UDP only, and nothing else takes over what it does not carry:
"superseded" public addresses serve inbound flows alone (nat-gateway-design), and a ping "is expected to
fail" (troubleshoot-nat). It is in force for a family of which it has an address (Standard: IPv4 only);
without any it is not operational, though default outbound access is gone all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.model import Protocol
from harness.network.balancing import LoadBalancer, OutboundRule
from harness.network.classic import CloudService
from harness.network.model import IPAddress, IpConfiguration, IPNetwork, Network, NetworkInterface, key
from harness.policy.balancers import PublicSpace, balances, is_basic
from harness.policy.compiled import Compiled
from harness.policy.snat_ports import NAT_GATEWAY_PORTS, allocation_fault, default_ports, taken_ports

_ONE_TO_ONE = frozenset({Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ESP})
"""What an instance's public IP address carries outward."""

_NOTHING = PublicSpace()


class OutboundKind(StrEnum):
    NAT_GATEWAY = "nat-gateway"
    PUBLIC_IP = "public-ip"
    OUTBOUND_RULE = "outbound-rule"
    LOAD_BALANCING_RULE = "load-balancing-rule"
    DEFAULT_ACCESS = "default-outbound-access"


@dataclass(frozen=True, slots=True)
class Outbound:
    """What translates the source, and to which of its addresses as far as they are known.

    ``snat_ports`` are those for the packet's protocol: per instance, or a NAT gateway's own, which
    its instances share on demand. None: all ports are the instance's own, or nobody can tell.
    ``why`` says what won, and what else there is.
    """

    kind: OutboundKind
    object_id: str | None
    name: str
    addresses: tuple[IPAddress, ...]
    prefixes: tuple[IPNetwork, ...]
    snat_ports: int | None
    why: str


@dataclass(frozen=True, slots=True)
class NoOutbound:
    """``why`` goes through every method; ``subnet`` is the id of the one that could be given one."""

    why: str
    subnet: str


def outbound_of(
    view: Compiled, nic: NetworkInterface, configuration: IpConfiguration, protocol: Protocol
) -> Outbound | NoOutbound:
    """The way out of a packet that ``nic`` sends with the address of ``configuration``."""
    return _Asked(view, nic, configuration, protocol).answer()


class _Asked:
    """One question. Each method gives the way out by it, or says why there is none."""

    def __init__(
        self, view: Compiled, nic: NetworkInterface, configuration: IpConfiguration, protocol: Protocol
    ) -> None:
        self._view, self._network = view, view.network
        self._nic, self._configuration, self._protocol = nic, configuration, protocol
        self._family = configuration.address.version
        self._subnet = view.network.subnets[nic.subnet]
        self._balancers = view.publications.balancers
        self._memberships = self._balancers.of(configuration)

    def answer(self) -> Outbound | NoOutbound:
        ways = (
            self._nat_gateway, self._public_ip, self._outbound_rules, self._load_balancing_rules,
            self._default_access,
        )  # fmt: skip
        found = [way() for way in ways]
        usable = [way for way in found if isinstance(way, Outbound)]
        if usable and usable[0].kind is OutboundKind.NAT_GATEWAY and not self._protocol.has_ports:
            why = (
                f"{usable[0].name} takes all that leaves subnet '{self._subnet.name}' and carries TCP and UDP"
                f" only, not {self._name}{_besides('; nothing takes over, not even', usable[1:])}"
            )
            return NoOutbound(why, self._subnet.id)
        if not usable:
            return NoOutbound("; ".join(way for way in found if isinstance(way, str)), self._subnet.id)
        others = [way for way in usable[1:] if way.kind is not OutboundKind.DEFAULT_ACCESS]
        return replace(usable[0], why=usable[0].why + _besides("; not used:", others))

    @property
    def _name(self) -> str:
        return self._protocol.value.upper()

    # -- the methods, in order --------------------------------------------------------------------

    def _nat_gateway(self) -> Outbound | str:
        if self._subnet.nat_gateway is None:
            return f"subnet '{self._subnet.name}' has no NAT gateway"
        nat = self._network.nat_gateways[self._subnet.nat_gateway]
        space = _NOTHING
        if self._family == 4 or nat.sku.lower() != "standard":
            space = PublicSpace.of(self._network, nat.public_ips, nat.public_ip_prefixes, self._family)
        if not space:
            return f"NAT gateway '{nat.name}' has no public IPv{self._family} address"
        ports = None if space.count is None else NAT_GATEWAY_PORTS * space.count
        name = f"NAT gateway '{nat.name}'"
        why = f"{name} takes all that leaves subnet '{self._subnet.name}'"
        return _outbound(OutboundKind.NAT_GATEWAY, nat.id, name, space, ports, why)

    def _public_ip(self) -> Outbound | str:
        configuration = self._configuration
        if configuration.public_ip is None:
            return f"{configuration.address} has no public IP address"
        public = self._network.public_ips[configuration.public_ip]
        name = f"public IP address '{public.name}'"
        if self._protocol not in _ONE_TO_ONE:
            return f"{name} does not carry {self._name}"
        space = PublicSpace.of(self._network, (configuration.public_ip,), (), self._family)
        why = f"{name} is {configuration.address}'s own"
        return _outbound(OutboundKind.PUBLIC_IP, public.id, name, space, None, why)

    def _outbound_rules(self) -> Outbound | str:
        listed = self._memberships.outbound_rules
        refusal = self._no_snat("outbound rule", bool(listed))
        rules = [item for item in listed if balances(item[1].protocol, self._protocol)]
        spaces = [self._space(rule.frontends) for _, rule in rules]
        served = [(item, space) for item, space in zip(rules, spaces, strict=True) if space]
        if refusal or not served:
            return refusal or f"no outbound rule is for {self._name} over IPv{self._family}"
        ports = [self._allocated(rule, space) for (_, rule), space in served]
        (balancer, first), _ = served[0]
        name = _rules_name("outbound rule", balancer, [rule.name for (_, rule), _ in served])
        faults = [fault for (_, rule), space in served for fault in self._faults(rule, space)]
        why = "; ".join([f"{name} translates {self._name} of its backend pool", *faults])
        known = [count for count in ports if count is not None]
        total = sum(known) if len(known) == len(ports) else None
        whole = _union([space for _, space in served])
        return _outbound(OutboundKind.OUTBOUND_RULE, first.id, name, whole, total, why)

    def _load_balancing_rules(self) -> Outbound | str:
        listed = self._memberships.rules
        public = [item for item in listed if self._balancers.frontends[item[1].frontend].public]
        refusal = self._no_snat("load-balancing rule of a public frontend", bool(public))
        if refusal:
            return refusal
        rules = [item for item in public if balances(item[1].protocol, self._protocol)]
        active = [item for item in rules if not item[1].disable_outbound_snat]
        frontends = tuple(dict.fromkeys(rule.frontend for _, rule in active))
        space = self._space(frontends)
        if not space:
            if rules and not active:
                return f"load-balancing rule '{rules[0][1].name}' has disableOutboundSnat"
            return f"no load-balancing rule of a public frontend is for {self._name} over IPv{self._family}"
        pools = tuple(dict.fromkeys(pool for _, rule in active for pool in rule.pools))
        ports = self._by_table(len(self._balancers.members_of_all(pools)), space)
        balancer, first = active[0]
        name = _rules_name("load-balancing rule", balancer, [rule.name for _, rule in active])
        why = f"{name} brings SNAT for {self._name} to its backend pool"
        return _outbound(OutboundKind.LOAD_BALANCING_RULE, first.id, name, space, ports, why)

    def _default_access(self) -> Outbound | str:
        if self._family != 4 or not self._protocol.has_ports:
            return "default outbound access is for TCP and UDP over IPv4 only"
        service = self._view.publications.cloud_service(self._nic)
        if service is not None:
            return self._of_cloud_service(service)
        allowed = self._subnet.default_outbound_access
        if allowed is None:
            allowed = self._view.options.default_outbound == "allowed"
        if not allowed:
            return f"subnet '{self._subnet.name}' has no default outbound access"
        stop = next(self._stops(), None)
        if stop is not None:
            return f"default outbound access is gone because of {stop}"
        name, why = "default outbound access", f"subnet '{self._subnet.name}' has default outbound access"
        return _outbound(OutboundKind.DEFAULT_ACCESS, None, name, _NOTHING, default_ports(1, 1), why)

    # -- what they rest on ------------------------------------------------------------------------

    def _no_snat(self, what: str, listed: bool) -> str | None:
        """Why no rule of a load balancer can serve: none is there, or what is asked it does not translate."""
        if not listed:
            return f"no {what} is for {self._configuration.address}"
        if not self._protocol.has_ports:
            return f"load balancers translate TCP and UDP only, not {self._name}"
        if self._family == 4 and not self._configuration.primary:
            return "load balancers translate a NIC's primary IPv4 configuration only"
        return None

    def _space(self, frontends: Sequence[str]) -> PublicSpace:
        found = (self._balancers.frontends[name].space(self._network, self._family) for name in frontends)
        return _union(list(found))

    def _allocated(self, rule: OutboundRule, space: PublicSpace) -> int | None:
        if rule.allocated_ports:
            return rule.allocated_ports
        return self._by_table(len(self._balancers.members(rule.pool)), space)

    def _by_table(self, instances: int, space: PublicSpace) -> int | None:
        return None if space.count is None else default_ports(instances, space.count)

    def _faults(self, rule: OutboundRule, space: PublicSpace) -> Iterator[str]:
        """What of a rule's allocation Azure rejects or cannot give to all."""
        if space.count is None:
            return
        instances = len(self._balancers.members(rule.pool))
        frontends = (self._balancers.frontends[name] for name in rule.frontends)
        taken = sum(taken_ports(frontend.published_ports()) for frontend in frontends)
        fault = allocation_fault(rule.allocated_ports, instances, space.count, taken)
        if fault is not None:
            yield f"outbound rule '{rule.name}': {fault}"

    def _stops(self) -> Iterator[str]:
        """What takes default outbound access away from the machine."""
        if self._subnet.nat_gateway is not None:
            nat = self._network.nat_gateways[self._subnet.nat_gateway]
            yield f"NAT gateway '{nat.name}', although it has no public IP address"
        for balancer in self._memberships.standard:
            yield f"Standard load balancer '{balancer.name}'"
        for name in _public_ips_of_machine(self._network, self._nic):
            public = self._network.public_ips[name]
            if not is_basic(public.sku):
                yield f"{public.sku} public IP address '{public.name}' at the machine"

    def _of_cloud_service(self, service: CloudService) -> Outbound:
        """A classic VM: by its load-balanced endpoint's address, else by one that Azure designates to
        the deployment (load-balancer-outbound-connections-classic)."""
        name = f"cloud service '{service.name}'"
        mine = [endpoint for endpoint in service.endpoints if endpoint.nic == key(self._nic.id)]
        balanced = any(endpoint.load_balanced_set is not None for endpoint in mine)
        space = _NOTHING
        if balanced and service.address is not None:
            space = PublicSpace((service.address,), (), 1)
        ports = default_ports(len(service.nics), 1)
        why = f"{name} translates what its virtual machines send"
        return _outbound(OutboundKind.DEFAULT_ACCESS, service.id, name, space, ports, why)


def _outbound(
    kind: OutboundKind, object_id: str | None, name: str, space: PublicSpace, ports: int | None, why: str
) -> Outbound:
    return Outbound(kind, object_id, name, space.addresses, space.prefixes, ports, why)


def _besides(lead: str, others: Sequence[Outbound]) -> str:
    return f"{lead} {', '.join(other.name for other in others)}" if others else ""


def _rules_name(kind: str, balancer: LoadBalancer, rules: Sequence[str]) -> str:
    """``load balancer 'lb', outbound rule 'a'``."""
    listed = ", ".join(f"'{name}'" for name in rules)
    return f"load balancer '{balancer.name}', {kind}{'s' if len(rules) > 1 else ''} {listed}"


def _union(spaces: Sequence[PublicSpace]) -> PublicSpace:
    found = _NOTHING
    for space in spaces:
        found |= space
    return found


def _public_ips_of_machine(network: Network, nic: NetworkInterface) -> Iterator[str]:
    """The public IP addresses (keys) at any NIC of the VM that ``nic`` belongs to."""
    vm = network.vms.get(nic.vm or "")
    nics = [network.nics[name] for name in vm.nics] if vm is not None else [nic]
    return (item.public_ip for other in nics for item in other.ip_configurations if item.public_ip)
