"""Management ports: what opens them, what closes them, and what makes it an error."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from harness.lint.finding import Severity
from harness.network.model import (
    ANY_PORT,
    AddressSelector,
    AdminAccess,
    Direction,
    Network,
    PortRange,
    RuleProtocol,
    SecurityAdminRule,
    key,
)
from tests.harness.lint.networks import findings, found, severities, with_balancer
from tests.harness.network.builders import (
    arm_id,
    asg,
    machine,
    network,
    nsg,
    public_ip,
    ref,
    route,
    rule,
    table,
    vnet,
    vnet_id,
)

CHECK = "exposure/management-port"
SSH = rule("ssh", 200, "Allow", protocol="Tcp", ports="22")


def behind(
    *rules: Any, at_nic: Any = (), address: bool = True, sku: str = "Standard", **more: Any
) -> Network:
    """A machine with a public IP; ``rules`` at its subnet, ``at_nic`` at its NIC."""
    groups = [nsg("n", *rules)] if rules else []
    groups += [nsg("m", *at_nic)] if at_nic else []
    return network(
        vnet(
            "v",
            "10.0.0.0/16",
            {"s": "10.0.1.0/24"},
            nsgs={"s": "n"} if rules else None,
            tables={"s": "t"} if "routes" in more else None,
        ),
        *groups,
        *([table("t", *more.pop("routes"))] if "routes" in more else []),
        asg("web"),
        public_ip("pip", "20.1.2.3", sku),
        machine(
            "w",
            "v/s",
            "10.0.1.4",
            nsg="m" if at_nic else None,
            public_ip="pip" if address else None,
            **more,
        ),
    )


@pytest.mark.parametrize(
    ("rules", "severity"),
    [
        ([SSH], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source="0.0.0.0/0", ports="1-1000")], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source="Internet", ports=["8080", "3389"])], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source=["0.0.0.0/1", "128.0.0.0/1"], ports="22")], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source="20.0.0.0/7", ports="22")], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source="AzureCloud", ports="22")], Severity.ERROR),
        ([rule("ssh", 200, "Allow", source="20.0.0.0/16", ports="22")], None),
        ([rule("ssh", 200, "Allow", source="VirtualNetwork", ports="22")], None),
        ([rule("ssh", 200, "Allow", source="10.0.0.0/8", ports="22")], None),
        ([rule("ssh", 200, "Allow", source="Storage", ports="22")], None),
        ([rule("ssh", 200, "Allow", ports="80")], None),
        ([rule("ssh", 200, "Allow", protocol="Udp", ports="22")], None),
        ([rule("ssh", 200, "Allow", destination="10.0.9.0/24", ports="22")], None),
        # denied before, wholly, and all but a port of two
        ([rule("no", 100, "Deny", source="Internet", protocol="Tcp", ports="22"), SSH], None),
        ([rule("no", 100, "Deny", source="Internet", ports="22"),
          rule("ssh", 200, "Allow", ports="22-23")], Severity.ERROR),
        # too late
        ([SSH, rule("no", 300, "Deny", source="Internet", ports="22")], Severity.ERROR),
    ],
)  # fmt: skip
def test_what_opens_a_port(rules: list[Any], severity: Severity | None) -> None:
    assert severities(behind(*rules), CHECK) == ([severity] if severity else [])
    without_way_in = behind(*rules, address=False)
    assert severities(without_way_in, CHECK) == ([Severity.WARNING] if severity else [])


def test_the_ports_are_named() -> None:
    (finding,) = findings(behind(rule("all", 200, "Allow", ports=["20-30", "3389"])), CHECK)
    assert "SSH (22/tcp), RDP (3389/tcp), Telnet (23/tcp) and RDP (3389/udp)" in finding.reason
    assert "'nic-w' by public IP address 'pip'" in finding.reason


def test_the_other_group_may_close_it() -> None:
    """Both judge: what the NIC's group denies is no error at the subnet's."""
    shut = [rule("web", 100, "Allow", source="Internet", ports="443"), rule("no", 200, "Deny")]
    assert severities(behind(SSH, at_nic=shut), CHECK) == [Severity.WARNING]
    office = [rule("office", 100, "Allow", source="20.0.0.0/24", ports="22"), rule("no", 200, "Deny")]
    assert severities(behind(SSH, at_nic=office), CHECK) == [Severity.WARNING]
    both = behind(SSH, at_nic=[rule("ssh2", 100, "Allow", ports="22")])
    assert found(both, CHECK) == ["ssh2", "ssh"]
    assert set(severities(both, CHECK)) == {Severity.ERROR}


def test_membership_decides_at_the_nic() -> None:
    to_web = rule(
        "ssh", 200, "Allow", ports="22", destination="",
        destinationApplicationSecurityGroups=[ref(arm_id("applicationSecurityGroups", "web"))],
    )  # fmt: skip
    other = machine("x", "v/s", "10.0.1.5", asgs=["web"])
    member = behind(to_web, asgs=["web"])
    assert severities(member, CHECK) == [Severity.ERROR]
    outsider = network(
        vnet("v", "10.0.0.0/16", {"s": "10.0.1.0/24"}, nsgs={"s": "n"}), nsg("n", to_web), asg("web"), other,
        public_ip("pip", "20.1.2.3"), machine("w", "v/s", "10.0.1.4", public_ip="pip"),
    )  # fmt: skip
    assert severities(outsider, CHECK) == [Severity.WARNING]


@pytest.mark.parametrize(
    ("balancer", "severity"),
    [
        ({"port": 22}, Severity.ERROR),
        ({"port": 0}, Severity.ERROR),
        ({"port": 443}, Severity.WARNING),
        ({"nat_port": 22}, Severity.ERROR),
        ({"nat_port": 443}, Severity.WARNING),
        ({"port": 22, "internal": ("10.0.1.9", "v/s")}, Severity.WARNING),
        ({"outbound": True}, Severity.WARNING),
    ],
)
def test_load_balancers_are_ways_in(balancer: dict[str, Any], severity: Severity) -> None:
    net = with_balancer(behind(SSH, address=False), "nic-w", **balancer)
    assert severities(net, CHECK) == [severity]


def test_a_default_route_widens_virtual_network() -> None:
    """Azure counts prefixes of user-defined routes in, so the default rule lets the Internet in as well."""
    routes = [route("out", "0.0.0.0/0", "VirtualNetworkGateway")]
    net = behind(rule("web", 200, "Allow", ports="443"), routes=routes)
    (finding,) = findings(net, CHECK)
    assert finding.object_id.endswith("/AllowVnetInBound")
    assert "widened the tag VirtualNetwork" in finding.reason
    assert findings(behind(rule("web", 200, "Allow", ports="443")), CHECK) == ()


def admin(access: AdminAccess, port: int) -> SecurityAdminRule:
    collection = f"{arm_id('networkManagers', 'm')}/securityAdminConfigurations/c/ruleCollections/r"
    return SecurityAdminRule(
        id=f"{collection}/rules/admin",
        name="admin",
        direction=Direction.INBOUND,
        priority=10,
        access=access,
        protocol=RuleProtocol.TCP,
        source=AddressSelector(prefixes=(ip_network("0.0.0.0/0"),)),
        source_ports=(ANY_PORT,),
        destination=AddressSelector(any=True),
        destination_ports=(PortRange(port, port),),
    )


@pytest.mark.parametrize(
    ("access", "rules", "objects", "severity"),
    [
        (AdminAccess.DENY, [SSH], ["ssh"], Severity.WARNING),
        (AdminAccess.ALLOW, [SSH], ["ssh"], Severity.ERROR),
        (AdminAccess.ALLOW, [rule("no", 100, "Deny")], [], None),
        (AdminAccess.ALWAYS_ALLOW, [rule("no", 100, "Deny")], ["admin"], Severity.ERROR),
    ],
)
def test_admin_rules_come_first(
    access: AdminAccess, rules: list[Any], objects: list[str], severity: Severity | None
) -> None:
    net = replace(behind(*rules), admin_rules={key(vnet_id("v")): (admin(access, 22),)})
    assert found(net, CHECK) == objects
    assert severities(net, CHECK) == ([severity] if severity else [])


def test_no_group_at_all() -> None:
    check = "exposure/unfiltered-public-ip"
    assert found(behind(sku="Basic"), check) == ["nic-w"]
    assert found(behind(sku="Standard"), check) == []
    assert found(behind(SSH, sku="Basic"), check) == []
    assert found(behind(at_nic=[SSH], sku="Basic"), check) == []
    assert found(behind(sku="Basic", address=False), check) == []
