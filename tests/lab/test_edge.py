"""The Internet edge: public IPs inward and outward, other ways out, and what must not pass."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from harness.network.model import NetworkSecurityGroup, key
from lab.netlink import Rtnetlink, inside
from lab.nftables import run_script
from lab.plan_model import DropReason, InternetHost
from tests.lab.fabric_networks import Builder, arm, nsg, route, rule
from tests.lab.fabric_running import Running, running
from tests.lab.netns_hosts import Host, readable
from tests.lab.test_fabric_rootless import as_ordinary_user, user_namespaces

__all__ = ["user_namespaces"]

pytestmark = pytest.mark.lab

CLIENT = InternetHost("client", (ip_address("203.0.113.9"), ip_address("2001:db8::9")))
OTHER = InternetHost("other", (ip_address("198.51.100.7"),))
WEB, WEB6 = "203.0.113.100", "2001:db8:1::100"


def open_to_80() -> NetworkSecurityGroup:
    private = "10.0.0.0/8,fd00::/8"
    return nsg("n", rule("Web", 100, "Allow", source="Internet", target=private, ports=[(80, 80)]))


def client_of(server: socket.socket) -> str:
    """The address from which a listener's next connection comes; the connection is closed."""
    accepted, address = server.accept()
    accepted.close()
    return str(address[0])


def web(security: NetworkSecurityGroup | None = None, sku: str = "Standard") -> Builder:
    """A public VM ``web`` and a private one ``app``, in two subnets."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    front = builder.subnet("v", "front", "10.0.1.0/24", "fd00:1:0:1::/64")
    back = builder.subnet("v", "back", "10.0.2.0/24", "fd00:1:0:2::/64")
    builder.vm("web", front, "10.0.1.4", "fd00:1:0:1::4", security=security, public=(WEB, WEB6), sku=sku)
    builder.vm("app", back, "10.0.2.4", "fd00:1:0:2::4")
    return builder


def seen_from(lab: Running, source: str, target: str, address: str) -> str | None:
    """The address that ``target`` sees when ``source`` connects to it; None: it does not get through."""
    server = lab[target].listen(address, 0)
    if lab[source].connects(address, server.getsockname()[1]) != "connected":
        return None
    return client_of(server)


def udp_answer(lab: Running, source: str, asked: str, target: str, address: str) -> bool:
    """Whether a datagram to ``asked`` gets to ``target``, and the answer comes back from there."""
    receiver = lab[target].datagram(address, 80)
    try:
        sender = lab[source].open_socket(
            socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM
        )
        sender.connect((asked, 80))
        sender.send(b"nonce")
        if not readable(receiver):
            return False
        data, peer = receiver.recvfrom(100)
        receiver.sendto(data, peer)
        return readable(sender) and sender.recv(100) == b"nonce"
    finally:
        receiver.close()


def test_the_internet_reaches_a_public_ip_and_rules_see_private_addresses() -> None:
    with running(web(open_to_80()), [CLIENT]) as lab:
        for private, public, client in (
            ("10.0.1.4", WEB, "203.0.113.9"),
            ("fd00:1:0:1::4", WEB6, "2001:db8::9"),
        ):
            server = lab["web"].listen(private, 80)
            lab["web"].listen(private, 81)
            assert lab["client"].connects(public, 80) == "connected"
            assert client_of(server) == client
            assert lab["client"].connects(public, 81) == "timeout"
            assert udp_answer(lab, "client", public, "web", private)
            assert lab["client"].ping(public) is None
        assert lab.counted("n/Web") == 4
        assert lab.counted("n/DenyAllInBound") == 4


@pytest.mark.parametrize(("sku", "outcome"), [("Standard", "timeout"), ("Basic", "connected")])
def test_without_any_nsg_only_a_basic_public_ip_is_open(sku: str, outcome: str) -> None:
    with running(web(sku=sku), [CLIENT]) as lab:
        lab["web"].listen("10.0.1.4", 80)
        assert lab["client"].connects(WEB, 80) == outcome
        assert (lab["client"].ping(WEB) is not None) is (outcome == "connected")


def test_what_a_vm_sends_comes_from_its_public_ip() -> None:
    with running(web(), [CLIENT]) as lab:
        assert seen_from(lab, "web", "client", "203.0.113.9") == WEB
        assert seen_from(lab, "web", "client", "2001:db8::9") == WEB6
        assert lab["web"].ping("203.0.113.9") is not None
        assert lab["web"].ping("2001:db8::9") is not None


def test_default_outbound_access_is_for_tcp_and_udp_over_ipv4() -> None:
    with running(web(), [CLIENT]) as lab:
        assert seen_from(lab, "app", "client", "203.0.113.9") == "198.51.100.254"
        assert udp_answer(lab, "app", "203.0.113.9", "client", "203.0.113.9")
        assert lab["app"].ping("203.0.113.9") is None
        assert seen_from(lab, "app", "client", "2001:db8::9") is None
        assert lab.counted(DropReason.INTERNET) >= 2


def test_a_private_subnet_has_no_way_out() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.1.0/24", default_outbound=False)
    builder.vm("a", subnet, "10.0.1.4")
    with running(builder, [CLIENT]) as lab:
        assert seen_from(lab, "a", "client", "203.0.113.9") is None
        assert lab.counted(DropReason.INTERNET) == 1


def test_a_nat_gateway_takes_what_leaves_and_leaves_the_public_ip_to_come_in_by() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.1.0/24", security=open_to_80(), nat_gateway="203.0.113.50")
    builder.vm("web", subnet, "10.0.1.4", public=(WEB,))
    builder.vm("app", subnet, "10.0.1.5")
    with running(builder, [CLIENT]) as lab:
        for vm in ("web", "app"):
            assert seen_from(lab, vm, "client", "203.0.113.9") == "203.0.113.50"
            assert lab[vm].ping("203.0.113.9") is None
        lab["web"].listen("10.0.1.4", 80)
        assert lab["client"].connects(WEB, 80) == "connected"
        assert lab["client"].connects("203.0.113.50", 80) == "timeout"


def test_a_public_ip_is_reached_from_inside_by_way_of_the_edge() -> None:
    with running(web(open_to_80()), [CLIENT]) as lab:
        server = lab["web"].listen("10.0.1.4", 80)
        assert lab["app"].connects(WEB, 80) == "connected"
        assert client_of(server) == "198.51.100.254"


def test_overlapping_vnets_have_edges_of_their_own() -> None:
    builder = Builder()
    for name, public in (("u", WEB), ("v", "203.0.113.101")):
        builder.vnet(name, "10.0.0.0/16")
        subnet = builder.subnet(name, "s", "10.0.1.0/24", security=open_to_80())
        builder.vm(f"{name}1", subnet, "10.0.1.4", public=(public,))
    with running(builder, [CLIENT]) as lab:
        for name, public in (("u1", WEB), ("v1", "203.0.113.101")):
            server = lab[name].listen("10.0.1.4", 80)
            assert lab["client"].connects(public, 80) == "connected"
            assert client_of(server) == "203.0.113.9"
            assert seen_from(lab, name, "client", "203.0.113.9") == public
        # and to each other, by the internet
        assert lab["u1"].connects("203.0.113.101", 80) == "connected"


def behind_an_appliance() -> Builder:
    """``web``, whose subnet sends everything to the appliance ``fw``."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    front = builder.subnet(
        "v", "front", "10.0.1.0/24", security=open_to_80(), routes=[route("0.0.0.0/0", "10.0.2.4")]
    )
    hub = builder.subnet("v", "hub", "10.0.2.0/24")
    builder.vm("web", front, "10.0.1.4", public=(WEB,))
    builder.vm("fw", hub, "10.0.2.4", forwarding=True, public=("203.0.113.99",), sku="Basic")
    return builder


def forward(host: Host, *, masquerade: bool) -> None:
    host.sysctl("ipv4/ip_forward", 1)
    host.sysctl("ipv4/conf/all/send_redirects", 0)
    host.sysctl("ipv4/conf/eth0/send_redirects", 0)
    if masquerade:
        nat = "type nat hook postrouting priority srcnat; ip daddr != 10.0.0.0/8 masquerade"
        run_script(host.netns, f"table ip nat {{ chain out {{ {nat}\n}}; }}")


@pytest.mark.parametrize("masquerade", [False, True])
def test_a_public_flow_whose_answer_leaves_by_an_appliance_fails(masquerade: bool) -> None:
    with running(behind_an_appliance(), [CLIENT]) as lab:
        forward(lab["fw"], masquerade=masquerade)
        lab["web"].listen("10.0.1.4", 80)
        assert lab["client"].connects(WEB, 80) == "timeout"
        assert not udp_answer(lab, "client", WEB, "web", "10.0.1.4")


def test_an_appliance_sends_what_it_translates_and_not_what_it_only_forwards() -> None:
    with running(behind_an_appliance(), [CLIENT]) as lab:
        forward(lab["fw"], masquerade=False)
        assert seen_from(lab, "web", "client", "203.0.113.9") is None
        assert lab.counted(DropReason.UNTRANSLATED) == 1
        forward(lab["fw"], masquerade=True)
        assert seen_from(lab, "web", "client", "203.0.113.9") == "203.0.113.99"


def test_a_public_ip_that_is_taken_away_ends_its_flows() -> None:
    builder = web(open_to_80())
    with running(builder, [CLIENT]) as lab:
        server = lab["web"].listen("10.0.1.4", 80)
        client = lab["client"].stream(WEB)
        client.connect((WEB, 80))
        accepted, _ = server.accept()
        client.send(b"before")
        assert accepted.recv(100) == b"before"

        nic = key(arm("networkInterfaces", "nic-web-0"))
        plain = tuple(replace(item, public_ip=None) for item in builder.nics[nic].ip_configurations)
        before, builder.nics[nic] = builder.nics[nic], replace(builder.nics[nic], ip_configurations=plain)
        lab.change(builder)
        client.send(b"lost")
        assert not readable(accepted)
        accepted.send(b"lost as well")
        assert not readable(client)
        assert lab.counted(DropReason.TRANSLATION_GONE) >= 1
        assert lab["client"].connects(WEB, 80) == "timeout"

        builder.nics[nic] = before
        lab.change(builder)
        assert readable(accepted, 3)  # sent once more by the client's kernel
        accepted.close()


def test_a_rule_that_changes_leaves_the_flow_from_the_internet_alone() -> None:
    builder = web(open_to_80())
    with running(builder, [CLIENT]) as lab:
        server = lab["web"].listen("10.0.1.4", 80)
        client = lab["client"].stream(WEB)
        client.connect((WEB, 80))
        accepted, _ = server.accept()
        closed = nsg("n")
        builder.nsgs[key(closed.id)] = closed
        lab.change(builder)
        client.send(b"still here")
        assert accepted.recv(100) == b"still here"
        assert lab["client"].connects(WEB, 80) == "timeout"
        accepted.close()


def test_what_nobody_on_the_internet_has_is_silent() -> None:
    with running(web(), [CLIENT]) as lab:
        for address in ("203.0.113.10", "8.8.8.8", "203.0.113.1", "198.51.100.254"):
            assert lab["web"].ping(address) is None
            assert lab["client"].ping(address) is None
        for address in ("10.0.1.4", "10.0.1.1"):
            assert lab["client"].ping(address) is None
        # the edge itself says nothing, inside or outside
        for address in ("169.254.0.2", "169.254.0.6"):
            assert lab["web"].ping(address) is None


def test_hosts_on_the_internet_reach_each_other() -> None:
    with running(web(), [CLIENT, OTHER]) as lab:
        assert seen_from(lab, "client", "other", "198.51.100.7") == "203.0.113.9"


def test_edges_come_and_go_with_public_ips() -> None:
    builder = web(open_to_80())
    with running(builder) as lab:
        lab["web"].listen("10.0.1.4", 80)
        assert lab["app"].connects(WEB, 80) == "connected"
        links = set(fabric_links(lab))
        nic = key(arm("networkInterfaces", "nic-web-0"))
        before = builder.nics[nic]
        plain = tuple(replace(item, public_ip=None) for item in before.ip_configurations)
        builder.nics[nic] = replace(before, ip_configurations=plain)
        lab.change(builder)
        assert lab["app"].connects(WEB, 80) == "timeout"
        assert set(fabric_links(lab)) < links
        builder.nics[nic] = before
        lab.change(builder)
        assert lab["app"].connects(WEB, 80) == "connected"
        assert set(fabric_links(lab)) == links


def fabric_links(lab: Running) -> list[str]:
    with inside(lab.fabric.fileno()), Rtnetlink() as rtnetlink:
        return [name for name, _ in rtnetlink.links().values()]


@pytest.mark.usefixtures("user_namespaces")
def test_the_edge_works_in_a_user_namespace() -> None:
    def traffic() -> None:
        with running(web(open_to_80()), [CLIENT]) as lab:
            lab["web"].listen("10.0.1.4", 80)
            assert lab["client"].connects(WEB, 80) == "connected"
            assert seen_from(lab, "web", "client", "2001:db8::9") == WEB6

    assert as_ordinary_user(traffic) == ""
