"""What the packets do: real hosts without processes, wired by the fabric."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.network.model import SecurityRule
from lab.fabric import Fabric, FabricError
from lab.netlink import Rtnetlink, inside, link_up, new_netns
from lab.nftables import NftError, run_script
from lab.plan import build_plan
from lab.plan_model import FABRIC_MAC, DropReason
from tests.lab.fabric_networks import Builder, nsg, route, rule, two_subnets
from tests.lab.fabric_running import running
from tests.lab.netns_hosts import ETH_P_ARP, Host, checksum, hosts, ipv4_udp, readable

pytestmark = pytest.mark.lab


def forwarding(host: Host) -> None:
    host.sysctl("ipv4/ip_forward", 1)
    host.sysctl("ipv4/conf/all/send_redirects", 0)
    host.sysctl("ipv4/conf/eth0/send_redirects", 0)
    host.sysctl("ipv6/conf/all/forwarding", 1)


def echo(client: socket.socket, server: socket.socket, payload: bytes = b"still here") -> bool:
    """Whether data flows both ways over a connection."""
    for here, there in ((client, server), (server, client)):
        for start in range(0, len(payload), 32768):
            piece = payload[start : start + 32768]
            here.sendall(piece)
            received = b""
            while len(received) < len(piece) and readable(there):
                received += there.recv(65536)
            if received != piece:
                return False
    return True


# --- same subnet and across subnets


def test_hosts_of_one_subnet_and_of_two_reach_each_other_without_a_hop() -> None:
    with running(two_subnets()) as lab:
        for target, address in (("b", "10.0.1.5"), ("c", "10.0.2.4")):
            lab[target].listen(address, 80)
            assert lab["a"].connects(address, 80) == "connected"
            assert lab["a"].connects(address, 81) == "refused"
            assert lab["a"].ping(address) == 64
            assert lab["a"].ping(address, ttl=1) == 64

            receiver = lab[target].datagram(address, 53)
            lab["a"].datagram("10.0.1.4").sendto(b"nonce", (address, 53))
            assert receiver.recv(100) == b"nonce"


def test_the_gateway_and_addresses_of_nobody_are_silent() -> None:
    with running(two_subnets()) as lab:
        for address in ("10.0.1.1", "10.0.1.200", "10.0.9.9", "10.1.0.4", "203.0.113.9", "168.63.129.16"):
            assert lab["a"].ping(address) is None
            assert lab["a"].connects(address, 80) == "timeout"
        assert lab.counted(DropReason.NO_SUCH_ADDRESS) == 6
        assert lab.counted(DropReason.ROUTE_TO_NONE) == 2
        assert lab.counted(DropReason.INTERNET) == 4


def test_every_arp_request_is_answered_by_the_fabric() -> None:
    with running(two_subnets()) as lab:
        for address in ("10.0.1.1", "10.0.1.5", "10.0.1.200", "192.0.2.9"):
            assert lab["a"].arp(address) == FABRIC_MAC


def test_no_host_sees_the_arp_or_the_mac_address_of_another() -> None:
    with running(two_subnets()) as lab:
        questions, packets = lab["b"].packet_socket(protocol=ETH_P_ARP), lab["b"].packet_socket()
        lab["a"].arp("10.0.1.5")
        assert not readable(questions)

        assert lab["a"].ping("10.0.1.5") == 64
        frame = packets.recv(100)
        assert frame[:12].hex(":") == f"{lab.plan.ports[2].mac}:{FABRIC_MAC}"


def test_large_segments_and_fragments_pass() -> None:
    with running(two_subnets()) as lab:
        client, server = lab["a"].open(lab["c"].listen("10.0.2.4", 80), 80)
        assert echo(client, server, bytes(range(256)) * 4000)

        for source, target in (("10.0.1.4", "10.0.2.4"), ("fd00:1:0:1::4", "fd00:1:0:2::4")):
            receiver = lab["c"].datagram(target, 53)
            payload = os.urandom(5000)
            lab["a"].datagram(source).sendto(payload, (target, 53))
            assert receiver.recv(6000) == payload


def test_fragments_without_the_first_are_dropped() -> None:
    with running(two_subnets()) as lab:
        seen = lab["c"].packet_socket()
        raw = lab["a"].open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        packet = bytearray(ipv4_udp("10.0.1.4", "10.0.2.4", 1000, 53, b"later part"))
        packet[6:8] = struct.pack("!H", 100)  # an offset; the kernel computes the checksum
        raw.sendto(bytes(packet), ("10.0.2.4", 0))

        assert not readable(seen)
        assert lab.counted(DropReason.STRAY_FRAGMENT) == 1


# --- security rules


def test_a_denied_flow_is_silent_and_its_rule_counts_it() -> None:
    builder = two_subnets()
    security = nsg(
        "nsg-c",
        rule("Deny81", 100, "Deny", protocol="Tcp", ports=[(81, 81)]),
        rule("DenyPing", 110, "Deny", protocol="Icmp"),
        rule("DenyDns", 120, "Deny", protocol="Udp", ports=[(53, 53)], source="10.0.1.0/24"),
    )
    builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", "fd00:1:0:1::6", security=security)
    with running(builder) as lab:
        for address in ("10.0.1.6", "fd00:1:0:1::6"):
            for port in (80, 81):
                lab["d"].listen(address, port)
            assert lab["a"].connects(address, 80) == "connected"
            assert lab["a"].connects(address, 81) == "timeout"
            assert lab["a"].ping(address) is None
        receiver = lab["d"].datagram("10.0.1.6", 53)
        lab["a"].datagram("10.0.1.4").sendto(b"nonce", ("10.0.1.6", 53))
        assert not readable(receiver)

        assert lab.counted("nsg-c/Deny81") == 2
        assert lab.counted("nsg-c/DenyPing") == 2
        assert lab.counted("nsg-c/DenyDns") == 1
        assert lab.counted("nsg-c/DenyAllInBound") == 0


@pytest.mark.parametrize("level", ["nic", "subnet"])
@pytest.mark.parametrize("direction", ["Inbound", "Outbound"])
def test_both_levels_judge_both_directions(level: str, direction: str) -> None:
    security = nsg("n", rule("No80", 100, "Deny", direction=direction, protocol="Tcp", ports=[(80, 80)]))
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    subnet = builder.subnet("v", "s", "10.0.1.0/24", security=security if level == "subnet" else None)
    builder.vm("guarded", subnet, "10.0.1.4", security=security if level == "nic" else None)
    builder.vm("other", builder.subnet("v", "t", "10.0.2.0/24"), "10.0.2.4")
    with running(builder) as lab:
        lab["guarded"].listen("10.0.1.4", 80)
        lab["other"].listen("10.0.2.4", 80)

        inbound = lab["other"].connects("10.0.1.4", 80)
        outbound = lab["guarded"].connects("10.0.2.4", 80)

        denied = ("timeout", "connected") if direction == "Inbound" else ("connected", "timeout")
        assert (inbound, outbound) == denied
        assert lab.counted("n/No80") == 1


def test_many_prefixes_ports_and_asg_members_in_one_rule() -> None:
    builder = two_subnets()
    security = nsg(
        "n",
        rule(
            "Some", 100, "Allow", source="asg:web,192.168.0.0/24,192.168.9.0/24", ports=[(80, 80), (443, 450)]
        ),
        rule("Rest", 200, "Deny"),
    )
    subnet = next(iter(builder.subnets))
    builder.vm("member", subnet, "10.0.1.8", asgs=["web"])
    builder.vm("target", subnet, "10.0.1.9", security=security)
    with running(builder) as lab:
        for port in (80, 81, 447):
            lab["target"].listen("10.0.1.9", port)

        assert [lab["member"].connects("10.0.1.9", port) for port in (80, 81, 447)] == [
            "connected",
            "timeout",
            "connected",
        ]
        assert lab["a"].connects("10.0.1.9", 80) == "timeout"
        assert lab.counted("n/Some") == 2
        assert lab.counted("n/Rest") == 2


def test_a_changed_rule_binds_new_flows_and_leaves_those_that_exist() -> None:
    builder = two_subnets()
    allow = nsg("n", rule("Web", 100, "Allow", protocol="Tcp"))
    nic = builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", security=allow)
    with running(builder) as lab:
        server = lab["d"].listen("10.0.1.6", 80)
        live = lab["a"].open(server, 80)
        assert echo(*live)
        before = lab.counted("n/Web")

        builder.nsgs[builder.nics[nic].nsg or ""] = nsg("n", rule("Web", 100, "Deny", protocol="Tcp"))
        lab.change(builder)

        assert echo(*live)
        assert lab["a"].connects("10.0.1.6", 80) == "timeout"
        # a rule that was replaced goes on counting from where it was
        assert lab.counted("n/Web") == before + 1

        builder.nsgs[builder.nics[nic].nsg or ""] = allow
        lab.change(builder)
        assert lab["a"].connects("10.0.1.6", 80) == "connected"


def test_a_port_is_judged_anew_when_it_is_used_again() -> None:
    builder = two_subnets()
    nic = builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", security=nsg("n"))
    with running(builder) as lab:
        lab["d"].listen("10.0.1.6", 80)
        assert lab["a"].connects("10.0.1.6", 80, source_port=33333) == "connected"
        builder.nsgs[builder.nics[nic].nsg or ""] = nsg("n", rule("No", 100, "Deny", protocol="Tcp"))
        lab.change(builder)

        assert lab["a"].connects("10.0.1.6", 80, source_port=33333) == "timeout"


# --- errors that a guest sends about a flow


def test_icmp_errors_about_a_flow_pass() -> None:
    builder = two_subnets()
    builder.vm("d", next(iter(builder.subnets)), "10.0.1.6", "fd00:1:0:1::6", security=nsg("n"))
    with running(builder) as lab:
        for source, target in (("10.0.1.4", "10.0.1.6"), ("fd00:1:0:1::4", "fd00:1:0:1::6")):
            sender = lab["a"].datagram(source)
            sender.connect((target, 9))
            sender.send(b"nobody listens")
            with pytest.raises(ConnectionRefusedError):
                sender.recv(100)


def icmp_unreachable(quoted: bytes) -> bytes:
    header = struct.pack("!BBHI", 3, 1, 0, 0)
    return header[:2] + struct.pack("!H", checksum(header + quoted)) + header[4:] + quoted


def test_icmp_errors_about_no_flow_are_dropped() -> None:
    with running(two_subnets()) as lab:
        seen = lab["a"].packet_socket()
        raw = lab["c"].open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        raw.sendto(
            icmp_unreachable(ipv4_udp("10.0.1.4", "10.0.2.4", 1000, 53, b"never sent")), ("10.0.1.4", 0)
        )

        assert not readable(seen)
        assert lab.counted(DropReason.UNRELATED_ICMP) == 1


# --- anti-spoofing


def test_a_source_that_is_not_the_nics_own_is_dropped_unless_it_forwards() -> None:
    builder = two_subnets()
    builder.vm("router", next(iter(builder.subnets)), "10.0.1.7", forwarding=True)
    with running(builder) as lab:
        receiver = lab["c"].datagram("10.0.2.4", 53)
        for name, arrives in (("a", False), ("router", True)):
            raw = lab[name].open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            raw.sendto(ipv4_udp("10.0.1.99", "10.0.2.4", 1000, 53, b"whoever"), ("10.0.2.4", 0))
            assert readable(receiver) is arrives
        assert lab.counted(DropReason.SPOOFED) == 1


# --- routes and appliances


def through_appliance(
    *, there: bool = True, back: bool = True, ip_forwarding: bool = True, deny: bool = False
) -> Builder:
    """a and b in two subnets, each (by choice) routed to the other through fw in a third."""
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16", "fd00:1::/48")
    to_b = [route("10.0.2.0/24", "10.0.9.4"), route("fd00:1:0:2::/64", "fd00:1:0:9::4")]
    to_a = [route("10.0.1.0/24", "10.0.9.4"), route("fd00:1:0:1::/64", "fd00:1:0:9::4")]
    subnet = builder.subnet("v", "a", "10.0.1.0/24", "fd00:1:0:1::/64", routes=to_b if there else ())
    builder.vm("a", subnet, "10.0.1.4", "fd00:1:0:1::4")
    subnet = builder.subnet("v", "b", "10.0.2.0/24", "fd00:1:0:2::/64", routes=to_a if back else ())
    builder.vm("b", subnet, "10.0.2.4", "fd00:1:0:2::4")
    security = nsg("nsg-fw", rule("DenyIn", 100, "Deny")) if deny else None
    builder.vm(
        "fw",
        builder.subnet("v", "f", "10.0.9.0/24", "fd00:1:0:9::/64"),
        "10.0.9.4",
        "fd00:1:0:9::4",
        security=security,
        forwarding=ip_forwarding,
    )
    return builder


def test_traffic_passes_an_appliance_which_is_one_hop() -> None:
    with running(through_appliance()) as lab:
        forwarding(lab["fw"])
        for target, appliance in (("10.0.2.4", "10.0.9.4"), ("fd00:1:0:2::4", "fd00:1:0:9::4")):
            lab["b"].listen(target, 80)

            assert lab["a"].connects(target, 80) == "connected"
            assert lab["a"].ping(target) == 63
            assert lab["a"].ping(appliance) == 64

            receiver = lab["b"].datagram(target, 53)
            lab["a"].datagram("::" if ":" in target else "0.0.0.0").sendto(bytes(4000), (target, 53))
            assert receiver.recv(6000) == bytes(4000)


def test_an_appliance_without_ip_forwarding_gets_only_its_own_packets() -> None:
    with running(through_appliance(ip_forwarding=False)) as lab:
        forwarding(lab["fw"])
        lab["b"].listen("10.0.2.4", 80)

        assert lab["a"].connects("10.0.2.4", 80) == "timeout"
        assert lab.counted(DropReason.APPLIANCE_NOT_FORWARDING) == 1
        assert lab["a"].ping("10.0.9.4") == 64


def test_an_appliance_whose_guest_does_not_forward_is_silent() -> None:
    with running(through_appliance()) as lab:
        lab["b"].listen("10.0.2.4", 80)

        assert lab["a"].connects("10.0.2.4", 80) == "timeout"


def test_the_hop_limit_error_of_an_appliance_comes_back() -> None:
    with running(through_appliance()) as lab:
        forwarding(lab["fw"])
        raw = lab["a"].open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        assert lab["a"].ping("10.0.2.4", ttl=1) is None

        message, (sender, _) = raw.recvfrom(200)
        assert sender == "10.0.9.4"
        assert message[20:22] == bytes([11, 0])


@pytest.mark.parametrize(("deny", "outcome"), [(True, "timeout"), (False, "connected")])
def test_an_asymmetric_return_is_judged_by_the_appliances_rules(deny: bool, outcome: str) -> None:
    """The appliance's port never saw the flow: for it the answer is a new one."""
    with running(through_appliance(there=False, deny=deny)) as lab:
        forwarding(lab["fw"])
        lab["b"].listen("10.0.2.4", 80)

        assert lab["a"].connects("10.0.2.4", 80) == outcome
        assert (lab.counted("nsg-fw/DenyIn") > 0) is deny


def test_a_route_to_none_is_silent_and_counted() -> None:
    builder = Builder()
    builder.vnet("v", "10.0.0.0/16")
    none = [route("10.0.2.0/24", "None")]
    builder.vm("a", builder.subnet("v", "a", "10.0.1.0/24", routes=none), "10.0.1.4")
    builder.vm("b", builder.subnet("v", "b", "10.0.2.0/24"), "10.0.2.4")
    with running(builder) as lab:
        lab["b"].listen("10.0.2.4", 80)

        assert lab["a"].connects("10.0.2.4", 80) == "timeout"
        assert lab.counted(DropReason.ROUTE_TO_NONE) == 1


# --- peerings


def test_vnets_of_one_space_stay_apart_and_a_peering_joins_one_of_them() -> None:
    builder = Builder()
    for name, space in (("one", "10.0.0.0/16"), ("two", "10.0.0.0/16"), ("far", "10.3.0.0/16")):
        builder.vnet(name, space)
        builder.vm(name, builder.subnet(name, "s", space.replace("/16", "/24")), space.replace("0/16", "4"))
    builder.peer("one", "far")
    builder.peer("far", "one")
    with running(builder) as lab:
        lab["far"].listen("10.3.0.4", 80)
        lab["one"].listen("10.0.0.4", 80)

        assert lab["one"].connects("10.3.0.4", 80) == "connected"
        assert lab["two"].connects("10.3.0.4", 80) == "timeout"
        assert lab["far"].connects("10.0.0.4", 80) == "connected"
        assert lab["two"].connects("10.0.0.4", 80) == "refused"  # that is itself


def hub(*, allow_forwarded: bool) -> Builder:
    """Two spokes routed to each other through fw in a hub."""
    builder = Builder()
    builder.vnet("hub", "10.0.0.0/16")
    builder.vm("fw", builder.subnet("hub", "s", "10.0.0.0/24"), "10.0.0.4", forwarding=True)
    for name, other in (("1", "2"), ("2", "1")):
        builder.vnet(f"spoke{name}", f"10.{name}.0.0/16")
        builder.peer("hub", f"spoke{name}")
        builder.peer(f"spoke{name}", "hub", forwarded=allow_forwarded)
        subnet = builder.subnet(
            f"spoke{name}", "s", f"10.{name}.0.0/24", routes=[route(f"10.{other}.0.0/16", "10.0.0.4")]
        )
        builder.vm(f"vm{name}", subnet, f"10.{name}.0.4")
    return builder


@pytest.mark.parametrize(("allowed", "outcome"), [(True, "connected"), (False, "timeout")])
def test_forwarded_traffic_enters_a_spoke_where_its_peering_allows_it(allowed: bool, outcome: str) -> None:
    with running(hub(allow_forwarded=allowed)) as lab:
        forwarding(lab["fw"])
        lab["vm2"].listen("10.2.0.4", 80)

        assert lab["vm1"].connects("10.2.0.4", 80) == outcome
        assert lab["vm1"].ping("10.0.0.4") == 64
        assert lab.counted(DropReason.FORWARDED_TRAFFIC_REFUSED) == (0 if allowed else 1)


EXPLICIT_OUT = rule("Out", 100, "Allow", direction="Outbound", target="10.1.0.0/16")
EXPLICIT_IN = rule("In", 100, "Allow", source="10.0.0.4")
ANY_OUT = rule("AnyOut", 100, "Allow", direction="Outbound")
ANY_IN = rule("AnyIn", 100, "Allow")


@pytest.mark.parametrize(
    ("closed", "rule_out", "rule_in", "passes"),
    [
        ((True, True), None, None, False),
        ((True, True), EXPLICIT_OUT, EXPLICIT_IN, True),
        ((True, True), EXPLICIT_OUT, ANY_IN, False),
        ((True, True), ANY_OUT, EXPLICIT_IN, False),
        ((True, False), EXPLICIT_OUT, ANY_IN, True),
        ((False, True), ANY_OUT, EXPLICIT_IN, True),
        ((False, True), ANY_OUT, ANY_IN, False),
        ((True, True), None, EXPLICIT_IN, True),
        ((False, False), ANY_OUT, ANY_IN, True),
    ],
)
def test_a_peering_without_access_carries_what_rules_name(
    closed: tuple[bool, bool], rule_out: SecurityRule | None, rule_in: SecurityRule | None, passes: bool
) -> None:
    builder = Builder()
    for name, number, own in (("v", 0, rule_out), ("w", 1, rule_in)):
        builder.vnet(name, f"10.{number}.0.0/16")
        security = nsg(f"nsg-{name}", own) if own is not None else None
        subnet = builder.subnet(name, "s", f"10.{number}.0.0/24", security=security)
        builder.vm(name, subnet, f"10.{number}.0.4")
    builder.peer("v", "w", access=not closed[0])
    builder.peer("w", "v", access=not closed[1])
    with running(builder) as lab:
        lab["w"].listen("10.1.0.4", 80)

        assert lab["v"].connects("10.1.0.4", 80) == ("connected" if passes else "timeout")
        assert bool(lab.counted(DropReason.PEERING_ACCESS_DISABLED)) != passes


# --- IPv6


def test_ipv6() -> None:
    with running(two_subnets()) as lab:
        for name, address in (("b", "fd00:1:0:1::5"), ("c", "fd00:1:0:2::4")):
            lab[name].listen(address, 80)
            assert lab["a"].connects(address, 80) == "connected"
            assert lab["a"].connects(address, 81) == "refused"
            assert lab["a"].ping(address) == 64
        for address in ("fd00:1:0:1::1", "fd00:1:0:1::99", "fd00:2::1", "2001:db8::1"):
            assert lab["a"].ping(address) is None
        assert lab.counted(DropReason.SPOOFED) == 0


# --- the life of a fabric


def test_a_secondary_nic_has_its_address_but_no_default_route() -> None:
    builder = two_subnets()
    builder.vm("a", list(builder.subnets)[1], "10.0.2.9")
    with running(builder) as lab:
        with inside(lab["a"].netns):
            routes = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
        assert {tuple(line.split()[:2]) for line in routes} == {
            ("eth0", "00000000"),
            ("eth0", "0001000A"),
            ("eth1", "0002000A"),
        }
        assert lab["c"].ping("10.0.2.9") == 64  # over the subnet's own route


def test_ports_come_and_go_while_traffic_flows() -> None:
    builder = two_subnets()
    with running(builder) as lab, hosts("late") as others:
        live = lab["a"].open(lab["c"].listen("10.0.2.4", 80), 80)

        builder.vm("late", next(iter(builder.subnets)), "10.0.1.9")
        lab.change(builder)
        assert lab["a"].ping("10.0.1.9") is None
        port = lab.plan.ports_of("late")[0]
        lab.fabric.attach([port], {"late": others["late"].netns})
        assert lab["a"].ping("10.0.1.9") == 64
        assert lab.fabric.port_states() == dict.fromkeys(range(1, 5), True)

        lab.fabric.detach([port.id, 99])
        assert lab["a"].ping("10.0.1.9") is None
        assert port.id not in lab.fabric.port_states()
        lab.fabric.attach([port], {"late": others["late"].netns})
        assert lab["a"].ping("10.0.1.9") == 64
        assert echo(*live)


def test_a_port_whose_guest_end_is_down_has_no_carrier() -> None:
    with running(two_subnets()) as lab:
        with inside(lab["b"].netns), Rtnetlink() as rtnetlink:
            rtnetlink.send([link_up(socket.if_nametoindex("eth0"), up=False)])

        assert lab.fabric.port_states() == {1: True, 2: False, 3: True}


def test_a_vm_that_dies_does_not_keep_its_port_from_being_removed() -> None:
    plan = build_plan(two_subnets().build())
    netns = {name: new_netns() for name in "abc"}
    with Fabric() as fabric:
        fabric.attach(list(plan.ports.values()), netns)
        fabric.apply(plan)
        for item in netns.values():
            os.close(item)

        fabric.detach(plan.ports)

        assert fabric.port_states() == {}


def test_mistakes_of_a_caller_are_named() -> None:
    with running(two_subnets()) as lab:
        port = lab.plan.ports[1]
        with pytest.raises(FabricError, match="port 1 is attached already"):
            lab.fabric.attach([port], {"a": lab["a"].netns})
        lab.fabric.detach([1])
        with pytest.raises(FabricError, match="its VM a has no network namespace"):
            lab.fabric.attach([port], {})
        with hosts("fresh") as others:
            with pytest.raises(FabricError, match="p1"):
                lab.fabric.attach([port, port], {"a": others["fresh"].netns})
            lab.fabric.attach([port], {"a": others["fresh"].netns})


def test_a_refused_script_gives_nfts_own_words() -> None:
    netns = new_netns()
    try:
        with pytest.raises(NftError, match=r"No such file or directory"):
            run_script(netns, "add chain netdev nowhere x\n")
    finally:
        os.close(netns)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("close", [Fabric.close, lambda fabric: fabric.__exit__(None, None, None)])
def test_nothing_is_left(close: Callable[[Fabric], None]) -> None:
    plan = build_plan(two_subnets().build())
    descriptors = open_descriptors()
    with hosts("a", "b", "c") as made:
        fabric = Fabric()
        fabric.attach(list(plan.ports.values()), {name: host.netns for name, host in made.items()})
        fabric.apply(plan)
        close(fabric)
        fabric.close()

        for host in made.values():
            with inside(host.netns):
                assert [name for _, name in socket.if_nameindex()] == ["lo"]
    assert open_descriptors() == descriptors
