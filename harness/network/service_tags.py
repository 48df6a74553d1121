"""Azure's service tags: the addresses that ``Storage.WestEurope`` and its like stand for.

Reads what Microsoft publishes every week, one file a cloud; the API's ``serviceTags`` list and
``az network list-service-tags`` have the same shape. Every prefix is checked when the file is read,
a tag's set is put in order when it is first asked for. Not for VirtualNetwork, Internet,
AzureLoadBalancer and the AzurePlatform tags, which no file holds (:mod:`harness.policy.tags`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

from harness.errors import SnapshotError
from harness.network.addresses import AddressSet, merged
from harness.network.fields import Fields, shown
from harness.network.jsonfile import read_json
from harness.network.words import IPAddress
from harness.text import plain

_SOURCE = (
    "download the file of your cloud from https://www.microsoft.com/download/details.aspx?id=56519,"
    " or write what 'az network list-service-tags --location <region>' prints"
)

SERVICE_ENDPOINT_TAGS: Mapping[str, str] = {
    "Microsoft.AzureCosmosDB": "AzureCosmosDB",
    "Microsoft.CognitiveServices": "CognitiveServicesManagement",
    "Microsoft.ContainerRegistry": "AzureContainerRegistry",
    "Microsoft.EventHub": "EventHub",
    "Microsoft.KeyVault": "AzureKeyVault",
    "Microsoft.ServiceBus": "ServiceBus",
    "Microsoft.Sql": "Sql",
    "Microsoft.Storage": "Storage",
    "Microsoft.Storage.Global": "Storage",
    "Microsoft.Web": "AppService",
}
"""Services that a subnet can have an endpoint for (Azure: virtual-network-service-endpoints-overview),
each with the tag whose prefixes its routes have ("the same address prefixes ... as those of the
corresponding service tag", Azure: service-tags-overview). Microsoft.AzureActiveDirectory is left out:
it serves Data Lake Storage Gen1 alone, and no tag is documented to correspond to it.
"""

_REGIONAL = frozenset({"microsoft.storage", "microsoft.sql"})
"""Their endpoints reach the virtual network's region (storage: its pair too), the others' every region."""

_ENDPOINT_TAGS = {service.lower(): tag for service, tag in SERVICE_ENDPOINT_TAGS.items()}


def service_endpoint_tag(service: str, location: str | None) -> str | None:
    """The tag whose prefixes an endpoint for ``service`` has routes to; None for a service not known here.

    One location gives one tag. For Microsoft.Storage Azure writes two locations into the subnet, the
    region and its pair: ask for each. Which region pairs with which is not known here, so whoever has
    only the virtual network's own location leaves the pair out. Without a location (None or ``*``)
    the tag is that of all regions.
    """
    tag = _ENDPOINT_TAGS.get(service.lower())
    if tag is None or location is None or location == "*" or service.lower() not in _REGIONAL:
        return tag
    return f"{tag}.{location.replace(' ', '').lower()}"


@dataclass(frozen=True)
class ServiceTag:
    """One tag; ``ranges`` are its prefixes as (first, last) of both families, in the order of the file."""

    name: str
    ranges_4: tuple[tuple[int, int], ...]
    ranges_6: tuple[tuple[int, int], ...]

    @cached_property
    def addresses(self) -> AddressSet:
        return AddressSet(merged(self.ranges_4), merged(self.ranges_6))


@dataclass(frozen=True, eq=False)
class ServiceTags:
    """The tags of one cloud at one time. ``tags`` has them by name in lower case: Azure ignores case."""

    cloud: str
    change_number: int
    tags: Mapping[str, ServiceTag]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tag.name for tag in self.tags.values())

    def addresses(self, name: str) -> AddressSet | None:
        """What ``name`` stands for; None where the file has no such tag."""
        tag = self.tags.get(name.lower())
        return tag.addresses if tag is not None else None

    def prefixes(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """(family, first, last) of every prefix of a tag, as the file lists them; () for no such tag."""
        tag = self.tags.get(name.lower())
        if tag is None:
            return ()
        return (*((4, *ends) for ends in tag.ranges_4), *((6, *ends) for ends in tag.ranges_6))

    def tags_of(self, address: IPAddress) -> tuple[str, ...]:
        """The names of all tags that hold ``address``, the narrowest first."""
        holding = [tag for tag in self.tags.values() if address in tag.addresses]

        def size(tag: ServiceTag) -> int:
            return sum(last - first + 1 for first, last in tag.addresses.of_family(address.version))

        return tuple(tag.name for tag in sorted(holding, key=size))

    def near(self, name: str) -> tuple[str, ...]:
        """Up to three names that ``name`` may have been meant to be, the nearest first."""
        found = difflib.get_close_matches(name.lower(), self.tags, n=3, cutoff=0.7)
        return tuple(self.tags[match].name for match in found)


def load_service_tags(path: Path) -> ServiceTags:
    """The tags file at ``path``; raises SnapshotError that names file, tag and property."""
    return service_tags_of(read_json(path), plain(str(path)))


def service_tags_of(document: object, origin: str) -> ServiceTags:
    """The tags of a file's JSON, or of the API's answer; ``origin`` names it in errors."""
    if not isinstance(document, Mapping) or document.get("values") is None:
        raise SnapshotError(f"{origin}: no service tags: expected an object with 'values'", hint=_SOURCE)
    body = Fields(document, origin, "")
    if body.optional_text("nextLink") is not None:
        body.fail("nextLink", "the list goes on elsewhere: join the 'values' of its pages into one list")
    tags: dict[str, ServiceTag] = {}
    for item in body.objects("values"):
        tag = _tag(item)
        if tags.setdefault(tag.name.lower(), tag) is not tag:
            item.fail("name", f"the tag '{shown(tag.name)}' stands twice")
    return ServiceTags(body.text("cloud"), _change_number(body), tags)


def _change_number(body: Fields) -> int:
    """The API writes it as a string."""
    value = body.values.get("changeNumber")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    return body.integer("changeNumber", 0, 10**10)


def _tag(item: Fields) -> ServiceTag:
    name = item.text("name")
    properties = item.owned_by(f"tag '{shown(name)}'").nested("properties")
    if not properties.has("addressPrefixes"):
        properties.fail("addressPrefixes", "is missing")
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for number, text in enumerate(properties.texts("addressPrefixes")):
        try:
            family, first, last = _range(text)
        except (OSError, ValueError):
            properties.fail(f"addressPrefixes[{number}]", f"'{shown(text)}' is no address prefix")
        ranges[family].append((first, last))
    return ServiceTag(name, tuple(ranges[4]), tuple(ranges[6]))


def _range(text: str) -> tuple[int, int, int]:
    """(family, first, last) of a prefix or an address.

    Raises OSError or ValueError. For 60,000 prefixes a file, where ``ip_network`` takes five times as long.
    """
    address, slash, length = text.partition("/")
    kind, family, bits = (AF_INET6, 6, 128) if ":" in address else (AF_INET, 4, 32)
    number = int.from_bytes(inet_pton(kind, address), "big")
    if not slash:
        return family, number, number
    # int() takes signs, spaces and underscores; a length beyond the address fails in the shift
    if not (length.isascii() and length.isdigit() and len(length) <= 3):
        raise ValueError(length)
    hosts = (1 << (bits - int(length))) - 1
    return family, number & ~hosts, number | hosts
