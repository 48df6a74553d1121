"""Service tags: Microsoft's two files, the API's shape, lookups, and every way a file can be wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SnapshotError
from harness.network.addresses import AddressSet
from harness.network.service_tags import (
    SERVICE_ENDPOINT_TAGS,
    ServiceTags,
    load_service_tags,
    service_endpoint_tag,
    service_tags_of,
)
from harness.text import plain

PUBLISHED = Path(__file__).parents[4] / "shared" / "azure-service-tags"
CLOUDS = {"Public": (240, 2291, 60_927), "AzureGovernment": (401, 299, 6_589)}

PRIVATE = AddressSet.of(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


def tag(name: str, *prefixes: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "id": name, "properties": {**properties, "addressPrefixes": list(prefixes)}}


def document(*tags: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"changeNumber": 7, "cloud": "Public", "values": list(tags), **changes}


STORAGE = tag("Storage", "20.38.108.0/23", "20.60.26.0/24", "2603:1020:206::/48")
STORAGE_WEST_EUROPE = tag("Storage.WestEurope", "20.38.108.0/23", region="westeurope")
SQL = tag("Sql", "13.69.104.0/26")


# -- Microsoft's own files ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=CLOUDS)
def published(request: pytest.FixtureRequest) -> ServiceTags:
    path = PUBLISHED / f"ServiceTags_{request.param}.json"
    if not path.is_file():
        pytest.skip("Microsoft's service tags files are not on this machine")
    return load_service_tags(path)


def test_the_published_files_load_whole(published: ServiceTags) -> None:
    change_number, tags, prefixes = CLOUDS[published.cloud]
    assert published.change_number == change_number
    assert len(published.names) == tags
    assert sum(len(t.ranges_4) + len(t.ranges_6) for t in published.tags.values()) == prefixes


def test_no_published_tag_holds_a_private_address(published: ServiceTags) -> None:
    """What lets a rule with an unknown tag be decided for private addresses."""
    assert not [name for name in published.names if (published.addresses(name) or PRIVATE) & PRIVATE]


def test_every_published_set_is_what_ipaddress_makes_of_the_file(published: ServiceTags) -> None:
    body = json.loads((PUBLISHED / f"ServiceTags_{published.cloud}.json").read_text())
    for item in body["values"]:
        prefixes = (ip_network(text) for text in item["properties"]["addressPrefixes"])
        assert published.addresses(item["name"]) == AddressSet.of(prefixes), item["name"]


def test_every_endpoint_of_a_service_has_a_published_tag(published: ServiceTags) -> None:
    assert all(published.addresses(name) for name in SERVICE_ENDPOINT_TAGS.values())


def test_a_region_of_a_location_is_a_published_tag(published: ServiceTags) -> None:
    location = {"Public": "westeurope", "AzureGovernment": "usgovvirginia"}[published.cloud]
    for service in ("Microsoft.Storage", "Microsoft.Sql"):
        regional, whole = service_endpoint_tag(service, location), service_endpoint_tag(service, None)
        assert regional is not None
        assert whole is not None
        held = published.addresses(regional)
        assert held
        assert held & (published.addresses(whole) or AddressSet()) == held


# -- lookups ----------------------------------------------------------------------------------------


def test_names_are_found_without_regard_to_case() -> None:
    tags = service_tags_of(document(STORAGE, SQL), "tags.json")
    expected = AddressSet.of([ip_network("13.69.104.0/26")])
    assert tags.addresses("Sql") == tags.addresses("sQL") == expected
    assert tags.names == ("Storage", "Sql")


def test_a_name_of_no_tag_has_no_addresses() -> None:
    tags = service_tags_of(document(STORAGE), "tags.json")
    for name in ("VirtualNetwork", "Internet", "AzureLoadBalancer", "Storage.WestEurope", ""):
        assert tags.addresses(name) is None


def test_a_tag_without_prefixes_is_known_and_empty() -> None:
    tags = service_tags_of(document(tag("Retired")), "tags.json")
    assert tags.addresses("Retired") == AddressSet()


def test_tags_of_an_address_are_the_narrowest_first() -> None:
    tags = service_tags_of(document(STORAGE, SQL, STORAGE_WEST_EUROPE), "tags.json")
    assert tags.tags_of(ip_address("20.38.109.255")) == ("Storage.WestEurope", "Storage")
    assert tags.tags_of(ip_address("2603:1020:206:1::9")) == ("Storage",)
    assert tags.tags_of(ip_address("10.0.0.4")) == ()


@pytest.mark.parametrize(
    ("meant", "nearest"),
    [
        ("Storage.WestEurop", "Storage.WestEurope"),
        ("SQLs", "Sql"),
        ("AzureStorage", "Storage"),
    ],
)
def test_near(meant: str, nearest: str) -> None:
    tags = service_tags_of(document(SQL, STORAGE, STORAGE_WEST_EUROPE), "tags.json")
    assert tags.near(meant)[0] == nearest


def test_nothing_is_near_to_another_word() -> None:
    assert service_tags_of(document(SQL, STORAGE), "tags.json").near("Contoso") == ()


# -- service endpoints ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "location", "expected"),
    [
        ("Microsoft.Storage", "westeurope", "Storage.westeurope"),
        ("microsoft.storage", "West Europe", "Storage.westeurope"),
        ("Microsoft.Sql", "northeurope", "Sql.northeurope"),
        ("Microsoft.Storage", None, "Storage"),
        ("Microsoft.Storage", "*", "Storage"),
        ("Microsoft.Storage.Global", "westeurope", "Storage"),
        ("Microsoft.KeyVault", "westeurope", "AzureKeyVault"),
        ("Microsoft.Web", "*", "AppService"),
        ("Microsoft.AzureActiveDirectory", "westeurope", None),
        ("Contoso.Storage", "westeurope", None),
    ],
)
def test_service_endpoint_tag(service: str, location: str | None, expected: str | None) -> None:
    assert service_endpoint_tag(service, location) == expected


# -- shapes -----------------------------------------------------------------------------------------


def test_the_answer_of_the_api(tmp_path: Path) -> None:
    """What ``serviceTags`` answers and ``az network list-service-tags`` prints: numbers are strings."""
    path = tmp_path / "tags.json"
    answer = document(
        {**SQL, "serviceChangeNumber": "12"},
        changeNumber="63",
        id="/subscriptions/0/providers/Microsoft.Network/serviceTags/Public",
        name="Public",
        type="Microsoft.Network/serviceTags",
        nextLink=None,
    )
    path.write_text(json.dumps(answer), encoding="utf-8-sig")
    tags = load_service_tags(path)
    assert (tags.cloud, tags.change_number, tags.names) == ("Public", 63, ("Sql",))


@given(st.lists(st.from_type(IPv4Network) | st.from_type(IPv6Network), max_size=30))
def test_any_prefixes_become_the_set_of_their_addresses(prefixes: list[IPv4Network | IPv6Network]) -> None:
    tags = service_tags_of(document(tag("T", *map(str, prefixes))), "tags.json")
    assert tags.addresses("T") == AddressSet.of(prefixes)


@given(st.ip_addresses(), st.integers(0, 128))
def test_host_bits_and_single_addresses_count_as_their_prefix(address: Any, length: int) -> None:
    length = min(length, address.max_prefixlen)
    tags = service_tags_of(document(tag("T", f"{address}/{length}"), tag("One", str(address))), "tags.json")
    assert tags.addresses("T") == AddressSet.of([ip_network(f"{address}/{length}", strict=False)])
    assert tags.addresses("One") == AddressSet.of([ip_network(address)])


@given(st.text(st.sampled_from("0123456789abcf.:/ %+-_x\u0661\x00"), max_size=20))
def test_a_text_is_a_prefix_exactly_where_ipaddress_takes_it(text: str) -> None:
    expected = None
    if "%" not in text and text.partition("/")[2].count(".") == 0:  # neither zones nor netmasks
        with contextlib.suppress(ValueError):
            expected = AddressSet.of([ip_network(text, strict=False)])
    found = None
    with contextlib.suppress(SnapshotError):
        found = service_tags_of(document(tag("T", text)), "tags.json").addresses("T")
    assert found == expected


# -- what is wrong ----------------------------------------------------------------------------------

FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "cut-off": ('{"values": [', ":1: not JSON"),
    "key-twice": ('{"values": [], "values": []}', "'values' stands twice"),
    "a-list": ("[]", "expected an object with 'values'"),
    "a-snapshot": ('{"resources": []}', "expected an object with 'values'"),
    "huge-number": ('{"changeNumber": ' + "9" * 5000 + "}", "not usable JSON"),
    "huge-nesting": ("[" * 100_000, "nested too deeply"),
    "utf-16": ('{"values": []}'.encode("utf-16"), "UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_files_that_hold_no_tags(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tags.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SnapshotError, match=message) as raised:
        load_service_tags(path)
    assert str(path) in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path, tmp_path / "a\x00b"):
        with pytest.raises(SnapshotError):
            load_service_tags(path)


def test_another_document_is_told_where_tags_come_from() -> None:
    with pytest.raises(SnapshotError) as raised:
        service_tags_of({"resources": []}, "tags.json")
    assert "az network list-service-tags" in raised.value.hint


def change(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(body: dict[str, Any]) -> None:
        place: Any = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return apply


PREFIXES = ("values", 1, "properties", "addressPrefixes")
CONTENT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "values": (change("values", value={}), r"tags.json: values: expected a list, found an object"),
    "tag": (change("values", 1, value="Sql"), r"tags.json: values\[1\]: expected an object, found a string"),
    "name": (change("values", 1, "name", value=None), r"tags.json: values\[1\].name: is missing"),
    "twice": (change("values", 1, "name", value="STORAGE"), r"values\[1\].name: the tag 'STORAGE' stands"),
    "properties": (change("values", 1, "properties", value=[]), r"tag 'Sql': properties: expected an object"),
    "no-prefixes": (change(*PREFIXES, value=None), r"tag 'Sql': properties.addressPrefixes: is missing"),
    "prefixes": (change(*PREFIXES, value="13.0.0.0/8"), r"properties.addressPrefixes: expected a list"),
    "prefix-number": (change(*PREFIXES, 0, value=13), r"addressPrefixes\[0\]: expected a string"),
    "prefix": (
        change(*PREFIXES, 0, value="13.69.104.0/33"),
        r"tags.json: tag 'Sql': properties.addressPrefixes\[0\]: '13.69.104.0/33' is no address prefix",
    ),
    "cloud": (change("cloud", value=None), r"tags.json: cloud: is missing"),
    "change-number": (change("changeNumber", value="new"), r"changeNumber: expected a whole number"),
    "page": (change("nextLink", value="https://next.example/"), r"nextLink: the list goes on elsewhere"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), CONTENT.values(), ids=CONTENT)
def test_one_error_that_names_file_tag_and_property(
    damage: Callable[[dict[str, Any]], None], message: str
) -> None:
    body = json.loads(json.dumps(document(STORAGE, SQL)))
    damage(body)
    with pytest.raises(SnapshotError, match=message):
        service_tags_of(body, "tags.json")


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["10.0.0.0/8", "::/0", "\x1b[2J", "\u202e", "\ud800", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "properties", "addressPrefixes", "values", "cloud", "changeNumber"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip
PLACES: list[tuple[str | int, ...]] = [
    ("values",), ("cloud",), ("changeNumber",), ("nextLink",),
    ("values", 0), ("values", 0, "name"), ("values", 0, "properties"), PREFIXES, (*PREFIXES, 0),
]  # fmt: skip


@given(junk)
def test_any_json_is_read_or_refused(body: Any) -> None:
    with contextlib.suppress(SnapshotError):
        service_tags_of(body, "tags.json")


@given(st.sampled_from(PLACES), junk)
def test_a_file_that_is_broken_anywhere_is_read_or_refused_in_printable_text(
    place: tuple[str | int, ...], value: Any
) -> None:
    body = json.loads(json.dumps(document(STORAGE, SQL)))
    change(*place, value=value)(body)
    message = ""
    try:
        service_tags_of(body, "tags.json")
    except SnapshotError as error:
        message = error.message
    assert plain(message) == message
