"""The lab file: a small Azure in compact YAML, in Azure's own terms.

Validated here, every error with file, line and key; ``lab.resources`` turns it into the ARM
resources that a snapshot of the same network would hold, and from there on there is one path for
both. Not for what Azure computes (default rules, peering states): that is ``lab.resources`` too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from harness.environment import FlowRule
from harness.errors import InputError
from harness.network.model import Access, Direction, NextHopType, RuleProtocol
from harness.yamlfile import load_model
from lab.hosts.accounts import Sudo
from lab.hosts.services import Service

__all__ = ["LabFile", "Service", "load_lab_file"]

TAGS = ("VirtualNetwork", "Internet", "AzureLoadBalancer")
"""The service tags that a lab knows."""

MAX_VMS = 5000
_NUMBER = re.compile(r"\{n(?::0?(\d))?\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _network(text: str) -> str:
    return str(ip_network(text))


def _address(text: str) -> str:
    return str(ip_address(text))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?", text):
        raise ValueError(
            f"'{text}' is no name of an Azure resource: letters, digits, '_', '.' and '-', at most 80"
        )
    return text


def _vm_name(text: str) -> str:
    if not text.strip() or "/" in text or not text.isprintable() or len(text) > 64:
        raise ValueError("a VM name has 1 to 64 printable characters and no '/'")
    if ("{" in text or "}" in text) and not _NUMBER.search(text):
        raise ValueError("write the number of a VM as {n}, or {n:02} for two digits")
    return text


def _ports(value: Any) -> str:
    text = str(value)
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text, re.ASCII)
    if text != "*" and (match is None or not 0 <= int(match[1]) <= int(match[2] or match[1]) <= 65535):
        raise ValueError(f"'{text}' is no port: write 443, 8000-8099 or *")
    return text


def _service(value: Any) -> Service:
    if not isinstance(value, str):
        raise ValueError("write a service as PORT/tcp or PORT/udp, as in 1433/tcp")
    try:
        return Service.parse(value)
    except InputError as error:
        raise ValueError(error.message) from None


def _short(key: str) -> Callable[[Any], Any]:
    """What stands where a mapping might is the value of its ``key``."""
    return lambda value: value if isinstance(value, dict) else {key: value}


def _caseless(*values: str) -> BeforeValidator:
    known = {value.lower(): value for value in values}
    return BeforeValidator(lambda value: known.get(value.lower(), value) if isinstance(value, str) else value)


Name = Annotated[str, AfterValidator(_name)]
Prefix = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
Prefixes = Annotated[tuple[Prefix, ...], BeforeValidator(_listed), Field(min_length=1)]
Selectors = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Ports = Annotated[
    tuple[Annotated[str, BeforeValidator(_ports)], ...], BeforeValidator(_listed), Field(min_length=1)
]


class Rule(_Strict):
    """A security rule. ``source`` and ``destination``: *, prefixes, tags or ASGs of this file."""

    name: Name
    priority: Annotated[int, Field(ge=100, le=4096, strict=True)]
    direction: Annotated[Direction, _caseless(*Direction)] = Direction.INBOUND
    access: Annotated[Access, _caseless(*Access)]
    protocol: Annotated[RuleProtocol, _caseless(*RuleProtocol)] = RuleProtocol.ANY
    source: Selectors = ("*",)
    source_ports: Ports = ("*",)
    destination: Selectors = ("*",)
    ports: Ports = ("*",)


class Route(_Strict):
    """A user-defined route; ``next_hop`` is an appliance's address or a next hop type."""

    name: Name
    prefix: Prefix
    next_hop: str

    @model_validator(mode="after")
    def _known_hop(self) -> Self:
        self.parts()
        return self

    def parts(self) -> tuple[str, str | None]:
        """(nextHopType, nextHopIpAddress)."""
        types = {kind.lower(): kind for kind in ("None", "Internet", "VnetLocal", "VirtualNetworkGateway")}
        if self.next_hop.lower() in types:
            return types[self.next_hop.lower()], None
        try:
            return NextHopType.VIRTUAL_APPLIANCE.value, str(ip_address(self.next_hop))
        except ValueError:
            raise ValueError(
                f"next_hop '{self.next_hop}': write an appliance's address or {', '.join(types.values())}"
            ) from None


class Subnet(_Strict):
    prefix: Prefixes
    nsg: str | None = None
    route_table: str | None = None
    nat_gateway: str | None = None
    default_outbound_access: bool | None = None


class Peering(_Strict):
    """One side of a peering; it is Connected when the remote VNet has one back."""

    remote: str
    allow_virtual_network_access: bool = True
    allow_forwarded_traffic: bool = False
    allow_gateway_transit: bool = False
    use_remote_gateways: bool = False


class VNet(_Strict):
    address_space: Prefixes
    subnets: Annotated[dict[Name, Subnet], Field(min_length=1)]
    peerings: dict[Name, Peering] = Field(default_factory=dict)


class PublicIP(_Strict):
    """A public IP address: its address alone, or with its SKU."""

    address: Address
    sku: Annotated[Literal["Standard", "Basic"], _caseless("Standard", "Basic")] = "Standard"


class NatGateway(_Strict):
    """``public_ip`` is the name of one of this file."""

    public_ip: str


class InternetHost(_Strict):
    """A machine on the internet: its addresses alone, or with the services that it offers."""

    addresses: Annotated[tuple[Address, ...], BeforeValidator(_listed), Field(min_length=1)]
    services: tuple[Annotated[Service, BeforeValidator(_service)], ...] = ()


class Internet(_Strict):
    """What lies outside. Its machines are managed as VMs are, and no part of Azure's network."""

    hosts: Annotated[
        dict[
            Annotated[str, AfterValidator(_vm_name)],
            Annotated[InternetHost, BeforeValidator(_short("addresses"))],
        ],
        Field(min_length=1),
    ]


class Nic(_Strict):
    """``subnet`` is SUBNET, or VNET/SUBNET where several VNets have one of that name.

    ``ipv6`` is an address, or true for the next free one. ``public_ip`` is the name of one of this
    file, of the IPv4 or the IPv6 address according to its own.
    """

    subnet: str
    address: Address | None = None
    ipv6: Address | bool = False
    nsg: str | None = None
    asgs: tuple[str, ...] = ()
    ip_forwarding: bool = False
    public_ip: str | None = None


class Vm(_Strict):
    """A VM. With one NIC its keys stand here, else in ``nics`` (the first is the primary).

    ``count`` makes that many of them, their name's {n} counting from 1. ``forwarding`` is the
    guest's own setting; by default it forwards if any of its NICs does. ``user`` is whom the
    environment file logs in as; ``sudo`` is what azureuser may do (default: nopasswd).
    """

    subnet: str | None = None
    address: Address | None = None
    ipv6: Address | bool = False
    nsg: str | None = None
    asgs: tuple[str, ...] = ()
    ip_forwarding: bool = False
    public_ip: str | None = None
    nics: tuple[Nic, ...] = ()
    count: Annotated[int, Field(ge=1, le=MAX_VMS, strict=True)] | None = None
    services: tuple[Annotated[Service, BeforeValidator(_service)], ...] = ()
    user: Literal["root", "azureuser"] = "root"
    sudo: Sudo | None = None
    forwarding: bool | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if bool(self.nics) == (self.subnet is not None):
            raise ValueError("give either 'subnet' (one NIC) or 'nics'")
        own = (self.address, self.ipv6, self.nsg, self.asgs, self.ip_forwarding, self.public_ip)
        if self.nics and any(own):
            raise ValueError("with 'nics', the keys of a NIC stand there")
        if self.count is not None and any(n.address or isinstance(n.ipv6, str) for n in self.interfaces()):
            raise ValueError("an address cannot be given to several VMs")
        if self.count is not None and any(nic.public_ip for nic in self.interfaces()):
            raise ValueError("a public IP cannot be given to several VMs")
        if self.sudo is not None and self.user == "root":
            raise ValueError("'sudo' goes with 'user: azureuser': root needs none")
        return self

    def interfaces(self) -> tuple[Nic, ...]:
        """The NICs, however they were written."""
        if self.nics:
            return self.nics
        assert self.subnet is not None
        return (
            Nic(
                subnet=self.subnet,
                address=self.address,
                ipv6=self.ipv6,
                nsg=self.nsg,
                asgs=self.asgs,
                ip_forwarding=self.ip_forwarding,
                public_ip=self.public_ip,
            ),
        )


class Management(_Strict):
    """How the VMs are reached: with this key, by SSH to port 22 of their data NICs, through ``jump``.

    The VM that is ``jump`` is reached out of band, as all are without this key.
    """

    jump: str


class LabFile(_Strict):
    """The whole file."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    subscription: Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{36}$")] = (
        "00000000-0000-0000-0000-000000000000"
    )
    resource_group: Name = "lab"
    location: Name = "westeurope"
    vnets: Annotated[dict[Name, VNet], Field(min_length=1)]
    nsgs: dict[Name, tuple[Rule, ...]] = Field(default_factory=dict)
    asgs: tuple[Name, ...] = ()
    route_tables: dict[Name, tuple[Route, ...]] = Field(default_factory=dict)
    public_ips: dict[Name, Annotated[PublicIP, BeforeValidator(_short("address"))]] = Field(
        default_factory=dict
    )
    nat_gateways: dict[Name, NatGateway] = Field(default_factory=dict)
    internet: Internet | None = None
    vms: Annotated[dict[Annotated[str, AfterValidator(_vm_name)], Vm], Field(min_length=1)]
    flows: tuple[FlowRule, ...] = ()
    management: Management | None = None

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's; what refers to nothing is reported at its own place in the file."""
        lab = super().model_validate(obj, **options)
        from lab.labfile_checks import problems

        details = [
            InitErrorDetails(
                type=PydanticCustomError("reference", "{text}", {"text": text}), loc=place, input=None
            )
            for place, text in problems(lab)
        ]
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details)
        return lab

    def expanded(self) -> Iterator[tuple[str, str, Vm]]:
        """Every VM: (its name, its key in the file, what the file says of it)."""
        for key, vm in self.vms.items():
            for number in range(1, (vm.count or 1) + 1):
                yield numbered(key, number) if vm.count else key, key, vm

    @property
    def internet_hosts(self) -> Mapping[str, InternetHost]:
        """The machines on the internet, by name."""
        return self.internet.hosts if self.internet is not None else {}

    def subnet(self, text: str) -> tuple[str, str]:
        """(VNet, subnet) of SUBNET or VNET/SUBNET; raises ValueError."""
        vnet, slash, name = text.rpartition("/")
        found = [
            (candidate, name)
            for candidate, content in self.vnets.items()
            if name in content.subnets and (not slash or candidate == vnet)
        ]
        if not found:
            raise ValueError(f"no subnet '{text}' in this file")
        if len(found) > 1:
            several = ", ".join(f"{vnet}/{name}" for vnet, name in found)
            raise ValueError(f"several VNets have a subnet '{text}': write one of {several}")
        return found[0]

    def prefixes(self, place: tuple[str, str]) -> Sequence[IPv4Network | IPv6Network]:
        """The prefixes of a (VNet, subnet)."""
        vnet, subnet = place
        return [ip_network(prefix) for prefix in self.vnets[vnet].subnets[subnet].prefix]


def numbered(name: str, number: int) -> str:
    """``web-{n:02}`` and 7 -> ``web-07``."""
    return _NUMBER.sub(lambda match: str(number).zfill(int(match[1] or 1)), name)


def has_number(name: str) -> bool:
    return _NUMBER.search(name) is not None


def load_lab_file(path: Path) -> LabFile:
    """The lab file at ``path``; raises InputError that names file, line and key."""
    return load_model(path, LabFile)
