from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.network.model import NetworkSecurityGroup, Route
from lab.plan import build_plan
from lab.plan_model import rule_name
from lab.program import Program, build_program
from lab.program_steps import BASE_CHAIN, MAX_DEVICES, MAX_ELEMENTS, steps, transaction
from lab.ruleset import INGRESS
from tests.lab.fabric_networks import Builder, nsg, route, rule

REFERENCE = re.compile(r"\b(?:goto|jump) (\w+)|@((?!nh,|th,|ll,)\w+)")


@dataclass
class Kernel:
    """What nftables holds; refuses what nftables refuses: dangling references and unknown names."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    containers: dict[str, tuple[str, dict[str, str | None]]] = field(default_factory=dict)
    hooks: set[str] = field(default_factory=set)

    def run(self, script: str) -> None:
        for line in script.splitlines():
            verb, what, rest = line.split(" ", 2)
            if what != "table":
                family, table, name, *body = rest.split(" ", 3)
                assert (family, table) == ("netdev", "fabric")
                self._handler(verb, what)(name, body[0] if body else "")
        for chain in self.chains.values():
            for text in chain:
                self._check(text)
        for _, elements in self.containers.values():
            for value in elements.values():
                self._check(value or "")

    def _handler(self, verb: str, what: str) -> Callable[[str, str], None]:
        handler: Callable[[str, str], None] = getattr(
            self, f"{verb}_{'container' if what in ('set', 'map') else what}"
        )
        return handler

    def add_container(self, name: str, body: str) -> None:
        assert name not in self.containers
        self.containers[name] = body, {}

    def delete_container(self, name: str, _: str) -> None:
        assert not any(f"@{name} " in f"{text} " for chain in self.chains.values() for text in chain)
        del self.containers[name]

    def add_chain(self, name: str, body: str) -> None:
        if name == BASE_CHAIN:
            devices = re.findall(r"\w+", body.split("devices = {")[1].split("}", maxsplit=1)[0])
            assert len(devices) <= MAX_DEVICES
            self.hooks.update(devices)
        self.chains.setdefault(name, [])

    def flush_chain(self, name: str, _: str) -> None:
        self.chains[name].clear()

    def delete_chain(self, name: str, _: str) -> None:
        assert not self.chains[name]
        referring = [*(text for chain in self.chains.values() for text in chain)]
        referring += [
            value for _, elements in self.containers.values() for value in elements.values() if value
        ]
        assert not any(re.search(rf"\b(?:goto|jump) {name}\b", text) for text in referring)
        del self.chains[name]

    def add_rule(self, name: str, text: str) -> None:
        self._check(text)
        self.chains[name].append(text)

    def add_element(self, name: str, body: str) -> None:
        elements = self.containers[name][1]
        for item in body.strip("{} ").split(", "):
            element, _, value = item.partition(" : ")
            assert element not in elements
            self._check(value)
            elements[element] = value or None

    def delete_element(self, name: str, body: str) -> None:
        for item in body.strip("{} ").split(", "):
            del self.containers[name][1][item]

    def _check(self, text: str) -> None:
        for chain, container in REFERENCE.findall(text):
            assert not chain or chain in self.chains, f"{text}: no chain {chain}"
            assert not container or container in self.containers, f"{text}: no {container}"

    def content(self) -> object:
        return self.chains, self.containers, self.hooks


def installed(program: Program) -> Kernel:
    kernel = Kernel()
    kernel.run(transaction(None, program))
    return kernel


ROUTES = st.lists(
    st.sampled_from(
        [
            route("0.0.0.0/0", "10.0.0.4"),
            route("10.0.2.0/24", "None"),
            route("10.1.0.0/16", "10.0.0.4"),
            route("10.0.1.0/25", "10.0.0.5"),
            route("203.0.113.0/24", "Internet"),
        ]
    ),
    unique_by=lambda item: item.id,
    max_size=4,
)
SECURITY = st.none() | st.lists(
    st.sampled_from(
        [
            rule(
                "A",
                100,
                "Deny",
                protocol="Tcp",
                ports=[(80, 80), (443, 443)],
                source="10.0.0.0/24,10.9.0.0/16",
            ),
            rule("B", 110, "Allow", protocol="Udp", target="10.0.1.4"),
            rule("C", 120, "Deny", direction="Outbound", target="Internet"),
            rule("D", 130, "Allow", source="asg:web", ports=[(22, 22)]),
            rule("E", 140, "Deny", protocol="Icmp", source="fd00::/8"),
        ]
    ),
    unique_by=lambda item: item.name,
).map(lambda rules: nsg("n", *rules))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    builder.vnet("w", "10.1.0.0/16")
    if draw(st.booleans()):
        forwarded = draw(st.booleans())
        builder.peer("v", "w", state=draw(st.sampled_from(["Connected", "Initiated"])), forwarded=forwarded)
        builder.peer("w", "v", access=draw(st.booleans()), forwarded=forwarded)

    def subnet(vnet: str, name: str, *prefixes: str) -> str:
        security: NetworkSecurityGroup | None = draw(SECURITY)
        routes: list[Route] = draw(ROUTES)
        return builder.subnet(vnet, name, *prefixes, security=security, routes=routes)

    subnets = (
        (subnet("v", "s", "10.0.0.0/24", "fd00:1::/64"), "10.0.0.", "fd00:1::"),
        (subnet("v", "t", "10.0.1.0/24"), "10.0.1.", ""),
        (subnet("w", "s", "10.1.0.0/24"), "10.1.0.", ""),
    )
    for number in range(draw(st.integers(0, 5))):
        chosen, four, six = draw(st.sampled_from(subnets))
        builder.vm(
            f"vm{number}",
            chosen,
            f"{four}{number + 4}",
            *((f"{six}{number + 4}",) if six else ()),
            security=draw(SECURITY),
            forwarding=draw(st.booleans()),
            asgs=draw(st.sampled_from([[], ["web"]])),
        )
    plan = build_plan(builder.build())
    return build_program(plan, draw(st.sets(st.sampled_from(sorted(plan.ports)))) if plan.ports else None)


@given(programs())
def test_a_program_installs_as_what_it_says(program: Program) -> None:
    kernel = installed(program)

    assert kernel.chains == {name: list(rules) for name, rules in program.chains.items()} | {
        BASE_CHAIN: list(INGRESS)
    }
    assert {name: elements for name, (_, elements) in kernel.containers.items()} == {
        name: dict(container.elements) for name, container in program.containers.items()
    }
    assert kernel.hooks == program.links | {"lo"}


@given(programs(), programs())
def test_a_transaction_leads_where_a_new_installation_would(old: Program, new: Program) -> None:
    changed = installed(old)
    changed.run(transaction(old, new))

    expected = installed(
        replace(new, links=new.links | old.links)
    )  # hooks go with their links, not by script
    assert changed.content() == expected.content()


@given(programs(), programs())
def test_every_step_may_be_a_transaction_of_its_own(old: Program, new: Program) -> None:
    one_by_one, at_once = installed(old), installed(old)
    for step in steps(old, new):
        one_by_one.run(step)
    at_once.run(transaction(old, new))

    assert one_by_one.content() == at_once.content()


def test_many_elements_are_split_over_steps() -> None:
    program = build_program(build_plan(tier(nsg("n"), 2 * MAX_ELEMENTS + 1).build()))

    lines = [line for step in steps(None, program) for line in step.splitlines() if " element " in line]

    assert max(line.count(", ") + 1 for line in lines) == MAX_ELEMENTS
    assert installed(program).containers["link"][1] == program.containers["link"].elements


@given(programs(), programs())
def test_flow_state_is_never_touched(old: Program, new: Program) -> None:
    script = transaction(old, new)

    for name in ("fo4", "fi4", "fo6", "fi6", "frags4", "frags6"):
        assert not re.search(rf"^\w+ (element|set) netdev fabric {name}\b", script, re.MULTILINE)


@given(programs())
def test_nothing_changes_nothing(program: Program) -> None:
    assert transaction(program, program) == ""


def tier(rules: NetworkSecurityGroup, vms: int) -> Builder:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.0.0/16", security=rules)
    for number in range(vms):
        builder.vm(f"vm{number}", subnet, f"10.0.{number // 200}.{number % 200 + 4}")
    return builder


def test_one_more_rule_in_a_large_lab_is_a_small_change() -> None:
    rules = [rule(f"R{number}", 100 + number, "Deny", protocol="Tcp") for number in range(3)]
    old = build_program(build_plan(tier(nsg("n", *rules[:2]), 1000).build()))
    new = build_program(build_plan(tier(nsg("n", *rules), 1000).build()))

    lines = transaction(old, new).splitlines()

    assert len(lines) < 20
    assert {line.split()[4] for line in lines} == {
        name for name in new.chains if name.startswith("nsg_in") and name.endswith("_tcp")
    }


def test_one_more_vm_in_a_large_lab_is_a_small_change() -> None:
    builder = tier(nsg("n"), 1000)
    plan = build_plan(builder.build())
    builder.vm("late", next(iter(builder.subnets)), "10.0.99.4")

    script = transaction(build_program(plan), build_program(build_plan(builder.build(), plan.port_ids)))

    assert len(script) < 5000
    assert "flush" not in script
    assert "delete" not in script


def test_rules_of_nsgs_with_one_name_have_counters_of_their_own() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.1.0/24")
    mine = nsg("n", rule("Web", 100, "Allow"))
    other = replace(mine, id=mine.id.replace("resourceGroups/rg", "resourceGroups/other"))
    for number, security in enumerate((mine, other)):
        builder.vm(f"vm{number}", subnet, f"10.0.1.{number + 4}", security=security)
    assert len(builder.nsgs) == 2

    program = build_program(build_plan(builder.build()))

    web = [identifier for identifier in program.rule_ids.values() if identifier.endswith("/Web")]
    assert sorted(web) == sorted(f"{security.id}/securityRules/Web" for security in (mine, other))
    assert {rule_name(identifier) for identifier in web} == {"n/Web"}


def inbound(chain_of: str = "tcp", family: int = 4, **words: Any) -> list[str]:
    """The texts of a single custom rule's chain, the default rules left out."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    security = nsg("n", rule("R", 100, "Deny", **words))
    builder.vm("a", builder.subnet("v", "s", "10.0.1.0/24"), "10.0.1.4", security=security)
    program = build_program(build_plan(builder.build()))
    name = next(
        chain
        for chain in program.chains
        if chain.startswith(f"nsg_in{family}") and chain.endswith(f"_{chain_of}")
    )
    return [text for text in program.chains[name] if program.rule_ids[text[-13:-1]].endswith("/R")]


@pytest.mark.parametrize(
    ("words", "protocols"),
    [
        ({"protocol": "Tcp"}, {"tcp"}),
        ({"protocol": "Udp"}, {"udp"}),
        ({"protocol": "Icmp", "ports": [(8, 8)]}, {"icmp"}),
        ({"protocol": "Esp"}, set()),
        ({"protocol": "*"}, {"tcp", "udp", "icmp"}),
        ({"protocol": "*", "ports": [(80, 80)]}, {"tcp", "udp"}),
    ],
)
def test_a_rule_stands_in_the_chains_of_its_protocols(words: dict[str, Any], protocols: set[str]) -> None:
    assert {name for name in ("tcp", "udp", "icmp") if inbound(name, **words)} == protocols


def test_a_rule_stands_in_the_chains_of_its_family() -> None:
    assert inbound(source="10.0.0.0/8", family=4)
    assert not inbound(source="10.0.0.0/8", family=6)
    assert inbound(source="fd00::/8,10.0.0.0/8", family=6)
    assert inbound(family=6)


def test_conditions_of_a_rule() -> None:
    [text] = inbound(
        protocol="Tcp", ports=[(80, 80)], source_ports=[(1000, 2000)], source="10.0.0.0/24", target="10.0.1.4"
    )
    assert text.startswith(
        "th sport 1000-2000 th dport 80 ip saddr 10.0.0.0-10.0.0.255 ip daddr 10.0.1.4 counter drop comment "
    )
    [text] = inbound(ports=[(80, 80), (443, 450)], source="10.0.0.0/24,10.2.0.0/24")
    assert re.match(r"th dport @ports_\w+ ip saddr @a4_\w+ counter drop", text)
    [text] = inbound(source="0.0.0.0/0", ports=[(0, 65535)])
    assert text.startswith("counter drop comment ")


def test_a_forwarding_appliance_takes_what_is_not_addressed_to_it_another_does_not() -> None:
    for forwarding, rules in ((True, 1), (False, 2)):
        builder = Builder()
        builder.vnet("v", "10.0.0.0/16")
        builder.vm(
            "a",
            builder.subnet("v", "s", "10.0.1.0/24", routes=[route("10.0.2.0/24", "10.0.9.4")]),
            "10.0.1.4",
        )
        builder.vm("fw", builder.subnet("v", "f", "10.0.9.0/24"), "10.0.9.4", forwarding=forwarding)
        chains = build_program(build_plan(builder.build())).chains

        assert len(chains["hop4_2"]) == rules
        assert ("appliance-not-forwarding" in chains["hop4_2"][-1]) is not forwarding


def test_more_links_than_one_statement_may_hold_are_split() -> None:
    program = build_program(build_plan(tier(nsg("n"), MAX_DEVICES * 2 + 1).build()))

    assert installed(program).hooks == program.links | {"lo"}
