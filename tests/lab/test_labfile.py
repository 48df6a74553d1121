"""The lab file: what it accepts, and that everything else is refused with file, line and key."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import AzreachError, InputError, UnknownNameError
from harness.network.snapshot import network_from_resources
from lab.content import LabContent, load_content
from lab.labfile import load_lab_file, numbered
from lab.plan import build_plan
from lab.topologies import names, source_path

VALID = """\
vnets:
  one:
    address_space: [10.0.0.0/16, "fd00:2::/48"]
    subnets:
      web: {prefix: 10.0.1.0/24, nsg: nsg-web}
      db: {prefix: [10.0.2.0/24, "fd00:2::/64"], route_table: rt}
    peerings:
      to-two: {remote: two}
  two:
    address_space: 10.1.0.0/16
    subnets:
      app: {prefix: 10.1.0.0/24}
asgs: [asg-web]
nsgs:
  nsg-web:
    - {name: Http, priority: 100, access: Allow, protocol: tcp, ports: [80, 8000-8099], destination: asg-web}
    - {name: None, priority: 200, access: deny, source: Internet}
route_tables:
  rt:
    - {name: away, prefix: 0.0.0.0/0, next_hop: None}
    - {name: nva, prefix: 10.9.0.0/16, next_hop: 10.0.1.9}
vms:
  "web-{n:02}": {count: 2, subnet: web, asgs: [asg-web], services: [80/tcp]}
  db-01: {subnet: one/db, ipv6: true, services: [1433/tcp, 53/udp, "127.0.0.1:9/tcp"], user: azureuser}
  nva:
    nics:
      - {subnet: web, address: 10.0.1.9, ip_forwarding: true}
      - {subnet: db}
flows:
  - {from: "web-*", to: db-01, port: 1433}
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_valid_example_becomes_a_network(tmp_path: Path) -> None:
    content = load_content(write(tmp_path, VALID))
    network = network_from_resources(content.resources, content.origin)
    assert [vm.name for vm in network.vms.values()] == ["web-01", "web-02", "db-01", "nva"]
    assert len(build_plan(network).ports) == 5
    assert content.vm_count == 4
    assert content.guests["db-01"].services == ("1433/tcp", "53/udp", "127.0.0.1:9/tcp")
    assert content.flows == ({"from": "web-*", "to": "db-01", "port": 1433},)


@pytest.mark.parametrize("name", names())
def test_every_topology_is_valid(name: str) -> None:
    content = load_content(source_path(name))
    build_plan(network_from_resources(content.resources, content.origin))


def test_an_unknown_topology_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="three-tier"):
        source_path("four-tier")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nsg: nsg-web}", "nsg: nsg-wbe}", r"lab.yaml:5: vnets.one.subnets.web.nsg: no NSG 'nsg-wbe'"),
        ("remote: two", "remote: three", r"lab.yaml:8: .*to-two.remote: no VNet 'three'"),
        ("route_table: rt}", "route_table: xx}", r"lab.yaml:6: .*no route table 'xx'"),
        ("10.1.0.0/24", "10.2.0.0/24", r"lab.yaml:12: .*prefix: 10.2.0.0/24 is not in the VNet's address"),
        ("10.0.1.0/24", "10.0.0.0/16", r"lab.yaml:6: .*overlaps with subnet 'web'"),
        ("destination: asg-web", "destination: asg-wbe", r"lab.yaml:16: .*'asg-wbe' is no prefix, no ASG"),
        ("priority: 200", "priority: 100", r"lab.yaml:17: .*two Inbound rules have priority 100"),
        ("priority: 200", "priority: 99", r"lab.yaml:17: nsgs.nsg-web.1.priority: .*greater than or equal"),
        ("next_hop: None", "next_hop: Nowhere", r"lab.yaml:20: .*next_hop 'Nowhere'"),
        ("subnet: one/db", "subnet: one/xx", r"lab.yaml:24: vms.db-01.subnet: no subnet 'one/xx'"),
        ("[80/tcp]", "[80/sctp]", r"lab.yaml:23: .*'80/sctp' is no service"),
        ("[80/tcp]", "[70000/tcp]", r"lab.yaml:23: .*'70000/tcp' is no service"),
        ("count: 2, ", "", r"lab.yaml:23: vms.web-\{n:02\}: a name with \{n\} needs 'count'"),
        ('"web-{n:02}"', "web", r"lab.yaml:23: vms.web.count: the name of several VMs needs a number"),
        ("  nva:\n", "  WEB-01:\n", r"lab.yaml:25: vms.WEB-01: two VMs are named 'WEB-01'"),
        ("10.0.1.9, ip", "10.0.1.2, ip", r"lab.yaml:27: .*nics.0.address: 10.0.1.2 is reserved"),
        ("10.0.1.9, ip", "10.0.2.9, ip", r"lab.yaml:27: .*10.0.2.9 is not in the subnet"),
        ("ip_forwarding: true", "forward: true", r"lab.yaml:27: vms.nva.nics.0.forward: unknown key"),
        ("{subnet: db}", "{subnet: db, asgs: [xx]}", r"lab.yaml:28: .*no ASG 'xx'"),
        ("{subnet: db}", "{subnet: app}", r"lab.yaml:28: .*NICs of one VM must be in one VNet"),
        ("to: db-01", "to: db-02", r"lab.yaml:30: flows.0.to: 'db-02' matches no machine"),
        ('from: "web-*"', "from: 10.0.0.1", r"lab.yaml:30: flows.0.from: '10.0.0.1' matches no machine"),
        ("vnets:\n", "vents:\n", r"lab.yaml:1: vents: unknown key"),
        ("user: azureuser", "user: nobody", r"lab.yaml:24: vms.db-01.user: "),
        ("user: azureuser", "user: azureuser, sudo: some", r"lab.yaml:24: vms.db-01.sudo: "),
        ("user: azureuser", "sudo: none", r"lab.yaml:24: vms.db-01: 'sudo' goes with 'user: azureuser'"),
        ("flows:\n", "management: {jump: web-03}\nflows:\n", r"lab.yaml:29: management.jump: no VM 'web-03'"),
        ("flows:\n", "management: {}\nflows:\n", r"lab.yaml:29: management.jump: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in VALID
    with pytest.raises(InputError, match=message):
        load_lab_file(write(tmp_path, VALID.replace(old, new, 1)))


def test_port_22_is_sshds_own_where_vms_are_managed_in_band(tmp_path: Path) -> None:
    text = VALID.replace("services: [80/tcp]", "services: [80/tcp, 22/tcp]") + "management: {jump: nva}\n"
    with pytest.raises(InputError, match=r"lab.yaml:23: vms.web-\{n:02\}.services: 22/tcp is sshd's own"):
        load_lab_file(write(tmp_path, text))
    content = load_content(write(tmp_path, VALID + "management: {jump: web-02}\n"))
    assert content.jump == "web-02"
    assert LabContent.from_json(content.to_json()) == content


def test_a_full_subnet_is_an_error(tmp_path: Path) -> None:
    text = (
        VALID.replace("10.0.1.0/24", "10.0.1.0/29")
        .replace("10.0.1.9", "10.0.1.6")
        .replace("count: 2", "count: 9")
    )
    with pytest.raises(InputError, match=r"lab.yaml:23: .*no free address left"):
        load_lab_file(write(tmp_path, text))


def test_a_subnet_name_of_two_vnets_must_be_told_apart(tmp_path: Path) -> None:
    text = VALID.replace("      app: {prefix", "      web: {prefix")
    with pytest.raises(InputError, match=r"several VNets have a subnet 'web': write one of one/web, two/web"):
        load_lab_file(write(tmp_path, text))


def test_numbers_of_vms() -> None:
    assert numbered("web-{n:02}", 7) == "web-07"
    assert numbered("web-{n}", 7) == "web-7"
    assert numbered("{n:3}-x", 12) == "012-x"


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70000),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["10.0.0.0/8", "10.0.1.4", "::1", "web", "{n}", "{n:02}", "*", "80/tcp", "Internet", "a/b"]
    ),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The valid file with one to three places replaced, removed or renamed, or its text damaged."""
    if draw(st.integers(0, 3)) == 0:
        start = draw(st.integers(0, len(VALID)))
        end = draw(st.integers(start, min(len(VALID), start + 30)))
        return VALID[:start] + draw(st.text(max_size=8)) + VALID[end:]
    data = copy.deepcopy(yaml.safe_load(VALID))
    for _ in range(draw(st.integers(1, 3))):
        holders: list[Any] = [data]
        _collect(data, holders)
        holder = draw(st.sampled_from([item for item in holders if item]))
        key = draw(
            st.sampled_from(sorted(holder, key=str) if isinstance(holder, dict) else range(len(holder)))
        )
        action = draw(st.integers(0, 2))
        if action == 0:
            holder[key] = draw(VALUES)
        elif action == 1:
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.text(min_size=1, max_size=8))] = holder.pop(key)
        if not data:
            break
    return yaml.safe_dump(data, allow_unicode=True)


def _collect(node: Any, holders: list[Any]) -> None:
    for child in list(node.values()) if isinstance(node, dict) else list(node):
        if isinstance(child, dict | list):
            holders.append(child)
            _collect(child, holders)


@settings(max_examples=3000)
@given(text=mutated())
def test_a_damaged_file_is_accepted_whole_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    refusal = None
    try:
        content = load_content(path)
        build_plan(network_from_resources(content.resources, content.origin))
    except AzreachError as error:
        refusal = str(error)
    assert refusal is None or "damaged.yaml" in refusal or "/subscriptions/" in refusal
