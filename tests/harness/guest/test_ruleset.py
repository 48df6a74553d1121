"""The walk through a guest's rules: rules in, packet in, expected ruling. Rules are read by both readers."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.iptables import read_iptables
from harness.guest.nftables import NotAnswered, read_nftables
from harness.guest.ruleset import INBOUND_HOOKS, OUTBOUND_HOOKS, Action, GuestPacket
from harness.guest.walk import judge

REAL = Path(__file__).parents[4] / "shared" / "linux-outputs"
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the collection of real machines' outputs is not beside this checkout"
)

SYN = GuestPacket(
    protocol="tcp",
    source=ip_address("10.0.1.4"),
    destination=ip_address("10.0.3.4"),
    source_port=50000,
    destination_port=1433,
    in_interface="eth0",
    tcp_flags=frozenset({"syn"}),
)

IPTABLES = [
    ("-A INPUT -p tcp -m tcp --dport 1433 -j DROP", Action.DROP),
    ("-A INPUT -p tcp -m tcp --dport 1434 -j DROP", Action.ACCEPT),
    ("-A INPUT ! -s 10.0.9.0/24 -p tcp -j DROP", Action.DROP),
    ("-A INPUT ! -s 10.0.1.0/24 -p tcp -j DROP", Action.ACCEPT),
    ("-A INPUT -p tcp -m multiport --dports 80,1400:1500 -j REJECT --reject-with tcp-reset", Action.REJECT),
    ("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -j DROP", Action.DROP),
    ("-A INPUT -i lo -j DROP", Action.ACCEPT),
    ("-A INPUT -i eth+ -j DROP", Action.DROP),
    ("-A INPUT -p tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", Action.DROP),
    ("-A INPUT -j guard\n-A guard -s 10.0.1.4/32 -j RETURN\n-A guard -j DROP", Action.ACCEPT),
    ("-A INPUT -j guard\n-A guard -s 10.0.1.5/32 -j RETURN\n-A guard -j DROP", Action.DROP),
    ("-A INPUT -g guard\n-A INPUT -j DROP\n-A guard -p udp -j DROP", Action.ACCEPT),
    ('-A INPUT -j LOG --log-prefix "in -j DROP"\n-A INPUT -p udp -j DROP', Action.ACCEPT),
    ('-A INPUT -m comment --comment "--dport 1" -p tcp -j DROP', Action.DROP),
]


@pytest.mark.parametrize(("rules", "action"), IPTABLES)
def test_iptables_rules(rules: str, action: Action) -> None:
    listing = f"*filter\n:INPUT ACCEPT [0:0]\n:guard - [0:0]\n{rules}\nCOMMIT\n"
    ruling = judge(read_iptables(listing, 4), SYN, INBOUND_HOOKS)
    assert ruling.action is action
    assert not ruling.doubts


def test_a_policy_decides_where_no_rule_does() -> None:
    ruling = judge(read_iptables("*filter\n:INPUT DROP [0:0]\nCOMMIT\n", 4), SYN, INBOUND_HOOKS)
    assert (ruling.action, ruling.describe()) == (Action.DROP, "ip filter INPUT: policy drop")


def test_rules_of_the_other_family_do_not_concern_the_packet() -> None:
    assert (
        judge(read_iptables("*filter\n:INPUT DROP [0:0]\nCOMMIT\n", 6), SYN, INBOUND_HOOKS).action
        is Action.ACCEPT
    )


def test_an_accept_ends_its_own_table_only() -> None:
    listing = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n"
    )
    assert judge(read_iptables(listing, 4), SYN, INBOUND_HOOKS).action is Action.DROP


def test_what_cannot_be_decided_is_a_doubt_not_a_verdict() -> None:
    listing = (
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m connlimit --connlimit-above 2 -j REJECT\nCOMMIT\n"
    )
    ruling = judge(read_iptables(listing, 4), SYN, INBOUND_HOOKS)
    assert ruling.action is Action.ACCEPT
    assert not ruling.certain
    assert [rule.text for rule in ruling.doubts][:1] == [
        "-A INPUT -p tcp -m connlimit --connlimit-above 2 -j REJECT"
    ]


def _nft(*expressions: object, chain: str = "input", hook: str = "input", policy: str = "accept") -> str:
    objects: list[object] = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "t", "handle": 1}},
        {"chain": {"family": "inet", "table": "t", "name": chain, "handle": 1, "type": "filter", "hook": hook, "prio": 0, "policy": policy}},
    ]  # fmt: skip
    for number, expression in enumerate(expressions):
        objects.append(
            {
                "rule": {
                    "family": "inet",
                    "table": "t",
                    "chain": chain,
                    "handle": number + 2,
                    "expr": expression,
                }
            }
        )
    return json.dumps({"nftables": objects})


def _port(operator: str, right: object, protocol: str = "tcp") -> object:
    return {
        "match": {
            "op": operator,
            "left": {"payload": {"protocol": protocol, "field": "dport"}},
            "right": right,
        }
    }


NFT = [
    ([_port("==", 1433), {"counter": {"packets": 3, "bytes": 180}}, {"drop": None}], Action.DROP),
    ([_port("==", {"set": [22, {"range": [1400, 1500]}]}), {"reject": {"type": "tcp reset"}}], Action.REJECT),
    ([_port("!=", 22), {"drop": None}], Action.DROP),
    ([_port("!=", 22, "udp"), {"drop": None}], Action.ACCEPT),
    ([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": None}], ["new", {"drop": None}]]}}}], Action.DROP),
    ([{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"drop": None}], Action.ACCEPT),
    ([{"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "::1"}}, {"drop": None}], Action.ACCEPT),
    ([{"match": {"op": "!=", "left": {"payload": {"protocol": "ip6", "field": "saddr"}}, "right": "::1"}}, {"drop": None}], Action.ACCEPT),
    ([{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}, {"drop": None}], Action.DROP),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "action"), NFT)
def test_nft_rules(expression: object, action: Action) -> None:
    ruling = judge(read_nftables(_nft(expression)), SYN, INBOUND_HOOKS)
    assert ruling.action is action
    assert not ruling.doubts


def test_an_unknown_nft_match_is_a_doubt() -> None:
    ruling = judge(
        read_nftables(_nft([{"limit": {"rate": 1, "per": "second"}}, {"drop": None}])), SYN, INBOUND_HOOKS
    )
    assert (ruling.action, len(ruling.doubts)) == (Action.ACCEPT, 1)


def test_the_text_of_a_rule_comes_from_the_plain_listing() -> None:
    texts = "table inet t {\n\tchain input { # handle 1\n\t\ttcp dport 1433 counter packets 3 bytes 180 drop # handle 2\n\t}\n}\n"
    ruling = judge(read_nftables(_nft(NFT[0][0]), texts), SYN, INBOUND_HOOKS)
    assert ruling.describe() == "inet t input: tcp dport 1433 counter packets 3 bytes 180 drop"
    assert ruling.rule is not None
    assert ruling.rule.packets == 3


def test_an_accept_ends_its_own_base_chain_only() -> None:
    both = (
        json.loads(_nft([{"accept": None}]))["nftables"]
        + json.loads(_nft([{"drop": None}], chain="late"))["nftables"]
    )
    assert judge(read_nftables(json.dumps({"nftables": both})), SYN, INBOUND_HOOKS).action is Action.DROP


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "Operation not permitted", '{"nftables": [1]}', '{"nftables": 5}']
)
def test_what_is_no_answer_of_nft_is_refused(text: str) -> None:
    with pytest.raises(NotAnswered):
        read_nftables(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["match", "vmap", "left", "right", "op", "payload", "set", "elem", "val", "data", "key", "meta", "ct", "protocol", "field", "reject", "jump"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["match", "vmap", "reject", "jump", "limit"]), JSON_VALUES, min_size=1, max_size=1
        ),
        max_size=4,
    )
)
def test_no_rule_breaks_the_nft_reader(expression: list[dict[str, object]]) -> None:
    judge(read_nftables(_nft(expression)), SYN, INBOUND_HOOKS)


@given(st.text())
def test_no_text_breaks_the_iptables_reader(text: str) -> None:
    judge(read_iptables(f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {text}\nCOMMIT\n", 4), SYN, INBOUND_HOOKS)


@needs_real
def test_azure_agents_security_table() -> None:
    ruleset = read_iptables((REAL / "iptables-save.azure-waagent.ubuntu22.txt").read_text(), 4)
    wire = GuestPacket(
        "tcp", ip_address("10.0.1.4"), ip_address("168.63.129.16"), 50000, 80, out_interface="eth0"
    )
    ruling = judge(ruleset, wire, OUTBOUND_HOOKS)
    assert ruling.action is Action.DROP
    assert ruling.describe() == (
        "ip security OUTPUT: -A OUTPUT -d 168.63.129.16/32 -p tcp -m conntrack --ctstate INVALID,NEW -j DROP"
    )
    assert not ruling.certain
    assert [rule.text for rule in ruling.doubts][:1] == [
        "-A OUTPUT -d 168.63.129.16/32 -p tcp -m owner --uid-owner 0 -j ACCEPT"
    ]


def _rules_in(text: str) -> int:
    """The -A lines, of chains that are declared, in the tables that matter."""
    table, declared, found = "", set[str](), 0
    for line in text.splitlines():
        if line.startswith("*"):
            table, declared = line[1:].strip(), set()
        elif line.startswith(":"):
            declared.add(line[1:].split()[0])
        elif (
            "-A " in line[:40] and line[0] in "[-" and table in ("raw", "mangle", "nat", "filter", "security")
        ):
            found += line.split("-A ", 1)[1].split()[0] in declared
    return found


@needs_real
@pytest.mark.parametrize(
    "path", sorted(REAL.glob("ip*tables-save*.txt")) if REAL.is_dir() else [], ids=lambda path: path.name
)
def test_every_rule_of_a_real_save_is_read(path: Path) -> None:
    # pasted excerpts may stop in the middle of a table, which no save does
    whole = path.read_text().rpartition("COMMIT")[0] + "COMMIT\n"
    ruleset = read_iptables(whole, 6 if path.name.startswith("ip6") else 4)
    assert sum(len(chain.rules) for chain in ruleset.chains) == _rules_in(whole)
    # of these the chains or their declarations were cut where they were pasted
    assert _rules_in(whole) or any(word in path.name for word in ("empty", "head", "k3s"))


@needs_real
def test_debian_12_prefix_and_set() -> None:
    ruleset = read_nftables((REAL / "nft-j.prefix-and-set.debian12.v1.0.6.json").read_text())
    imds = GuestPacket(
        "tcp", ip_address("10.0.1.4"), ip_address("169.254.169.254"), 5, 80, out_interface="eth0"
    )
    assert judge(ruleset, imds, OUTBOUND_HOOKS).action is Action.DROP
    assert judge(ruleset, SYN, OUTBOUND_HOOKS).action is Action.ACCEPT


UFW = read_iptables((Path(__file__).parent / "captures" / "ufw-0.36.iptables-save.txt").read_text(), 4)
"""Debian 12's ufw, enabled, with `ufw allow 1433/tcp` and `ufw allow 53/udp`."""


@pytest.mark.parametrize(
    ("protocol", "port", "action"),
    [
        ("tcp", 1433, Action.ACCEPT),
        ("udp", 53, Action.ACCEPT),
        ("tcp", 1434, Action.DROP),
        ("udp", 1433, Action.DROP),
    ],
)
def test_ufw_is_decided_for_certain(protocol: str, port: int, action: Action) -> None:
    flags = frozenset({"syn"}) if protocol == "tcp" else frozenset()
    packet = replace(SYN, protocol=protocol, destination_port=port, tcp_flags=flags, to_guest=True)
    ruling = judge(UFW, packet, INBOUND_HOOKS)
    assert (ruling.action, ruling.certain) == (action, True)


UNDECIDED = [
    # both ways lead to the same end
    ("-A INPUT -m set --match-set x src -j RETURN\n-A INPUT -j ACCEPT", "ACCEPT", Action.ACCEPT, True),
    ("-A INPUT -m set --match-set x src -j DROP\n-A INPUT -j DROP", "ACCEPT", Action.DROP, True),
    ("-A INPUT -m set --match-set x src -j guard\n-A guard -j DROP", "DROP", Action.DROP, True),
    # an undecided return, jump or accept leads elsewhere
    ("-A INPUT -m set --match-set x src -j RETURN\n-A INPUT -j DROP", "ACCEPT", Action.DROP, False),
    ("-A INPUT -m set --match-set x src -j ACCEPT", "DROP", Action.DROP, False),
    ("-A INPUT -m set --match-set x src -j guard\n-A guard -j ACCEPT", "DROP", Action.DROP, False),
    ("-A INPUT -m set --match-set x src -j guard\n-A guard -j DROP", "ACCEPT", Action.ACCEPT, False),
    (
        "-A INPUT -j guard\n-A INPUT -j DROP\n-A guard -m set --match-set x src -j ACCEPT",
        "ACCEPT",
        Action.DROP,
        False,
    ),
    ("-A INPUT -g guard\n-A guard -m set --match-set x src -j DROP", "ACCEPT", Action.ACCEPT, False),
    # in a circle, as no kernel would load it
    ("-A INPUT -j guard\n-A guard -j guard\n-A guard -j INPUT", "DROP", Action.DROP, True),
]


@pytest.mark.parametrize(("rules", "policy", "action", "certain"), UNDECIDED)
def test_what_is_undecided_is_followed_both_ways(
    rules: str, policy: str, action: Action, certain: bool
) -> None:
    listing = f"*filter\n:INPUT {policy} [0:0]\n:guard - [0:0]\n{rules}\nCOMMIT\n"
    ruling = judge(read_iptables(listing, 4), SYN, INBOUND_HOOKS)
    assert (ruling.action, ruling.certain) == (action, certain)
    assert bool(ruling.doubts) is not certain


def test_a_translated_destination_makes_input_rules_doubtful() -> None:
    docker = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
        "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 1433 -j DNAT --to-destination 172.17.0.2:1433\nCOMMIT\n"
    )
    dropping = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"
    published = judge(read_iptables(docker + dropping, 4), replace(SYN, to_guest=True), INBOUND_HOOKS)
    assert not published.certain
    assert "DNAT" in published.doubts[0].text
    other = judge(
        read_iptables(docker + dropping, 4), replace(SYN, to_guest=True, destination_port=22), INBOUND_HOOKS
    )
    assert other.blocks


@pytest.mark.parametrize(
    ("rules", "listed"),
    [
        (
            "-A INPUT -s 10.0.9.9/32 -p tcp -m tcp --dport 1433 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 1433 -j DROP",
            True,
        ),
        ("-A INPUT -s 10.0.9.9/32 -j ACCEPT\n-A INPUT -j DROP", True),
        # a bastion's or the platform's way in says nothing of a port that is closed for itself
        ("-A INPUT -s 10.0.9.9/32 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 1433 -j DROP", False),
        ("-A INPUT -s 168.63.129.16/32 -j ACCEPT\n-A INPUT -j DROP", False),
    ],
)
def test_what_is_an_allow_list(rules: str, listed: bool) -> None:
    ruling = judge(read_iptables(f"*filter\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n", 4), SYN, INBOUND_HOOKS)
    assert ruling.blocks
    assert ruling.is_allow_list is listed
