"""The fabric's plan against the policy engine: two independent readings of the same documents.

A packet is carried through the plan as data (no kernel), there and back, with flow state per port,
and the verdict and the denying rule must be those of ``explain``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model import Flow, Protocol
from harness.network.model import Access, Direction, NetworkSecurityGroup, PortRange, Route
from harness.policy.explain import explain
from lab.plan import build_plan
from lab.plan_model import (
    AddressSet,
    ChainKey,
    FabricPlan,
    PlannedRule,
    RouteAction,
    RouteTarget,
    rule_name,
)
from tests.lab.fabric_networks import Builder, nsg, route, rule

VNETS = ("u", "v", "w")
PROTOCOLS = (Protocol.TCP, Protocol.UDP, Protocol.ICMP)
"""What the fabric carries."""
LOOP = "loop"


class Packet(NamedTuple):
    protocol: str
    source: IPv4Address
    source_port: int
    target: IPv4Address
    port: int

    def answer(self) -> Packet:
        return Packet(self.protocol, self.target, self.port, self.source, self.source_port)


def within(addresses: AddressSet, address: IPv4Address) -> bool:
    return addresses.any or any(item.first <= int(address) <= item.last for item in addresses.v4)


def matches(planned: PlannedRule, packet: Packet) -> bool:
    def port(ranges: tuple[PortRange, ...], number: int) -> bool:
        if packet.protocol == "Icmp":
            return not ranges or planned.protocol.value == "Icmp"
        return not ranges or any(number in item for item in ranges)

    return (
        planned.protocol.value in ("*", packet.protocol)
        and within(planned.source, packet.source)
        and within(planned.destination, packet.target)
        and port(planned.source_ports, packet.source_port)
        and port(planned.destination_ports, packet.port)
    )


def denying(rules: list[PlannedRule] | None) -> str:
    return next((rule_name(item.id) for item in rules or () if item.access is Access.DENY), "")


def carried(target: RouteTarget, let_out: list[PlannedRule], let_in: list[PlannedRule]) -> bool:
    """Whether rules carry a new flow over a peering that a side has closed."""
    explicit_out, explicit_in = ([item.explicit for item in rules] for rules in (let_out, let_in))
    if target.closed_here and not all(explicit_out):
        return False
    return not (target.closed_there and not all(explicit_in)) and any(explicit_out + explicit_in)


@dataclass
class Walk:
    """Packets on their way through a plan; ``opened`` is the flow state: (port, direction, packet)."""

    plan: FabricPlan
    opened: set[tuple[int, Direction, Packet]] = field(default_factory=set)
    is_settled: bool = True
    """False: an answer came to a port that knows the flow, over a closed peering, from one that does
    not. No document says what Azure does; the fabric lets it pass, the engine asks for explicit rules."""

    def judged(self, port: int, direction: Direction, packet: Packet) -> list[PlannedRule] | None:
        """The deciding rules; None where the port knows the flow."""
        other = next(item for item in Direction if item is not direction)
        if (port, direction, packet) in self.opened or (port, other, packet.answer()) in self.opened:
            return None
        found = []
        binding = self.plan.bindings[port]
        levels = [binding.nic_nsg, binding.subnet_nsg]
        for level in levels if direction is Direction.OUTBOUND else reversed(levels):
            if level is None:
                continue
            rules = self.plan.chains[ChainKey(level, direction, binding.context)]
            found.append(next(item for item in rules if matches(item, packet)))
            if found[-1].access is Access.DENY:
                return found
        self.opened.add((port, direction, packet))
        return found

    def send(self, port: int, packet: Packet) -> str:
        """Why the packet does not arrive, or nothing. Guests forward where their NIC may."""
        for _ in range(20):
            let_out = self.judged(port, Direction.OUTBOUND, packet)
            if denied := denying(let_out):
                return denied
            context = self.plan.bindings[port].context
            target = next(
                found
                for item, found in self.plan.routes[context].by_family[4]
                if item.first <= int(packet.target) <= item.last
            )
            if target.reason is not None:
                return target.reason
            assert target.vnet is not None
            receiver = self.plan.vnets[target.vnet]
            foreign = not within(self.plan.vnets[context.vnet].space, packet.source)
            if target.vnet != context.vnet and context.vnet not in receiver.forwarded_from and foreign:
                return "forwarded-traffic-refused"
            following = target.port
            if target.action is RouteAction.DELIVER:
                following = receiver.addresses.get(packet.target)
            if following is None:
                return "no-such-address"
            arrived = packet.target in self.plan.ports[following].of_family(4)
            if not arrived and not self.plan.ports[following].ip_forwarding:
                return "appliance-not-forwarding"
            let_in = self.judged(following, Direction.INBOUND, packet)
            if denied := denying(let_in):
                return denied
            if target.closed and let_out is not None:
                if let_in is None:
                    self.is_settled = False
                elif not carried(target, let_out, let_in):
                    return "peering-access-disabled"
            if arrived:
                return ""
            port = following
        return LOOP


def random_rules(random: Random, name: str) -> NetworkSecurityGroup | None:
    def side() -> str:
        return random.choice(
            [
                "*",
                "10.0.0.0/16",
                "10.1.0.4",
                "10.2.0.0/24,10.0.0.0/24",
                "VirtualNetwork",
                "Internet",
                "asg:web",
            ]
        )

    if random.random() < 0.4:
        return None
    return nsg(
        name,
        *(
            rule(
                f"R{number}",
                100 + number,
                random.choice(["Allow", "Deny"]),
                direction=random.choice(["Inbound", "Outbound"]),
                protocol=random.choice(["*", "Tcp", "Udp", "Icmp"]),
                source=side(),
                target=side(),
                ports=random.choice([[], [(80, 80)], [(80, 80), (443, 443)], [(0, 100)]]),
            )
            for number in range(random.randint(0, 3))
        ),
    )


def random_routes(random: Random) -> list[Route]:
    prefixes = ["0.0.0.0/0", "10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/24", "10.1.0.4/32", "10.0.0.0/8"]
    hops = ["None", "Internet", "VnetLocal", "10.0.0.4", "10.1.0.4", "10.2.1.4", "10.0.0.99"]
    return [
        route(prefix, random.choice(hops)) for prefix in random.sample(prefixes, random.choice([0, 0, 1, 2]))
    ]


def random_network(random: Random) -> tuple[Builder, dict[str, str]]:
    """Three VNets, partly peered, with two subnets and VMs each; VM name -> address."""
    builder, addresses = Builder(), {}
    for number, name in enumerate(VNETS):
        builder.vnet(name, f"10.{number}.0.0/16")
    for one, other in (("u", "v"), ("u", "w"), ("v", "w")):
        state = random.choice(["", "", "Connected", "Connected", "Connected", "Initiated", "Disconnected"])
        if state:
            builder.peer(
                one, other, state=state, access=random.random() < 0.6, forwarded=random.random() < 0.5
            )
        if state == "Connected":
            builder.peer(other, one, access=random.random() < 0.6, forwarded=random.random() < 0.5)
    for number, name in enumerate(VNETS):
        for place in range(2):
            subnet = builder.subnet(
                name,
                f"s{place}",
                f"10.{number}.{place}.0/24",
                security=random_rules(random, f"nsg-subnet-{name}{place}"),
                routes=random_routes(random),
            )
            addresses[f"{name}{place}"] = f"10.{number}.{place}.4"
            builder.vm(
                f"{name}{place}",
                subnet,
                f"10.{number}.{place}.4",
                security=random_rules(random, f"nsg-nic-{name}{place}"),
                forwarding=random.random() < 0.6,
                asgs=["web"] if random.random() < 0.3 else [],
            )
    return builder, addresses


@settings(max_examples=100)
@given(st.integers(0, 1 << 32))
def test_plan_and_policy_engine_agree(seed: int) -> None:
    random = Random(seed)
    builder, addresses = random_network(random)
    network = builder.build()
    plan = build_plan(network)
    for _ in range(6):
        source, target = random.sample(sorted(addresses), 2)
        protocol, port = random.choice(PROTOCOLS), random.choice([80, 443, 5000])
        with_ports = protocol is not Protocol.ICMP
        packet = Packet(
            protocol.value.capitalize(),
            IPv4Address(addresses[source]),
            49152 if with_ports else 0,
            IPv4Address(addresses[target]),
            port if with_ports else 0,
        )
        walk = Walk(plan)
        reason = walk.send(plan.ports_of(source)[0].id, packet)
        reason = reason or walk.send(plan.ports_of(target)[0].id, packet.answer())

        if not walk.is_settled:
            continue
        flow = Flow(source, target, protocol, port if with_ports else None)
        explanation = explain(network, flow)

        assert explanation.verdict == ("deny" if reason else "allow"), (flow, reason)
        # a packet that loops is also judged on its way round; the engine stops where the loop closes
        loops = any("loop" in decision.why for decision in explanation.decisions)
        if "/" in reason and not loops:
            assert explanation.rule == reason, flow
